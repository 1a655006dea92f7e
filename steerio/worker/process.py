"""A worker: one process, one thread, one task at a time.

It blocks until the broker sends a message, runs the tasks it holds in order, and reports each as it
ends. Before it begins one it looks in the page shared with its node whether that was recalled, and
then gives it back unbegun.  Being alone in its process, a task may hold the interpreter for as long
as it likes: the node speaks for the worker.

It ends in order when the broker says so or is gone, and when its zygote ends and asks it to leave:
then it releases the resources that its tasks have set up.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import inspect
import os
import time
from collections import deque
from collections.abc import Sequence
from types import CoroutineType
from typing import Any, assert_never, cast

from steerio.edge.system import descendants
from steerio.edge.wire.endpoint import BlockingLink, Frames
from steerio.errors import ProtocolError, TaskStopped
from steerio.model import messages as ms
from steerio.model.from_clients import IN_WORKER
from steerio.worker import context, forks, holding
from steerio.worker.broker_link import BrokerLink
from steerio.worker.coroutines import CoroutineRunner
from steerio.worker.item_sender import ItemSender
from steerio.worker.items_ahead import Ahead
from steerio.worker.leftovers import Leftovers
from steerio.worker.loading import LoadedType
from steerio.worker.meeting import ALONE, Meeting
from steerio.worker.outcome import Outcome
from steerio.worker.output import Output
from steerio.worker.progress_reports import ProgressReports
from steerio.worker.random_streams import RandomStreams
from steerio.worker.running_task import RunningTask
from steerio.worker.slots import Slot
from steerio.worker.stop_signal import StopSignal
from steerio.worker.surroundings import Surroundings
from steerio.worker.task_objects import WorkerObjects

PARENT_CHECK_S = 1.0
"""Time between two looks of an idle worker for its parent (if no signal tells it)."""
MOMENT_S = 0.002
"""Wait for a task after which a worker takes the time to look at its surroundings."""
POLL_S = 0.0002
"""Time between two looks for messages of a worker that has tasks in hand."""
TIDY_S = 0.5
"""Least time between two times at which one that always has a task gives back freed memory."""
LEFT_S = 0.1
"""Time for processes and threads that a stopped task has left to end by themselves."""
RELEASE_S = 2.0
"""Time for a worker that ends to release all its resources."""


class Worker:
    """The worker of this process.

    Args:
        link: the way to the broker.
        name: given by the broker.
        slot: shared with the node.
        ahead: the lead of a generator task over its reader.
        objects: the way to the store.
        streams: its random numbers.
        output: its printed lines.
        allow: the functions that it may run; ``None``: any.
    """

    def __init__(
        self,
        link: BlockingLink,
        name: str,
        slot: Slot,
        ahead: Ahead,
        objects: WorkerObjects,
        streams: RandomStreams,
        output: Output,
        allow: Sequence[str] | None = None,
    ) -> None:
        self._allow = allow
        self._stop = StopSignal(slot, self._end)
        self._broker = BrokerLink(link, self._stop)
        self._name = name
        self._slot = slot
        self._ahead = ahead
        self._objects = objects
        self._streams = streams
        self._output = output
        self._pid = os.getpid()
        self._parent = os.getppid()
        self._held: deque[tuple[ms.RunTask, Frames]] = deque()
        self._types: dict[int, ms.DefineTask | LoadedType] = {}
        self._kind: LoadedType | None = None
        self._polled = self._tidied = 0.0
        self._progress = ProgressReports(self._broker.send_progress)
        self._running = RunningTask(self._stop, slot, self._progress, streams)
        self._coroutines = CoroutineRunner(slot)
        self._leftovers = Leftovers()
        self._items = ItemSender(self._broker, self._stop, slot, ahead, objects, self._take_in)
        self._meeting = Meeting(self._broker.say, self._take_in, self._stop, slot)
        self.handlers = self._stop.handlers
        self.fork_begins = self._stop.fork_begins
        self.fork_ended = self._stop.fork_ended
        self.let_go = self._broker.let_go

    def serve(self) -> None:
        """Work until told to end.

        Raises:
            ProtocolError: a message could not be read, or not be sent.
        """
        self._stop.handle()
        forks.be_ordinary_in_child(self)
        context.set_current(self._running)
        holding.watch(self._slot.hold)
        self._objects.serve()
        os.environ[IN_WORKER] = f"{self._name}:{self._pid}"
        self._surroundings = Surroundings(self._output.open)
        holding.keep_changes_with(self._surroundings.kept)
        self._broker.say(ms.JoinWorker(ms.PROTOCOL, self._name, self._pid))
        with contextlib.suppress(TaskStopped):
            while not self._broker.ending:
                if not self._held:
                    self._wait()
                elif time.monotonic() >= self._polled + POLL_S:
                    self._take_in(0)
                    self._polled = time.monotonic()
                if self._held and not self._broker.ending:
                    task, frames = self._held.popleft()
                    if task.type_id in self._types:
                        self._attempt(task, frames)
                    else:
                        self._broker.fail("a task came of a type that it was not told of")
        self._broker.ending = True
        # its zygote may be gone, and code that hangs in C heeds no signal; sys.stderr may be a
        # task's
        faulthandler.dump_traceback_later(RELEASE_S, exit=True, file=2)
        holding.release_all()
        faulthandler.cancel_dump_traceback_later()
        self._broker.close()
        if self._broker.failure:  # the broker learns so why this process ended
            raise ProtocolError(self._broker.failure)

    def _end(self) -> None:
        self._broker.ending = True

    def _wait(self) -> None:
        """Take in the messages that arrive next, or none after a while."""
        if self._surroundings.owed:  # later: mostly the next task is on its way
            self._wait_within(MOMENT_S)
            if self._held or self._broker.ending:
                return
            self._surroundings.set_back_owed()
        self._wait_within(PARENT_CHECK_S)
        if not self._held:
            self._tidy()

    def _wait_within(self, timeout_s: float) -> None:
        self._stop.waiting = True
        try:
            if not self._stop.leaving:  # it may have been asked to leave just before
                self._take_in(timeout_s)
        finally:
            self._stop.waiting = False

    def _tidy(self) -> None:
        self._objects.tidy()
        self._leftovers.tidy()

    # -- taking in ----------------------------------------------------------------------------

    def _take_in(self, timeout_s: float) -> None:
        """Take in the messages that have arrived, waiting up to ``timeout_s`` for one."""
        arrived = self._broker.arrived(timeout_s)
        for message, frames in arrived:
            match message:
                case ms.RunTask():
                    self._held.append((message, frames))
                case ms.DefineTask() | ms.ForgetTypes():
                    self._learn(message)
                case ms.ReturnHeld():
                    self._return(message.run)
                case ms.GrantRun():
                    self._items.granted(message)
                case ms.MeetAt():
                    self._meeting.told(message)
                case ms.Accepted():
                    self._ahead.bound(message.settings.items, message.settings.items_bytes)
                case ms.Closing() | ms.Refused():
                    self._broker.ending = True
                case _:
                    assert_never(message)
        if not arrived and os.getppid() != self._parent:  # a look that most tasks are spared
            self._broker.ending = True

    def _learn(self, message: ms.DefineTask | ms.ForgetTypes) -> None:
        if isinstance(message, ms.DefineTask):
            self._types[message.type_id] = message
        else:
            for number in message.types:
                self._types.pop(number, None)

    def _return(self, run: int) -> None:
        for entry in self._held:
            if entry[0].run == run:
                self._held.remove(entry)
                self._broker.say(ms.ReturnTask(run))
                return

    # -- running ------------------------------------------------------------------------------

    def _attempt(self, task: ms.RunTask, frames: Frames) -> None:
        """Run one attempt and report it; or give it back, if that was recalled."""
        self._stop.run = run = task.run
        self._running.task_id, self._running.attempt = task.task_id, task.attempt
        if not self._slot.begin(run):
            self._broker.say(ms.ReturnTask(run))
            self._slot.report(run)
            return
        self._stop.stopped = False
        self._progress.begin(run)
        self._output.task_id = task.task_id
        outcome = Outcome()
        try:
            self._try(task, frames, outcome)
        except TaskStopped:  # the signal may strike anywhere in there, handlers included
            self._stop.inside = False
            outcome = Outcome("cancelled", outcome.started)
        if (
            self._broker.forked
        ):  # the task had its fork go on to the end, so this process ends, in order
            raise SystemExit
        surroundings = self._surroundings
        self._leave_gang(task)
        trusted = outcome.ended_as == "succeeded" and surroundings.trusts(
            self._kind, outcome.ended - outcome.started
        )
        if not trusted:
            surroundings.set_back_signals()
        self._progress.end()
        if self._stop.leaving and outcome.ended_as != "succeeded":  # the task was not asked to stop
            return
        if outcome.ended_as == "cancelled":
            self._leave_nothing_running()
        holding.end_task()  # before it counts as ended, so that it can be killed in there
        begun = self._output.end_begun()  # now: once its end is known this worker may be killed
        self._slot.end(run)
        body, out = outcome.packed
        self._broker.say(
            ms.Report(
                run,
                outcome.ended_as,
                outcome.started,
                outcome.ended,
                body,
                len(out),
                outcome.error,
                outcome.stored,
            ),
            out,
        )
        self._slot.report(run)
        if not trusted:
            surroundings.set_back(self._kind)
        if begun or self._output.unfinished:  # the streams may have been the task's own until now
            self._output.end_lines()
        self._output.task_id = None
        if outcome.ended >= self._tidied + TIDY_S:
            self._tidied = outcome.ended
            self._tidy()

    def _try(self, task: ms.RunTask, frames: Frames, outcome: Outcome) -> None:
        """Run an attempt's function and note the outcome."""
        try:
            arrived = self._objects.begin(task, frames)
            kind = self._load(task.type_id)
            args, kwargs = kind.codec.unpack(task.body, arrived)
            self._meet_gang(task)
            outcome.started = time.monotonic()
            self._stop.inside = True
            if self._stop.stopped or self._stop.leaving:
                raise TaskStopped
            context_ = self._surroundings.context()
            value = context_.run(self._call, kind, args, kwargs)
            self._stop.inside = False
            outcome.ended = time.monotonic()
            if self._broker.forked:
                return
            if self._objects.shares:
                self._objects.end()
            if task.gang is None or task.gang.rank == 0:  # the value is that of the first
                outcome.pack(value, kind, self._objects)
        except TaskStopped:
            raise
        except BaseException as raised:  # a task may raise anything
            self._stop.inside = False
            if self._broker.forked:
                raise
            outcome.ended = time.monotonic()
            if isinstance(raised, asyncio.CancelledError) and self._slot.asked_to_stop:
                outcome.ended_as = "cancelled"
                return
            outcome.failed(raised, shares=self._objects.shares)

    def _meet_gang(self, task: ms.RunTask) -> None:
        if task.gang is not None:
            meet, broker = self._meeting.begin, self._broker
            self._running.gang = meet(task.run, task.gang, lambda: broker.ending)
            self._running.gang_token = self._meeting.token

    def _leave_gang(self, task: ms.RunTask) -> None:
        if task.gang is not None:
            self._running.gang = ALONE
            self._meeting.end()

    def _leave_nothing_running(self) -> None:
        """End the processes that a stopped task left, if need be together with this worker."""
        until = time.monotonic() + LEFT_S
        while holding.left_by_task():
            if time.monotonic() > until:  # they ignore SIGTERM; the zygote sees to the rest
                descendants.kill_with_all_below(self._pid)
            time.sleep(LEFT_S / 10)

    def _load(self, type_id: int) -> LoadedType:
        kind = self._types[type_id]
        if kind is not self._kind:
            self._kind = None
            self._surroundings.set_back_owed()
        if isinstance(kind, ms.DefineTask):
            kind = self._types[type_id] = LoadedType(kind.spec, self._allow)
            self._streams.loaded(kind.name, kind.function)
            self._surroundings.note()  # a module's changes at its load are not a task's
        elif kind.read is not None and kind.renew():
            self._streams.loaded(kind.name, kind.function)
        self._kind = kind
        return kind

    def _call(self, kind: LoadedType, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if kind.read is not None:
            kind.read.settle()
        value: Any = kind.function(*args, **kwargs)
        match kind.kind:
            case "function":  # also one around a coroutine function
                if type(value) is not CoroutineType:
                    return value
                return self._coroutines.run(cast("Any", value))
            case "coroutine":
                return self._coroutines.run(value)
            case "generator":
                if inspect.isasyncgen(value):
                    return self._coroutines.run(self._items.send_all_async(value, kind.spec))
                return self._items.send_all(value, kind.spec)
            case _:
                assert_never(kind.kind)
