"""Large values of real workers: by reference, freed when nobody needs them, and never wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import steerio
from steerio import Cancelled, Failed, Lost, StoreSetting, Succeeded
from steerio.session.session import Session

LARGE = 200_000
"""Numbers of 8 bytes that go by reference."""
AT_ONCE = 1_000_000
"""So many that they are put by a thread."""

Array = np.ndarray[Any, Any]


def add_one(x: Array) -> Array:
    x += 1
    return x


def total(x: Array) -> float:
    return float(x.sum())


def total_of(parts: dict[str, list[Array]]) -> float:
    return float(sum(part.sum() for part in parts["all"]))


def write(x: Array) -> None:
    x[0] = 1


def pieces(count: int) -> Iterator[Array]:
    for number in range(count):
        yield np.full(LARGE, number)


async def emptied(session: Session, but_for: int = 0) -> None:
    """Wait until no more objects are held; the test's own bound ends a wait in vain."""
    while (await session.store.statistics()).objects > but_for:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)


@pytest.mark.smoke
@pytest.mark.parametrize("size", [LARGE, AT_ONCE])
async def test_arguments_and_values_are_the_tasks_and_the_agents_own(size: int) -> None:
    mine = np.zeros(size)
    async with steerio.open_session(workers={"default": 1}) as session:
        task = session.submit(add_one, mine)
        result = await task.result()
        assert isinstance(result, Succeeded)
        value = result.value
        assert value.sum() == size
        assert result.sizes.args_bytes > 8 * size
        value += 1  # it is nobody else's
        assert mine.sum() == 0
        await emptied(session)


@pytest.mark.smoke
async def test_a_reference_serves_many_tasks_wherever_it_stands_and_is_freed_after_them() -> None:
    async with steerio.open_session(workers={"default": 2}) as session:
        reference = await session.put(np.ones(LARGE))
        assert (
            await session.gather(*(session.submit(total, reference) for _ in range(8)))
            == [LARGE] * 8
        )
        assert await session.run(total_of, {"all": [reference, np.ones(3), reference]}) == (
            2 * LARGE + 3
        )
        assert (await reference).sum() == LARGE
        assert (await session.store.statistics()).by_clients["session"] > 8 * LARGE
        task = session.submit(total, reference)
        del reference  # the task needs it still
        assert await task == LARGE
        del task
        await emptied(session)


async def test_who_writes_to_a_reference_is_told_what_to_do() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        reference = await session.put(np.zeros(LARGE))
        result = await session.submit(write, reference).result()
        assert isinstance(result, Failed)
        assert "change a copy of it" in result.error.traceback
        assert (await reference)[0] == 0


@pytest.mark.smoke
async def test_tasks_are_given_the_latest_version_and_say_which() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        models = session.versions("model")
        early = await session.submit(total, models.latest).result()
        assert isinstance(early, Lost)
        assert "no version" in early.reason
        for number in (1, 2, 3):
            assert await models.publish(np.full(LARGE, number)) == number
            result = await session.submit(total, models.latest).result()
            assert isinstance(result, Succeeded)
            assert result.value == number * LARGE
            assert result.versions == {"model": number}
        second = await models.current()
        waiting = asyncio.ensure_future(models.next())
        await models.publish(np.zeros(LARGE))
        assert (second.version, (await waiting).version) == (3, 4)
        assert await session.run(total, second) == 3 * LARGE
        del second, waiting, result
        await emptied(session, but_for=1)  # the newest is kept


async def test_large_items_wait_in_the_store_for_their_reader() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        seen = [item[0] async for item in session.stream(pieces, 40)]
        assert seen == list(range(40))
        await emptied(session)


async def test_a_task_that_is_cancelled_before_its_arguments_are_stored_leaves_nothing() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        task = session.submit(total, np.zeros(4 * AT_ONCE))
        task.cancel()
        assert isinstance(await task.result(), Cancelled)
        await emptied(session)


async def test_what_does_not_fit_is_an_error_and_the_next_task_runs() -> None:
    setting = StoreSetting(kind="shared-memory", limit_bytes=4 * 8 * LARGE)
    async with steerio.open_session(workers={"default": 1}, store=setting) as session:
        result = await session.submit(total, np.zeros(8 * LARGE)).result()
        if isinstance(result, Lost):  # else it went to the folder on disk
            assert "does not fit" in result.reason
        assert await session.run(total, np.ones(LARGE)) == LARGE
        await emptied(session)


async def test_nothing_goes_by_reference_where_that_is_switched_off() -> None:
    setting = StoreSetting(threshold_bytes=None)
    async with steerio.open_session(workers={"default": 1}, store=setting) as session:
        assert (await session.run(add_one, np.zeros(LARGE))).sum() == LARGE
        assert (await session.store.statistics()).objects == 0
        by_type = steerio.task(threshold_bytes=1000)(total)
        assert await session.run(by_type, np.ones(LARGE)) == LARGE


async def test_a_value_for_the_store_cannot_hold_references() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        reference = await session.put(np.zeros(3))
        with pytest.raises(steerio.UsageError, match="cannot hold references"):
            await session.put([reference])


async def test_a_reference_of_another_session_is_refused() -> None:
    async with (
        steerio.open_session(workers={"default": 1}) as session,
        steerio.open_session(workers={"default": 1}) as other,
    ):
        reference = await other.put(np.zeros(3))
        with pytest.raises(steerio.UsageError, match="another session has made"):
            session.submit(total_of, {"all": [reference]})
        status = await other.store.statistics()
        assert status.objects == 1
