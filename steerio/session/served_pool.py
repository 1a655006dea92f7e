"""Serving a pool by an executor of another program, for the length of a block."""

from __future__ import annotations

from typing import Self

from steerio.edge.wire.connection import Connection
from steerio.launch.engine_node import EngineNode
from steerio.launch.engine_nodes import EngineNodes
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
        engines: the nodes of engines of the session, among which this one is meanwhile.
    """

    def __init__(
        self,
        pool: str,
        on: OnExecutor,
        connection: Connection,
        settings: Settings,
        engines: EngineNodes,
    ) -> None:
        self._pool, self._engines = pool, engines
        self._node = EngineNode(pool, on, on.count, connection, settings)

    def __repr__(self) -> str:
        return f"<Serving {self._pool!r} by {self._node!r}>"

    async def __aenter__(self) -> Self:
        self._engines.start(self._node)
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Have the slots leave, and wait until the executor that was made has ended."""
        await self._engines.end(self._node, LEFT)
