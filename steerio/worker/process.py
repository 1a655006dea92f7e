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
import signal
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from types import CoroutineType
from typing import Any, assert_never, cast

from steerio.edge.encoding.boxing import explain_read_only
from steerio.edge.encoding.values import ANY_VALUE, total_bytes
from steerio.edge.system import descendants
from steerio.edge.wire.cutting import check_frames
from steerio.edge.wire.endpoint import BlockingLink, Frames
from steerio.errors import EncodingError, ProtocolError, TaskStopped
from steerio.model import messages as ms
from steerio.model.from_clients import IN_WORKER
from steerio.model.objects import StoredObject
from steerio.model.tasks import TaskSpec
from steerio.worker import context, forks, holding
from steerio.worker.coroutines import STOP_CHECK_S, CoroutineRunner
from steerio.worker.failure import describe
from steerio.worker.items_ahead import Ahead
from steerio.worker.leftovers import Leftovers
from steerio.worker.loading import LoadedType
from steerio.worker.output import Output
from steerio.worker.progress import Progress
from steerio.worker.random_streams import Streams
from steerio.worker.slots import Slot
from steerio.worker.surroundings import Surroundings
from steerio.worker.task_objects import WorkerObjects

PARENT_CHECK_S = 1.0
"""Time between two looks of an idle worker for its parent (if no signal tells it)."""
SOON_S, SOON_LOOKS = 0.001, 100
"""Time and number of looks whether a signal that came amid a fork can come again."""
POLL_S = 0.0002
"""Time between two looks for messages of a worker that has tasks in hand."""
TIDY_S = 0.5
"""Least time between two times at which one that always has a task gives back freed memory."""
LEFT_S = 0.1
"""Time for processes and threads that a stopped task has left to end by themselves."""
RELEASE_S = 2.0
"""Time for a worker that ends to release all its resources."""


