"""The node of an engine, in a thread of this process: it goes on while the loop computes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from steerio.edge.wire.addresses import is_local, resolve_address
from steerio.edge.wire.connection import Connection
from steerio.edge.wire.keys import NODE
from steerio.edge.wire.links import open_link
from steerio.errors import UsageError
from steerio.launch.broker_setup import search_path
from steerio.launch.on_executor import OnExecutor, refuse_list
from steerio.model import messages as ms
from steerio.model.settings import Settings
from steerio.node.engine import Engine, Submits, told
from steerio.node.engine_forker import EngineForker
from steerio.node.node import Node
from steerio.node.relay import Relay
from steerio.worker.engine_runs import EngineSetup

log = logging.getLogger("steerio.launch")

END_S = 10.0
"""Longest wait for the end of an executor that was made for a node, and of the node's thread."""


class EngineNode:
    """Serves one pool by an executor, from `start` to `close`.

    Args:
        pool: that it serves.
        on: the executor, or the function that makes it.
        slots: how many slots it offers.
        connection: by which the broker is found.
        settings: bounds and leases, until the broker says by which it goes.
        files: Python files that are loaded as modules, as module name and path.

    Raises:
        UsageError: the broker has a list of allowed functions.
    """

    def __init__(
        self,
        pool: str,
        on: OnExecutor,
        slots: int,
        connection: Connection,
        settings: Settings,
        files: Sequence[tuple[str, str]] = (),
    ) -> None:
        refuse_list([pool], connection.allow)
        self._pool, self._on, self._slots = pool, on, slots
        self._connection, self._settings = connection, settings
        self._setup = EngineSetup(
            random_seed=connection.random_seed,
            store=connection.store,
            objects=connection.objects,
            space=connection.space,
            host=connection.host,
            path=search_path(),
            files=list(files),
        )
        self._thread = threading.Thread(
            target=self._run, name=f"steerio-engine-{pool}", daemon=True
        )
        self._lock = threading.RLock()  # a handler of a signal may enter while the thread has it
        self._loop: asyncio.AbstractEventLoop | None = None
        self._node: Node | None = None
        self._made: Any = None
        """The executor, if it was made here."""
        self._given_up = False
        self._asked = ""
        """Why it was told to end."""
        self.ended = threading.Event()
        self.failure = ""
        """Why it ended other than asked."""

    def __repr__(self) -> str:
        state = "ended" if self.ended.is_set() else "serves"
        return f"<EngineNode of pool {self._pool!r}, {self._slots} slots: {state}>"

    def start(self) -> None:
        """Begin to make the executor, and to join the broker."""
        self._thread.start()

    def leave(self, reason: str) -> None:
        """Begin to leave the broker, from any thread."""
        with self._lock:
            self._asked = self._asked or reason
            loop, node = self._loop, self._node
        if loop is not None and node is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(node.leave, reason)

    def give_up(self) -> None:
        """Let no wait for its end go on, and kill the processes of an executor that was made here.

        Otherwise this program would wait for them as it ends.
        """
        self._given_up = True
        self.leave("it was given up")
        _kill_processes(self._made)
        self.ended.set()

    def wait(self) -> None:
        """Wait until it has ended; give it up if its program does not let go of it."""
        if not self.ended.wait(2 * END_S):
            log.warning("the executor of pool %r did not let go of its node", self._pool)

    # -- in its thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            executor = self._on.made()
            submit = executor.submit
        except BaseException as error:
            log.exception("no executor for pool %r could be made", self._pool)
            submit = _refusing(f"no executor could be made: {told(error)}")
        else:
            if executor is not self._on.executor:
                self._made = executor  # before the look whether it was given up, which may be now
        try:
            if not self._given_up:
                asyncio.run(self._serve(submit))
        except BaseException as error:
            self.failure = told(error)
            log.exception("the node of pool %r failed", self._pool)
        finally:
            if self._given_up:
                _kill_processes(self._made)  # of calls that it was given since
            elif self._made is not None:
                _shut_down(self._made, self._pool)
            self.ended.set()

    async def _serve(self, submit: Submits) -> None:
        with contextlib.ExitStack() as opened:
            address, keys = self._connection.reach(NODE)
            identity = f"engine-{os.getpid()}-{os.urandom(8).hex()}"
            link = open_link(resolve_address(address), identity, keys, "node", opened, copies=False)
            forker = EngineForker(Engine(submit, self._setup.packed()))
            needs = self._on.needs
            joins = ms.JoinNode(
                ms.PROTOCOL,
                f"engine-{self._pool}",
                socket.gethostname(),
                os.getpid(),
                {self._pool: self._slots},
                makes={self._pool: needs},
            )
            node = Node(
                link,
                forker,
                joins,
                settings=self._settings,
                same_clock=is_local(address),
                clock=time.monotonic,
                relay=Relay(forker.streams, forker),
            )
            forker.watch(node.worker_exited, node.left_over)
            with self._lock:
                self._loop, self._node = asyncio.get_running_loop(), node
                asked = self._asked
            node.start()
            if asked:
                node.leave(asked)
            reason = await node.ended
            await forker.close()
            link.close()
            if node.failed and not self._asked:
                self.failure = reason
                log.warning("the node of pool %r has ended: %s", self._pool, reason)


def _refusing(reason: str) -> Submits:
    """Return a submission that takes no call: the broker hears that the pool's slots fail."""

    def refuse(*_: Any) -> Any:
        raise UsageError(reason)

    return refuse


def _shut_down(executor: Any, pool: str) -> None:
    """Shut an executor down that was made here, within bounds."""

    def end() -> None:
        try:
            executor.shutdown(wait=True, cancel_futures=True)
        except TypeError:  # not all know how to cancel
            executor.shutdown()
        except Exception:
            log.exception("the executor of pool %r failed as it was shut down", pool)

    if _ends(end, pool):
        return
    log.warning("the executor of pool %r has not ended within %g s", pool, END_S)
    _kill_processes(executor)


def _ends(end: Callable[[], None], pool: str) -> bool:
    ending = threading.Thread(target=end, name=f"steerio-engine-{pool}-end", daemon=True)
    ending.start()
    ending.join(END_S)
    return not ending.is_alive()


def _kill_processes(executor: Any) -> None:
    """Kill the processes of a ``ProcessPoolExecutor``: else this program would wait for them."""
    try:
        kill = getattr(executor, "kill_workers", None)  # from Python 3.14 on
        if kill is not None:
            kill()
            return
        processes: dict[int, Any] = getattr(executor, "_processes", None) or {}
        for process in list(processes.values()):
            process.kill()
    except Exception:  # it is another program's, and the end goes on
        log.exception("the processes of %r could not be killed", executor)
