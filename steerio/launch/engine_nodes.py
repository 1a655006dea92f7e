"""The nodes of engines that one broker, or one session, has in this process."""

from __future__ import annotations

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
        for node in self._nodes:
            node.give_up()

    def let_end(self, reason: str) -> None:
        """Begin to end all of them."""
        for node in self._nodes:
            node.leave(reason)

    async def close(self, reason: str) -> None:
        """End all of them, and wait for that, within bounds."""
        self.let_end(reason)
        for node in [*self._nodes]:  # they stay there: `kill` may have to end the wait
            await in_thread(node.wait)
        self._nodes = []
