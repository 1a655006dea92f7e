"""The forker of a node whose workers are the slots of an engine."""

from __future__ import annotations

from collections.abc import Callable

from steerio.edge.wire.memory_streams import MemoryStreams
from steerio.model.tasks import SignalName
from steerio.node.engine import Engine
from steerio.node.engine_worker import EngineWorker


class EngineForker:
    """Starts slots, in place of the processes that ``ZygoteForker`` forks.

    Args:
        engine: runs their tasks.
    """

    def __init__(self, engine: Engine) -> None:
        self.workers: dict[str, EngineWorker] = {}
        self.streams = MemoryStreams()
        self._engine = engine
        self._on_exit: Callable[[str, int, str], None] | None = None
        self._on_left: Callable[[str, list[bytes]], None] | None = None

    def __repr__(self) -> str:
        return f"<EngineForker: {len(self.workers)} slots of {self._engine!r}>"

    def watch(
        self,
        on_exit: Callable[[str, int, str], None],
        on_left: Callable[[str, list[bytes]], None],
    ) -> None:
        """Listen to the slots.

        Args:
            on_exit: is called with the name, run and reason of each slot that ends.
            on_left: is called with a slot and objects that a call left to itself has put.
        """
        self._on_exit, self._on_left = on_exit, on_left

    def fork(self, worker: str, pool: str) -> None:
        """Start a slot, which joins once the engine is ready."""
        del pool
        slot = EngineWorker(worker, self.streams.connect(), self._engine, self)
        self.workers[worker] = slot

        def ready(why_not: str) -> None:
            if slot.dead:
                return
            if why_not:
                slot.end(f"the engine runs no tasks: {why_not}")
            else:
                slot.join()

        self._engine.when_ready(ready)

    def ask_to_stop(self, worker: str, run: int) -> None:
        """Withdraw a run, if the engine lets it."""
        if worker in self.workers:
            self.workers[worker].ask_to_stop(run)

    def recall(self, worker: str, run: int) -> None:
        """Have a run given back that the engine does not have yet."""
        if worker in self.workers:
            self.workers[worker].recall(run)

    def begun(self, worker: str) -> int | None:
        """Return the last run of a slot that the engine has had; ``None`` if the slot is gone."""
        return self.workers[worker].begun if worker in self.workers else None

    def works_on(self, worker: str) -> int:
        """Return the first run of the call that is under way; 0: none, or the slot is gone."""
        return self.workers[worker].works_on if worker in self.workers else 0

    def reported(self, worker: str) -> int:
        """Return the run whose end a slot has told last; 0 if the slot is gone."""
        return self.workers[worker].over if worker in self.workers else 0

    def signal(self, worker: str, run: int, name: SignalName) -> None:
        """Withdraw a run (``term``), or end the slot (``kill``)."""
        if worker in self.workers:
            self.workers[worker].signal(run, name)

    async def close(self) -> None:
        """End all slots, without telling the node."""
        self._on_exit = None
        for slot in list(self.workers.values()):
            slot.end("its node has ended")
        self._engine.close()

    # -- from its slots ---------------------------------------------------------------------------

    def exited(self, slot: EngineWorker, run: int, reason: str) -> None:
        """Take in that a slot has ended, and tell the node."""
        del self.workers[slot.name]
        if self._on_exit is not None:
            self._on_exit(slot.name, run, reason)

    def left_over(self, slot: str, names: list[bytes]) -> None:
        """Take in that a call that was left to itself has put objects."""
        if self._on_left is not None:
            self._on_left(slot, names)
