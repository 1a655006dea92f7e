"""The tasks of one client: submitting, cancelling and re-ranking them, and their news.

All of that is synchronous: a message is put on the line.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from threading import get_ident

from steerio.client.held_objects import ClientObjects
from steerio.client.line import Line, Received
from steerio.client.outstanding import Outstanding
from steerio.client.sent_types import KnownTypes
from steerio.client.sinks import Sink
from steerio.edge.wire.endpoint import Frames
from steerio.errors import BrokerLost, NotAllowed
from steerio.model import messages as ms
from steerio.model.bounds import said
from steerio.model.objects import Inputs
from steerio.model.showing import counted
from steerio.model.tasks import CLIENT_BITS, EndedAs, TaskOptions, TaskSpec, ToldState, task_id

log = logging.getLogger("steerio.client")

INCARNATIONS = 1024
"""Incarnations of one run whose tasks have numbers of their own, a billion each."""
CANCELLED_IN_MESSAGE = 100
"""Most tasks that one message cancels: the broker takes in many messages in one step."""
ASKED_IN_MESSAGE = 1_000
"""Most tasks for whose results one message asks."""
AGAIN_AT_ONCE = 10_000
"""Tasks that are submitted again before other callbacks of the loop have their turn."""


class ClientTasks:
    """The part of a client that knows of tasks.

    Args:
        line: the way to the broker.
        loop: the client's loop.
        clock: returns the time, in Unix seconds.
        comes_back: whether another broker may have to be told of all tasks again.
    """

    def __init__(
        self,
        line: Line,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        *,
        comes_back: bool,
    ) -> None:
        self.sinks: dict[int, Sink] = {}
        self.say = line.say
        self.objects = ClientObjects(self.say, loop)
        self._line = line
        self._loop = loop
        self._thread = get_ident()
        self._clock = clock
        self._number = -1
        self._counter = 0
        self._detached = False
        """Whether its tasks go on when it leaves."""
        self._types = KnownTypes(self.say)
        self._reserved: dict[int, list[ms.ToBroker]] = {}
        """Tasks that are not submitted yet, and the messages to send of each after it is."""
        self._late = False
        """Whether messages are dealt out that were held back before, and of which it knows."""
        self._outstanding: Outstanding | None = None
        """The tasks that another broker would have to be told of, if there may be one."""
        if comes_back:
            self._outstanding = Outstanding()
            self.objects.keep_count(wanted=True)

    def _ends_with_broker(self) -> None:
        """Keep no account for another broker: a campaign's own has no successor."""
        self._outstanding = None
        self.objects.keep_count(wanted=False)

    @property
    def last_id(self) -> int:
        """The id of the task that was submitted last: later tasks have higher ids."""
        return task_id(self._number, self._counter)

    def find(self, number: int, sink: Sink) -> None:
        """Have a task of an earlier detached client of this name tell its news to a sink."""
        self.sinks[number] = sink
        if self._outstanding is not None:
            self._outstanding.found(number)

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
            self._line.refuse_threads()
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
        task = ms.SubmitTask(
            number, type_id, created, body, len(frames), options, tags, cause, inputs, because
        )
        if self._outstanding is not None:
            self._outstanding.submitted(task, frames, spec)
        self.say(task, frames)
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
        if self._line.lost:
            return
        self._line.refuse_threads()
        reason = said(reason, "the reason")
        if self._reserved:
            for number in [n for n in dict.fromkeys(numbers) if n in self._reserved]:
                self.give_up(number, "cancelled", reason)
        if self._outstanding is not None:
            # the end of a detached client's task is the broker's to tell: it keeps that
            changes = queued_only or self._detached
            self._outstanding.cancelled(numbers, reason, queued_only=queued_only, changes=changes)
        for start in range(0, len(numbers), CANCELLED_IN_MESSAGE):
            some = numbers[start : start + CANCELLED_IN_MESSAGE]
            self.say(ms.CancelTasks(some, reason, queued_only))

    def reprioritise(self, changes: dict[int, float]) -> None:
        """Re-rank queued tasks."""
        if self._line.lost:
            return
        self._line.refuse_threads()
        for number in self._reserved.keys() & changes.keys():
            self._say_later(number, ms.Reprioritise([(number, changes[number])]))
        if self._outstanding is not None:
            self._outstanding.ranked(changes)
        self.say(ms.Reprioritise(list(changes.items())))

    def reassign(self, numbers: list[int], pool: str) -> None:
        """Move queued tasks to another pool."""
        if self._line.lost:
            return
        self._line.refuse_threads()
        for number in self._reserved.keys() & set(numbers):
            self._say_later(number, ms.ReassignTasks([number], pool))
        if self._outstanding is not None:
            self._outstanding.reassigned(numbers, pool)
        self.say(ms.ReassignTasks(numbers, pool))

    def _say_later(self, number: int, message: ms.ToBroker) -> None:
        """Send a task's message after the task is submitted, in place of one of the same type."""
        others = [said for said in self._reserved[number] if type(said) is not type(message)]
        self._reserved[number] = [*others, message]

    def grant(self, number: int, count: int) -> None:
        """Let a generator task yield ``count`` more items; 0: its items are not read any more."""
        if number in self._reserved:
            self._reserved[number].append(ms.GrantItems(number, count))
        elif not self._line.lost:
            if not count and self._outstanding is not None:
                self._outstanding.unread(number)
            self.say(ms.GrantItems(number, count))

    # -- from the broker ----------------------------------------------------------------------

    def _deal_end(self, message: ms.TaskSettled, frames: Frames) -> None:
        sink = self.sinks.pop(message.task_id, None)
        if self._outstanding is not None:
            self._outstanding.ended(message.task_id)
            if not self._late:
                self._note_hold(message)
        if sink is not None:
            sink.settled(message, frames)
        elif message.stored is not None:
            self.objects.let_go(message.stored.name)  # a second result, of which none will hear

    def _deal_item(self, message: ms.TaskItem, frames: Frames) -> None:
        sink = self.sinks.get(message.task_id)
        if self._outstanding is not None and not self._late:
            self._outstanding.yielded(message)
            self._note_hold(message)
        if sink is not None:
            sink.item(message, frames)

    def _note_hold(self, message: ms.TaskSettled | ms.TaskItem) -> None:
        if message.stored is not None:
            self.objects.holds(message.stored)

    def hold_back(self, received: Received) -> None:
        """Take in a batch that `deal_late` deals out: another broker may have begun by then.

        That one has to know what this client holds, and which attempts it has items of.
        """
        if self._outstanding is None:
            return
        for message, _ in received:
            if isinstance(message, ms.TaskItem):
                self._outstanding.yielded(message)
            if isinstance(message, ms.TaskItem | ms.TaskSettled):
                self._note_hold(message)

    def deal_late(self, received: Received) -> None:
        """Deal out a batch that was held back."""
        self._late = True
        try:
            self._line.deal_all(received)
        finally:
            self._late = False

    def _deal_states(self, message: ms.TaskStates) -> None:
        told: tuple[tuple[ToldState, list[int]], ...]
        told = ("queued", message.queued), ("running", message.running)
        for state, numbers in told:
            for number in numbers:
                sink = self.sinks.get(number)
                if sink is not None:
                    sink.reached(state)

    # -- to another broker ------------------------------------------------------------------------

    async def _submit_again(self) -> None:
        """Submit the tasks again that have not ended; those that are to be cancelled end here."""
        assert self._outstanding is not None
        count = 0
        for number, task, changes in self._outstanding.all():
            reason = self._outstanding.take_cancelled(number)  # perhaps since the last turn
            if reason is not None:
                self.say(ms.CancelTasks([number], reason))  # a node may have gone on with it
                self._loop.call_soon(self._end_unsent, number, "cancelled", reason)
                continue
            self.say(task.again(self._types.number(task.spec)), task.frames)
            for change in changes:
                self.say(change)
            count += 1
            if not count % AGAIN_AT_ONCE:
                await asyncio.sleep(0)
        for change in self._outstanding.changes_of_found():
            self.say(change)
        if count:
            log.warning("%s submitted again", counted(count, "task"))
        if self._detached:  # those that ended meanwhile are not tried again
            asked = [number for number in self.sinks if number not in self._reserved]
            for start in range(0, len(asked), ASKED_IN_MESSAGE):
                self.say(ms.AskResults(asked[start : start + ASKED_IN_MESSAGE]))
