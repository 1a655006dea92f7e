"""The client: one event loop's way to a broker, in this process or another.

Submitting, cancelling and re-ranking are synchronous: they put a message on the link and return.
The news that come back are dealt to *sinks*, one per task.  When the broker ends or is silent for
its lease, every sink is told that its task is lost and ``lost`` says why, so that no await outlives
the broker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from threading import get_ident
from typing import assert_never

from steerio.client.held_objects import ClientObjects
from steerio.client.joining import Joining
from steerio.client.line import Line, Recording
from steerio.client.requests import ClientRequests
from steerio.client.sent_types import KnownTypes
from steerio.client.sinks import Sink
from steerio.client.subscriptions import ClientWatch
from steerio.edge.wire.endpoint import Frames, LinkEndpoint
from steerio.errors import BrokerLost, NotAllowed
from steerio.model import messages as ms
from steerio.model.bounds import said
from steerio.model.objects import Inputs, client_maker
from steerio.model.settings import Settings
from steerio.model.showing import counted
from steerio.model.tasks import CLIENT_BITS, EndedAs, TaskOptions, TaskSpec, ToldState, task_id

INCARNATIONS = 1024
"""Incarnations of one run whose tasks have numbers of their own, a billion each."""
CANCELLED_IN_MESSAGE = 100
"""Most tasks that one message cancels: the broker takes in many messages in one step."""


class Client:
    """One client of a broker.

    Args:
        link: the way to the broker.
        settings: beats and leases, until the broker tells its own.
        watched: whether the broker may vanish without this process noticing.
        clock: returns the time, in Unix seconds.
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
        self.name = ""  # under which it joined
        self._loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._line = Line(link, self._loop, self._deal, self._lose)
        self.say = self._line.say
        self.send = self._line.send
        self.refuse_threads = self._line.refuse_threads
        self.deal_all = self._line.deal_all
        self._watched = watched
        self._clock = clock
        self._number = -1
        self._counter = 0
        self._types = KnownTypes(self.say)
        self._reserved: dict[int, list[ms.ToBroker]] = {}
        """Tasks that are not submitted yet, and the messages to send of each after it is."""
        self.objects = ClientObjects(self.say, self._loop)
        self.requests = ClientRequests(self._line, self._loop)
        self.watch = ClientWatch(self._line, self._loop)
        self._joining = Joining(self._line, self._loop)
        self._on_lost: list[Callable[[str], None]] = []

    def __repr__(self) -> str:
        state = f"lost: {self.lost}" if self.lost else counted(len(self.sinks), "task")
        return f"<Client {self._number}: {state}>"

    # -- joining and leaving ----------------------------------------------------------------

    async def join(
        self, name: str, timeout_s: float = 10.0, worker: str = "", *, observes: bool = False
    ) -> None:
        """Join the broker.

        Args:
            name: of this client, in status and events.
            timeout_s: longest wait for the broker's answer.
            worker: the worker in whose task this runs, as ``name:pid``.
            observes: whether it wants only to look on.

        Raises:
            JoinRefused: the broker does not let this client in; the message says why.
            BrokerLost: the broker did not answer in time.
        """
        self.name = name
        request = ms.JoinClient(ms.PROTOCOL, name, worker, observes)
        accepted = await self._joining.ask(request, timeout_s)
        self._number, self.settings = accepted.number, accepted.settings
        self._line.observes = accepted.observes
        self.closed_pools = frozenset(accepted.pools)
        if self._watched:
            self._line.watch(self.settings)

    @property
    def silent_beats(self) -> int:
        """The number of beats in a row without a word of the broker."""
        return self._line.silent_beats

    @property
    def lost(self) -> str:
        """Why the broker is gone; empty as long as it is there."""
        return self._line.lost

    @property
    def observes(self) -> bool:
        """Whether the broker lets this client only look on."""
        return self._line.observes

    @property
    def is_remote(self) -> bool:
        """Whether the broker is in another process, whose log is not this one's."""
        return self._watched

    @property
    def maker(self) -> str:
        """The client's name as the maker of objects in the store."""
        return client_maker(self._number)

    def close(self) -> None:
        """Leave the broker and close the link."""
        if not self._line.lost and self._number >= 0:
            self.say(ms.Leave())
        self._line.flush_last()
        self._lose("this session was closed", "cancelled")
        self._line.close()

    def record_by(self, recording: Recording | None) -> None:
        """Have each batch of messages taken in before it is dealt out; see `Line.recording`."""
        self._line.recording = recording

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Call back with the reason when the broker is lost (at once if it is)."""
        if self.lost:
            callback(self.lost)
        else:
            self._on_lost.append(callback)

    def off_lost(self, callback: Callable[[str], None]) -> None:
        """Drop this callback, if it is registered."""
        if callback in self._on_lost:
            self._on_lost.remove(callback)

    @property
    def last_id(self) -> int:
        """The id of the task that was submitted last: later tasks have higher ids."""
        return task_id(self._number, self._counter)

    def count_from(self, incarnation: int) -> None:
        """Number tasks from a number on that no earlier incarnation of a run has reached."""
        self._counter = incarnation % INCARNATIONS * (2**CLIENT_BITS // INCARNATIONS)

    # -- tasks ------------------------------------------------------------------------------

    def reserve(self, sink: Sink) -> int:
        """Return the id of a task that is submitted later, by `submit`.

        Raises:
            BrokerLost: the broker has ended.
            UsageError: the caller is on another thread than the loop's.
            NotAllowed: the broker lets this client only look on.
        """
        if self._line.lost:
            raise BrokerLost(self._line.lost)
        if get_ident() != self._thread:
            self.refuse_threads()
        if self._line.observes:
            raise NotAllowed("submit tasks")
        self._counter += 1
        number = task_id(self._number, self._counter)
        self.sinks[number] = sink
        return number

    def reserve_later(self, sink: Sink) -> int:
        """Return the id of a task that waits for something before it can be submitted."""
        number = self.reserve(sink)
        self._reserved[number] = []
        return number

    def submit(
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
        because: tuple[int, ...] = (),
    ) -> None:
        """Queue a task under an id that was reserved for it."""
        last, type_id = self._types.last
        if spec is not last:
            type_id = self._types.number(spec)
        self.say(
            ms.SubmitTask(
                number,
                type_id,
                created,
                body,
                len(frames),
                options,
                tags,
                cause,
                inputs,
                because,
            ),
            frames,
        )
        for message in self._reserved.pop(number, ()):
            self.say(message)

    def is_reserved(self, number: int) -> bool:
        """Whether a task still waits to be submitted: it was neither cancelled nor lost."""
        return number in self._reserved

    def withdraw(self, number: int) -> None:
        """Take back a reserved task; the caller then tells its sink how it ended."""
        del self._reserved[number]

    def give_up(self, number: int, ended_as: EndedAs, reason: str) -> None:
        """End a task that was not submitted yet, in a later turn of the loop."""
        self.withdraw(number)
        self._loop.call_soon(self._end_unsent, number, ended_as, reason)

    def _end_unsent(self, number: int, ended_as: EndedAs, reason: str) -> None:
        sink = self.sinks.pop(number, None)
        if sink is not None:
            sink.settled(ms.TaskSettled.unknown(number, ended_as, self._clock(), reason), ())

    def settle_reserved(self, message: ms.TaskSettled, frames: Frames) -> bool:
        """End a task that was not submitted with a result that was known.

        Returns ``False`` if it has ended already, or was cancelled.
        """
        if message.task_id not in self._reserved:
            return False
        self.withdraw(message.task_id)
        self.sinks.pop(message.task_id).settled(message, frames)
        return True

    def cancel(self, numbers: list[int], reason: str, *, queued_only: bool = False) -> None:
        """Ask the broker to cancel tasks; their results say whether they were."""
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
        """Move queued tasks to another pool."""
        if self.lost:
            return
        self.refuse_threads()
        for number in self._reserved.keys() & set(numbers):
            self._say_later(number, ms.ReassignTasks([number], pool))
        self.say(ms.ReassignTasks(numbers, pool))

    def _say_later(self, number: int, message: ms.ToBroker) -> None:
        """Send a task's message after the task is submitted, in place of one of the same type."""
        others = [said for said in self._reserved[number] if type(said) is not type(message)]
        self._reserved[number] = [*others, message]

    def grant(self, number: int, count: int) -> None:
        """Let a generator task yield ``count`` more items; 0: its items are not read any more."""
        if number in self._reserved:
            self._reserved[number].append(ms.GrantItems(number, count))
        elif not self.lost:
            self.say(ms.GrantItems(number, count))

    # -- from the broker ------------------------------------------------------------------------

    def _deal(self, message: ms.ToClient, frames: Frames) -> None:
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

    def _deal_states(self, numbers: list[int], state: ToldState) -> None:
        for number in numbers:
            sink = self.sinks.get(number)
            if sink is not None:
                sink.reached(state)

    def _deal_rarely(
        self,
        message: ms.Accepted
        | ms.Refused
        | ms.BeatAnswer
        | ms.Closing
        | ms.Status
        | ms.MoveNews
        | ms.VersionNews
        | ms.NodeNews,
    ) -> None:
        match message:
            case ms.MoveNews():
                self.requests.moved(message)
            case ms.VersionNews():
                self.objects.heard(message)
            case ms.Status() | ms.NodeNews():
                self.requests.answered(message)
            case ms.Accepted():
                self._joining.accepted(message)
            case ms.Refused():
                if not self._joining.refused(message.reason):
                    self._lose(message.reason)
            case ms.Closing():
                self._lose(message.reason)
            case ms.BeatAnswer():
                pass  # it has no content: that it arrived is its news
            case _:
                assert_never(message)

    def _lose(self, reason: str, ended_as: EndedAs = "lost") -> None:
        if self._line.lost:
            return
        self._line.end(reason)
        self._reserved.clear()
        self.objects.lose(reason)
        sinks, self.sinks = self.sinks, {}
        why = reason if ended_as == "cancelled" else f"the broker is gone: {reason}"
        for number, sink in sinks.items():
            news = ms.TaskSettled.unknown(number, ended_as, self._clock(), why)
            try:
                sink.settled(news, ())
            except Exception as error:  # noqa: BLE001 - of a callback: the others get theirs
                self._line.callback_failed(news, error)
        self.requests.lose(reason, why)
        self.watch.lose(reason)
        self._joining.lose(reason)
        for callback in list(self._on_lost):
            callback(reason)
