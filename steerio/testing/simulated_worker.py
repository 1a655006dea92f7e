"""A simulated worker: it speaks the protocol of a real one, with a model in place of the work.

In all that the broker can see it behaves as ``worker.process``: it runs the tasks that it holds in
order, gives back tasks that it has not begun, obeys signals as its task's model says, and dies
without a word.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Protocol, assert_never, cast

from steerio.edge.encoding.references import reading
from steerio.edge.encoding.snapshots import snapshot
from steerio.edge.wire.endpoint import Frames
from steerio.edge.wire.memory_streams import StreamEnd
from steerio.model import messages as ms
from steerio.model.objects import StoredObject
from steerio.model.tasks import ReportedAs, SignalName
from steerio.testing.agenda import Agenda
from steerio.testing.attempt import Packed, SimulatedAttempt
from steerio.testing.model import Script, Scripts
from steerio.worker.failure import describe
from steerio.worker.items_ahead import Ahead
from steerio.worker.meeting import Gang
from steerio.worker.task_objects import WorkerObjects

KILLED = "its process was ended by SIGKILL (out of memory, or killed from outside)"
CRASHED = "its process was ended by SIGSEGV"
STOPPED = "it was ended together with a task that had to be stopped"
ENDED = "its process exited with status 0"
PORT = 29_500
"""The port of every gang: nothing listens there."""
UNTOLD = "its process exited with status 1: a task came of a type that it was not told of"


class WorkerHome(Protocol):
    """The forker of a simulated node, as its workers see it."""

    scripts: Scripts
    """The behaviour of tasks."""
    agenda: Agenda
    """Takes the ends of attempts to come."""
    slowness: float
    """Factor on the duration of each attempt that begins."""

    def exited(self, worker: SimulatedWorker, reason: str) -> None:
        """Take in that a worker has ended."""
        ...


class SimulatedWorker:
    """One simulated worker.

    Args:
        name, pool, pid: as given by the broker and the node.
        link: its end of the stream to its node.
        home: the forker that started it.
        ahead: how far a generator may be ahead of its reader.
        objects: its access to the store.
    """

    def __init__(
        self,
        name: str,
        pool: str,
        pid: int,
        link: StreamEnd,
        home: WorkerHome,
        ahead: Ahead,
        objects: WorkerObjects,
    ) -> None:
        self.name, self.pool, self.pid = name, pool, pid
        self.serves = pool
        """The pool that it is in now; ``pool`` is the one that it was started for."""
        self.run = 0
        """The attempt that it works on; 0 for none."""
        self.task_id = 0
        """The task that it began last."""
        self.begun = 0
        """The attempt that it began or gave back last, whether or not it has ended."""
        self.recalled: set[int] = set()
        """Attempts that it must not begin."""
        self.joined_s: float | None = None
        """When it joined."""
        self.busy_s = 0.0
        """Seconds spent in attempts that are over."""
        self._counted_s = (0.0, 0.0)
        self.dead = False
        self._link = link
        self._home = home
        self._ahead = ahead
        self._objects = objects
        self._loop = asyncio.get_running_loop()
        self._types: dict[int, Script] = {}
        self._held: list[tuple[ms.RunTask, Frames]] = []
        self._unread: set[int] = set()
        """Attempts that it holds and whose items are not read."""
        self._asked = 0
        self._over = 0
        self._hung = False
        self._began = 0.0
        self._attempt: SimulatedAttempt | None = None
        self._ports: dict[int, int] = {}
        """The ports of gangs, by its run."""
        self._waits: Callable[[], None] | None = None
        """Begins the attempt, which waits for the port of its gang."""

    def __repr__(self) -> str:
        state = "dead" if self.dead else f"on run {self.run}" if self.run else "idle"
        return f"<SimulatedWorker {self.name}: {state}>"

    # -- life -----------------------------------------------------------------------------------

    def busy_until(self, now: float) -> float:
        """Return the seconds it spent in attempts, up to ``now``."""
        return self.busy_s + (now - self._began if self.run and not self.dead else 0.0)

    def present_until(self, now: float) -> float:
        """Return the seconds since it joined."""
        return 0.0 if self.joined_s is None else now - self.joined_s

    def take_times(self, now: float) -> tuple[float, float]:
        """Return the seconds in attempts, and the seconds it was there, since the last call."""
        before = self._counted_s
        self._counted_s = (self.busy_until(now), self.present_until(now))
        return self._counted_s[0] - before[0], self._counted_s[1] - before[1]

    def join(self) -> None:
        """Join the broker."""
        if not self.dead:
            self.joined_s = self._loop.time()
            self._link.attach(self._wake)
            self._link.send(ms.JoinWorker(ms.PROTOCOL, self.name, self.pid))

    @property
    def over(self) -> int:
        """The attempt that it ended or gave back last."""
        return self._over

    def ask_to_stop(self, run: int) -> None:
        """Raise the cooperative signal for a run, whether or not it has begun."""
        self._asked = run
        if self._attempt is not None and not self._hung and self._attempt.obeys == "asked":
            self._stop_if_asked()

    def signal(self, run: int, name: SignalName) -> None:
        """Take SIGTERM (``term``) or SIGKILL (``kill``), unless the run to be stopped is over.

        Run 0: it is about no run.
        """
        if run and (self._over >= run or self.begun > run):
            return
        if run:  # the order to ask may have been lost
            self._asked = run
        if name == "kill":
            self.die(STOPPED if self._asked else KILLED)
        elif self._hung:
            pass  # a stopped process gets the signal when it continues
        elif self._attempt is None:
            self.die(ENDED)
        elif self._attempt.obeys != "kill":
            self._stop_if_asked()

    def hang(self) -> None:
        """Stop responding, as after SIGSTOP; only ``kill`` ends it."""
        self._hung = True
        if self._attempt is not None:
            self._attempt.drop()

    def die(self, reason: str) -> None:
        """End at once."""
        if self.dead:
            return
        self.dead = True
        if self._attempt is not None:
            self._attempt.drop()
            self.busy_s += self._loop.time() - self._began
        self._link.close()
        self._home.exited(self, reason)

    # -- messages -------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self.dead or self._hung:
            return
        arrived = self._link.arrived
        while arrived:
            said, frames = arrived.popleft()
            message = cast("ms.ToWorker", said)  # nothing else is sent to a worker
            match message:
                case ms.RunTask():
                    self._held.append((message, frames))
                case ms.DefineTask() | ms.ForgetTypes():
                    self._learn(message)
                case ms.ReturnHeld():
                    self._return(message.run)
                case ms.GrantRun() | ms.MeetAt():
                    self._let_go_on(message)
                case ms.Accepted():
                    self._ahead.bound(message.settings.items, message.settings.items_bytes)
                case ms.Closing() | ms.Refused():
                    self.die(ENDED)
                    return
                case _:
                    assert_never(message)
        if self._attempt is None:
            self._next()

    def _meets(self, message: ms.MeetAt) -> None:
        self._ports = {run: at for run, at in self._ports.items() if run > self.run}
        self._ports[message.run] = message.port
        if message.run == self.run and self._waits is not None:
            begin, self._waits = self._waits, None
            begin()

    def _begin_in_gang(self, task: ms.RunTask, begin: Callable[[], None]) -> None:
        """Begin an attempt once its gang can."""
        assert self._attempt is not None
        place, run = task.gang, task.run
        if place is not None:
            if place.rank == 0:
                self._link.send(ms.ReportPort(run, PORT))
            elif run not in self._ports:
                self._waits = partial(self._begin_in_gang, task, begin)
                return
            self._attempt.gang = Gang(place.rank, place.size, place.address, PORT)
        begin()

    def _let_go_on(self, message: ms.GrantRun | ms.MeetAt) -> None:
        if isinstance(message, ms.MeetAt):
            self._meets(message)
        elif self._attempt is not None and message.run == self.run:
            self._attempt.grant(message.count)
        elif not message.count:  # for an attempt that it holds
            self._unread.add(message.run)

    def _learn(self, message: ms.DefineTask | ms.ForgetTypes) -> None:
        if isinstance(message, ms.DefineTask):
            self._types[message.type_id] = self._home.scripts.of(message.spec)
        else:
            for number in message.types:
                self._types.pop(number, None)

    def _return(self, run: int) -> None:
        if self._attempt is not None:
            return  # a busy process reads nothing
        for entry in self._held:
            if entry[0].run == run:
                self._held.remove(entry)
                self._give_back(run)
                return

    # -- attempts -------------------------------------------------------------------------------

    def _next(self) -> None:
        """Begin the next of the held tasks that was not recalled."""
        if self._hung:
            return
        while self._held and self._held[0][0].run in self.recalled:
            self._give_back(self._held.pop(0)[0].run)
        if not self._held:
            return
        task, frames = self._held.pop(0)
        self.run = self.begun = task.run
        self.task_id = task.task_id
        self._began = self._loop.time()
        script = self._types.get(task.type_id)
        if script is None:  # the message on it was lost
            self.die(UNTOLD)
            return
        self._attempt = attempt = SimulatedAttempt(self, script, self._link, self._objects)
        try:
            frames = tuple(self._objects.begin(task, frames))
            reading(script.loaded.renew, self._objects.resolve)
            args, kwargs = script.loaded.codec.unpack(
                task.body, frames, resolve=self._objects.resolve
            )
        except Exception as error:  # noqa: BLE001 - unpickling may raise anything
            self._report("failed", error=describe(error, 0))
            return
        fate = script.draw(args, kwargs, task, frames)
        unread = self.run in self._unread
        if self._unread:
            self._unread = {run for run in self._unread if run > self.run}
        home = self._home
        begin = partial(attempt.begin, args, kwargs, fate, home.slowness, home.agenda, self._ahead)
        self._begin_in_gang(task, partial(begin, unread=unread))
        if self._asked == self.run and attempt.obeys == "asked":
            self._stop_if_asked()

    def _give_back(self, run: int) -> None:
        self.recalled.discard(run)
        self.begun = self._over = run
        self._link.send(ms.ReturnTask(run))

    def ended(
        self, attempt: SimulatedAttempt, packed: Packed | None, error: BaseException | None
    ) -> None:
        """Take in that the function of an attempt returned or raised."""
        if attempt is not self._attempt:
            return
        if packed is None:
            assert error is not None
            self._report("failed", error=describe(error, 0))
            return
        body, frames = packed
        try:
            spec = attempt.script.loaded.spec
            stored = self._objects.put_away(frames, spec) if frames else None
        except Exception as full:  # noqa: BLE001 - the store may raise anything
            self._report("failed", error=describe(full, 0))
        else:
            self._report("succeeded", body, () if stored else frames, stored=stored)

    def crashed(self, attempt: SimulatedAttempt) -> None:
        """Take in that an attempt crashes the worker."""
        if attempt is self._attempt:
            self.die(CRASHED)

    def _stop_if_asked(self) -> None:
        if self._attempt is not None and self._asked == self.run:
            self._report("cancelled")

    def _report(
        self,
        ended_as: ReportedAs,
        body: bytes = b"",
        frames: Frames = (),
        error: ms.RemoteError | None = None,
        stored: StoredObject | None = None,
    ) -> None:
        now = self._loop.time()
        assert self._attempt is not None
        self._attempt.drop()
        run, self.run, self._attempt, self._waits = self.run, 0, None, None
        self._over = run
        self.busy_s += now - self._began
        report = ms.Report(run, ended_as, self._began, now, body, len(frames), error, stored)
        self._link.send(report, snapshot(frames))
        self._next()
