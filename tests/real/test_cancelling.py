"""A cancelled task stops, whatever it is doing, and its worker's place is filled again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steerio
from steerio import Cancelled, Session, Task, TaskCancelled, TaskProgress
from tests.real import deeds, programs
from tests.real.tables import read_table

BACK_S = 1.0
"""Within this a worker must be back after its task was cancelled."""
TRIES = 4
"""How often that is tried, for other programs may have the cores just then."""


async def under_way(
    session: Session, function: Callable[[], Any], cancel_grace_s: float | None = None
) -> tuple[Task[Any], list[int]]:
    """Submit a task, and wait until it says that it is under way, and in which processes."""
    async with session.events(TaskProgress) as events:
        task = session.options(cancel_grace_s=cancel_grace_s).submit(function)
        async for event in events:
            if event.task_id == task.id:
                return task, [int(pid) for pid in event.message.split()]
    raise AssertionError("the events ended")


async def test_whatever_a_cancelled_task_does_it_stops_with_all_it_started() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        for function in deeds.STUBBORN:
            took_s = [await stop_and_go_on(session, function)]
            while min(took_s) > BACK_S and len(took_s) < TRIES:
                took_s.append(await stop_and_go_on(session, function))
            assert min(took_s) <= BACK_S, f"{function.__name__}: {took_s}"


async def stop_and_go_on(session: Session, function: Callable[[], Any]) -> float:
    """Cancel a task at work and run another; return how many seconds that took."""
    task, pids = await under_way(session, function)
    began = time.monotonic()
    task.cancel("changed my mind")
    result = await task.result()
    assert isinstance(result, Cancelled), function.__name__
    assert result.reason == "changed my mind"
    assert await session.run(deeds.double, 2) == 4
    took_s = time.monotonic() - began
    programs.wait_for_end(pids[1:], within_s=BACK_S)
    return took_s


async def test_a_worker_whose_task_stopped_by_itself_is_kept() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        before = await session.run(deeds.process_id)
        kept = (deeds.cooperate, deeds.loop_in_python, deeds.wait_for_ever, deeds.wait_for_child)
        for function in kept:
            task, _ = await under_way(session, function, cancel_grace_s=0.6)
            task.cancel()
            await task.result()
            assert await session.run(deeds.process_id) == before, function.__name__


async def test_a_queued_task_leaves_the_queue_and_others_are_not_touched() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        running, _ = await under_way(session, deeds.cooperate)
        first, second = session.map(deeds.double, [1, 2])
        first.cancel()
        assert isinstance(await first.result(), Cancelled)
        with pytest.raises(TaskCancelled):
            await first
        assert not running.done
        running.cancel()
        assert await second == 4


async def test_many_are_cancelled_at_once_and_each_has_its_own_line_in_the_record(
    tmp_path: Path,
) -> None:
    async with steerio.open_session(workers={"default": 1}, run_dir=tmp_path) as session:
        running, _ = await under_way(session, deeds.loop_in_python)
        queued = session.options(tags={"of": "a"}).map(deeds.double, range(2_000))
        kept = session.map(deeds.double, range(3))
        session.cancel([running, *queued, *queued[:10]], "a better idea")
        results = [await task.result() for task in [running, *queued]]
        assert await session.gather(*kept) == [0, 2, 4]
        late = [session.submit(deeds.wait_for_ever) for _ in range(4)]
        by_record = np.array([task.id for task in late])  # ids as pandas reads them
        session.cancel(by_record, "found in the record")  # type: ignore[arg-type]
        results += [await task.result() for task in late]
    assert {type(result) for result in results} == {Cancelled}
    lines = read_table(tmp_path / "tasks.jsonl")
    cancelled = lines[lines.ended_as == "cancelled"]
    assert sorted(cancelled.task_id) == sorted(result.task_id for result in results)
    assert sorted(cancelled.reason.unique()) == ["a better idea", "found in the record"]
    events = read_table(tmp_path / "events.jsonl")
    assert (events.type == "TaskEnded").sum() == len(lines) == len(results) + len(kept)


async def behind_a_long_one(session: Session) -> tuple[Task[str], list[Task[str]]]:
    """Have a worker run what turns out long, and tasks around it; some of them it holds."""
    await session.gather(*session.map(deeds.cooperate_if, [False] * 300))
    async with session.events(TaskProgress) as events:
        before = session.map(deeds.cooperate_if, [False] * 5)
        long = session.submit(deeds.cooperate_if, True)
        after = session.map(deeds.cooperate_if, [False] * 100)
        await anext(events)
    return long, before + after


async def test_what_a_busy_worker_holds_is_cancelled_without_waiting_for_it() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        long, others = await behind_a_long_one(session)
        for task in others:
            task.cancel()
        ended = {(await task.result()).ended_as for task in others}
        assert "cancelled" in ended
        assert ended <= {"cancelled", "succeeded"}
        assert not long.done
        long.cancel()
        assert isinstance(await long.result(), Cancelled)
        assert await session.run(deeds.double, 2) == 4


async def test_what_a_busy_worker_holds_goes_to_one_that_is_idle() -> None:
    async with steerio.open_session(workers={"default": 2}) as session:
        long, others = await behind_a_long_one(session)
        assert await session.gather(*others) == ["done"] * len(others)
        assert not long.done
        long.cancel()
        assert isinstance(await long.result(), Cancelled)


async def test_cancelling_an_await_of_run_cancels_the_task() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        async with session.events(steerio.TaskEnded, TaskProgress) as events:
            awaiting = asyncio.create_task(session.run(deeds.loop_in_python))
            await anext(events)
            awaiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await awaiting
            ended = await anext(events)
            assert isinstance(ended, steerio.TaskEnded)
            assert ended.ended_as == "cancelled"
        assert await session.run(deeds.double, 2) == 4


async def test_a_task_out_of_time_is_stopped_and_tried_again_where_that_is_allowed() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        for function in (deeds.wait_for_ever, deeds.never_return_from_c):
            brief = session.options(timeout_s=0.2, retries={"timed_out": 1})
            result = await brief.submit(function).result()
            assert isinstance(result, steerio.TimedOut)
            assert (result.attempt, result.timeout_s) == (2, 0.2)
        with pytest.raises(steerio.TaskTimedOut, match=r"longer than 0\.1 s"):
            await session.options(timeout_s=0.1).run(deeds.swallow_everything)
        assert await session.run(deeds.double, 2) == 4
