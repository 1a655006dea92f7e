"""The process of a node on this machine, as a child of this one."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Generator

from steerio.edge.system import descendants, inheritance
from steerio.edge.system.own_files import to_json
from steerio.errors import UsageError
from steerio.node.setup import GOODBYE, ORIGINAL_PATH, NodeSetup

END_S = 6.0
"""Longest wait for a node to end by itself; it is killed then."""


class NodeProcess:
    """One node process, started before its setup is known.

    The child waits for its setup on a pipe, and ends when the pipe does. So it cannot outlive this
    process, however this ends.
    """

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid = pid
        self._pipe = pipe
        self.status: int | None = None

    @classmethod
    def forked(cls) -> NodeProcess:
        """Fork this process, which must have no threads yet; its imports come for free.

        Raises:
            UsageError: it cannot be forked.
        """
        inheritance.flush_output()
        with _pipe() as (theirs, mine):
            pid = os.fork()
        if pid == 0:
            status = 1
            try:
                inheritance.own_standard()
                signal.set_wakeup_fd(-1)
                gc.freeze()  # the parent's objects are not ours to clean up
                inheritance.let_go_of_connections(keep=[theirs])
                os.setsid()
                from steerio.node.main import main  # while our parent goes on

                status = main(theirs)
            except BaseException:  # noqa: BLE001 - no other code in this process could tell of it
                traceback.print_exc()
            finally:
                inheritance.flush_output()
                os._exit(status)
        os.close(theirs)
        return cls(pid, mine)

    @classmethod
    def spawned(cls) -> NodeProcess:
        """Start a fresh interpreter, for processes that have threads or much memory.

        Raises:
            UsageError: it cannot be started.
        """
        with _pipe() as (theirs, mine):
            process = subprocess.Popen(
                [sys.executable, "-m", "steerio.node.main"],
                stdin=theirs,
                start_new_session=True,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(_importable()),
                    ORIGINAL_PATH: os.environ.get("PYTHONPATH", ""),
                },
            )
        os.close(theirs)
        process.returncode = 0  # this object waits for the process; Popen must not warn of it
        return cls(process.pid, mine)

    @classmethod
    def started(cls) -> NodeProcess:
        """Fork one if this process may, or spawn one."""
        return cls.forked() if can_fork() else cls.spawned()

    def begin(self, setup: NodeSetup) -> None:
        """Tell the node what to do."""
        told = memoryview(to_json(setup) + b"\n")
        with contextlib.suppress(BrokenPipeError):
            while told:
                told = told[os.write(self._pipe, told) :]

    def watch(self, on_exit: Callable[[], None]) -> None:
        """Call ``on_exit`` on this loop once the process has ended."""
        loop = asyncio.get_running_loop()
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                descriptor = os.pidfd_open(self.pid)
                loop.add_reader(descriptor, self._exited, descriptor, on_exit)
                self._descriptor = descriptor
                return
        threading.Thread(target=self._wait, args=(loop, on_exit), daemon=True).start()

    _descriptor = -1

    def _exited(self, descriptor: int, on_exit: Callable[[], None]) -> None:
        self._unwatch()
        self._collect(os.WNOHANG)
        on_exit()

    def _unwatch(self) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _wait(self, loop: asyncio.AbstractEventLoop, on_exit: Callable[[], None]) -> None:
        self._collect(0)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(on_exit)

    def _collect(self, flags: int) -> bool:
        if self.status is None:
            try:
                pid, status = os.waitpid(self.pid, flags)
            except ChildProcessError:
                pid, status = self.pid, 0
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    async def close(self) -> None:
        """Have the node end, with its workers; kill it if it does not."""
        self._unwatch()
        self.let_go()
        loop = asyncio.get_running_loop()
        until = loop.time() + END_S
        # not every kernel has an event for the end of a process
        while not self._collect(os.WNOHANG) and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        self.kill()

    def kill(self) -> None:
        """End the node at once; its zygote notices, and kills the workers."""
        self.let_go()
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            self._collect(0)

    def let_go(self) -> None:
        """Close the pipe: the order to end."""
        if self._pipe >= 0:
            with contextlib.suppress(OSError):  # it has ended
                os.write(self._pipe, GOODBYE)
            os.close(self._pipe)
            self._pipe = -1


@contextlib.contextmanager
def _pipe() -> Generator[tuple[int, int], None, None]:
    """Open a pipe to a process that is started in here.

    Raises:
        UsageError: there is no room for another process; the pipe is closed.
    """
    ends: tuple[int, ...] = ()
    try:
        ends = theirs, mine = inheritance.pipe()
        yield theirs, mine
    except OSError as error:
        for end in ends:
            os.close(end)
        raise UsageError(
            f"no process can be started for the workers of this machine: {error}; end others, or "
            "raise the bounds on processes (ulimit -u), memory and open files (ulimit -n)"
        ) from None


def can_fork() -> bool:
    """Say whether this process may fork a node: it has no thread but this one."""
    return descendants.threads() == 1


def _importable() -> list[str]:
    """Return the entries of ``sys.path`` that name a folder; others are no use."""
    entries: list[object] = [*sys.path]
    return [entry for entry in entries if isinstance(entry, str) and entry]
