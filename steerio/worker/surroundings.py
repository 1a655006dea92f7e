"""The surroundings of a task in its process, set back after each so that none finds another's.

A worker runs one task after the other, and any of them may go to a folder of its own, close a
stream, set a variable or an alarm, and fail before it tidies up.  The parts that are always set
back cost a system call each; the others are compared with their earlier state, and written if they
differ.

Looking at all of that takes as long as the rest of a short task. So if the tasks of a type have
left all as it was ``ORDERLY_AFTER`` times in a row, the worker looks only now and then, before a
task of another type, and once it has waited for a moment, as long as these tasks succeed and are
short.

Changes that a `steerio.resource` makes as it is set up stay, for it is set up once. Variables of
the context (of `decimal`, of NumPy's handling of errors) need not be set back: each task runs in a
copy.
"""

from __future__ import annotations

import contextlib
import contextvars
import faulthandler
import gc
import importlib
import locale
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable, Generator, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from steerio.edge.system.inheritance import STREAMS, above_standard

HEEDED = tuple(
    int(number)
    for name in "HUP INT QUIT USR1 USR2 PIPE ALRM TERM CHLD CONT TSTP XCPU VTALRM PROF".split()  # noqa: SIM905 - to be read
    if (number := getattr(signal, f"SIG{name}", None)) is not None
)
"""Signals whose handlers are set back."""
ORDERLY_AFTER = 20
"""The number of tasks of a type that are looked at in full before some are not."""
LOOK_EVERY = 64
"""Of later tasks, each one whose number is a multiple of this is looked at."""
SHORT_S = 0.02
"""Time of a task above which it is looked at anyway: then the look matters little."""
DISORDERLY = -1_000
"""The count of a type one of whose tasks has changed anything: many more are looked at."""
TIMERS: dict[int, int] = {
    signal.SIGVTALRM: signal.ITIMER_VIRTUAL,
    signal.SIGPROF: signal.ITIMER_PROF,
}
# wrapped by `signal`; these take a tenth of the time, as they make no enumerations
_signal: Any = importlib.import_module("_signal")
_get_handler: Callable[[int], Any] = _signal.getsignal
_set_mask: Callable[[int, Iterable[int]], set[int]] = _signal.pthread_sigmask


class ChangeablePart(NamedTuple):
    """One part that a task may change: the functions that read it and set it back."""

    read: Callable[[], Any]
    write: Callable[[Any], object]


def _variables() -> dict[Any, Any]:
    """Return the environment in its raw form: decoding it for each task would cost far more."""
    found: dict[Any, Any] = vars(os.environ)["_data"]
    return found


def _set_variables(wanted: dict[Any, Any]) -> None:
    """Set just these variables, also in the C library, from which programs inherit them."""
    now = _variables()
    for name in [name for name in now if name not in wanted]:
        del os.environb[name]
    for name, value in wanted.items():
        if now.get(name) != value:
            os.environb[name] = value


def _set_filters(wanted: list[Any]) -> None:
    warnings.resetwarnings()
    list[Any].extend(warnings.filters, wanted)  # type: ignore[arg-type]


def _set_path(wanted: list[str]) -> None:
    sys.path[:] = wanted


def _set_collecting(on: bool) -> None:
    if on:
        gc.enable()
    else:
        gc.disable()


def _set_handlers(wanted: tuple[Any, ...]) -> None:
    for number, handler in zip(HEEDED, wanted, strict=True):
        if handler is not None and _get_handler(number) != handler:
            signal.signal(number, handler)
            if number in TIMERS:
                signal.setitimer(TIMERS[number], 0)


