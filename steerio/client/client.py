"""The client: one loop's way to a broker, in this process or another.

Synchronous where nothing can wait: submitting, cancelling and re-ranking put a message on the
link and return.  What comes back is dealt to *sinks*, one per task.  When the broker ends or falls
silent for its lease, every sink is told that its task is lost and ``lost`` says why, so that no
await outlives the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from threading import get_ident
from typing import Protocol

from steerio.client.held_objects import ClientObjects
from steerio.client.requests import ClientRequests
from steerio.client.sent_types import KnownTypes
from steerio.client.subscriptions import ClientWatch
from steerio.edge.wire.endpoint import Frames, LinkEndpoint
from steerio.edge.wire.headers import refuse_unreadable
from steerio.errors import BrokerLost, EncodingError, JoinRefused, ProtocolError, UsageError
from steerio.model import messages as ms
from steerio.model.bounds import REASON_CHARACTERS, cut, said
from steerio.model.objects import Inputs, client_maker
from steerio.model.settings import Settings
from steerio.model.tasks import TaskOptions, TaskSpec, task_id

RECEIVED_AT_ONCE = 1_000
"""Most messages that are dealt out before other callbacks of the loop have their turn."""
CANCELLED_IN_MESSAGE = 100
"""Most tasks that one message cancels: the broker takes in many messages in one step."""


class Sink(Protocol):
    """Where the news of one task goes."""

    def settled(self, message: ms.TaskSettled, frames: Frames) -> None:
        """Take in how the task ended; the last call."""
        ...

    def item(self, message: ms.TaskItem, frames: Frames) -> None:
        """Take in what the task yielded."""
        ...

    def reached(self, state: str) -> None:
        """Take in that the task is ``queued``, or ``running``; told if it is watched."""
        ...


class Client:
    """One client of a broker.

    Args:
        link: the way to the broker.
        settings: beats and leases, until the broker says by which it goes.
        watched: whether the broker may vanish without this process noticing.
        clock: Unix seconds.
    """

    def __init__(
        self,
        link: LinkEndpoint,
        settings: Settings | None = None,
        *,
        watched: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or Settings()
        self.closed_pools: frozenset[str] = frozenset()
        self.sinks: dict[int, Sink] = {}
        self.name = ""  # what it joined as
        self.lost = ""
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._watched = watched
        self._clock = clock
        self._number = -1
        self._counter = 0
        self._types = KnownTypes(self.say)
        self._reserved: dict[int, list[ms.ToBroker]] = {}
        """Tasks that are not submitted yet, and what is to be said of them then."""
        self.objects = ClientObjects(self.say, self._loop)
        self.requests = ClientRequests(self, self._loop)
        self.watch = ClientWatch(self, self._loop)
        self._flush_due = False
        self._heard = self._loop.time()
        self._beat_timer: asyncio.TimerHandle | None = None
        self._joined: asyncio.Future[ms.Accepted] = self._loop.create_future()
        self._on_lost: list[Callable[[str], None]] = []

    def __repr__(self) -> str:
        state = f"lost: {self.lost}" if self.lost else f"{len(self.sinks)} tasks"
        return f"<Client {self._number}: {state}>"

    # -- joining and leaving ----------------------------------------------------------------

    async def join(self, name: str, timeout_s: float = 10.0, worker: str = "") -> None:
        """Join the broker; ``worker``: in whose task this is, as ``name:pid``.

        Raises:
            JoinRefused: it does not want us; the message says why.
            BrokerLost: it did not answer in time.
        """
        self.name = name
        self._link.attach(self._loop, self._wake)
        self.send(ms.JoinClient(ms.PROTOCOL, name, worker))
        try:
            async with asyncio.timeout(timeout_s):
                accepted = await self._joined
        except TimeoutError:
            raise BrokerLost(
                f"the broker did not answer within {timeout_s:g} s: it has ended without "
                "cleaning up, its machine cannot be reached, or it does not accept our key"
            ) from None
        self._number, self.settings = accepted.number, accepted.settings
        self.closed_pools = frozenset(accepted.pools)
        self._heard = self._loop.time()
        if self._watched:
            self._beat()

    @property
    def is_remote(self) -> bool:
        """Whether the broker is in another process, whose log is not this one's."""
        return self._watched

    @property
    def maker(self) -> str:
        """What it calls itself where it puts objects into the store."""
        return client_maker(self._number)

    def close(self) -> None:
        """Leave the broker and let go of the link."""
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        if not self.lost and self._number >= 0:
            self.say(ms.Leave())
        with contextlib.suppress(EncodingError):  # what waits for it hears that it is closed
            self._link.flush()
        self._lose("this session was closed", "cancelled")
        self._link.close()

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Call back with the reason once the broker is lost (at once where it is)."""
        if self.lost:
            callback(self.lost)
        else:
            self._on_lost.append(callback)

    def off_lost(self, callback: Callable[[str], None]) -> None:
        """Call this back no more, if it would have been."""
        if callback in self._on_lost:
            self._on_lost.remove(callback)

    @property
    def last_id(self) -> int:
        """The id of the task that was submitted last: those that follow have higher ones."""
        return task_id(self._number, self._counter)

    # -- tasks ------------------------------------------------------------------------------

    def submit(
        self,
        spec: TaskSpec,
        body: bytes,
        frames: Frames,
        options: TaskOptions,
        tags: dict[str, str] | None,
        cause: str,
        created: float,
        sink: Sink,
        inputs: Inputs | None = None,
    ) -> int:
        """Queue a task and return its id.

        Raises:
            BrokerLost: the broker has ended.
        """
        number = self.reserve(sink)
        self.submit_reserved(number, spec, body, frames, options, tags, cause, created, inputs)
        return number

    def reserve(self, sink: Sink) -> int:
        """Return the id of a task that is submitted later, by `submit_reserved`.

        Raises:
            BrokerLost: the broker has ended.
            UsageError: this is another thread than the loop's.
        """
        if self.lost:
            raise BrokerLost(self.lost)
        if get_ident() != self._thread:
            self.refuse_threads()
        self._counter += 1
        number = task_id(self._number, self._counter)
        self.sinks[number] = sink
        return number

    def reserve_later(self, sink: Sink) -> int:
        """Return the id of a task that waits for something before it can be submitted."""
        number = self.reserve(sink)
        self._reserved[number] = []
        return number

    def submit_reserved(
        self,
        number: int,
        spec: TaskSpec,
        body: bytes,
        frames: Frames,
        options: TaskOptions,
        tags: dict[str, str] | None,
        cause: str,
        created: float,
        inputs: Inputs | None,
    ) -> None:
        """Queue a task under an id that was reserved for it."""
        last, type_id = self._types.last
        if spec is not last:
            type_id = self._types.number(spec)
        self.say(
            ms.SubmitTask(
                number, type_id, created, body, len(frames), options, tags, cause, inputs
            ),
            frames,
        )
        for message in self._reserved.pop(number, ()):
            self.say(message)

    def is_reserved(self, number: int) -> bool:
        """Whether a task still waits to be submitted: it was neither cancelled nor lost."""
        return number in self._reserved

    def withdraw(self, number: int) -> None:
        """Submit a task no more; whoever has its sink tells that how it ended."""
        del self._reserved[number]

    def give_up(self, number: int, ended_as: str, reason: str) -> None:
        """End a task that was not submitted yet, soon."""
        self.withdraw(number)
        self._loop.call_soon(self._end_unsent, number, ended_as, reason)

    def _end_unsent(self, number: int, ended_as: str, reason: str) -> None:
        sink = self.sinks.pop(number, None)
        if sink is not None:
            sink.settled(ms.TaskSettled.unknown(number, ended_as, self._clock(), reason), ())

    def cancel(self, numbers: list[int], reason: str, *, queued_only: bool = False) -> None:
        """Ask for tasks to be cancelled; their results say whether they were."""
        if self.lost:
            return
        self.refuse_threads()
        reason = said(reason, "the reason")
        if self._reserved:
            for number in [n for n in dict.fromkeys(numbers) if n in self._reserved]:
                self.give_up(number, "cancelled", reason)
        for start in range(0, len(numbers), CANCELLED_IN_MESSAGE):
            some = numbers[start : start + CANCELLED_IN_MESSAGE]
            self.say(ms.CancelTasks(some, reason, queued_only))

    def reprioritise(self, changes: dict[int, float]) -> None:
        """Re-rank queued tasks."""
        if self.lost:
            return
        self.refuse_threads()
        for number in self._reserved.keys() & changes.keys():
            self._say_later(number, ms.Reprioritise([(number, changes[number])]))
        self.say(ms.Reprioritise(list(changes.items())))

    def reassign(self, numbers: list[int], pool: str) -> None:
        """Have queued tasks wait in another pool."""
        if self.lost:
            return
        self.refuse_threads()
        for number in self._reserved.keys() & set(numbers):
            self._say_later(number, ms.ReassignTasks([number], pool))
        self.say(ms.ReassignTasks(numbers, pool))

    def _say_later(self, number: int, message: ms.ToBroker) -> None:
        """Say something of a task once it is submitted, instead of what was said of it before."""
        others = [said for said in self._reserved[number] if type(said) is not type(message)]
        self._reserved[number] = [*others, message]

    def grant(self, number: int, count: int) -> None:
        """Let a generator task yield ``count`` more items; 0: nobody reads what it yields."""
        if number in self._reserved:
            self._reserved[number].append(ms.GrantItems(number, count))
        elif not self.lost:
            self.say(ms.GrantItems(number, count))

    # -- the link -------------------------------------------------------------------------------

    def send(self, message: ms.ToBroker) -> None:
        """Put a message on the link, to be flushed before the loop next waits.

        Raises:
            UsageError: a broker could not read it; so it is said here, whatever the link is.  Or
                this is another thread than the loop's.
        """
        self.refuse_threads()
        refuse_unreadable(message)
        self.say(message)

    def refuse_threads(self) -> None:
        """Refuse to be used from other threads: the loop would not wake, and a wait never end.

        Raises:
            UsageError: so it is.
        """
        if get_ident() != self._thread:
            raise UsageError(
                "a session belongs to the thread of its event loop, and this is another; go "
                "by the loop: asyncio.run_coroutine_threadsafe(session.run(...), loop).result()"
            )

    def say(self, message: ms.ToBroker, frames: Frames = ()) -> None:
        """Put a message on the link of which all that users gave is checked already."""
        self._link.send(message, frames)
        if not self._flush_due and not self._link.immediate:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if not self._link_closed():
            try:
                self._link.flush()
            except EncodingError as error:
                self._give_up(f"something could not be said to the broker: {error}")
                return
            if self._link.ready():
                self._loop.call_soon(self._wake)

    def _give_up(self, reason: str) -> None:
        """Leave a broker that is not understood any more, so that nobody waits for it."""
        self._link.send(ms.Leave(cut(reason, REASON_CHARACTERS)))
        self._link.flush()
        self._lose(reason)

    def _link_closed(self) -> bool:
        return bool(self.lost)

    def _wake(self) -> None:
        if self._link_closed():
            return
        self._heard = self._loop.time()
        try:
            received = self._link.receive(RECEIVED_AT_ONCE)
        except ProtocolError as error:
            self._give_up(f"what it said could not be read: {error}")
            return
        for message, frames in received:
            try:
                self._deal(message, frames)
            except Exception as error:  # noqa: BLE001 - of a callback: the others get their news
                self._callback_failed(message, error)
        if not self._link_closed() and self._link.ready():
            self._loop.call_soon(self._wake)

    def _callback_failed(self, message: ms.FromBroker, error: Exception) -> None:
        context = {"message": f"a callback of {message!r} failed", "exception": error}
        self._loop.call_exception_handler(context)

    def _deal(self, message: ms.FromBroker, frames: Frames) -> None:
        match message:
            case ms.TaskSettled():
                sink = self.sinks.pop(message.task_id, None)
                if sink is not None:
                    sink.settled(message, frames)
            case ms.TaskItem():
                sink = self.sinks.get(message.task_id)
                if sink is not None:
                    sink.item(message, frames)
            case ms.Events():
                subscriber = self.watch.subscribers.get(message.subscription)
                if subscriber is not None:
                    subscriber(message.events)
            case ms.PoolStatus():
                self.watch.pools_told(message)
            case ms.TaskStates():
                self._deal_states(message.queued, "queued")
                self._deal_states(message.running, "running")
            case _:
                self._deal_rarely(message)

    def _deal_states(self, numbers: list[int], state: str) -> None:
        for number in numbers:
            sink = self.sinks.get(number)
            if sink is not None:
                sink.reached(state)

    def _deal_rarely(self, message: ms.FromBroker) -> None:
        match message:
            case ms.MoveNews():
                self.requests.moved(message)
            case ms.VersionNews():
                self.objects.heard(message)
            case ms.Status() | ms.NodeNews():
                self.requests.answered(message)
            case ms.Accepted():
                if not self._joined.done():
                    self._joined.set_result(message)
            case ms.Refused():
                if not self._joined.done():
                    self._joined.set_exception(JoinRefused(message.reason))
                else:
                    self._lose(message.reason)
            case ms.Closing():
                self._lose(message.reason)
            case _:
                pass  # a BeatAnswer has said what it says by arriving

    def _beat(self) -> None:
        silent_s = self._loop.time() - self._heard
        if silent_s > self.settings.lease_s and not self._link.ready():
            self._lose(f"the broker has been silent for {silent_s:.0f} s")
            return
        self.say(ms.Beat(self._loop.time(), None))
        self._beat_timer = self._loop.call_later(self.settings.beat_s, self._beat)

    def _lose(self, reason: str, ended_as: str = "lost") -> None:
        if self.lost:
            return
        self.lost = reason
        if self._beat_timer is not None:
            self._beat_timer.cancel()
        self._link.detach()
        self._reserved.clear()
        self.objects.lose(reason)
        sinks, self.sinks = self.sinks, {}
        why = reason if ended_as == "cancelled" else f"the broker is gone: {reason}"
        for number, sink in sinks.items():
            news = ms.TaskSettled.unknown(number, ended_as, self._clock(), why)
            try:
                sink.settled(news, ())
            except Exception as error:  # noqa: BLE001 - of a callback: the others get their news
                self._callback_failed(news, error)
        self.requests.lose(reason, why)
        self.watch.lose(reason)
        if not self._joined.done():
            self._joined.set_exception(BrokerLost(reason))
            self._joined.exception()  # retrieved, should nobody be waiting
        for callback in list(self._on_lost):
            callback(reason)
