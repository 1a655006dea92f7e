"""The zygote: a single-threaded process that has preloaded what workers need, and forks them.

Its node cannot fork workers itself, because ZeroMQ gives the node threads.  The zygote
has none: it reads orders from a socket, forks, and waits for its children, so it also is
the one who surely knows that a worker ended, and whose descendants to kill.  When the
socket closes, because the node ended in whatever way, it kills every worker and ends.

Orders and answers are lines of JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import functools
import gc
import importlib
import io
import json
import os
import selectors
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from steerio.core.visibility import THREAD_VARIABLES
from steerio.edge.endpoint import BlockingLink
from steerio.edge.stream import SCHEME, StreamLink
from steerio.edge.zeromq import ZmqLink, open_context
from steerio.worker import descendants, inheritance
from steerio.worker.loading import load_file
from steerio.worker.process import PARENT_CHECK_S, Worker
from steerio.worker.settling import prepare, settle
from steerio.worker.setup import NodeSetup, clear_up_after_broker
from steerio.worker.slots import Slots

REAP_S = 2.0
"""Longest wait for killed workers to be gone."""
GONE_S = 1.0
"""How long a zygote whose node was killed looks whether the broker is killed, too."""


class Zygote:
    """Forks, watches and kills the workers of one node."""

    def __init__(self, orders: socket.socket, slots: Slots, setup: NodeSetup) -> None:
        self._orders = orders
        self._slots = slots
        self._setup = setup
        self._pids: dict[int, str] = {}
        self._loaded: set[str] = set()
        self._failed: dict[str, str] = {}
        self._spared: set[int] = set()
        """Children that loading modules has started."""
        self._buffer = b""

    def serve(self) -> None:
        """Follow orders until there is nobody to give them."""
        waker, wakes = socket.socketpair()
        for end in (waker, wakes):
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        selector = selectors.DefaultSelector()
        selector.register(self._orders, selectors.EVENT_READ)
        selector.register(wakes, selectors.EVENT_READ)
        self._to_close = [waker, wakes, self._orders]
        self._selector = selector
        try:
            while True:
                for key, _ in selector.select():
                    if key.fileobj is wakes:
                        with contextlib.suppress(BlockingIOError):
                            wakes.recv(4096)
                    elif not self._follow():
                        return
                self._reap()
        finally:
            self._kill_all()

    # -- orders -------------------------------------------------------------------------------

    def _follow(self) -> bool:
        """Follow the orders that have arrived; ``False`` once nobody can give more."""
        try:
            data = self._orders.recv(65536)
        except ConnectionError:
            return False
        if not data:
            return False
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._fork(json.loads(line))
        return True

    def _fork(self, order: dict[str, Any]) -> None:
        name: str = order["worker"]
        error = self._load(order["preload"])
        if error:
            self._answer(exited=name, reason=error)
            return
        prepare(order["threads"])
        zygote = os.getpid()
        inheritance.flush_output()
        try:
            pid = os.fork()
        except OSError as refusal:
            self._answer(exited=name, reason=f"its process could not be started: {refusal}")
            return
        if pid == 0:
            self._become_worker(name, order, zygote)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._pids[pid] = name
        self._answer(started=name, pid=pid)

    def _load(self, modules: list[str]) -> str:
        """Import what is not imported yet; return why that failed, or nothing."""
        wanted: dict[str, Callable[[], object]] = {
            name: functools.partial(load_file, name, path) for name, path in self._setup.files
        }
        wanted |= {name: functools.partial(importlib.import_module, name) for name in modules}
        for name, load in wanted.items():
            if name not in self._loaded and name not in self._failed:
                self._try(name, load)
        return "\n".join(self._failed[name] for name in wanted if name in self._failed)

    def _try(self, name: str, load: Callable[[], object]) -> None:
        threads = descendants.threads()
        try:
            load()
            self._loaded.add(name)
        except EndZygote:
            raise
        except BaseException:  # noqa: BLE001 - a module may raise whatever it likes
            told = traceback.format_exc()
            self._failed[name] = f"loading {name} failed on the worker's side:\n{told}"
        if descendants.threads() > threads:
            sys.stderr.write(
                f"steerio: warning: loading {name} started threads, which forked workers lack\n"
            )
        self._spared |= {pid for pid in descendants.children() if pid not in self._pids}
        gc.collect()
        gc.freeze()  # what is here now is not walked by the workers' collections, so stays shared

    # -- children -------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Bury the dead and what they left behind, and tell of the workers among them."""
        told: list[tuple[str, str]] = []
        reaped = False
        while (pid := _ended_child()) is not None:
            name = self._pids.pop(pid, None)
            if name is not None:
                # while the zombie stands its group's number cannot be given to others
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            reaped = True
            self._spared.discard(pid)
            if name is not None:
                told.append((name, _why(status)))
        if reaped:
            # living workers keep their own orphans, so these are dead ones'; killing them
            # brings what is below them, and another turn of this
            descendants.kill_children(spare=self._pids.keys() | self._spared)
        for name, reason in told:
            self._answer(exited=name, reason=reason)

    def _answer(self, **what: str | int) -> None:
        with contextlib.suppress(OSError):
            self._orders.sendall(json.dumps(what).encode() + b"\n")

    def _kill_all(self) -> None:
        """Kill all workers and whatever they left behind, and wait for them, but not for ever."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for pid in self._pids:  # where nobody can be asked for their children, their groups
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        descendants.end_children(REAP_S)

    def _become_worker(self, name: str, order: dict[str, Any], zygote: int) -> NoReturn:
        """In the child: be that worker until the end of it."""
        status = 1
        try:
            os.setpgid(0, 0)
            descendants.die_with_parent(zygote)
            descendants.adopt_orphans()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            self._selector.close()
            for end in self._to_close:
                end.close()
            settle(order["cores"], order["environment"], order["memory_bytes"], order["threads"])
            faulthandler.enable(all_threads=False)
            slot = self._slots.view(order["slot"])
            Worker(self._link(name), name, slot, self._setup.settings.items).serve()
        except SystemExit as exit_:
            status = exit_.code if isinstance(exit_.code, int) else 0
        except BaseException:  # noqa: BLE001 - whatever it was is the worker's end
            traceback.print_exc()
        finally:
            inheritance.flush_output()
            ctypes.CDLL(None).fflush(None)  # what C and Fortran code printed
            os._exit(status)

    def _link(self, name: str) -> BlockingLink:
        """Return a worker's way to the broker."""
        setup = self._setup
        if setup.worker_address.startswith(SCHEME):
            return StreamLink(setup.worker_address)
        link = ZmqLink(open_context(), setup.address, name.encode(), setup.keys)
        link.bound_waits(PARENT_CHECK_S)
        return link


