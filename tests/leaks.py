"""What a test may leave behind: nothing.

A stock is taken before a test's fixtures are set up and compared after they are torn down:
processes, file descriptors, threads, and files in shared memory and in the temporary folder.
asyncio tasks are looked at from inside, as the test's coroutine returns.

A descendant whose parent was killed is nobody's child any more, and those are just the ones
that matter.  So the session puts a token into the environment, which every process started
below it inherits, and a process counts as ours by its parents *or* by its token.

What a program that is killed leaves behind is removed as the next start of steerio would remove it:
that it can be is promised, and no more.

A process is waited for by its pidfd, a thread by joining it, and what they hold goes with
them.

Several test processes may run at once, of this suite and of others.  So each has a temporary
folder and a folder in shared memory for its stores, in which no other process sweeps.  There
everything counts.  A file elsewhere in shared memory, such as one of `multiprocessing`, counts
if it belongs to this user, no stranger uses it, and it stays: whoever looks after a stranger
that ended is about to remove its files.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import re
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from zmq.utils import garbage

from steerio.edge.store.folders import sweep_stale
from steerio.edge.wire.socket_folders import sweep_sockets
from tests.own_folders import OWN, SHARED_MEMORY, SHARED_MEMORY_VARIABLE

TOKEN = "STEERIO_TEST_SESSION"
GRACE_S = 3.0
"""How long after its test a process or thread may take to end."""
TASK_GRACE_S = 0.5
"""The same for an asyncio task, which needs no more than a few turns of its loop."""

PROC = Path("/proc")
STORES = "steerio-store-"
"""How the folders begin that stores of other processes are in."""
NUMBER = re.compile(r"(?<![0-9A-Za-z])[0-9]+(?![0-9A-Za-z])")
"""A number in a name, and not a part of one in which letters are digits, too."""
LOOK_S = 0.05
"""How often it is looked whether what may be a stranger's has gone."""
KILLED = threading.Event()
"""Set by a test that kills programs: what these leave is removed as the next start would."""
ON_LINUX = sys.platform == "linux"
"""Elsewhere only Python's threads and asyncio's tasks can be seen."""


class Process(NamedTuple):
    """One process; a pid alone may be used again, with its start time it is unique."""

    pid: int
    started: int

    @property
    def stopped(self) -> bool:
        """Whether it has ended and only waits for its parent to notice."""
        found = _stat(self.pid)
        return found is None or found.state == "Z"

    def __str__(self) -> str:
        """Name it as a reader of the report knows it."""
        with contextlib.suppress(OSError):
            command = (PROC / str(self.pid) / "cmdline").read_bytes().replace(b"\0", b" ")
            if command:
                return f"process {self.pid}: {command.decode(errors='replace')[:200]}"
        return f"process {self.pid}, which ended and was never waited for"


@dataclass(frozen=True)
class Stock:
    """All that is held at one moment."""

    processes: frozenset[Process]
    descriptors: frozenset[str]
    threads: frozenset[threading.Thread]
    transport_threads: frozenset[str]
    files: frozenset[Path]
    """Those in folders that only this process and its descendants have."""
    shared: frozenset[Path]
    """Those in shared memory, which is everybody's."""

    def minus(self, before: Stock) -> list[str]:
        """Describe what is here and was not ``before``."""
        left = [str(process) for process in self.processes - before.processes]
        left += [f"thread {thread.name!r}" for thread in self.threads - before.threads]
        left += sorted(self.transport_threads - before.transport_threads)
        left += sorted(self.descriptors - before.descriptors)
        left += [f"file {path}" for path in sorted(self.files - before.files)]
        return left

    def shared_minus(self, before: Stock) -> set[Path]:
        """Return the files in shared memory that were not there ``before`` and may be ours."""
        new = self.shared - before.shared
        return {
            path for path in new if path.exists() and not _used_by_strangers(path, self.processes)
        }


def take_stock(*, whole_machine: bool = True) -> Stock:
    """Look at everything this process and its descendants hold.

    Without ``whole_machine`` only direct children count, which is enough (and much cheaper)
    where a test has no reason to start any.
    """
    return Stock(
        processes=frozenset(_family() if whole_machine else _children()),
        descriptors=frozenset(_descriptors()),
        threads=frozenset(threading.enumerate()),
        transport_threads=frozenset(_transport_threads()),
        files=frozenset(_files()),
        shared=frozenset(_shared()),
    )


def left_behind(before: Stock, *, whole_machine: bool = True) -> list[str]:
    """Describe what was acquired since ``before``, after a grace for what is just ending."""
    now = take_stock(whole_machine=whole_machine)
    if not now.minus(before) and not now.shared_minus(before):
        return []
    deadline = time.monotonic() + GRACE_S
    gc.collect()
    _end_zero_copy_thread()
    now = take_stock(whole_machine=whole_machine)
    for process in now.processes - before.processes:
        _wait_for_end(process, deadline)
    for thread in now.threads - before.threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if KILLED.is_set():
        sweep_stale()
        sweep_sockets(just_made_s=0)
    stayed = shared_memory_left(before, deadline)
    left = take_stock(whole_machine=whole_machine).minus(before)
    return left + [f"file {path}" for path in stayed]


def shared_memory_left(before: Stock, deadline: float | None = None) -> list[Path]:
    """Return the files in shared memory that came after ``before``, may be ours, and stay."""
    if deadline is None:
        deadline = time.monotonic() + GRACE_S
    stayed = take_stock().shared_minus(before)
    while stayed and time.monotonic() < deadline:
        time.sleep(LOOK_S)
        stayed &= take_stock().shared_minus(before)
    return sorted(stayed)


