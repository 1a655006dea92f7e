"""The node on the broker's own machine: started with the broker, and again if it ends unasked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from steerio.broker.broker import Broker
from steerio.errors import UsageError
from steerio.launch.node_process import NodeProcess
from steerio.node.setup import NodeSetup

log = logging.getLogger("steerio.launch")

NODE_RESTARTS = 3
"""Restarts in a row of a local node that ended unasked; then its pools fail."""
STEADY_S = 60.0
"""A node that ran for this long ends such a row."""


class LocalNode:
    """The local node of one broker, in one process after another.

    Args:
        setup: returns the setup of the node.
        early: its process, if that was started early.
    """

    def __init__(self, setup: Callable[[], NodeSetup], early: NodeProcess | None) -> None:
        self._setup = setup
        self._early = early
        self._process: NodeProcess | None = None
        self._broker: Broker
        self._restarts = 0
        self._started = 0.0
        self._closing = False

    def __repr__(self) -> str:
        return f"<LocalNode: {self._process}, {self._restarts} restarts>"

    def prepare(self) -> None:
        """Start its process, if that was not started early: it has a while until it is to join.

        Raises:
            UsageError: it cannot be started.
        """
        if self._early is None:
            self._early = NodeProcess.started()

    def start(self, broker: Broker) -> None:
        """Have the node join the broker, and watch it.

        Raises:
            UsageError: its process cannot be started.
        """
        self._broker = broker
        process = self._early or NodeProcess.spawned()
        self._early = None
        self._process = process
        self._started = asyncio.get_running_loop().time()
        process.begin(self._setup())
        process.watch(self._ended)

    def let_end(self) -> None:
        """Start no other process when this one ends."""
        self._closing = True

    async def close(self) -> None:
        """End the node, and wait for that."""
        process = self._process or self._early
        if process is not None:
            await process.close()
        self._process = self._early = None

    def kill(self) -> None:
        """Kill the node and its workers at once, and start no other."""
        self._closing = True
        process = self._process or self._early
        if process is not None:
            process.kill()

    def _ended(self) -> None:
        """Start another local node for one that ended unasked, a few times."""
        if self._closing or self._process is None:
            return
        reason = f"the node's process ended (status {self._process.status})"
        self._process.let_go()
        if self._broker.node_exited(self._process.pid, reason):
            log.info("the local node has retired")
            self._process = None
            return
        if asyncio.get_running_loop().time() > self._started + STEADY_S:
            self._restarts = 0
        if self._restarts < NODE_RESTARTS:
            self._restarts += 1
            log.warning("%s; starting another", reason)
            try:
                self.start(self._broker)
            except UsageError as error:
                self._process = None
                self._broker.fail_pools(f"{reason}; {error}")
        else:
            self._broker.fail_pools(f"{reason}, {NODE_RESTARTS + 1} times in a row")
