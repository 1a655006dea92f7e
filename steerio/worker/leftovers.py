"""Processes and shared memory that tasks leave behind.

A program that ends leaves its children to another process, which waits for them; a worker goes on
to the next task, and would keep every child that ended as a zombie. Shared memory outlives its
maker, and *resource trackers* look after it: each worker has its own, whose pipe closes with it
(see `descendants.is_tracker`).
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import subprocess
import sys
import time
from typing import Any

from steerio.edge.system import descendants

EVERY_S = 1.0
"""Time between two looks for processes that ended."""


class Leftovers:
    """Waits for processes that tasks have left and that have ended."""

    def __init__(self) -> None:
        self._looked = time.monotonic()
        self._awaited: set[int] = set()
        """Processes for which an object of some library still stands."""

    def tidy(self) -> None:
        """Look for processes that ended, now and then; call it after each task."""
        now = time.monotonic()
        if now >= self._looked + EVERY_S:
            self._looked = now
            self.reap()

    def reap(self) -> None:
        """Wait for the processes that have ended, unless other code will."""
        if not descendants.ended():
            return
        # these wait for the processes they let go of when they come to it: have them do it now
        for module in ("subprocess", "multiprocessing.process"):
            tidy: Any = getattr(sys.modules.get(module), "_cleanup", None)
            if tidy is not None:
                tidy()
        ended = set(descendants.ended())
        if ended - self._awaited:
            self._awaited = ended & _stood_for()
        for pid in ended - self._awaited:
            with contextlib.suppress(ChildProcessError):  # a thread that a task left was faster
                os.waitpid(pid, os.WNOHANG)


def _stood_for() -> set[int]:
    """Return the processes for which there is an object that tells how they ended."""
    server: Any = getattr(sys.modules.get("multiprocessing.forkserver"), "_forkserver", None)
    found: set[int] = {getattr(server, "_forkserver_pid", None) or 0}
    for what in gc.get_objects():
        if issubclass(type(what), subprocess.Popen) or type(what).__name__ == "Popen":
            pid = getattr(what, "pid", None)  # pyright: ignore[reportUnknownArgumentType]
            if isinstance(pid, int):
                found.add(pid)
    return found


def own_only(tracker_module: Any) -> None:
    """Have a worker's resource tracker see to the memory that the worker makes, and no other.

    Before Python 3.13 Python tracks memory that is merely attached to, too, and removes it with the
    worker, though the campaign goes on with it (https://github.com/python/cpython/issues/82300).
    """
    tracker = tracker_module._resource_tracker
    register, unregister = tracker.register, tracker.unregister
    made: set[str] = set()

    def register_own(name: str, kind: str) -> None:
        if kind == "shared_memory":
            asked: Any = inspect.currentframe()
            if not asked.f_back.f_locals.get("create", True):
                return
            made.add(name)
        register(name, kind)

    def unregister_own(name: str, kind: str) -> None:
        if kind == "shared_memory":
            if name not in made:
                return
            made.discard(name)
        unregister(name, kind)

    tracker_module.register, tracker_module.unregister = register_own, unregister_own
