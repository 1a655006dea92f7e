"""The zygote: a single-threaded process that has preloaded modules for workers, and forks them.

Its node cannot fork workers itself, because ZeroMQ gives the node threads.  The zygote
has none: it reads orders from a socket, forks, and waits for its children, so it is also the
process that knows for certain that a worker ended, and which descendants to kill. When the socket
closes, because the node ended in whatever way, it kills every worker and ends.

A module that starts threads as it is loaded spoils the zygote for good.  So before it loads
anything it forks a *standby* of itself, which it dismisses if all went well. If not, the standby
becomes its successor: it forks from now on, and is told not to load that module. The spoilt zygote
keeps its workers, and passes orders and answers on.

Orders and answers are lines of JSON.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from steerio.edge.system import descendants, inheritance
from steerio.node.children import Offspring
from steerio.node.device_variables import THREAD_VARIABLES
from steerio.node.end_signal import EndZygote, end_by_signal, let_be_told, told_later, told_to_end
from steerio.node.launcher_variables import forget_rank
from steerio.node.preloading import Preloads
from steerio.node.settling import prepare
from steerio.node.setup import GONE_S, NodeSetup, clear_up_after_broker, remove_sockets
from steerio.node.worker_start import Inherited, become_worker
from steerio.worker.random_streams import RandomStreams
from steerio.worker.slots import Slots


class Zygote:
    """Forks, watches and kills the workers of one node."""

    def __init__(self, orders: socket.socket, slots: Slots, setup: NodeSetup) -> None:
        self._orders = orders
        self._slots = slots
        self._setup = setup
        self._offspring = Offspring(slots)
        self._preloads = Preloads(setup.files, setup.preload)
        self._streams = RandomStreams(setup.random_seed)
        self._followed = 0
        """The number of orders."""
        self._successor: tuple[int, socket.socket] | None = None
        self._answers = b""
        self._buffer = b""

    def serve(self) -> None:
        """Follow orders until no process can give them."""
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
            if any(self._setup.workers.values()):
                self._load([])  # every worker needs the files, and the first is ordered soon
            while self._turn(wakes):
                self._reap()
        finally:
            self._kill_all(gently=told_to_end())

    def _turn(self, wakes: socket.socket) -> bool:
        """Wait for the next event and handle it; ``False`` once no process can give orders."""
        # load nothing ahead before the first workers, which are sure to be ordered
        idle = self._successor is None and self._followed >= sum(self._setup.workers.values())
        planned = self._preloads.next_planned() if idle else None
        ready = self._selector.select(None if planned is None else 0)
        if planned is not None and not ready:
            self._load([planned])
        for key, _ in ready:
            if key.fileobj is wakes:
                with contextlib.suppress(BlockingIOError):
                    wakes.recv(4096)
            elif key.fileobj is self._orders:
                if not self._follow():
                    return False
            elif not self._pass_answers():
                sys.stderr.write("steerio: the zygote that took over has ended\n")
                return False
        return True

    # -- orders -------------------------------------------------------------------------------

    def _follow(self) -> bool:
        """Follow the orders that have arrived; ``False`` once no process can give more."""
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
        if self._successor is None:
            self._preloads.try_again(order["preload"])
            self._load(order["preload"])
        if self._successor is not None:
            self._successor[1].sendall(json.dumps(order).encode() + b"\n")
            return
        self._followed += 1
        error = self._preloads.failures(order["preload"])
        if error:
            self._answer(exited=name, reason=error)
            return
        prepare(order["threads"])
        self._streams.look()
        zygote = os.getpid()
        inheritance.flush_output()
        with told_later():
            try:
                pid = os.fork()
            except OSError as refusal:
                self._answer(exited=name, reason=f"its process could not be started: {refusal}")
                return
            if pid == 0:
                begun = Inherited(self._setup, self._slots, self._streams, self._preloads)
                become_worker(order, zygote, begun, self._let_go_of_ends)
            self._offspring.add(pid, name, order["slot"])
        self._answer(started=name, pid=pid)

    # -- loading ------------------------------------------------------------------------------

    def _load(self, modules: list[str]) -> None:
        """Load the modules that are missing, or have a successor that will never load a bad one.

        Raises:
            RuntimeError: this zygote is spoilt, and no process could be had to succeed it.
        """
        missing = self._preloads.missing(modules)
        if not missing:
            return
        pid, link = self._fork_standby()
        for name in missing:
            spoilt = self._preloads.load(name)
            if spoilt and link is None:
                raise RuntimeError(f"loading {name} {spoilt}, and no process was left to succeed")
            if spoilt and link is not None:
                self._preloads.refuse(name, spoilt)
                link.sendall(json.dumps({"refused": name, "spoilt": spoilt}).encode() + b"\n")
                self._successor = (pid, link)
                self._selector.register(link, selectors.EVENT_READ)
                break
        else:
            if link is not None:
                link.close()
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        self._offspring.spare_others()  # the successor, and processes that the modules have started

    def _fork_standby(self) -> tuple[int, socket.socket | None]:
        """Fork this process as it is; return the fork's number, and the link to it, if any."""
        mine, theirs = socket.socketpair()
        zygote = os.getpid()
        inheritance.flush_output()
        with told_later():
            try:
                pid = os.fork()
            except OSError:
                mine.close()
                theirs.close()
                return 0, None
            if pid == 0:
                mine.close()
                self._stand_by(theirs, zygote)
        theirs.close()
        return pid, mine

    def _stand_by(self, orders: socket.socket, zygote: int) -> NoReturn:
        """In the standby, wait, mostly to be killed; else take over."""
        status = 1
        try:
            descendants.die_with_parent(zygote)
            signal.set_wakeup_fd(-1)
            let_be_told()
            self._let_go_of_ends()
            self._orders, self._offspring = orders, Offspring(self._slots)
            with orders.makefile("rb", buffering=0) as first:
                line = first.readline()
            if line:
                told = json.loads(line)
                self._preloads.refuse(told["refused"], told["spoilt"])
                descendants.adopt_orphans()
                self.serve()
            status = 0
        except EndZygote:
            status = 0
        except BaseException:  # noqa: BLE001 - no code is left that could handle it
            traceback.print_exc()
        finally:
            inheritance.flush_output()
            os._exit(status)

    def _pass_answers(self) -> bool:
        """Pass on the successor's answers, whole lines; ``False`` when it has ended."""
        assert self._successor is not None
        try:
            data = self._successor[1].recv(65536)
        except ConnectionError:
            return False
        whole, newline, self._answers = (self._answers + data).rpartition(b"\n")
        with contextlib.suppress(OSError):
            self._orders.sendall(whole + newline)
        return bool(data)

    # -- children -------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Bury the dead, and tell of the workers among them."""
        for name, reason in self._offspring.bury():
            self._answer(exited=name, reason=reason)

    def _answer(self, **what: str | int) -> None:
        with contextlib.suppress(OSError):
            self._orders.sendall(json.dumps(what).encode() + b"\n")

    def _kill_all(self, gently: bool) -> None:
        """End all workers and all that they left behind."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if gently:
            self._offspring.ask_to_leave(self._successor and self._successor[0])
        self._offspring.kill_all()

    def _let_go_of_ends(self) -> None:
        """In a child, close the zygote's own sockets."""
        self._selector.close()
        for end in self._to_close:
            end.close()


