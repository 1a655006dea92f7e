"""Real workers that move between pools: the same processes where they can be, warm ones else."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

import steerio
from steerio import (
    MoveDeadlock,
    MoveFailed,
    Session,
    Settings,
    Succeeded,
    TaskEnded,
    TaskProgress,
    WorkerLost,
    WorkerMoved,
)
from tests.real import programs
from tests.real.test_losing_workers import parent_of

SOON_S = 10.0


@steerio.task(pool="simulate")
def simulate(seconds: float) -> int:
    """Say that it began, take so long, and return the process."""
    steerio.report(message="began")
    time.sleep(seconds)
    return os.getpid()


@steerio.task(pool="learn")
def learn(seconds: float) -> int:
    """Take so long; return the process."""
    time.sleep(seconds)
    return os.getpid()


@steerio.task(pool="plot", preload=["xml.dom.minidom"])
def plot() -> tuple[int, bool]:
    """Return the process, and whether it was forked from one that had loaded the module."""
    import sys

    return os.getpid(), "xml.dom.minidom" in sys.modules


async def test_a_move_that_was_granted_stays_so_when_its_session_is_closed() -> None:
    async with steerio.open_session(workers={"simulate": 1, "learn": 0}) as session:
        move = session.pools.move("simulate", "learn", 1)
        moved = await move
    assert move.state == "granted"
    assert await move == moved


async def test_a_lent_worker_is_the_same_process_and_goes_home() -> None:
    async with steerio.open_session(workers={"simulate": 1, "learn": 0}) as session:
        process = await session.run(simulate, 0.0)
        async with session.pools.lend("simulate", to="learn"):
            assert await session.run(learn, 0.0) == process
            waiting = session.submit(simulate, 0.0)
            assert repr(session.pools) == (
                "<Pools simulate: 0 busy, 0 idle, 1 lent; learn: 0 busy, 1 idle, 1 borrowed>"
            )
        assert await waiting == process


async def test_what_runs_in_c_code_is_preempted_and_runs_again() -> None:
    async with (
        steerio.open_session(workers={"simulate": 1, "learn": 0}) as session,
        session.events(TaskProgress, WorkerMoved, WorkerLost) as events,
    ):
        slow = session.options(cancel_grace_s=0.1).submit(simulate, 1.0)
        assert isinstance(await anext(events), TaskProgress)
        async with asyncio.timeout(SOON_S):
            async with session.pools.lend("simulate", to="learn", how="preempt"):
                assert await session.run(learn, 0.0) != 0
            assert await slow != 0
        result = await slow.result()
        assert (type(result), result.attempt) == (Succeeded, 2)
        moved = await anext(events)
        assert isinstance(moved, WorkerMoved), "nobody had to be killed for it"


def test_a_worker_for_a_pool_that_needs_more_is_forked_warm(tmp_path: Path) -> None:
    class Drawing(steerio.Campaign):
        """Borrow a worker to draw."""

        async def setup(self) -> None:
            """Do it."""
            self.before = await self.run(simulate, 0.0)
            async with self.pools.lend("simulate", to="plot"):
                self.there, self.warm = await self.run(plot)
            self.after = await self.run(simulate, 0.0)

    drawing = Drawing()
    workers = {"simulate": 1, "plot": 0, "learn": 0}
    steerio.run(drawing, workers=workers, run_dir=tmp_path / "run", progress="off")
    assert drawing.warm
    assert drawing.there != drawing.before
    assert drawing.after == drawing.there, "who has more than its pool needs stays as it is"


async def test_a_move_that_never_can_be_says_so_at_once() -> None:
    async with steerio.open_session(workers={"simulate": 1, "learn": 0}) as session:
        with pytest.raises(MoveFailed, match="has 1 worker of its own, and was asked for 2"):
            await session.pools.move("simulate", "learn", 2)


async def test_leases_of_two_clients_that_wait_for_each_other_do_not_wait_for_ever(
    tmp_path: Path,
) -> None:
    place = tmp_path / "run"
    workers = {"simulate": 1, "learn": 1}
    both = asyncio.Barrier(2)

    async def takes(session: Session, first: str, second: str) -> str:
        async with session.pools.lend(first, to=second):
            await both.wait()
            async with session.pools.lend(second, to=first):
                return "both"

    async with (
        steerio.open_session(workers=workers, run_dir=place, name="one") as one,
        steerio.connect(place, name="two") as two,
        asyncio.timeout(SOON_S),
    ):
        came = await asyncio.gather(
            takes(one, "simulate", "learn"),
            takes(two, "learn", "simulate"),
            return_exceptions=True,
        )
        assert "both" in came
        (error,) = [each for each in came if isinstance(each, MoveDeadlock)]
        assert "one holds 1 of 'simulate' (lent to 'learn') and waits for 1 of 'learn'" in str(
            error
        )
        while {name: load.workers for name, load in one.pools.items()} != workers:
            await one.status()


async def test_workers_and_nodes_killed_at_random_while_they_move_lose_nobody_and_nothing() -> None:
    chance = random.Random(7)
    sizes = {"simulate": 2, "learn": 1}
    async with (
        steerio.open_session(workers=sizes, settings=Settings(kills=100)) as session,
        session.events(TaskEnded) as ended,
    ):
        options = session.options(retries={"lost": 100})
        async with asyncio.TaskGroup() as group:
            group.create_task(_lend(session, "simulate", "learn", 60))
            group.create_task(_lend(session, "learn", "simulate", 60))
            group.create_task(_kill(session, chance, workers=12, nodes=2))
            tasks = options.map(simulate, [0.02] * 200) + options.map(learn, [0.02] * 100)
            results = [await task.result() for task in tasks]
        assert Counter(type(result).__name__ for result in results) == {"Succeeded": 300}
        ends = Counter([(await anext(ended)).task_id for _ in tasks])
        assert set(ends.values()) == {1}
        async with asyncio.timeout(SOON_S):
            while {name: load.workers for name, load in session.pools.items()} != sizes:
                await session.status()
        assert {name: load.at_home for name, load in session.pools.items()} == sizes
        assert not any(load.promised for load in session.pools.values())


async def _lend(session: Session, source: str, to: str, times: int) -> None:
    for number in range(times):
        how = "preempt" if number % 3 == 0 else "drain"
        try:
            async with session.pools.lend(source, to=to, how=how, give_back=how):
                await asyncio.sleep(0.02)
        except MoveFailed:  # its node was lost, and all workers with it
            await asyncio.sleep(0.1)


async def _kill(session: Session, chance: random.Random, *, workers: int, nodes: int) -> None:
    for number in range(workers):
        await asyncio.sleep(0.1)
        status = await session.status()
        if not status.workers:
            continue
        pid = chance.choice(status.workers).pid
        victim = pid
        if pid and number % (workers // nodes) == workers // nodes - 1:
            victim = parent_of(parent_of(pid)) if programs.lives(pid) else 0
        if victim and programs.lives(victim):
            os.kill(victim, signal.SIGKILL)
