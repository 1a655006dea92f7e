"""A slot of an engine: to the broker a worker as any other, whose tasks an engine runs.

It submits the tasks that it has in hand as one call, so that short ones share the way there and
back, and passes on the words that come with the call's end.  A call that has begun cannot be
stopped: if that must be, the slot ends, the call is left to itself, and another slot takes its
place.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, assert_never, cast

from msgspec import structs

from steerio.edge.wire.cutting import batches
from steerio.edge.wire.endpoint import Frames
from steerio.edge.wire.headers import reader
from steerio.edge.wire.memory_streams import StreamEnd
from steerio.errors import EncodingError, ProtocolError, UsageError
from steerio.model import messages as ms
from steerio.model.tasks import ReportedAs, SignalName
from steerio.node.engine import Engine, EngineCall, told
from steerio.worker.engine_call import Batch
from steerio.worker.failure import describe

LEFT = "the engine runs a task of it that had to be stopped, and that it cannot stop"
ENDED = "it was told to end"
MOST_TOGETHER = 1_000
"""Most tasks of one call."""
NO_GANGS = (
    "an engine runs each task by itself, and not together with others: have tasks with gang= run "
    "in a pool with workers of steerio"
)


class SlotHome(Protocol):
    """The forker of an engine's node, as its slots see it."""

    def exited(self, slot: EngineWorker, run: int, reason: str) -> None:
        """Take in that a slot has ended while this run was its first under way (0: none)."""
        ...

    def left_over(self, slot: str, names: list[bytes]) -> None:
        """Take in that a call that was left to itself has put objects."""
        ...