PARTS = {
    "variables": ChangeablePart(lambda: dict(_variables()), _set_variables),
    "filters": ChangeablePart(lambda: list(warnings.filters), _set_filters),
    "path": ChangeablePart(lambda: list(sys.path), _set_path),
    "handlers": ChangeablePart(lambda: tuple(map(_get_handler, HEEDED)), _set_handlers),
    "recursion": ChangeablePart(sys.getrecursionlimit, sys.setrecursionlimit),
    "locale": ChangeablePart(
        lambda: locale.setlocale(locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)
    ),
    "timeout": ChangeablePart(socket.getdefaulttimeout, socket.setdefaulttimeout),
    "collecting": ChangeablePart(gc.isenabled, _set_collecting),
    "trace": ChangeablePart(sys.gettrace, sys.settrace),
    "profile": ChangeablePart(sys.getprofile, sys.setprofile),
    "hook": ChangeablePart(lambda: sys.excepthook, partial(setattr, sys, "excepthook")),
}
"""The parts that are compared, by name."""


class Orderly(Protocol):
    """A task type, with a count of tasks that left their process as it was."""

    orderly: int
    """The number of its tasks in a row that have left all as it was."""


class Surroundings:
    """The surroundings in which tasks of this process begin: their present state.

    Args:
        open_stream: opens a stream over a standard descriptor again.
    """

    def __init__(self, open_stream: Callable[[int], Any]) -> None:
        self._open_stream = open_stream
        self._streams: list[Any] = [getattr(sys, name) for name in STREAMS]
        # copies, as a task may close the standard ones, or put others in their place
        self._copies = [above_standard(number) for number in range(3)]
        self._files = [os.fstat(copy) for copy in self._copies]
        self._changed = False
        self.owed = False
        """Whether a task was trusted, and not looked at."""
        self._environ, self._path, self._filters = os.environ, sys.path, warnings.filters
        self._mask = _set_mask(signal.SIG_BLOCK, ())
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._folder = -1
        self._decimal: Any = None
        self._was: dict[str, Any] = {}
        self.note()

    def note(self) -> None:
        """Take the present state for the right one: no task has run since it was set back."""
        self._was = {name: part.read() for name, part in PARTS.items()}
        self._note_folder()
        self._decimal = None
        if any(variable.name == "decimal_context" for variable in contextvars.copy_context()):
            import decimal  # loaded already, by the code that set the variable

            self._decimal = decimal.getcontext().copy()

    @contextlib.contextmanager
    def kept(self) -> Generator[None, None, None]:
        """Keep the changes that are made in here."""
        before = {name: part.read() for name, part in PARTS.items()}
        folder = Path().stat()
        umask = os.umask(0o077)
        os.umask(umask)
        yield
        for name, part in PARTS.items():
            now = part.read()
            if now != before[name]:
                self._was[name] = _merged(self._was[name], before[name], now)
        self._umask = os.umask(umask)
        os.umask(self._umask)
        if not os.path.samestat(Path().stat(), folder):
            self._note_folder()

    def context(self) -> contextvars.Context:
        """Return the context for a task to run in."""
        copy = contextvars.copy_context()
        if self._decimal is not None:  # tasks would share the object
            import decimal  # loaded already, by the code that set the variable

            copy.run(decimal.setcontext, self._decimal.copy())
        return copy

    def trusts(self, kind: Orderly | None, took_s: float) -> bool:
        """Say whether to take a task that succeeded for one that has changed nothing."""
        if kind is None or took_s >= SHORT_S or kind.orderly < ORDERLY_AFTER:
            return False
        kind.orderly += 1
        self.owed = kind.orderly % LOOK_EVERY != 0
        return self.owed

    def set_back_owed(self) -> None:
        """Set all back if that is owed: before a task of another type, and when there is time."""
        if self.owed:
            self.set_back_signals()
            self.set_back(None)

    def set_back_signals(self) -> None:
        """Set back the parts that could strike the worker itself while it reports."""
        self._changed = signal.setitimer(signal.ITIMER_REAL, 0) != (0, 0)
        faulthandler.cancel_dump_traceback_later()
        if tuple(map(_get_handler, HEEDED)) != self._was["handlers"]:
            self._changed = True
            _set_handlers(self._was["handlers"])
        self._set_back_streams()

    def _set_back_streams(self) -> None:
        """Put the standard streams in place and open them, for the worker's own messages."""
        if not self._has_streams():
            self._changed = True
            for number, stream in enumerate(self._streams):
                if getattr(sys, STREAMS[number], None) is not stream or _is_closed(stream):
                    self._set_back_stream(number)

    def _has_streams(self) -> bool:
        """Say whether the streams are in place and open."""
        stdin, stdout, stderr = self._streams
        try:
            in_place = sys.stdin is stdin and sys.stdout is stdout and sys.stderr is stderr
            return in_place and not (stdin.closed or stdout.closed or stderr.closed)
        except (AttributeError, ValueError):  # one was deleted, or its buffer taken from it
            return False

    def set_back(self, kind: Orderly | None) -> None:
        """Set back all else, and note whether a task of this type had changed anything.

        Raises:
            OSError: it is too late for that: the task has closed a descriptor that is not its own,
                or the folder is not there any more for this user.
        """
        self.owed = False
        changed = self._changed or not (self._has_folder() and self._has_descriptors())
        if self._folder >= 0:
            os.fchdir(self._folder)
        for number, copy in enumerate(self._copies):
            os.dup2(copy, number)
        if not faulthandler.is_enabled():
            faulthandler.enable(2, all_threads=False)
            changed = True
        changed |= signal.set_wakeup_fd(-1) != -1
        changed |= _set_mask(signal.SIG_SETMASK, self._mask) != self._mask
        changed |= os.umask(self._umask) != self._umask
        changed |= self._set_back_objects()
        changed |= self._set_back_parts()
        if kind is not None:
            kind.orderly = DISORDERLY if changed else kind.orderly + 1

    def _has_folder(self) -> bool:
        try:
            # `Path().stat()` takes five times as long, and this is done after most tasks
            here = os.stat(".")  # noqa: PTH116
            return self._folder < 0 or os.path.samestat(here, os.fstat(self._folder))
        except OSError:
            return False

    def _set_back_objects(self) -> bool:
        """Put back the objects that a task has replaced by others."""
        changed = False
        if os.environ is not self._environ:
            os.environ = self._environ  # noqa: B003 - the C library's copy follows this one
            changed = True
        if sys.path is not self._path:
            sys.path = self._path
            changed = True
        if warnings.filters is not self._filters:
            setattr(warnings, "filters", self._filters)  # noqa: B010 - it is typed as constant
            changed = True
        return changed

    def _has_descriptors(self) -> bool:
        """Say whether the standard descriptors still belong to the same files."""
        try:
            return all(os.path.samestat(os.fstat(n), was) for n, was in enumerate(self._files))
        except OSError:  # one is closed
            return False

    def _set_back_parts(self) -> bool:
        changed = False
        for name, part in PARTS.items():
            if part.read() != self._was[name]:
                part.write(self._was[name])
                changed = True
        return changed

    def _note_folder(self) -> None:
        # by a descriptor and not by name: the folder may be moved, or gone
        with contextlib.suppress(OSError):
            folder = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)
            folder, self._folder = self._folder, folder
            if folder >= 0:
                os.close(folder)

    def _set_back_stream(self, number: int) -> None:
        name = STREAMS[number]
        if _is_closed(self._streams[number]):
            os.dup2(self._copies[number], number)
            self._streams[number] = self._open_stream(number)
            setattr(sys, f"__{name}__", self._streams[number])
        setattr(sys, name, self._streams[number])


def _is_closed(stream: Any) -> bool:
    try:
        return bool(stream.closed)
    except ValueError:  # its buffer was taken from it
        return True


def _merged(was: Any, before: Any, now: Any) -> Any:
    """Return the right state of a part from now on; variables are merged one by one."""
    if not isinstance(was, dict):
        return now
    merged: dict[Any, Any] = dict(was)  # pyright: ignore[reportUnknownArgumentType]
    for name in before.keys() | now.keys():
        if before.get(name) != now.get(name):
            if name in now:
                merged[name] = now[name]
            else:
                merged.pop(name, None)
    return merged
