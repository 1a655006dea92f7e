"""The workers that a zygote has forked: buried, asked to leave, and killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from steerio.edge.system import descendants
from steerio.worker.process import RELEASE_S
from steerio.worker.slots import Slots

LEAVE_S = RELEASE_S + 0.2
"""Longest wait for workers that have resources to release."""
RETIRED = "its process exited with status 0"
"""The reason for the end of a worker that ended as it was told to."""
REAP_S = 2.0
"""Longest wait for killed workers to be gone."""


class Offspring:
    """The worker processes of this zygote, and all else below it."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._names: dict[int, str] = {}
        self._slot_of: dict[int, int] = {}
        self._spared: set[int] = set()

    def add(self, pid: int, name: str, slot: int) -> None:
        """Take in a worker that was just forked."""
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._names[pid] = name
        self._slot_of[pid] = slot

    def spare_others(self) -> None:
        """Do not take other children of ours for processes that a dead worker has left."""
        self._spared |= {pid for pid in descendants.children() if pid not in self._names}

    def bury(self) -> list[tuple[str, str]]:
        """Wait for the dead, kill the processes they left; return workers' names and reasons."""
        told: list[tuple[str, str]] = []
        reaped = False
        while (pid := _ended_child()) is not None:
            name = self._names.pop(pid, None)
            if name is not None and sys.platform != "linux":  # there, its children come to us
                # while the zombie stands its group's number cannot be given to others
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            reaped = True
            self._spared.discard(pid)
            slot = self._slot_of.pop(pid, None)
            if name is not None and slot is not None:
                word = self._slots.word(slot)
                told.append((name, f"{_why(status)}:\n{word}" if word else _why(status)))
        if reaped:
            # living workers keep their own orphans, so these are dead ones'; killing them
            # brings those below them, and another turn of this
            descendants.kill_children(spare=self._names.keys() | self._spared)
        return told

    def ask_to_leave(self, successor: int | None) -> None:
        """Have workers with resources to release end in order, and wait for them, in bounds."""
        told = [pid for pid, slot in self._slot_of.items() if self._slots.holds(slot)]
        for pid in told:
            self._slots.ask_to_leave(self._slot_of[pid])
        if successor is not None:  # it does the same with its own
            told.append(successor)
        for pid in told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + LEAVE_S
        while (told := [pid for pid in told if descendants.lives(pid)]) and (
            time.monotonic() < until
        ):
            time.sleep(descendants.LOOK_S)
        late = [self._names.get(pid, "the zygote's successor") for pid in told]
        if late:
            sys.stderr.write(
                f"steerio: warning: killed {', '.join(late)}: not all resources were released "
                f"within {RELEASE_S:g} s\n"
            )

    def kill_all(self) -> None:
        """Kill all workers and all that they left behind, and wait for them, but not for ever."""
        for pid in self._names:
            descendants.kill_with_all_below(pid)
        descendants.end_children(REAP_S)


def _why(status: int) -> str:
    """Say how a process ended."""
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return RETIRED
    if code > 0:
        return f"its process exited with status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hint = " (out of memory, or killed from outside)" if -code == signal.SIGKILL else ""
    return f"its process was ended by {name}{hint}"


def _ended_child() -> int | None:
    """Return a child that ended and is not waited for yet."""
    try:
        seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if seen is None else seen.si_pid