def become_zygote(orders: socket.socket, slots: Slots, setup: NodeSetup) -> NoReturn:
    """In a freshly forked process, be the zygote, until its end."""
    status = 1
    try:
        os.setpgid(0, 0)  # a launcher that kills its rank's group leaves us to clean up
        signal.signal(signal.SIGTERM, end_by_signal)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        descendants.adopt_orphans()
        inheritance.let_go_of_connections(keep=[orders.fileno()])
        inheritance.own_standard()
        inheritance.read_nothing()
        _print_to(setup.log)
        forget_rank(os.environ)
        for variable in THREAD_VARIABLES:  # libraries start threads as they are loaded
            os.environ.setdefault(variable, "1")
        os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")  # pyarrow's
        gc.collect()
        gc.freeze()
        Zygote(orders, slots, setup).serve()
        # our node was killed, and others may be yet
        remove_sockets(setup.sockets)
        clear_up_after_broker(setup.folder, setup.address, GONE_S, objects=setup.objects)
        status = 0
    except EndZygote:
        status = 0
    except BaseException:  # noqa: BLE001 - no code is left that could handle it
        traceback.print_exc()
        with contextlib.suppress(OSError):
            orders.sendall(json.dumps({"failed": traceback.format_exc()}).encode() + b"\n")
    finally:
        inheritance.flush_output()
        os._exit(status)


def _print_to(log: str) -> None:
    """Send the output of this process and its workers to a file, if one is named."""
    if log:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)


def _do_nothing(*_: object) -> None:
    """Handle SIGCHLD by being woken."""
