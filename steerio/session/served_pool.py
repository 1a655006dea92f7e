"""Serving a pool by an executor of another program, for the length of a block."""

from __future__ import annotations

from typing import Self

from steerio.edge.system.threads import in_thread
from steerio.edge.wire.connection import Connection
from steerio.launch.engine_node import EngineNode
from steerio.launch.on_executor import OnExecutor
from steerio.model.settings import Settings

LEFT = "its session serves the pool no longer"


class Serving:
    """Slots of an executor that serve a pool while an ``async with`` lasts.

    When it ends they leave, as workers of a node that leaves: tasks that run are tried elsewhere,
    or lost. An executor that was made for it is shut down.

    Args:
        pool: the pool.
        on: the executor and its slots.
        connection: by which the broker is found.
        settings: of the broker.
    """

    def __init__(
        self, pool: str, on: OnExecutor, connection: Connection, settings: Settings
    ) -> None:
        self._pool = pool
        self._node = EngineNode(pool, on, on.count, connection, settings)

    def __repr__(self) -> str:
        return f"<Serving {self._pool!r} by {self._node!r}>"

    async def __aenter__(self) -> Self:
        self._node.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Have the slots leave, and wait until the executor that was made has ended."""
        self._node.leave(LEFT)
        await in_thread(self._node.wait)
