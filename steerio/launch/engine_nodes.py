"""The nodes of engines that one broker, or one session, has in this process."""

from __future__ import annotations

import asyncio

from steerio.edge.system.threads import in_thread
from steerio.launch.engine_node import EngineNode


class EngineNodes:
    """Starts nodes of engines, and ends them together."""

    def __init__(self) -> None:
        self._nodes: list[EngineNode] = []

    def __repr__(self) -> str:
        return f"<EngineNodes: {self._nodes}>"

    def start(self, node: EngineNode) -> None:
        """Start one."""
        self._nodes.append(node)
        node.start()

    def kill(self) -> None:
        """Have none waited for any more."""
        for node in tuple(self._nodes):
            node.give_up()

    def let_end(self, reason: str) -> None:
        """Begin to end all of them."""
        for node in self._nodes:
            node.leave(reason)

    async def end(self, node: EngineNode, reason: str) -> None:
        """End one, and wait for that, within bounds; if that is cancelled, it is given up."""
        node.leave(reason)
        try:
            await in_thread(node.wait)
        except asyncio.CancelledError:
            node.give_up()
            raise
        finally:  # not before: `kill` may have to end the wait
            if node in self._nodes:  # two may be ending it
                self._nodes.remove(node)

    async def close(self, reason: str) -> None:
        """End all of them, and wait for that, within bounds; see `end`."""
        self.let_end(reason)
        try:
            for node in [*self._nodes]:
                await self.end(node, reason)
        except asyncio.CancelledError:
            self.kill()
            raise