class EngineWorker:
    """One slot.

    Args:
        name: given by the broker.
        link: its end of the stream to its node.
        engine: runs its calls.
        home: the forker that started it.
    """

    def __init__(self, name: str, link: StreamEnd, engine: Engine, home: SlotHome) -> None:
        self.name = name
        self.begun = 0
        """The last run that the engine has, or that was given back."""
        self.over = 0
        """The last run whose end was told."""
        self.dead = False
        self._link = link
        self._engine = engine
        self._home = home
        self._types: dict[int, ms.DefineTask] = {}
        self._held: deque[tuple[ms.RunTask, Frames]] = deque()
        self._unread: set[int] = set()
        """Runs in hand whose items have no reader."""
        self._call: EngineCall | None = None
        self._sent: list[tuple[ms.RunTask, Frames]] = []
        """The tasks of the call that is under way."""

    def __repr__(self) -> str:
        state = "ended" if self.dead else f"{len(self._sent)} sent, {len(self._held)} held"
        return f"<EngineWorker {self.name}: {state}>"

    def join(self) -> None:
        """Join the broker."""
        self._link.attach(self._wake)
        self._link.send(ms.JoinWorker(ms.PROTOCOL, self.name, os.getpid()))

    @property
    def works_on(self) -> int:
        """The first run of the call that is under way; 0: there is none."""
        return self._sent[0][0].run if self._sent else 0

    # -- orders -----------------------------------------------------------------------------------

    def ask_to_stop(self, run: int) -> None:
        """Withdraw a run, if the engine lets it.

        An engine may withdraw a call that it has begun, and leave it to itself. So tasks that
        share a call, which are short, are not withdrawn: the others would run twice.
        """
        if self.works_on == run and len(self._sent) == 1 and self._withdrawn():
            self._sent, self._call = [], None
            self.over = run
            self._unread.discard(run)
            self._say(_report(run, "cancelled"))
            self._go_on()

    def signal(self, run: int, name: SignalName) -> None:
        """Withdraw the run to be stopped or, at ``kill``, end (run 0: it is about no run)."""
        if self.dead or (run and self.over >= run):
            return
        if run and name == "term":
            self.ask_to_stop(run)
        else:
            self.end(LEFT if run else ENDED)

    def recall(self, run: int) -> None:
        """Give a run back, if the engine does not have it yet."""
        self._give_back(run)

    def _withdrawn(self) -> bool:
        return self._call is not None and self._call.withdraw()

    def end(self, reason: str) -> None:
        """End; a call that is under way is withdrawn or, if it has begun, left to itself."""
        if self.dead:
            return
        self.dead = True
        self._withdrawn()
        self._link.close()
        self._home.exited(self, self.works_on, reason)

    # -- messages ---------------------------------------------------------------------------------

    def _wake(self) -> None:
        arrived = self._link.arrived
        while arrived and not self.dead:
            said, frames = arrived.popleft()
            message = cast("ms.ToWorker", said)  # nothing else is sent to a worker
            match message:
                case ms.RunTask():
                    self._hold(message, frames)
                case ms.DefineTask() | ms.ForgetTypes():
                    self._learn(message)
                case ms.ReturnHeld():
                    self._give_back(message.run)
                case ms.GrantRun():
                    self._unread |= set() if message.count else {message.run}
                case ms.Closing() | ms.Refused():
                    self.end(message.reason or ENDED)
                case ms.Accepted() | ms.MeetAt():
                    pass
                case _:
                    assert_never(message)
        self._go_on()

    def _learn(self, message: ms.DefineTask | ms.ForgetTypes) -> None:
        if isinstance(message, ms.DefineTask):
            self._types[message.type_id] = message
        else:
            for number in message.types:
                self._types.pop(number, None)

    def _hold(self, task: ms.RunTask, frames: Frames) -> None:
        if task.gang is None:
            self._held.append((task, frames))
            return
        self.begun = self.over = task.run
        self._say(_report(task.run, "failed", UsageError(NO_GANGS)))

    def _give_back(self, run: int) -> None:
        """Give a run back that the engine does not have yet."""
        for entry in self._held:
            if entry[0].run == run:
                self._held.remove(entry)
                self._unread.discard(run)
                self._say(ms.ReturnTask(run))
                return

    def _say(self, message: ms.ToBroker, frames: Frames = ()) -> None:
        if not self.dead:
            self._link.send(message, frames)

    # -- calls ------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Submit the tasks in hand, unless others are under way."""
        if self.dead or self._call is not None or not self._held:
            return
        while self._held and len(self._sent) < MOST_TOGETHER:
            self._sent.append(self._held.popleft())
        self.begun = self._sent[-1][0].run
        try:
            self._call = self._engine.submit(self._packed(), self._ended)
        except Exception as error:  # noqa: BLE001 - whatever the engine's program raises
            self._engine.failed()
            self.end(f"the engine takes no call: {told(error)}")

    def _packed(self) -> list[Batch]:
        """Return the tasks of a call, their types, and the runs among them without a reader."""
        types = {task.type_id: self._types[task.type_id] for task, _ in self._sent}
        messages: list[ms.FromBroker] = [*types.values(), *(task for task, _ in self._sent)]
        unread = [task.run for task, _ in self._sent if task.run in self._unread]
        messages += [ms.GrantRun(run, 0) for run in unread]
        frames = [frame for _, its in self._sent for frame in its]
        return [[header, *map(bytes, its)] for header, *its in batches(messages, frames)]

    def _ended(self, told_batches: list[Batch] | None, reason: str) -> None:
        """Take in the end of a call."""
        if self.dead:
            self._let_go(told_batches)
        elif told_batches is None:
            self._engine.failed()
            self.end(f"the engine lost its call: {reason}")
        else:
            try:
                said = list(_read(told_batches))
            except (ProtocolError, ValueError, TypeError) as error:
                self.end(f"the engine's answer cannot be read: {told(error)}")
                return
            self._unread.difference_update(task.run for task, _ in self._sent)
            self._sent, self._call = [], None
            self._pass_on(said)
            self._go_on()

    def _pass_on(self, said: list[tuple[ms.FromWorker, Frames]]) -> None:
        now = time.monotonic()
        messages: list[ms.ToBroker] = []
        frames: list[Any] = []
        for message, its in said:
            if isinstance(message, ms.Report):
                message = structs.replace(
                    message, started=now + message.started, ended=now + message.ended
                )
            messages.append(message)
            frames += its
        self.over = self.begun
        try:
            self._link.send_all(messages, frames)
        except EncodingError as error:
            self.end(f"the engine's answer cannot be passed on: {error}")

    def _let_go(self, told_batches: list[Batch] | None) -> None:
        """Have the objects removed that a call has put which was left to itself."""
        try:
            said = list(_read(told_batches or []))
        except (ProtocolError, ValueError, TypeError):
            return
        kept = [getattr(message, "stored", None) for message, _ in said]
        names = [each.name for each in kept if each is not None]
        if names:
            self._home.left_over(self.name, names)


def _read(told_batches: list[Batch]) -> Any:
    read: Callable[..., Any] = reader("behind")
    for header, *frames in told_batches:
        yield from read(header, frames)


def _report(run: int, ended_as: ReportedAs, error: Exception | None = None) -> ms.Report:
    now = time.monotonic()
    about = None if error is None else describe(error, 0)
    return ms.Report(run, ended_as, now, now, b"", 0, about)
