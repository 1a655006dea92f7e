"""The processes below this one, of which none is left behind.

A process whose parent ended belongs to the nearest *subreaper* above it, or else to init, which
loses it from sight. So a node, its zygote and each of its workers are subreapers: a process that a
task started, and all processes below that, stay below its worker; below the zygote when the worker
is gone; below the node when the zygote is. And each of them ends the processes below it.  (Linux;
elsewhere process groups have to do.)
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Container
from pathlib import Path

LOOK_S = 0.002
"""Time between two looks whether killed processes are gone."""
NAMED_S = 0.1
"""How long a process that is just becoming another program may have no command line."""
_THREADS = Path("/proc/self/task")
_TRACKER = re.compile(rb"\0from [\w.]*\bresource_tracker import main\b")
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Be killed when ``parent``, which forked this process, ends (or has ended already)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def children() -> list[int]:
    """Return the living children of this process, adopted ones too."""
    return [pid for pid in _listed() if lives(pid)]


def kill_children(spare: Container[int] = ()) -> None:
    """Kill all children but those to spare, and *trackers* (see `is_tracker`).

    Their own children become ours: call again when they have been waited for.
    """
    for pid in _listed():
        if pid not in spare and not is_tracker(pid):
            _kill(pid)


def kill_with_all_below(pid: int) -> None:
    """Kill a process and its descendants, but trackers, which end by themselves then.

    If the system does not list them (it is not Linux), kill its process group.
    """
    if sys.platform != "linux":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        return
    found = [pid]
    for parent in found:  # it grows
        found += _listed(parent)
    for each in found:  # first those that could start others
        if each == pid or not is_tracker(each):
            _kill(each)


def end_children(within_s: float) -> None:
    """Kill everything below this process but trackers, and wait for the end of all, within a bound.

    A tracker that takes longer, on a machine that is busy, ends by itself later.
    """
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        kill_children()
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(LOOK_S)


def is_tracker(pid: int) -> bool:
    """Say whether a process is one of multiprocessing's or joblib's *resource trackers*.

    When the pipes to it have closed, a tracker removes the files from shared memory that the
    processes behind them have left, and ends. A tracker that is killed leaves them there for ever.
    """
    return _TRACKER.search(_command(pid)) is not None


def _command(pid: int) -> bytes:
    """Return a process's command line, for which it waits a moment if the process begins anew."""
    until = time.monotonic() + NAMED_S
    while True:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""
        if command or not lives(pid) or time.monotonic() > until:
            return command
        time.sleep(LOOK_S)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def lives(pid: int) -> bool:
    """Say whether a process lives; one that ended and was not waited for yet does not."""
    try:  # the command's name stands in parentheses, and may have any character
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except OSError:
        return False
    return state not in (b"Z", b"X")


def thread_ids() -> set[int]:
    """Return the threads of this process, as the system numbers them."""
    try:
        return {int(thread.name) for thread in _THREADS.iterdir()}
    except OSError:
        return {thread.native_id or 0 for thread in threading.enumerate()}


def threads() -> int:
    """Return the number of threads of this process, as the system counts them."""
    return len(thread_ids())


def ended() -> list[int]:
    """Return the children of this process that ended and were not waited for."""
    return [pid for pid in _listed() if not lives(pid)]


def _listed(pid: int | None = None) -> list[int]:
    """Return the children of a process, also those that ended and were not waited for."""
    found: list[int] = []
    for file in (_THREADS if pid is None else Path(f"/proc/{pid}/task")).glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, file.read_text().split())
    return found


def _prctl(option: int, value: int) -> None:
    """Call Linux's prctl(2); elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
