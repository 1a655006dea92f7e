"""What a task finds around it in its process: set back after each, so that none finds another's.

A worker runs one task after the other, and any of them may go to a folder of its own, close a
stream, set a variable or an alarm, and fail before it tidies up.  What is always set back costs
a system call each; the rest is compared with how it was, and written where it differs.

What a `steerio.resource` changes as it is set up stays, for it is set up once.  Variables of
the context (of `decimal`, of NumPy's handling of errors) need not be set back: each task runs in
a copy.
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
from typing import Any, NamedTuple

from steerio.worker.inheritance import STREAMS, above_standard

HEEDED = tuple(
    int(number)
    for name in "HUP INT QUIT USR1 USR2 PIPE ALRM TERM CHLD CONT TSTP XCPU VTALRM PROF".split()  # noqa: SIM905 - to be read
    if (number := getattr(signal, f"SIG{name}", None)) is not None
)
"""Signals whose handlers are set back."""
TIMERS: dict[int, int] = {
    signal.SIGVTALRM: signal.ITIMER_VIRTUAL,
    signal.SIGPROF: signal.ITIMER_PROF,
}
# what `signal` wraps: the same without turning numbers into enumerations, in a tenth of the time
_signal: Any = importlib.import_module("_signal")
_get_handler: Callable[[int], Any] = _signal.getsignal
_set_mask: Callable[[int, Iterable[int]], set[int]] = _signal.pthread_sigmask


class Part(NamedTuple):
    """One thing that a task may change: how to read it, and how to set it back."""

    read: Callable[[], Any]
    write: Callable[[Any], object]


def _variables() -> dict[Any, Any]:
    """Return the environment as it is kept: to decode it for each task would cost far more."""
    found: dict[Any, Any] = vars(os.environ)["_data"]
    return found


def _set_variables(wanted: dict[Any, Any]) -> None:
    """Have just these, also in the C library, which programs inherit them from."""
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
    "variables": Part(lambda: dict(_variables()), _set_variables),
    "filters": Part(lambda: list(warnings.filters), _set_filters),
    "path": Part(lambda: list(sys.path), _set_path),
    "handlers": Part(lambda: tuple(map(_get_handler, HEEDED)), _set_handlers),
    "recursion": Part(sys.getrecursionlimit, sys.setrecursionlimit),
    "locale": Part(
        lambda: locale.setlocale(locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)
    ),
    "timeout": Part(socket.getdefaulttimeout, socket.setdefaulttimeout),
    "collecting": Part(gc.isenabled, _set_collecting),
    "trace": Part(sys.gettrace, sys.settrace),
    "profile": Part(sys.getprofile, sys.setprofile),
    "hook": Part(lambda: sys.excepthook, partial(setattr, sys, "excepthook")),
}
"""What is compared, by name."""


class Surroundings:
    """The surroundings that tasks of this process begin in: as they are now.

    Args:
        open_stream: opens a stream over a standard descriptor again.
    """

    def __init__(self, open_stream: Callable[[int], Any]) -> None:
        self._open_stream = open_stream
        self._streams: list[Any] = [getattr(sys, name) for name in STREAMS]
        # of their own: a task may close the standard ones, or put others in their place
        self._copies = [above_standard(number) for number in range(3)]
        self._environ, self._path, self._filters = os.environ, sys.path, warnings.filters
        self._mask = _set_mask(signal.SIG_BLOCK, ())
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._folder = -1
        self._decimal: Any = None
        self._was: dict[str, Any] = {}
        self.note()

    def note(self) -> None:
        """Take what is now for how it is to be: no task has run since it was set back."""
        self._was = {name: part.read() for name, part in PARTS.items()}
        self._note_folder()
        self._decimal = None
        if any(variable.name == "decimal_context" for variable in contextvars.copy_context()):
            import decimal

            self._decimal = decimal.getcontext().copy()

    @contextlib.contextmanager
    def kept(self) -> Generator[None, None, None]:
        """Keep what is changed in here."""
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
        if self._decimal is not None:  # it is an object that would be shared
            import decimal

            copy.run(decimal.setcontext, self._decimal.copy())
        return copy

    def set_back_signals(self) -> None:
        """Set back what could strike the worker itself while it reports."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        if tuple(map(_get_handler, HEEDED)) != self._was["handlers"]:
            _set_handlers(self._was["handlers"])
        for number, stream in enumerate(self._streams):
            if getattr(sys, STREAMS[number], None) is not stream or _is_closed(stream):
                self._set_back_stream(number)

    def set_back(self) -> None:
        """Set back the rest.

        Raises:
            OSError: it is too late for that: the task has closed what is not its own.
        """
        for number, copy in enumerate(self._copies):
            os.dup2(copy, number)
        if not faulthandler.is_enabled():
            faulthandler.enable(2, all_threads=False)
        signal.set_wakeup_fd(-1)
        _set_mask(signal.SIG_SETMASK, self._mask)
        if self._folder >= 0:
            os.fchdir(self._folder)
        os.umask(self._umask)
        was = self._was
        if os.environ is not self._environ:
            os.environ = self._environ  # noqa: B003 - it is the one that C's is kept like
        if sys.path is not self._path:
            sys.path = self._path
        if warnings.filters is not self._filters:
            setattr(warnings, "filters", self._filters)  # noqa: B010 - it is typed as constant
        if (
            _variables() != was["variables"]
            or warnings.filters != was["filters"]
            or sys.path != was["path"]
            or sys.getrecursionlimit() != was["recursion"]
            or locale.setlocale(locale.LC_ALL) != was["locale"]
            or socket.getdefaulttimeout() != was["timeout"]
            or gc.isenabled() != was["collecting"]
            or sys.gettrace() is not was["trace"]
            or sys.getprofile() is not was["profile"]
            or sys.excepthook is not was["hook"]
        ):
            for name, part in PARTS.items():
                if part.read() != was[name]:
                    part.write(was[name])

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
    """Return how something is to be from now on: for variables, each by itself."""
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