class EndZygote(BaseException):
    """SIGTERM: end, whatever this process is in, with all workers."""


def become_zygote(orders: socket.socket, slots: Slots, setup: NodeSetup) -> NoReturn:
    """In a freshly forked process: be the zygote, until the end of it."""
    status = 1
    try:
        os.setpgid(0, 0)  # a launcher that kills its rank's group leaves us to clean up
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        descendants.adopt_orphans()
        inheritance.let_go_of_connections(keep=[orders.fileno()])
        inheritance.read_nothing()
        _print_to(setup.log)
        for variable in THREAD_VARIABLES:  # libraries start threads as they are loaded
            os.environ.setdefault(variable, "1")
        # _try tells of threads once; Python would with each fork
        warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
        gc.collect()
        gc.freeze()
        Zygote(orders, slots, setup).serve()
        clear_up_after_broker(setup, GONE_S)  # our node was killed, and others may be yet
        status = 0
    except EndZygote:
        status = 0
    except BaseException:  # noqa: BLE001 - nothing is left that could handle it
        traceback.print_exc()
    finally:
        inheritance.flush_output()
        os._exit(status)


def _print_to(log: str) -> None:
    """Send what this process and its workers print to a file, if one is named, line by line."""
    if log:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)


def _end(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise EndZygote


def _why(status: int) -> str:
    """Say how a process ended."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
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


def _do_nothing(*_: object) -> None:
    """Handle SIGCHLD by being woken."""
