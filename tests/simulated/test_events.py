"""Events are numbered without a gap, filtered, read again, and missed only with a word of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from msgspec import structs

from steerio import (
    EventsMissed,
    Published,
    Session,
    StoreSetting,
    TaskEnded,
    TaskFailed,
    TaskProgress,
    TaskQueued,
    TaskStarted,
    TaskYielded,
    WorkerJoined,
)
from steerio.model import messages as ms
from steerio.model.events import AnyEvent
from steerio.session.event_stream import EVENTS_AHEAD
from steerio.testing import Model, RandomKills, SimulatedCluster
from steerio.testing.network import CONGESTED_AT
from steerio.testing.simulated_cluster import SIMULATED
from tests.simulated.virtual import (
    as_asked,
    cluster_of,
    counting,
    in_virtual_time,
    of_kind,
    on_cluster,
    reporting,
    simulation,
    training,
)


def numbers(events: list[AnyEvent]) -> list[int]:
    return [event.number for event in events]


@on_cluster(3, 1, faults=[RandomKills(0.5, until_s=60)])
async def test_events_are_numbered_without_a_gap_and_in_the_order_of_time(
    cluster: SimulatedCluster, session: Session
) -> None:
    simulations = session.options(retries={"lost": 100}).map(simulation, [3.0] * 30)
    trainings = session.options(retries={"lost": 100}).map(training, [1] * 5)
    for task in simulations + trainings:
        await task.result()
    events = cluster.record.events
    assert numbers(events) == list(range(1, len(events) + 1))
    assert [event.at for event in events] == sorted(event.at for event in events)


@on_cluster(1, 1)
async def test_a_stream_brings_what_it_was_asked_for(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with (
        session.events(TaskEnded, pool="learn") as of_pool,
        session.events(TaskQueued, TaskEnded, task_type=simulation) as of_type,
    ):
        for _ in range(2):
            await session.run(simulation, 1.0)
            await session.run(training, 1)
        await asyncio.sleep(1)
        assert [(await anext(of_pool)).pool for _ in range(2)] == ["learn"] * 2
        seen = [type(await anext(of_type)) for _ in range(4)]
        assert seen == [TaskQueued, TaskEnded] * 2


@on_cluster(1)
async def test_events_can_be_read_again_from_the_start(
    cluster: SimulatedCluster, session: Session
) -> None:
    await session.run(simulation, 1.0)
    async with session.events(since=0) as events:
        seen = [await anext(events) for _ in range(len(cluster.record.events))]
    assert seen == cluster.record.events[: len(seen)]
    assert {type(event) for event in seen} >= {WorkerJoined, TaskQueued, TaskStarted, TaskEnded}


@on_cluster(4)
async def test_a_reader_that_falls_behind_is_told_what_it_missed_and_can_read_it(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with session.events(TaskEnded, TaskStarted, TaskQueued) as events:
        await session.gather(*session.map(simulation, [1.0] * 4_000))
        await asyncio.sleep(1)
        seen = [await anext(events) for _ in range(EVENTS_AHEAD + 1)]
        missed = seen.pop()
    assert isinstance(missed, EventsMissed)
    assert missed.count == 3 * 4_000 - EVENTS_AHEAD
    assert missed.first > seen[-1].number
    async with session.events(TaskEnded, TaskStarted, TaskQueued, since=missed.first - 1) as again:
        found = [await anext(again) for _ in range(missed.count)]
    assert numbers(seen + found) == sorted({event.number for event in seen + found})
    assert len(seen + found) == 3 * 4_000


@on_cluster(4)
async def test_what_since_asks_for_comes_whole_however_much_it_is(
    cluster: SimulatedCluster, session: Session
) -> None:
    await session.gather(*session.map(simulation, [1.0] * 4_000))
    async with session.events(since=0) as events:
        await asyncio.sleep(1)  # all of it has arrived before the first is read
        log = cluster.record.events
        assert len(log) > EVENTS_AHEAD
        assert [await anext(events) for _ in log] == log


@on_cluster(4)
async def test_events_missed_tell_when_the_first_of_them_happened(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with session.events(TaskEnded) as events:
        await session.gather(*session.map(simulation, [1.0] * (EVENTS_AHEAD + 4)))
        missed = [await anext(events) for _ in range(EVENTS_AHEAD + 1)][-1]
    assert isinstance(missed, EventsMissed)
    assert missed.at == cluster.record.events[missed.first - 1].at > 0


@on_cluster(1)
async def test_streams_end_with_their_broker_and_leave_nothing_behind(
    cluster: SimulatedCluster, session: Session
) -> None:
    before = len(session.client._on_lost)
    for _ in range(10):
        async with session.events():
            pass
    assert len(session.client._on_lost) == before
    async with session.events(TaskEnded) as events:
        cluster.broker.close("it is over")
        assert [event async for event in events] == []


@on_cluster(1)
async def test_many_may_ask_for_the_status_at_a_time(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with cluster.session("far", host="laptop") as far:
        answers = await asyncio.gather(*(far.status() for _ in range(10)))
        assert len({answer.request for answer in answers}) == 10
        assert far.client.requests._answers == {}


@on_cluster(1)
async def test_an_answer_of_another_kind_is_none(
    cluster: SimulatedCluster, session: Session
) -> None:
    asking = asyncio.ensure_future(session.status())
    await asyncio.sleep(0)
    (number,) = session.client.requests._answers
    session.client.requests.answered(ms.PauseNews(number, "not asked"))
    assert list((await asking).pools) == ["simulate"]


@in_virtual_time
async def test_a_subscriber_behind_a_slow_network_is_told_what_it_missed() -> None:
    async with cluster_of(1) as cluster, cluster.session("near") as near:
        async with cluster.session("far", host="laptop") as far, far.events(TaskEnded) as events:
            await asyncio.sleep(1)
            cluster.cut_off("laptop")
            count = CONGESTED_AT + 500
            await near.gather(*near.map(simulation, [0.005] * count))
            cluster.heal("laptop")
            await near.run(simulation, 1.0)
            await asyncio.sleep(1)
            seen = 0
            while seen < count + 1:
                event = await anext(events)
                seen += event.count if isinstance(event, EventsMissed) else 1
                if isinstance(event, EventsMissed):
                    assert event.count > 100
            assert seen == count + 1, "each was brought, or counted as missed"


@dataclass
class Verdict:
    molecule: str
    good: bool


@on_cluster(1)
async def test_what_is_published_reaches_every_stream(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with session.events(Published) as events:
        session.publish(Verdict("CCO", good=True))
        event = await anext(events)
    assert (event.topic, event.value) == ("Verdict", {"molecule": "CCO", "good": True})


@on_cluster(1)
async def test_a_task_tells_how_far_it_is(cluster: SimulatedCluster, session: Session) -> None:
    task = session.submit(reporting, 4)
    await task
    told = of_kind(cluster.record.events, TaskProgress)
    assert [event.fraction for event in told] == [0, 0.25, 0.5, 0.75]
    assert told[0].task_id == task.id


@on_cluster(1)
async def test_a_generator_is_held_back_by_its_reader(
    cluster: SimulatedCluster, session: Session
) -> None:
    items = []
    async for item in session.stream(counting, 40):
        items.append(item)
        if item == 0:
            await asyncio.sleep(1000)
            ahead = len(of_kind(cluster.record.events, TaskYielded))
            assert ahead == cluster.settings.items, "it waits for its reader"
    assert items == list(range(40))


@pytest.mark.parametrize(("nbytes", "ahead"), [(600, 2), (10_000, 2), (300, 4), (1, 16)])
@pytest.mark.parametrize("threshold_bytes", [100, None])
def test_a_generator_is_held_back_by_the_length_of_its_items(
    nbytes: int, ahead: int, threshold_bytes: int | None
) -> None:
    def blobs(to: int) -> Iterator[bytes]:
        yield from (bytes(nbytes) for _ in range(to))

    @on_cluster(
        1,
        model={counting: Model(1.0, value=blobs)},
        settings=structs.replace(SIMULATED, items_bytes=1_000),
        store=StoreSetting(threshold_bytes=threshold_bytes),
    )
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        lengths = []
        async for item in session.stream(counting, 40):
            lengths.append(len(item))
            if len(lengths) in (1, 20):
                taken = len(lengths) - 1
                await asyncio.sleep(1000)
                assert len(of_kind(cluster.record.events, TaskYielded)) == taken + ahead
        assert lengths == [nbytes] * 40

    scene()


def test_a_generator_that_nobody_reads_any_more_is_cancelled() -> None:
    @on_cluster(1, model={counting: Model(1.0), simulation: Model(as_asked)})
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        stream = session.stream(counting, 1_000)
        assert [await anext(stream), await anext(stream)] == [0, 1]
        await stream.aclose()  # type: ignore[attr-defined]
        assert await session.run(simulation, 1.0) == 1.0
        assert asyncio.get_running_loop().time() == pytest.approx(3, abs=0.5)

    scene()


def test_what_stands_for_a_generator_yields_in_its_place() -> None:
    def countdown(to: int) -> Iterator[int]:
        yield from reversed(range(to))

    @on_cluster(1, model={counting: Model(1.0, value=countdown)})
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        assert [item async for item in session.stream(counting, 3)] == [2, 1, 0]

    scene()


def refuse() -> None:
    raise LookupError("no such thing here")


class Unreadable:
    """Can be pickled, and not be unpickled."""

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return refuse, ()


def test_an_item_that_cannot_be_read_here_is_the_error_of_its_task() -> None:
    def yields(to: int) -> Iterator[object]:
        yield from [1, Unreadable(), 3]

    @on_cluster(1, model={counting: Model(1.0, value=yields), simulation: Model(as_asked)})
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        task = session.submit(counting, 3)
        items = task.items()
        assert await anext(items) == 1
        with pytest.raises(TaskFailed, match="its item 1 cannot be read here: no such thing"):
            await anext(items)
        assert (await task.result()).ended_as == "failed"
        assert await session.run(simulation, 1.0) == 1.0, "its worker is free again"

    scene()


@on_cluster(1)
async def test_a_callback_that_raises_keeps_no_other_from_the_news(
    cluster: SimulatedCluster, session: Session
) -> None:
    heard: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: heard.append(context["exception"]))
    tasks = session.map(simulation, [1.0] * 3)
    tasks[0].add_done_callback(lambda task: {}[task.id])
    tasks[0].add_done_callback(heard.append)
    await session.gather(*tasks)
    loop.set_exception_handler(None)
    assert [type(thing) for thing in heard] == [KeyError, type(tasks[0])]
