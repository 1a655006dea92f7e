"""Blocks come and go with the tasks of a session, on a simulated batch system."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

import pytest
from msgspec.structs import replace

from steerio import BatchFailed, Blocks, Board, BrokerLost, Campaign, Session, UsageError, agent
from steerio.campaign.conductor import Conductor
from steerio.launch.batch_jobs import Launched
from steerio.launch.batch_systems import BatchJob
from steerio.model.messages import NodeNews
from steerio.model.settings import Settings
from steerio.session.blocks import follow_blocks
from steerio.testing import PartitionNode, RestartBroker, SimulatedCluster, run_virtual
from tests.simulated.virtual import WALL_LIMIT_S, cluster_of, on_cluster, simulation

BLOCKS = Blocks(
    scheduler="slurm",
    walltime_s=3600.0,
    workers="simulate=4",
    least=0,
    most=3,
    idle_s=60.0,
    look_s=10.0,
)


class SimulatedBatch:
    """A batch system whose jobs wait in a queue for some seconds, and bring nodes of a cluster."""

    def __init__(self, cluster: SimulatedCluster, queue_s: float = 30.0) -> None:
        self.cluster = cluster
        self.queue_s = queue_s
        self.questions = 0
        self.down = False
        self.begun: dict[str, float] = {}
        self.cancelled: list[str] = []
        self.broken: set[str] = set()

    async def launch(self) -> Launched:
        self._answer()
        number = len(self.begun) + 1
        loop = asyncio.get_running_loop()
        name = f"block{number}"
        self.begun[name] = loop.time() + self.queue_s
        if name not in self.broken:
            loop.call_later(self.queue_s, self._begin, name)
        return Launched(str(number), name, "slurm", 1, 0.0)

    def _begin(self, name: str) -> None:
        if name not in self.cancelled:
            self.cluster.add_node(name, {"simulate": 4})

    def _answer(self) -> None:
        if self.down:
            raise BatchFailed("slurm", "Unable to contact slurm controller")

    def _state(self, name: str) -> BatchJob:
        begun = asyncio.get_running_loop().time() >= self.begun[name]
        if name in self.cancelled or (name in self.broken and begun):
            return BatchJob("ended")
        if not begun:
            return BatchJob("waiting")
        node = self.cluster.nodes[name]
        return BatchJob("running" if node.alive else "ended")

    async def states(self, blocks: Sequence[Launched]) -> Mapping[str, BatchJob]:
        self._answer()
        self.questions += 1
        return {each.job: self._state(each.name) for each in blocks}

    async def cancel(self, blocks: Sequence[Launched]) -> None:
        self.cancel_at_once(blocks)

    def cancel_at_once(self, blocks: Sequence[Launched]) -> None:
        self._answer()
        self.cancelled += [each.name for each in blocks]


@contextlib.asynccontextmanager
async def followed(
    session: Session, batch: SimulatedBatch, blocks: Blocks = BLOCKS
) -> AsyncIterator[None]:
    """Have blocks follow the tasks of a session."""
    following = asyncio.create_task(follow_blocks(session.client, session.pools, blocks, batch))
    try:
        yield
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following


@contextlib.contextmanager
def warnings() -> Iterator[list[str]]:
    """Collect the warnings of sessions."""
    told: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("steerio.session")
    logger.addHandler(handler)
    try:
        yield told
    finally:
        logger.removeHandler(handler)


@on_cluster(1)
async def test_blocks_come_for_tasks_and_go_when_there_are_none(
    cluster: SimulatedCluster, session: Session
) -> None:
    batch = SimulatedBatch(cluster)
    async with followed(session, batch):
        await asyncio.sleep(100)
        assert batch.begun == {}
        tasks = session.map(simulation, [20.0] * 90)
        await session.gather(*tasks)
        assert list(batch.begun) == ["block1", "block2", "block3"], "no more than the most"
        begun = asyncio.get_running_loop().time()
        assert begun < 100 + 10 + 30 + 90 / 13 * 20 + 20
        await asyncio.sleep(100)
        assert set(await session.nodes.look()) == {"node-1"}, "all are idle for a minute"
        assert batch.cancelled == []
    assert batch.questions < 60


class Boarded(Campaign):
    """A campaign whose tasks wait on a board, and whose pool has no worker but those of blocks."""

    def __init__(self, paused: bool) -> None:
        self.todo: Board[float] = Board(simulation, [20.0 + n / 100 for n in range(200)])
        self.paused = paused

    async def setup(self) -> None:
        if self.paused:
            await self.pools.pause("simulate")

    @agent
    async def end(self) -> None:
        await asyncio.sleep(50.0)
        self.stop()


@pytest.mark.parametrize(("paused", "blocks"), [(False, 3), (True, 0)])
def test_entries_that_wait_on_boards_want_blocks_unless_their_pool_is_paused(
    paused: bool, blocks: int
) -> None:
    async def play() -> None:
        async with cluster_of(0, 1) as cluster, cluster.session("test") as session:
            campaign = Boarded(paused)
            batch = SimulatedBatch(cluster)
            conductor = Conductor(campaign, session)
            async with followed(session, batch):
                await conductor.run()
                assert len(batch.begun) == blocks

    run_virtual(play(), wall_limit_s=WALL_LIMIT_S)


@on_cluster(1)
async def test_a_block_that_waits_is_cancelled_if_it_is_needed_no_more(
    cluster: SimulatedCluster, session: Session
) -> None:
    batch = SimulatedBatch(cluster, queue_s=1_000.0)
    async with followed(session, batch):
        tasks = session.map(simulation, [5.0] * 10)
        await asyncio.sleep(15)
        assert len(batch.begun) == 3
        session.cancel(tasks)
        await asyncio.sleep(30)
        assert batch.cancelled == []
        await asyncio.sleep(60)
        assert sorted(batch.cancelled) == ["block1", "block2", "block3"]
    assert sorted(batch.cancelled) == ["block1", "block2", "block3"]


@on_cluster(1)
async def test_blocks_end_with_their_follower_unless_they_are_detached(
    cluster: SimulatedCluster, session: Session
) -> None:
    for detach in (False, True):
        batch = SimulatedBatch(cluster, queue_s=1_000.0)
        blocks = Blocks(scheduler="slurm", walltime_s=60.0, least=1, detach=detach)
        async with followed(session, batch, blocks):
            await asyncio.sleep(1)
        assert batch.cancelled == ([] if detach else ["block1"])


@on_cluster(1)
async def test_a_batch_system_that_fails_is_asked_again_after_pauses(
    cluster: SimulatedCluster, session: Session
) -> None:
    batch = SimulatedBatch(cluster)
    batch.down = True
    batch.broken = {"block1"}
    with warnings() as told:
        async with followed(session, batch):
            tasks = session.map(simulation, [20.0] * 40)
            await asyncio.sleep(65)
            assert [text.rpartition("again in ")[2] for text in told] == ["10 s", "20 s", "40 s"]
            assert "Unable to contact slurm controller" in told[0]
            batch.down = False
            await session.gather(*tasks)
            await asyncio.sleep(200)
    assert any("block1 (job 1) has ended before its nodes came" in text for text in told)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scheduler": "lfs"}, "is no batch system"),
        ({"least": 2}, "least and most are whole numbers"),
        ({"look_s": 0.0}, "look_s is a number of seconds above 0"),
        ({"nodes": 0}, "nodes is a whole number"),
    ],
)
def test_blocks_that_cannot_be_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Blocks(**{"scheduler": "slurm", "walltime_s": 60.0, **wrong}).check()  # type: ignore[arg-type]


@on_cluster(1)
async def test_a_broker_without_a_run_directory_has_no_blocks(
    cluster: SimulatedCluster, session: Session
) -> None:
    with pytest.raises(UsageError, match="nodes find a broker by its run directory"):
        await session.nodes.follow(BLOCKS)


AWAY_S = 60.0


@pytest.mark.parametrize("restarts", [True, False])
def test_blocks_stay_while_the_broker_is_away_and_end_when_it_is_lost(restarts: bool) -> None:
    async def play(for_s: float, cancelled: list[str]) -> None:
        fault = RestartBroker(5, for_s=for_s) if restarts else PartitionNode(5, "laptop", for_s)
        settings = Settings(beat_s=2.0, away_s=AWAY_S)
        async with (
            cluster_of(1, faults=[fault], settings=settings) as cluster,
            cluster.session("far", host="laptop") as far,
        ):
            batch = SimulatedBatch(cluster, queue_s=1_000.0)
            blocks = replace(BLOCKS, least=1)
            following = asyncio.create_task(follow_blocks(far.client, far.pools, blocks, batch))
            await asyncio.wait([following], timeout=150)
            assert list(batch.begun) == ["block1"]
            assert batch.cancelled == cancelled
            if cancelled:
                with pytest.raises(BrokerLost):
                    await following
            else:
                assert batch.questions > 5, "and it goes on to look"
                following.cancel()
                await asyncio.wait([following])

    run_virtual(play(40.0, []), wall_limit_s=WALL_LIMIT_S)
    run_virtual(play(10_000.0, ["block1"]), wall_limit_s=WALL_LIMIT_S)


@on_cluster(1)
async def test_a_block_whose_retirement_fails_is_told_of_and_given_up_again(
    cluster: SimulatedCluster, session: Session
) -> None:
    drain, asked = session.client.requests.drain_node, list[str]()

    async def fail_twice(node: str, within_s: float | None, *, retire: bool) -> NodeNews:
        asked.append(node)
        if len(asked) == 1:
            return NodeNews(0, "refused", "not now")
        if len(asked) == 2:
            raise BrokerLost("it is gone")
        return await drain(node, within_s, retire=retire)

    session.client.requests.drain_node = fail_twice  # type: ignore[method-assign]
    batch = SimulatedBatch(cluster)
    with warnings() as told:
        async with followed(session, batch):
            await session.gather(*session.map(simulation, [20.0] * 5))
            await asyncio.sleep(400)
            assert set(await session.nodes.look()) == {"node-1"}
    assert asked == ["block1"] * 3
    assert told == [
        "node block1 of block block1 does not retire: not now",
        "node block1 of block block1 does not retire: it is gone",
    ]
