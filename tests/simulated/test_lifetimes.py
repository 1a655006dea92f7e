"""Whatever happens, a value in the store is there while it is needed, and not for longer."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from steerio import Failed, Lost, Result, Session, Succeeded, Task, task
from steerio.model.objects import StoreSetting
from steerio.session.reference import Reference
from steerio.testing import (
    HangWorker,
    KillNode,
    KillWorker,
    Model,
    PartitionNode,
    RandomKills,
    SimulatedCluster,
    run_virtual,
)
from tests.simulated.virtual import WALL_LIMIT_S

NODES = 3
STEPS = 24
END_S = 100.0
"""After this nothing goes wrong any more."""
QUIET_S = 400.0
LENGTH = 64
SETTING = StoreSetting(threshold_bytes=100)
"""What is made here is longer than that."""

Array = np.ndarray[Any, np.dtype[np.int64]]


def content(key: int) -> Array:
    """Return the one right value of a key."""
    return np.full(LENGTH, key)


def check(key: int, value: Array) -> None:
    """Assert that a value is the right one."""
    assert value.shape == (LENGTH,)
    assert (value == key).all(), f"{value[0]} was read where {key} was put"


@task(pool="simulate")
def use(own: int, given: Array, shared: dict[int, Any], model: Array | None = None) -> Array:
    """Check all that it is given; return a value of its own, with the key of the model."""
    check(own, given)
    for key, value in shared.items():
        check(key, value)
    if model is not None:
        check(int(model[0]), model)
    value = content(-own)
    value[-1] = 0 if model is None else model[0]
    return value


@task(pool="simulate")
def stream(first: int, count: int) -> Iterator[Array]:
    for key in range(first, first + count):
        yield content(key)


def takes(rng: random.Random, *_: object) -> float:
    """Let tasks be so short that they are sent ahead, or so long that much happens meanwhile."""
    return rng.choice([0.0001, 0.0001, 0.01, 3.0, 20.0])


MODELS = {use: Model(takes, fails=0.05, crashes=0.02), stream: Model(0.5, crashes=0.02)}

seconds = st.floats(0.01, END_S / 2)
nodes = st.sampled_from([f"node-{n + 1}" for n in range(NODES)])
faults = st.lists(
    st.one_of(
        st.builds(KillWorker, seconds),
        st.builds(HangWorker, seconds),
        st.builds(KillNode, seconds, nodes, seconds),
        st.builds(PartitionNode, seconds, nodes, seconds),
        st.builds(RandomKills, st.floats(0.01, 0.5), until_s=st.just(END_S)),
    ),
    max_size=4,
)


class Player:
    """One session that does, at random, whatever can be done with values, and checks them."""

    def __init__(self, cluster: SimulatedCluster, session: Session, rng: random.Random) -> None:
        self.cluster = cluster
        self.session = session
        self.rng = rng
        self.references: dict[int, Reference] = {}
        self.tasks: list[Task[Any]] = []
        self.readers: list[asyncio.Task[None]] = []
        self.published: dict[int, int] = {}
        """The key of each version that was published here."""
        self.models = session.versions("model")

    async def play(self, steps: int) -> None:
        """Do so many things."""
        deeds = [
            self.submits,
            self.submits,
            self.submits,
            self.puts,
            self.puts,
            self.drops,
            self.cancels,
            self.publishes,
            self.follows,
            self.reads,
            self.streams,
            self.moves,
        ]
        for _ in range(steps):
            await self.rng.choice(deeds)()
            await asyncio.sleep(self.rng.choice([0, 0, 0.001, 0.5, 5.0]))
            check_store(self.cluster)

    def key(self) -> int:
        return self.rng.randrange(1, 10**9)

    async def puts(self) -> None:
        key = self.key()
        self.references[key] = await self.session.put(content(key))

    async def drops(self) -> None:
        if self.references:
            del self.references[self.rng.choice(list(self.references))]

    async def submits(self) -> None:
        keys = [key for key in self.references if self.rng.random() < 0.3]
        shared: dict[int, Any] = {key: self.references[key] for key in keys}
        if self.rng.random() < 0.3:
            key = self.key()
            shared[key] = content(key)
        key = self.key()
        if self.rng.random() < 0.2:
            first = self.key()
            one = await self.session.put(content(first))  # nobody keeps it but the task
            shared[first] = one
            del one
        options = self.session.options(
            priority=self.rng.randrange(3),
            retries={"lost": 5, "failed": 1, "timed_out": 1},
            timeout_s=self.rng.choice([1.0, 60.0, 60.0]),
        )
        takes_model = self.rng.random() < 0.4 and self.cluster.broker.core.cluster.versions.newest
        for _ in range(self.rng.choice([1, 1, 1, 8])):
            args = (key, content(key), shared, *([self.models.latest] if takes_model else []))
            self.tasks.append(options.submit(use, *args))

    async def cancels(self) -> None:
        if self.tasks:
            self.rng.choice(self.tasks).cancel()

    async def publishes(self) -> None:
        key = self.key()
        self.published[await self.models.publish(content(key))] = key

    async def follows(self) -> None:
        """Wait for a version, as long as it takes, or until this has gone on for too long."""

        async def follow() -> None:
            reference = await self.models.next(after=self.rng.choice([0, 0, 1, 3]))
            value = await reference
            check(int(value[0]), value)

        self.readers.append(asyncio.create_task(follow()))

    async def reads(self) -> None:
        if self.references:
            key = self.rng.choice(list(self.references))
            check(key, await self.references[key])

    async def streams(self) -> None:
        """Read some items of a generator task, and perhaps not all of them."""
        first, count = self.key(), self.rng.randrange(1, 30)
        read = self.rng.choice([0, 3, count])

        async def follow() -> None:
            place = 0
            async for item in self.tasks_items(first, count):
                check(int(item[0]), item)
                assert item[0] == first + place, "each of an attempt, once"
                place += 1
                if place >= read:
                    break

        self.readers.append(asyncio.create_task(follow()))

    async def tasks_items(self, first: int, count: int) -> AsyncGenerator[Array]:
        options = self.session.options(retries={"lost": 5}, timeout_s=60.0)
        running = options.submit(stream, first, count)
        self.tasks.append(running)
        async for item in running.items():
            yield item

    async def moves(self) -> None:
        source, target = self.rng.sample(["simulate", "learn"], 2)
        self.session.pools.move(source, target, 1, preempt_after_s=self.rng.choice([None, 0.0]))

    async def end(self) -> None:
        """Wait for all that was begun, look at what came of it, and keep nothing of that."""
        for reader in self.readers:
            reader.cancel()
        await asyncio.gather(*self.readers, return_exceptions=True)
        for each in self.tasks:
            check_result(await each.result(), self.published)
        self.references.clear()
        self.tasks.clear()
        self.readers.clear()


def check_result(result: Result, published: dict[int, int]) -> None:
    """Assert that no task found a value missing, or a wrong one."""
    if isinstance(result, Failed):
        assert "fails by its model" in result.error.message, result.error
    elif isinstance(result, Succeeded) and result.task_type == use.name:
        *value, model = result.value
        assert value == [-result.args[0]] * (LENGTH - 1)
        number = result.versions.get("model", 0)
        assert (model == 0) == (number == 0)
        assert model == published.get(number, model)
    elif isinstance(result, Lost):
        assert "object" not in result.reason


def check_store(cluster: SimulatedCluster) -> None:
    """Assert that what is held is there."""
    cluster.broker.core.check(asyncio.get_running_loop().time())
    held = set(cluster.broker.core.held)
    assert held <= cluster.store.objects.keys(), "what is needed is gone"


async def visit(cluster: SimulatedCluster, rng: random.Random) -> None:
    """Come and go, whatever is still under way."""
    for number in range(3):
        await asyncio.sleep(rng.random() * END_S / 4)
        host = rng.choice(["", f"host-{number}"])
        async with cluster.session(f"guest-{number}", host=host) as session:
            guest = Player(cluster, session, rng)
            await guest.play(STEPS // 4)
            for reader in guest.readers:
                reader.cancel()
            await asyncio.gather(*guest.readers, return_exceptions=True)
            for each in guest.tasks:
                each.awaited = True


# a scene takes most of a second
@settings(
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=settings().max_examples // 3,
)
@example([PartitionNode(5.0, "node-2", 30.0)], 0, 0.0)  # its workers go on when they are lost
@given(script=faults, seed=st.integers(0, 2**32), latency_s=st.sampled_from([0.0, 0.0, 0.05]))
def test_no_value_is_gone_while_it_is_needed_or_kept_when_it_is_not(
    script: list[Any], seed: int, latency_s: float
) -> None:
    store: dict[bytes, Any] = {}

    async def scene() -> None:
        cluster = SimulatedCluster(
            {"simulate": 4, "learn": 1},
            model=MODELS,
            seed=seed,
            nodes=NODES,
            faults=script,
            latency_s=latency_s,
            store=SETTING,
        )
        async with cluster, cluster.session("test") as session:
            nonlocal store
            store = cluster.store.objects
            player = Player(cluster, session, random.Random(seed))
            visiting = asyncio.create_task(visit(cluster, random.Random(seed + 1)))
            await player.play(STEPS)
            await visiting
            await player.end()
            del visiting
            gc.collect()
            await asyncio.sleep(QUIET_S)
            check_store(cluster)
            newest = cluster.broker.core.cluster.versions.newest
            assert list(store) == [version.stored.name for version in newest.values()]
            load = await session.store.statistics()
            assert (load.objects, load.by_tasks, load.by_clients) == (len(newest), 0, {})
            assert "error" not in cluster.broker.dropped
        del session

    run_virtual(scene(), wall_limit_s=WALL_LIMIT_S)
    assert store == {}