def kill_strays(before: Stock) -> list[str]:
    """Kill every process of ours started since ``before``, so that the next test starts clean."""
    strays = [p for p in _family() if p not in before.processes and not p.stopped]
    described = [str(process) for process in strays]
    for process in strays:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return described


class LeakedTasks(AssertionError):
    """A test returned while asyncio tasks that it started were still running."""


def leaving_no_tasks(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Wrap a test so that it fails if tasks which it started outlive it.

    Checked inside the loop: closing the loop cancels what is left, and then none can be seen.
    """

    @functools.wraps(test)
    async def checked(*args: object, **kwargs: object) -> None:
        before = asyncio.all_tasks()
        await test(*args, **kwargs)
        started = asyncio.all_tasks() - before
        if started:
            _, running = await asyncio.wait(started, timeout=TASK_GRACE_S)
            if running:
                names = "\n  ".join(sorted(repr(task) for task in running))
                raise LeakedTasks(f"still running after the test:\n  {names}")

    return checked


def _end_zero_copy_thread() -> None:
    # pyzmq starts it with a process's first zero-copy message, and it stays: nobody's leak, as
    # long as ZeroMQ has let go of every buffer.  The next such message starts it again.
    collector = garbage.gc
    if collector.is_alive() and not collector.refs:
        collector.stop()


class _Stat(NamedTuple):
    state: str
    parent: int
    started: int


def _stat(pid: int | str) -> _Stat | None:
    try:
        # The command's name comes in parentheses and may itself hold any character.
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return _Stat(state=fields[0], parent=int(fields[1]), started=int(fields[19]))


def _all_processes() -> dict[int, _Stat]:
    if not ON_LINUX:
        return {}
    pids = (int(folder.name) for folder in PROC.iterdir() if folder.name.isdigit())
    found = ((pid, _stat(pid)) for pid in pids)
    return {pid: stat for pid, stat in found if stat is not None}


def _children() -> Iterator[Process]:
    for file in PROC.glob("self/task/*/children") if ON_LINUX else ():
        with contextlib.suppress(OSError):
            for pid in map(int, file.read_text().split()):
                if (stat := _stat(pid)) is not None:
                    yield Process(pid, stat.started)


def _family() -> Iterator[Process]:
    me = os.getpid()
    processes = _all_processes()
    token = f"{TOKEN}={os.environ[TOKEN]}".encode() if TOKEN in os.environ else None
    for pid, stat in processes.items():
        # Only a parent can clear away what is left of an ended process.
        if pid == me or (stat.state == "Z" and stat.parent != me):
            continue
        if _descends(pid, me, processes) or (token is not None and _carries(pid, token)):
            yield Process(pid, stat.started)


def _descends(pid: int, ancestor: int, processes: dict[int, _Stat]) -> bool:
    while pid in processes:
        pid = processes[pid].parent
        if pid == ancestor:
            return True
    return False


def _carries(pid: int, token: bytes) -> bool:
    try:
        return token in (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # somebody else's, or already gone


def _wait_for_end(process: Process, deadline: float) -> None:
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
    finally:
        os.close(descriptor)


def _descriptors() -> Iterator[str]:
    for link in list((PROC / "self/fd").iterdir()) if ON_LINUX else ():
        # The one that this listing was read from is closed by now.
        with contextlib.suppress(OSError):
            yield f"descriptor {link.name} -> {link.readlink()}"


def _transport_threads() -> Iterator[str]:
    # A ZeroMQ context that was not terminated shows as native threads, unknown to Python.
    for file in PROC.glob("self/task/*/comm") if ON_LINUX else ():
        with contextlib.suppress(OSError):
            if (name := file.read_text().strip()).startswith("ZMQ"):
                yield f"ZeroMQ's thread {name} ({file.parent.name})"


def _files() -> Iterator[Path]:
    yield from Path(tempfile.gettempdir()).glob("steerio*")
    own = os.environ.get(SHARED_MEMORY_VARIABLE)
    if own is not None:
        for path in Path(own).iterdir():
            if not path.name.startswith(STORES):
                yield path
                continue
            # the folder of all stores comes and goes with what is in it
            with contextlib.suppress(FileNotFoundError):
                yield from path.iterdir()


def _shared() -> Iterator[Path]:
    if SHARED_MEMORY.is_dir():
        for path in SHARED_MEMORY.iterdir():
            with contextlib.suppress(OSError):  # it has just gone
                if not path.name.startswith((OWN, STORES)) and path.lstat().st_uid == os.getuid():
                    yield path


def _used_by_strangers(path: Path, family: frozenset[Process]) -> bool:
    ours = {process.pid for process in family} | {os.getpid()}
    strangers = _all_processes().keys() - ours
    # joblib and others call what they make after the process
    if strangers & {int(number) for number in NUMBER.findall(path.name)}:
        return True
    for pid in strangers:
        with contextlib.suppress(OSError):
            if str(path) in (PROC / str(pid) / "maps").read_text(errors="replace"):
                return True
            if any(str(path) in _target(link) for link in (PROC / str(pid) / "fd").iterdir()):
                return True
    return False


def _target(link: Path) -> str:
    with contextlib.suppress(OSError):
        return str(link.readlink())
    return ""
