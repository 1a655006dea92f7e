"""What a task gets is what was there when it was submitted, whatever is done to it afterwards."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import steerio
from steerio import StoreSetting
from steerio.session.session import Session
from tests.real.test_standing_broker import broker_in, workers_in

pytestmark = pytest.mark.borders

Array = np.ndarray[Any, Any]
SIZES = (3, 100, 5_000, 100_000, 400_000, 2_000_000)
"""Numbers of 8 bytes: in a pickle, in a frame, in the store, written by the loop or a thread."""


@dataclasses.dataclass
class Holder:
    array: Array


def ends(what: Any) -> list[float]:
    """Return the first and the last number of an array, whatever it is in."""
    match what:
        case dict():
            what = what["a"]
        case list():
            what = what[0]
        case Holder():
            what = what.array
        case pd.DataFrame():
            what = what["a"].to_numpy()
        case bytearray() | memoryview():
            what = np.frombuffer(what)
        case _:
            pass
    return [float(what[0]), float(what[-1])]


def fail_once(what: Any, mark: str) -> list[float]:
    if not os.path.exists(mark):  # noqa: PTH110 - not to be imported by the worker for this
        Path(mark).touch()
        raise RuntimeError("once")
    return ends(what)


def hold(seconds: float) -> None:
    time.sleep(seconds)


def same_buffer(size: int, count: int) -> Iterator[Array]:
    buffer = np.zeros(size)
    for number in range(count):
        buffer[:] = number
        yield buffer
    buffer[:] = -1


async def same_buffer_async(size: int, count: int) -> AsyncIterator[list[Array]]:
    buffer = np.zeros(size)
    for number in range(count):
        buffer[:] = number
        yield [buffer]
    buffer[:] = -1


_scratch: dict[int, Array] = {}


def same_value(size: int, number: int) -> Array:
    """Return one array of this worker again and again."""
    array = _scratch.setdefault(size, np.zeros(size))
    array[:] = number
    return array


def in_a_frame(array: Array) -> pd.DataFrame:
    return pd.DataFrame({"a": array}, copy=False)


WRAPPED: dict[str, Any] = {
    "alone": lambda array: array,
    "in a dict": lambda array: {"a": array},
    "in a list": lambda array: [array, 1],
    "in a dataclass": Holder,
    "in a table": in_a_frame,
    "as a memoryview": lambda array: array.data.cast("B"),
}


async def check_submitting(session: Session) -> None:
    for size in SIZES:
        for wrap in WRAPPED.values():
            array = np.zeros(size)
            tasks = []
            for number in range(4):
                array[:] = number
                tasks.append(session.submit(ends, wrap(array)))
            array[:] = -1
            assert await session.gather(*tasks) == [[n, n] for n in map(float, range(4))], size
        raw = bytearray(8 * size)
        task = session.submit(ends, raw)
        raw[:] = b"\xff" * len(raw)
        assert await task == [0, 0]


async def check_items_and_values(session: Session) -> None:
    for size in SIZES:
        items = [item async for item in session.stream(same_buffer, size, 4)]
        assert [(i[0], i[-1]) for i in items] == [(n, n) for n in range(4)], size
        items = [item[0] async for item in session.stream(same_buffer_async, size, 4)]
        assert [(i[0], i[-1]) for i in items] == [(n, n) for n in range(4)], size
        tasks = [session.submit(same_value, size, number) for number in range(4)]
        assert [[v[0], v[-1]] for v in await session.gather(*tasks)] == [[n, n] for n in range(4)]


async def test_changes_after_submit_reach_no_task(tmp_path: Path) -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        await check_submitting(session)
        await check_items_and_values(session)

        blocker = session.submit(hold, 0.1)  # the next ones are queued meanwhile
        for size in SIZES:
            array = np.zeros(size)
            mark = str(tmp_path / str(size))
            queued = session.submit(ends, array)
            retried = session.options(retries={"failed": 1}).submit(fail_once, array, mark)
            mapped = session.map(ends, [array, array])
            array[:] = 7
            again = session.submit(ends, array)
            array[:] = 8
            assert await session.gather(queued, retried, *mapped) == [[0, 0]] * 4
            assert await again == [7, 7]
        await blocker


async def test_a_put_value_is_what_it_was_and_cannot_be_written_into_meanwhile() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        models = session.versions("model")
        for size in SIZES:
            array = np.zeros(size)
            for put in (session.put, models.publish):
                putting = asyncio.ensure_future(put(array))
                await asyncio.sleep(0)  # it has begun
                if array.flags.writeable:
                    assert putting.done() or size <= SIZES[3], "what is long is put by a thread"
                    array[:] = 1
                else:
                    with pytest.raises(ValueError, match="read-only"):
                        array[:] = 1
                await putting
                array[:] = 0
            assert await session.run(ends, models.latest) == [0, 0]


@pytest.mark.parametrize("setting", [None, StoreSetting(threshold_bytes=None)])
async def test_changes_after_submit_reach_no_task_of_a_standing_broker(
    tmp_path: Path, setting: StoreSetting | None
) -> None:
    with broker_in(tmp_path, "--host", "127.0.0.1"), workers_in(tmp_path, "--workers", "1"):
        async with steerio.connect(tmp_path / "broker") as session:
            if setting is not None:  # all travels with the task
                session.store.setting = setting
            await check_submitting(session)
            await check_items_and_values(session)
