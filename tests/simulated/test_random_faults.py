"""Whatever goes wrong, every task ends exactly once, and no worker is lost or won."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steerio import Session, TaskEnded, TaskQueued, TaskRetried, TaskStarted
from steerio.model.tasks import CLIENT_BITS
from steerio.session.task_type import TaskType
from steerio.testing import (
    FailStarts,
    HangWorker,
    KillNode,
    KillWorker,
    Model,
    PartitionNode,
    RandomKills,
    SimulatedCluster,
    SlowNode,
    run_virtual,
)
from tests.simulated.virtual import (
    WALL_LIMIT_S,
    as_asked,
    cluster_of,
    counting,
    of_kind,
    simulation,
    training,
)

NODES = 3
END_S = 200.0
"""After this nothing goes wrong any more."""

seconds = st.floats(0.01, END_S / 2)
nodes = st.sampled_from([f"node-{n + 1}" for n in range(NODES)])
pools = st.sampled_from(["", "simulate", "learn"])
faults = st.lists(
    st.one_of(
        st.builds(KillWorker, seconds, pool=pools),
        st.builds(HangWorker, seconds, pool=pools),
        st.builds(KillNode, seconds, nodes, st.none() | seconds),
        st.builds(SlowNode, seconds, nodes, st.floats(0.1, 10), seconds),
        st.builds(PartitionNode, seconds, nodes, seconds),
        st.builds(RandomKills, st.floats(0.01, 1), pools, st.just(END_S)),
        st.builds(FailStarts, st.just("learn"), at_s=seconds, for_s=seconds),
    ),
    max_size=6,
)


class Request(NamedTuple):
    """One task: what it is asked to do, and when its submitter thinks better of it."""

    kind: TaskType[..., Any]
    takes: int
    priority: int
    timeout_s: float
    lost: int
    cancel_s: float | None
    gang: int


requests = st.lists(
    st.builds(
        Request,
        st.sampled_from([simulation, simulation, training, counting]),
        st.integers(0, 40),
        st.integers(-2, 2),
        st.sampled_from([5.0, 30.0, 60.0]),
        st.integers(0, 3),
        st.none() | st.floats(0, END_S),
        st.sampled_from([1, 1, 1, 2, 3]),
    ),
    min_size=1,
    max_size=25,
)
models = st.builds(
    lambda fails, crashes, obeys: {
        simulation: Model(as_asked, fails=fails, crashes=crashes, obeys=obeys),
        training: Model(as_asked, crashes=crashes),
        counting: Model(0.5, fails=fails),
    },
    st.sampled_from([0.0, 0.2]),
    st.sampled_from([0.0, 0.1]),
    st.sampled_from(["asked", "term", "kill"]),
)


async def play(session: Session, asked: list[Request]) -> Counter[str]:
    """Submit everything, cancel some of it, and return how often each way to end was seen."""
    loop = asyncio.get_running_loop()
    ended: Counter[str] = Counter()
    tasks = []
    for request in asked:
        options = session.options(
            priority=request.priority,
            timeout_s=request.timeout_s,
            retries={"lost": request.lost, "timed_out": 1},
            gang=1 if request.kind is counting else request.gang,
        )
        task = options.submit(request.kind, request.takes)
        task.add_done_callback(lambda done: ended.update([done.state]))
        tasks.append(task)
        if request.cancel_s is not None:
            loop.call_later(request.cancel_s, task.cancel)
    for task in tasks:
        await task.result()
    await asyncio.sleep(max(0.0, 2 * END_S - loop.time()) + 100)  # until all is quiet
    return ended


def check(cluster: SimulatedCluster, ended: Counter[str], asked: list[Request]) -> None:
    """Assert what must hold once everything has ended."""
    events = cluster.record.events
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    queued = [event.task_id for event in of_kind(events, TaskQueued)]
    finished = [event.task_id for event in of_kind(events, TaskEnded)]
    assert len(queued) == len(asked)
    assert sorted(finished) == sorted(queued), "every task ended exactly once"
    assert ended.total() == len(asked), "and its handle was told once"
    assert {task_id >> CLIENT_BITS for task_id in queued} == {0}
    last = {event.task_id: event.attempt for event in of_kind(events, TaskEnded)}
    for event in [*of_kind(events, TaskStarted), *of_kind(events, TaskRetried)]:
        assert event.attempt <= last[event.task_id], "no attempt after the last"
    cluster.broker.core.check(asyncio.get_running_loop().time())
    assert not cluster.broker.core.tasks
    assert not cluster.broker.core.runs
    known = cluster.broker.core.workers
    living = {worker.name for worker in cluster.workers()}
    assert living == set(known), "the broker knows who lives"
    for node in cluster.nodes.values():
        present = Counter(worker.pool for worker in node.workers.values())
        for pool, count in node.offers.items():
            failed = bool(cluster.broker.core.pools[pool].failure)
            assert present[pool] <= count
            assert present[pool] == count or not node.alive or failed or pool == "learn"


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    script=faults,
    asked=requests,
    model=models,
    seed=st.integers(0, 2**32),
    latency_s=st.sampled_from([0.0, 0.0, 0.05]),
)
def test_every_task_ends_once_and_workers_are_conserved(
    script: list[Any], asked: list[Request], model: Any, seed: int, latency_s: float
) -> None:
    async def scene() -> None:
        cluster = cluster_of(
            4, 2, model=model, seed=seed, nodes=NODES, faults=script, latency_s=latency_s
        )
        async with cluster, cluster.session("test") as session:
            check(cluster, await play(session, asked), asked)

    run_virtual(scene(), wall_limit_s=WALL_LIMIT_S)
