"""Processes that a task forks: ordinary ones, with nothing of the worker's in them.

They have its memory, but are not it: a signal to one of them is not about the worker's task, their
reports are not for the broker, and they end as their own code says.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from steerio.edge.system.late_loading import call_once_loaded
from steerio.worker import context
from steerio.worker.leftovers import own_only

ORDINARY: dict[int, Any] = {
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
}
"""An ordinary program's handlers for the signals that a worker has handlers for."""


class Forking(Protocol):
    """The worker of this process, as its forks know it."""

    @property
    def handlers(self) -> Mapping[int, Any]:
        """Its own handlers, by signal.  Those that a task sets are inherited, as anywhere."""
        ...

    def fork_begins(self) -> None:
        """Raise nothing for now: Python swallows exceptions in the hooks of a fork."""
        ...

    def fork_ended(self) -> None:
        """Raise now the exception that was put off."""
        ...

    def let_go(self) -> None:
        """In the child: be no worker."""
        ...


TRACKER = "multiprocessing.resource_tracker"
_worker: Forking | None = None
_masks = threading.local()
"""The signals that each thread had blocked before its fork."""


def be_ordinary_in_child(worker: Forking) -> None:
    """Make each process that is forked from this worker an ordinary one."""
    global _worker  # noqa: PLW0603 - a process is one worker
    _worker = worker


def forget_services() -> None:
    """In a worker, have multiprocessing start the services anew that its parent had, if any.

    They are not this process's children, and the ways to them were closed.
    """
    for module, service in (
        (TRACKER, "_resource_tracker"),
        ("multiprocessing.forkserver", "_forkserver"),
        ("joblib.externals.loky.backend.resource_tracker", "_resource_tracker"),
        ("loky.backend.resource_tracker", "_resource_tracker"),
    ):
        started: Any = getattr(sys.modules.get(module), service, None)
        if started is not None:
            started.__init__()
    if TRACKER in sys.modules:
        own_only(sys.modules[TRACKER])
    else:
        call_once_loaded([TRACKER], lambda _, module: own_only(module))


def _before() -> None:
    if _worker is not None:
        if threading.current_thread() is threading.main_thread():
            _worker.fork_begins()
        # a signal to the child before it has its own handlers would be lost, or ours
        _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, ORDINARY)


def _in_parent() -> None:
    if _worker is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)
        if threading.current_thread() is threading.main_thread():
            _worker.fork_ended()


def _in_child() -> None:
    global _worker
    worker, _worker = _worker, None
    if worker is not None:
        for number, handler in worker.handlers.items():
            if signal.getsignal(number) == handler:
                signal.signal(number, ORDINARY[number])
        context.set_current(None)
        worker.let_go()
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
