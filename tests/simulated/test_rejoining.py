"""A node that its broker does not know any more begins again, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from steerio.edge.wire.memory import MemoryLink, MemoryRouter
from steerio.model import messages as ms
from steerio.model.settings import Settings
from steerio.node.node import CLEAR_S, Node
from tests.simulated.virtual import in_virtual_time

JOINS = ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {"default": 1})
UNKNOWN = ms.Refused("the broker does not know this peer any more", True)
"""The answer to each packet of a session that the broker does not know: there may be many."""


class Lingering:
    """Workers that end a while after they were killed, as if their zygote was busy."""

    def __init__(self) -> None:
        self.workers: set[str] = set()
        self.killed: list[str] = []
        self._on_exit: Callable[[str, int, str], None] | None = None

    def watch(self, on_exit: Callable[[str, int, str], None]) -> None:
        self._on_exit = on_exit

    def fork(self, worker: str, pool: str) -> None:
        del pool
        self.workers.add(worker)

    def ask_to_stop(self, worker: str, run: int) -> None: ...

    def recall(self, worker: str, run: int) -> None: ...

    def begun(self, worker: str) -> int | None:
        return 0 if worker in self.workers else None

    def works_on(self, worker: str) -> int:
        del worker
        return 0

    def reported(self, worker: str) -> int:
        del worker
        return 0

    def signal(self, worker: str, run: int, name: str) -> None:
        del run, name
        self.killed.append(worker)

    def end(self, worker: str) -> None:
        """Say that a worker has ended."""
        self.workers.discard(worker)
        assert self._on_exit is not None
        self._on_exit(worker, 0, "it was killed")

    async def close(self) -> None:
        self.workers.clear()


class Scene:
    """A node that was let in, and the broker's end of its link."""

    def __init__(self) -> None:
        self.router = MemoryRouter()
        self.link: MemoryLink = self.router.link()
        self.forker = Lingering()
        self.node = Node(self.link, self.forker, JOINS, settings=Settings())
        self.forker.watch(self.node.worker_exited)

    async def join(self) -> None:
        self.node.start()
        (joins,) = self.heard(ms.JoinNode)
        assert joins == JOINS
        await self.tell(ms.Accepted(0, {}, "node-1"))
        assert self.node.name == "node-1"

    def heard(self, kind: type) -> list[Any]:
        """Take the words of the node, and return those of this kind."""
        found = [message for arrival in self.router.receive(100) for message, _ in arrival.messages]
        return [message for message in found if isinstance(message, kind)]

    async def tell(self, *messages: Any) -> None:
        """Say all of that to the node together, and let it hear."""
        for message in messages:
            self.router.send(self.link._identity, message)
        self.router.flush()
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("times", [1, 2, 5])
@in_virtual_time
async def test_it_joins_once_however_often_it_is_told_so(times: int) -> None:
    scene = Scene()
    await scene.join()
    await scene.tell(*[UNKNOWN] * times)
    await asyncio.sleep(3 * CLEAR_S)
    assert len(scene.heard(ms.JoinNode)) == 1
    assert not scene.node.ended.done()
    scene.node.leave("the test is over")


@in_virtual_time
async def test_it_joins_once_if_it_is_told_so_again_while_its_workers_end() -> None:
    scene = Scene()
    await scene.join()
    await scene.tell(ms.StartWorker("default-1", "default"))
    await scene.tell(UNKNOWN)
    assert scene.forker.killed == ["default-1"]
    await scene.tell(UNKNOWN, ms.StartWorker("default-2", "default"), UNKNOWN)
    await asyncio.sleep(3 * Settings().beat_s)  # its beats look at the link
    scene.forker.end("default-1")
    await asyncio.sleep(3 * CLEAR_S)
    assert len(scene.heard(ms.JoinNode)) == 1
    assert scene.forker.workers == set(), "orders of the old session count for nothing"
    await scene.tell(ms.Accepted(0, {}, "node-2"))
    assert (scene.node.name, scene.node.ended.done()) == ("node-2", False)
    scene.node.leave("the test is over")