class _Outcome:
    """The outcome of an attempt; times on this host's monotonic clock, in seconds."""

    __slots__ = ("ended", "ended_as", "error", "packed", "started", "stored")

    def __init__(self, ended_as: str = "succeeded", started: float | None = None) -> None:
        self.ended = time.monotonic()
        self.started = self.ended if started is None else started
        self.ended_as = ended_as
        self.packed: tuple[bytes, Frames] = (b"", ())
        self.stored: StoredObject | None = None
        self.error: ms.RemoteError | None = None


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
    """

    def __init__(
        self,
        link: BlockingLink,
        name: str,
        slot: Slot,
        ahead: Ahead,
        objects: WorkerObjects,
        streams: Streams,
        output: Output,
    ) -> None:
        self._link = link
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
        self._run = self._task_id = 0
        self._kind: LoadedType | None = None
        self._polled = self._tidied = 0.0
        self._inside = self._inside_before = False
        self._stopped = self._stopped_before = False
        self._ending = False
        self._failure = ""
        self._waiting = False
        self._leaving = False
        self._forked = False
        """Whether this process is not the worker, but was forked by one of its tasks."""
        self._progress = Progress(self._send_progress)
        self._last_item = 0.0
        self._unread: set[int] = set()
        """Attempts that it was sent whose items have no reader."""
        self._lock = threading.Lock()
        self._coroutines = CoroutineRunner(slot)
        self._leftovers = Leftovers()
        # SIGINT: a handler and not SIG_IGN, which programs that a task starts would inherit
        self.handlers: dict[int, Callable[..., None]] = {
            signal.SIGTERM: self._on_sigterm,
            signal.SIGINT: _do_nothing,
        }

    def serve(self) -> None:
        """Work until told to end.

        Raises:
            ProtocolError: a message could not be read, or not be sent.
        """
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        forks.be_ordinary_in_child(self)
        context.set_current(self)
        holding.watch(self._slot.hold)
        self._objects.serve()
        os.environ[IN_WORKER] = f"{self._name}:{self._pid}"
        self._surroundings = Surroundings(self._output.open)
        holding.keep_changes_with(self._surroundings.kept)
        self._say(ms.JoinWorker(ms.PROTOCOL, self._name, self._pid))
        with contextlib.suppress(TaskStopped):
            while not self._ending:
                if not self._held:
                    self._wait()
                elif time.monotonic() >= self._polled + POLL_S:
                    self._take_in(0)
                    self._polled = time.monotonic()
                if self._held and not self._ending:
                    self._attempt(*self._held.popleft())
        self._ending = True
        # its zygote may be gone, and code that hangs in C heeds no signal; sys.stderr may be a
        # task's
        faulthandler.dump_traceback_later(RELEASE_S, exit=True, file=2)
        holding.release_all()
        faulthandler.cancel_dump_traceback_later()
        self._link.close()
        if self._failure:  # the broker learns so why this process ended
            raise ProtocolError(self._failure)

    # -- forks --------------------------------------------------------------------------------

    def fork_begins(self) -> None:
        """Put ``TaskStopped`` off."""
        self._inside_before, self._inside = self._inside, False
        self._stopped_before = self._stopped

    def fork_ended(self) -> None:
        """Raise it, if it was put off; not here, but in a moment."""
        if self._inside_before and self._stopped and not self._stopped_before:
            again = threading.Thread(target=self._stop_again, args=[self._run], daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread is left: it is killed, later
                again.start()
        self._inside = self._inside_before  # last: the wait for a thread's start is in here

    def _stop_again(self, run: int) -> None:
        seen = 0
        for _ in range(SOON_LOOKS):
            time.sleep(SOON_S)
            seen = seen + 1 if self._inside and self._run == run else 0
            if seen == 2:  # so the hooks have ended
                os.kill(self._pid, signal.SIGTERM)
                return

    def let_go(self) -> None:
        """In a fork, be no worker."""
        self._forked = True
        self._link.let_go()

    def _wait(self) -> None:
        """Take in the messages that arrive next, or none after a while."""
        self._waiting = True
        try:
            if not self._leaving:  # it may have been asked to leave just before
                self._take_in(PARENT_CHECK_S)
                if not self._held:
                    self._tidy()
        finally:
            self._waiting = False

    def _tidy(self) -> None:
        self._objects.tidy()
        self._leftovers.tidy()

    # -- context for user code --------------------------------------------------------------

    def report(self, fraction: float | None, message: str) -> None:
        """Send progress, now or in a moment."""
        if threading.current_thread() is threading.main_thread():
            with self._uninterrupted():  # amid the start of a thread it would leave half of one
                self._progress.report(fraction, message)
        else:
            self._progress.report(fraction, message)

    def _send_progress(self, run: int, fraction: float | None, message: str) -> None:
        self._say_inside(ms.ReportProgress(run, fraction, message))

    def should_stop(self) -> bool:
        """Say whether the current run was asked to stop."""
        return self._slot.asked_to_stop

    def random_seed(self, bits: int) -> int:
        """Return a number that follows from the run's seed and the current task."""
        return self._streams.of_task(self._task_id, bits)

    # -- taking in ----------------------------------------------------------------------------

    def _take_in(self, timeout_s: float) -> None:
        """Take in the messages that have arrived, waiting up to ``timeout_s`` for one."""
        for message, frames in self._arrived(timeout_s):
            match message:
                case ms.RunTask():
                    self._held.append((message, frames))
                case ms.DefineTask() | ms.ForgetTypes():
                    self._learn(message)
                case ms.ReturnHeld():
                    self._return(message.run)
                case ms.GrantRun():
                    self._grant(message)
                case ms.Accepted():
                    self._ahead.bound(message.settings.items, message.settings.items_bytes)
                case ms.Closing() | ms.Refused():
                    self._ending = True
                case _:
                    assert_never(message)
        if os.getppid() != self._parent:
            self._ending = True

    def _grant(self, message: ms.GrantRun) -> None:
        if message.run == self._run:
            self._ahead.granted(message.count)
        elif not message.count:  # of one that it holds
            self._unread.add(message.run)

    def _arrived(self, timeout_s: float) -> Sequence[tuple[ms.ToWorker, Frames]]:
        """Return the messages that have arrived; none if this is the end."""
        try:
            arrived = self._link.receive_within(timeout_s)
            return cast("Sequence[tuple[ms.ToWorker, Frames]]", arrived)  # it decodes no other
        except OSError:  # the broker is gone
            self._ending = True
        except ProtocolError as error:
            self._fail(f"a message of the broker could not be read: {error}")
        return ()

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
                self._say(ms.ReturnTask(run))
                return

    # -- saying -------------------------------------------------------------------------------

    def _say(self, message: ms.ToBroker, frames: Frames = ()) -> None:
        """Send a message; a task may have threads that report, so one at a time."""
        if self._forked:
            return
        with self._lock:
            try:
                self._link.send(message, frames)
                self._link.flush()
            except OSError:  # the broker is gone
                self._ending = True
            except EncodingError as error:
                self._fail(f"a message to the broker could not be sent: {error}")

    def _fail(self, reason: str) -> None:
        """End because a message could not be read or sent: the tasks are lost."""
        self._ending = True
        self._failure = self._failure or reason

    def _say_inside(self, message: ms.ToBroker, frames: Frames = ()) -> None:
        """Send a message for a task while that runs."""
        if threading.current_thread() is threading.main_thread():
            with self._uninterrupted():
                self._say(message, frames)
        else:
            self._say(message, frames)

    def _on_sigterm(self, *_: object) -> None:
        if os.getpid() != self._pid:  # a fork so young that its handler is still ours
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        if self._slot.asked_to_leave:
            self._leave()
            return
        if not self._slot.asked_to_stop:  # not from our node: take it as any program does
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(self._pid, signal.SIGTERM)
        self._stopped = True
        if self._inside:
            raise TaskStopped

    def _leave(self) -> None:
        """End as soon as the task does, which is told to; do not wait for its value."""
        again, self._leaving, self._ending, self._stopped = self._leaving, True, True, True
        if (self._waiting or self._inside) and not again:
            raise TaskStopped

    @contextlib.contextmanager
    def _uninterrupted(self) -> Generator[None, None, None]:
        """Put ``TaskStopped`` off, which would ruin the link if it were raised amid a message."""
        inside, self._inside = self._inside, False
        try:
            yield
        finally:
            self._inside = inside
        if inside and self._stopped:
            raise TaskStopped

    # -- running ------------------------------------------------------------------------------

    def _attempt(self, task: ms.RunTask, frames: Frames) -> None:
        """Run one attempt and report it; or give it back, if that was recalled."""
        self._run = run = task.run
        self._task_id = task.task_id
        if not self._slot.begin(run):
            self._say(ms.ReturnTask(run))
            return
        self._stopped = False
        self._progress.begin(run)
        self._output.task_id = task.task_id
        outcome = _Outcome()
        try:
            self._try(task, frames, outcome)
        except TaskStopped:  # the signal may strike anywhere in there, handlers included
            self._inside = False
            outcome = _Outcome("cancelled", outcome.started)
        if self._forked:  # the task had its fork go on to the end, so this process ends, in order
            raise SystemExit
        surroundings = self._surroundings
        trusted = outcome.ended_as == "succeeded" and surroundings.trusts(
            self._kind, outcome.ended - outcome.started
        )
        if not trusted:
            surroundings.set_back_signals()
        self._progress.end()
        if self._leaving and outcome.ended_as != "succeeded":  # the task was not asked to stop
            return
        if outcome.ended_as == "cancelled":
            self._leave_nothing_running()
        holding.end_task()  # before it counts as ended, so that it can be killed in there
        self._slot.end(run)
        body, out = outcome.packed
        self._say(
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
        if not trusted:
            surroundings.set_back(self._kind)
        if self._output.unfinished:
            self._output.end_lines()
        self._output.task_id = None
        if outcome.ended >= self._tidied + TIDY_S:
            self._tidied = outcome.ended
            self._tidy()

    def _try(self, task: ms.RunTask, frames: Frames, outcome: _Outcome) -> None:
        """Run an attempt's function and note the outcome."""
        try:
            arrived = self._objects.begin(task, frames)
            kind = self._load(task.type_id)
            args, kwargs = kind.codec.unpack(task.body, arrived)
            outcome.started = time.monotonic()
            self._inside = True
            if self._stopped or self._leaving:
                raise TaskStopped
            context_ = self._surroundings.context()
            value = context_.run(self._call, kind, args, kwargs)
            self._inside = False
            outcome.ended = time.monotonic()
            if self._forked:
                return
            if self._objects.shares:
                self._objects.end()
            self._pack(value, kind, outcome)
        except TaskStopped:
            raise
        except BaseException as raised:  # a task may raise anything
            self._inside = False
            if self._forked:
                raise
            outcome.ended = time.monotonic()
            if isinstance(raised, asyncio.CancelledError) and self._slot.asked_to_stop:
                outcome.ended_as = "cancelled"
                return
            outcome.ended_as = "failed"
            if isinstance(raised, SystemExit):
                called = f"the task called sys.exit({raised.code!r})"
                outcome.error = describe(RuntimeError(called), 0)
            else:
                if self._objects.shares and (note := explain_read_only(raised)):
                    raised.add_note(note)
                outcome.error = describe(raised, 0 if isinstance(raised, EncodingError) else 2)

    def _pack(self, value: Any, kind: LoadedType, outcome: _Outcome) -> None:
        """Pack a function's value for the report, by reference if it is large."""
        what = f"the value returned by {kind.name}"
        body, out = kind.codec.result.pack(value, what)
        if out:
            outcome.stored = self._objects.put_away(out, kind.spec)
            if outcome.stored is None:
                check_frames(out, what)
        outcome.packed = (body, out) if outcome.stored is None else (body, ())

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
            self._surroundings.other_type()
        if isinstance(kind, ms.DefineTask):
            kind = self._types[type_id] = LoadedType(kind.spec)
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
        if kind.kind == "function":  # also one around a coroutine function
            if type(value) is not CoroutineType:
                return value
            return self._coroutines.run(cast("Any", value))
        if kind.kind == "coroutine":
            return self._coroutines.run(value)
        if inspect.isasyncgen(value):
            return self._coroutines.run(self._drain_async(value, kind.spec))
        return self._drain(value, kind.spec)

    def _drain(self, items: Iterable[Any], spec: TaskSpec) -> Any:
        """Send the items of a generator, and return its value."""
        self._begin_items()
        iterator = iter(items)
        index = 0
        while True:
            try:
                item = next(iterator)
            except StopIteration as end:
                return end.value
            self._send_item(index, item, spec)
            index += 1
            while self._ahead.full:
                self._check_stop()
                self._take_grants(STOP_CHECK_S)
            self._check_stop()

    async def _drain_async(self, items: AsyncIterator[Any], spec: TaskSpec) -> None:
        """Send the items of an async generator; it can return nothing, so its value is ``None``."""
        self._begin_items()
        index = 0
        async for item in items:
            self._send_item(index, item, spec)
            index += 1
            while self._ahead.full:
                self._take_grants(0)
                if self._ahead.full:
                    await asyncio.sleep(STOP_CHECK_S)

    def _begin_items(self) -> None:
        self._ahead.begin(unread=self._run in self._unread)
        self._unread = {run for run in self._unread if run > self._run}
        self._last_item = 0.0

    def _take_grants(self, timeout_s: float) -> None:
        with self._uninterrupted():
            self._take_in(timeout_s)
        if self._ending:  # no reader is left that could take more items
            raise TaskStopped

    def _check_stop(self) -> None:
        if self._slot.asked_to_stop:
            raise TaskStopped

    def _send_item(self, index: int, item: Any, spec: TaskSpec) -> None:
        if self._forked:
            return
        if self._ahead.unread:
            now = time.monotonic()
            if now - self._last_item >= context.PROGRESS_EVERY_S:
                self._last_item = now
                self._say_inside(ms.YieldItem(self._run, index, b"", 0))
            return
        body, frames = ANY_VALUE.pack(item, f"item {index} of a generator task")
        stored = None
        if frames:
            with self._uninterrupted():  # the broker must hear of the object, so that it is freed
                stored = self._objects.put_away(frames, spec)
                if stored is not None:
                    self._ahead.yielded(stored.nbytes)
                    self._say(ms.YieldItem(self._run, index, body, 0, stored))
                    return
            check_frames(frames, f"item {index} of a generator task")
        self._ahead.yielded(len(body) + total_bytes(frames))
        self._say_inside(ms.YieldItem(self._run, index, body, len(frames)), frames)


def _do_nothing(*_: object) -> None:
    """Ignore SIGINT, which is meant for the campaign."""
