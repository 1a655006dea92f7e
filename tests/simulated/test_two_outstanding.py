"""Two short tasks outstanding for each worker keep it busy, and no task waits where it need not."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import pairwise

from steerio import Session, Succeeded, task
from steerio.core.ahead import SHARE_S
from steerio.core.records import TRIP_S
from steerio.testing import Model, SimulatedCluster
from tests.simulated.virtual import as_asked, on_cluster

WORKERS = 4
LATENCY_S = 0.0004
"""From a worker to the broker, or back."""
FIRST = 2 * WORKERS
"""Tasks that may be sent before the broker knows how long one takes."""


@task(pool="simulate")
def short(seconds: float) -> float:
    """Take so long, which is mostly short."""
    return seconds


@task(pool="simulate")
def other(seconds: float) -> float:
    """Take so long, too, though it is of another type."""
    return seconds


MODEL = {short: Model(as_asked), other: Model(as_asked)}


async def keep_outstanding(session: Session, count: int, seconds: list[float]) -> None:
    """Submit a task for each that ends, so that ``count`` of them are outstanding."""
    to_come = iter(seconds)

    async def one_after_the_other() -> None:
        for each in to_come:
            await session.run(short, each)

    await asyncio.gather(*(one_after_the_other() for _ in range(count)))


def gaps_s(cluster: SimulatedCluster, leave_out: int = 0) -> list[float]:
    """Return how long workers had nothing to do between two tasks."""
    by_worker: defaultdict[str | None, list[tuple[float, float]]] = defaultdict(list)
    for entry in cluster.record.tasks:
        assert entry.started is not None
        assert entry.ended is not None
        by_worker[entry.worker].append((entry.started, entry.ended))
    assert len(by_worker) == WORKERS
    found: list[float] = []
    for times in by_worker.values():
        found += [begun - ended for (_, ended), (begun, _) in pairwise(sorted(times)[leave_out:])]
    return found


@on_cluster(WORKERS, latency_s=LATENCY_S, model=MODEL)
async def test_a_worker_goes_from_one_task_to_the_next_without_a_gap(
    cluster: SimulatedCluster, session: Session
) -> None:
    await keep_outstanding(session, 2 * WORKERS, [0.01] * 1_000)
    assert max(gaps_s(cluster, leave_out=FIRST)) < 1e-9


@on_cluster(WORKERS, latency_s=LATENCY_S, model=MODEL)
async def test_with_one_outstanding_it_waits_for_a_round_trip(
    cluster: SimulatedCluster, session: Session
) -> None:
    await keep_outstanding(session, WORKERS, [0.01] * 100)
    assert min(gaps_s(cluster)) > 1.9 * LATENCY_S


@on_cluster(WORKERS, latency_s=LATENCY_S, model=MODEL)
async def test_tasks_of_different_lengths_leave_hardly_a_gap(
    cluster: SimulatedCluster, session: Session
) -> None:
    lengths = [0.004 + 0.001 * (number * 7 % 13) for number in range(1_000)]
    await keep_outstanding(session, 2 * WORKERS, lengths)
    assert sum(gaps_s(cluster, leave_out=FIRST)) < 0.001 * sum(lengths)


@on_cluster(2, model=MODEL)
async def test_a_task_that_waits_behind_another_goes_to_a_worker_that_is_idle_before(
    cluster: SimulatedCluster, session: Session
) -> None:
    del cluster
    await session.run(short, 0.04)
    await session.run(other, 0.045)
    tasks = [session.submit(short, 0.04), session.submit(other, 0.005), session.submit(short, 0.04)]
    long, ends_early, waits = [await each.result() for each in tasks]
    assert isinstance(long, Succeeded)
    assert isinstance(ends_early, Succeeded)
    assert isinstance(waits, Succeeded)
    assert waits.worker == ends_early.worker != long.worker
    assert waits.timings.started is not None
    assert ends_early.timings.ended is not None
    assert waits.timings.started - ends_early.timings.ended < SHARE_S + TRIP_S + 1e-9
    assert waits.attempt == 1


@on_cluster(2, model=MODEL)
async def test_no_task_waits_behind_one_that_turns_out_long(
    cluster: SimulatedCluster, session: Session
) -> None:
    del cluster
    await keep_outstanding(session, 2, [0.01] * 10)
    long = session.submit(short, 60.0)
    loop = asyncio.get_running_loop()
    submitted = loop.time()
    await keep_outstanding(session, 4, [0.01] * 100)
    assert not long.done
    assert loop.time() - submitted < 100 * 0.01 + 0.3
