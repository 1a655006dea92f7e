"""Generator tasks end for who awaits them, and a reader gets one attempt's items or is told."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from msgspec import structs

from steerio import (
    Board,
    Campaign,
    ItemsDropped,
    ItemsRestarted,
    Session,
    StoreSetting,
    Succeeded,
    TaskCancelled,
    TaskLost,
    TaskYielded,
    on_success,
    task,
)
from steerio.session.items import UNREAD_ITEMS
from steerio.testing import KillWorker, Model, SimulatedCluster, simulate
from steerio.testing.simulated_cluster import SIMULATED
from tests.simulated.virtual import of_kind, on_cluster, simulation

pytestmark = pytest.mark.borders

MANY = 40
"""More than a task may be ahead of a reader."""
TOO_MANY = UNREAD_ITEMS + 500
"""More than are kept for one who comes late."""
STEP_S = 1.0


@task(pool="simulate")
def relax(steps: int) -> Generator[int, None, str]:
    yield from range(steps)
    return f"after {steps}"


@task(pool="simulate")
async def relax_slowly(steps: int) -> AsyncIterator[int]:
    for step in range(steps):
        yield step


@task(pool="simulate")
def blobs(number: int) -> Generator[bytes, None, int]:
    for index in range(number):
        yield bytes([index % 256]) * 1_000
    return number


def starting_over(number: int) -> Iterator[int]:
    """Yield numbers where it is tried first, and nothing where it is tried again."""
    starts.append(number)
    return iter(range(number) if len(starts) == 1 else ())


starts: list[int] = []
MODEL = {kind: Model(STEP_S) for kind in (relax, relax_slowly, blobs, simulation)}
cluster_with_one = on_cluster(1, model=MODEL)


async def read_into(read: list[int], items: AsyncIterator[int]) -> None:
    """Read to the end, and keep what came before an error."""
    async for item in items:
        read.append(item)


async def on_its_own(session: Session) -> Any:
    return await session.submit(relax, MANY)


async def by_run(session: Session) -> Any:
    return await session.run(relax, MANY)


async def by_gather(session: Session) -> Any:
    return (await session.gather(*session.map(relax, [MANY])))[0]


async def as_it_completes(session: Session) -> Any:
    (value,) = [await done async for done in session.as_completed(session.map(relax, [MANY]))]
    return value


async def by_its_result(session: Session) -> Any:
    result = await session.submit(relax, MANY).result()
    assert isinstance(result, Succeeded)
    return result.value


async def by_callback(session: Session) -> Any:
    ended = asyncio.Event()
    handle = session.submit(relax, MANY)
    handle.add_done_callback(lambda _: ended.set())
    await ended.wait()
    return await handle


async def by_looking(session: Session) -> Any:
    handle = session.submit(relax, MANY)
    while not handle.done:  # noqa: ASYNC110 - who polls is to come to an end as well
        await asyncio.sleep(10)
    return await handle


async def with_other_options(session: Session) -> Any:
    return await session.options(priority=3).run(relax, MANY)


@pytest.mark.parametrize(
    "wait",
    [
        on_its_own,
        by_run,
        by_gather,
        as_it_completes,
        by_its_result,
        by_callback,
        by_looking,
        with_other_options,
    ],
)
def test_a_generator_task_has_the_value_it_returns_however_that_is_awaited(
    wait: Callable[[Session], Awaitable[Any]],
) -> None:
    @cluster_with_one
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        assert await wait(session) == f"after {MANY}"

    scene()


@cluster_with_one
async def test_an_async_generator_has_no_value(cluster: SimulatedCluster, session: Session) -> None:
    assert await session.run(relax_slowly, MANY) is None


@cluster_with_one
async def test_a_handle_that_nobody_keeps_holds_no_worker_back(
    cluster: SimulatedCluster, session: Session
) -> None:
    session.submit(relax, MANY)
    assert await session.run(simulation, 1.0) == 1.0


@cluster_with_one
async def test_generators_wait_for_no_reader_behind_others(
    cluster: SimulatedCluster, session: Session
) -> None:
    handles = session.map(relax, [20] * 3)
    values = [handle.items() for handle in handles]
    for reader in values:
        assert [item async for item in reader] == list(range(20))
    assert await session.gather(*handles) == ["after 20"] * 3


@cluster_with_one
async def test_a_reader_that_is_asked_for_off_the_loop_holds_nothing_back(
    cluster: SimulatedCluster, session: Session
) -> None:
    handle = session.submit(relax, MANY)
    with ThreadPoolExecutor(1) as thread, pytest.raises(RuntimeError, match="event loop"):
        thread.submit(handle.items).result()
    gc.collect()
    await asyncio.sleep(MANY + 5)
    assert handle.done


@pytest.mark.parametrize("late_s", [0, 10, 10_000])
def test_a_reader_that_comes_late_has_what_was_kept_for_it(late_s: float) -> None:
    @cluster_with_one
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        handle = session.submit(relax, UNREAD_ITEMS)
        await asyncio.sleep(late_s)
        assert [item async for item in handle.items()] == list(range(UNREAD_ITEMS))
        assert await handle == f"after {UNREAD_ITEMS}"

    scene()


@pytest.mark.parametrize("late_s", [UNREAD_ITEMS + 20, 10_000])
def test_a_reader_that_comes_too_late_is_told(late_s: float) -> None:
    @cluster_with_one
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        handle = session.submit(relax, TOO_MANY)
        await asyncio.sleep(late_s)
        for _ in range(2):
            with pytest.raises(ItemsDropped, match="call its items"):
                await anext(handle.items())
        assert await handle == f"after {TOO_MANY}"

    scene()


@cluster_with_one
async def test_a_reader_holds_a_task_back_before_he_reads(
    cluster: SimulatedCluster, session: Session
) -> None:
    items = session.submit(relax, MANY).items()
    await asyncio.sleep(10_000)
    assert len(of_kind(cluster.record.events, TaskYielded)) == cluster.settings.items
    assert [item async for item in items] == list(range(MANY))


@pytest.mark.parametrize("how", ["break", "aclose", "cancelled"])
def test_a_reader_who_leaves_lets_the_task_go_on_and_may_come_again(how: str) -> None:
    async def read_two(items: AsyncIterator[int]) -> list[int]:
        read = []
        async for item in items:
            read.append(item)
            if len(read) == 2 and how == "break":
                break
            if len(read) == 2 and how == "cancelled":
                await asyncio.Event().wait()
            if len(read) == 2:
                await items.aclose()  # type: ignore[attr-defined]
        return read

    @cluster_with_one
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        handle = session.submit(relax, 100)
        if how == "cancelled":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(read_two(handle.items()), 50)
        else:
            assert await read_two(handle.items()) == [0, 1]
        gc.collect()
        assert await handle == "after 100"
        assert [item async for item in handle.items()] == list(range(2, 100))

    scene()


@cluster_with_one
async def test_a_reader_who_is_cancelled_between_items_may_go_on(
    cluster: SimulatedCluster, session: Session
) -> None:
    items = session.submit(relax, 5).items()
    read = []
    while len(read) < 5:
        try:
            read.append(await asyncio.wait_for(anext(items), 0.3))
        except TimeoutError:
            continue
    assert read == list(range(5))


@cluster_with_one
async def test_a_cancelled_generator_ends_whoever_reads_or_awaits_it(
    cluster: SimulatedCluster, session: Session
) -> None:
    unread, read = session.submit(relax, MANY), session.submit(relax, MANY)
    items = read.items()
    await asyncio.sleep(5)
    unread.cancel("enough")
    with pytest.raises(TaskCancelled, match="enough"):
        await unread
    assert await anext(items) == 0
    read.cancel("enough")
    with pytest.raises(TaskCancelled, match="enough"):
        [item async for item in items]


@pytest.mark.parametrize("threshold_bytes", [100, None])
def test_long_items_are_kept_for_nobody_beyond_their_bound(threshold_bytes: int | None) -> None:
    @on_cluster(
        1,
        model=MODEL,
        settings=structs.replace(SIMULATED, items_bytes=20_000),
        store=StoreSetting(threshold_bytes=threshold_bytes),
    )
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        handles = [session.submit(blobs, count) for count in (15, 40)]
        assert await session.gather(*handles) == [15, 40]
        assert [len(item) async for item in handles[0].items()] == [1_000] * 15
        with pytest.raises(ItemsDropped):
            await anext(handles[1].items())
        assert await session.run(blobs, 40) == 40
        await session.run(simulation, 1.0)
        assert (await session.store.statistics()).objects == 0

    scene()


def test_what_is_kept_of_all_tasks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steerio.session.items.UNREAD_IN_ALL", 100)

    @cluster_with_one
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        first, second, third = session.map(relax, [MANY, MANY, MANY])
        await session.gather(first, second, third)
        assert session.kept.items == 2 * MANY
        with pytest.raises(ItemsDropped):
            await anext(third.items())
        assert [item async for item in first.items()] == list(range(MANY))
        del second
        assert (session.kept.items, session.kept.nbytes) == (0, 0)

    scene()


@cluster_with_one
async def test_items_that_nobody_reads_are_told_of_now_and_then(
    cluster: SimulatedCluster, session: Session
) -> None:
    await session.run(relax, 100)
    told = [event.index for event in of_kind(cluster.record.events, TaskYielded)]
    assert told == list(range(100)), "slow as they are, each is"


# -- in campaigns ---------------------------------------------------------------------------------


class Relaxing(Campaign):
    workers: ClassVar = {"simulate": 2}

    def __init__(self) -> None:
        self.values: list[str] = []

    @on_success(relax)
    async def take_in(self, result: Succeeded) -> None:
        self.values.append(result.value)


class FromSetup(Relaxing):
    async def setup(self) -> None:
        self.handles = self.map(relax, [MANY, MANY + 1])


class FromBoard(Relaxing):
    def __init__(self) -> None:
        super().__init__()
        self.todo = Board(relax, [MANY, MANY + 1])


class Unnoticed(Campaign):
    workers: ClassVar = {"simulate": 2}

    async def setup(self) -> None:
        self.submit(relax, MANY)
        self.handle = self.submit(relax, MANY)


@pytest.mark.parametrize("campaign", [FromSetup, FromBoard])
def test_a_campaign_whose_tasks_are_generators_ends(campaign: type[Relaxing]) -> None:
    ran = simulate(campaign(), model=MODEL)
    assert sorted(ran.campaign.values) == [f"after {MANY}", f"after {MANY + 1}"]
    assert ran.duration_s == pytest.approx(MANY + 1, abs=5)


def test_a_campaign_that_asks_for_nothing_of_its_generators_ends() -> None:
    assert simulate(Unnoticed(), model=MODEL).ended == {"succeeded": 2}


# -- tried again ----------------------------------------------------------------------------------

killed_amid = on_cluster(1, model=MODEL, faults=[KillWorker(3.5)])


@killed_amid
async def test_a_reader_is_told_that_items_begin_again(
    cluster: SimulatedCluster, session: Session
) -> None:
    handle, read = session.submit(relax, 5), list[int]()
    with pytest.raises(ItemsRestarted, match=r"attempt 2, after attempt 1.*from the first"):
        await read_into(read, handle.items())
    assert read == [0, 1, 2]
    assert [item async for item in handle.items()] == list(range(5))
    assert await handle == "after 5"


@on_cluster(
    1,
    model=MODEL,
    faults=[KillWorker(3.5)],
    settings=structs.replace(SIMULATED, items_bytes=500),
)
async def test_items_that_begin_again_are_kept_for_the_next_reader_however_long_they_are(
    cluster: SimulatedCluster, session: Session
) -> None:
    handle = session.submit(blobs, 5)
    with pytest.raises(ItemsRestarted):
        _ = [item async for item in handle.items()]
    assert len([item async for item in handle.items()]) == 5
    assert await handle == 5


@killed_amid
async def test_a_stream_repeats_nothing(cluster: SimulatedCluster, session: Session) -> None:
    read: list[int] = []
    with pytest.raises(ItemsRestarted):
        await read_into(read, session.stream(relax, 5))
    assert read == [0, 1, 2]
    assert await session.run(simulation, 1.0) == 1.0, "it was cancelled"


@killed_amid
async def test_a_generator_that_is_not_tried_again_is_lost_after_its_items(
    cluster: SimulatedCluster, session: Session
) -> None:
    read: list[int] = []
    with pytest.raises(TaskLost):
        await read_into(read, session.options(retries={"lost": 0}).stream(relax, 5))
    assert read == [0, 1, 2]


@killed_amid
async def test_who_had_read_nothing_sees_one_attempt(
    cluster: SimulatedCluster, session: Session
) -> None:
    late, held = session.submit(relax, 5), session.submit(relax, 5)
    items = held.items()
    await asyncio.sleep(10)
    assert [item async for item in late.items()] == list(range(5))
    assert [item async for item in items] == list(range(5))


@killed_amid
async def test_who_awaits_a_generator_need_not_know_that_it_was_tried_again(
    cluster: SimulatedCluster, session: Session
) -> None:
    result = await session.submit(relax, MANY).result()
    assert (result.ended_as, result.attempt) == ("succeeded", 2)


@on_cluster(1, model={relax: Model(STEP_S, value=starting_over)}, faults=[KillWorker(3.5)])
async def test_an_attempt_that_yields_nothing_puts_the_items_before_it_out_of_date(
    cluster: SimulatedCluster, session: Session
) -> None:
    starts.clear()
    handle, read = session.submit(relax, 5), list[int]()
    with pytest.raises(ItemsRestarted):
        await read_into(read, handle.items())
    assert read == [0, 1, 2]
    assert [item async for item in handle.items()] == []


@killed_amid
async def test_each_of_two_readers_is_told(cluster: SimulatedCluster, session: Session) -> None:
    handle = session.submit(relax, 5)
    one, other = handle.items(), handle.items()
    assert sorted([await anext(one), await anext(other)]) == [0, 1]
    for reader in (one, other):
        with pytest.raises(ItemsRestarted):
            await read_into([], reader)
    assert [item async for item in handle.items()] == list(range(5))


@killed_amid
async def test_a_reader_between_two_attempts_is_told_at_his_first_item(
    cluster: SimulatedCluster, session: Session
) -> None:
    handle = session.submit(relax, 5)
    async for item in handle.items():
        if item == 1:
            break
    await asyncio.sleep(10)
    with pytest.raises(ItemsRestarted):
        await anext(handle.items())
    assert [item async for item in handle.items()] == list(range(5))
