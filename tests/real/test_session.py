"""A session runs functions of every kind, and hands back what they return, yield and raise."""

from __future__ import annotations

import asyncio
import functools
import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

import steerio
from steerio import (
    Cancelled,
    Failed,
    Session,
    StoreSetting,
    Succeeded,
    TaskEnded,
    TaskFailed,
    TaskProgress,
    TaskQueued,
    TaskRetried,
    TaskStarted,
    TaskYielded,
)
from steerio.errors import EncodingError, UnknownPool, UsageError
from tests.real import deeds, programs

LOOPS = (asyncio.new_event_loop, uvloop.new_event_loop)


@steerio.task(pool="other", priority=1.5)
def in_other_pool(x: float, *, factor: float = 2.0) -> float:
    """Multiply."""
    return factor * x


@pytest.mark.smoke
async def test_functions_of_every_kind_run_and_their_values_come_back() -> None:
    base = 10
    async with steerio.open_session(workers={"default": 1, "other": 1}) as session:
        assert await session.run(deeds.double, 4) == 8
        assert await session.run(lambda x: x + base, 1) == 11
        assert await session.run(deeds.wait_and_return, 3, seconds=0.0) == 3
        assert await session.run(in_other_pool, 2.0, factor=3.0) == 6.0
        assert in_other_pool(2.0) == 4.0, "called directly it is just a function"
        assert await session.run(max, [1, 3, 2]) == 3
        assert await session.run(functools.partial(deeds.double, 5)) == 10

        tasks = session.map(deeds.double, range(20))
        assert await session.gather(*tasks) == [2 * x for x in range(20)]
        slow, quick = session.map(deeds.wait_and_return, [(1, 0.3), (2, 0.0)])
        seen = [task async for task in session.as_completed([slow, quick])]
        assert seen == [slow, quick], "one worker runs them in the order of submission"


async def test_what_is_sent_arrives_as_it_was() -> None:
    sent: list[Any] = [
        None,
        (1, [2.5, "three"], {"four": {5, 6}}),
        2**100,
        b"\0" * 70_000,
        np.arange(12.0).reshape(3, 4)[:, ::2],
        np.random.default_rng(1).integers(0, 9, size=(64, 64)),
        {"a": np.ones(5), "b": [np.float32(1.5)]},
        Path("a/b"),
        steerio.Limits(tasks=3),
    ]
    async with steerio.open_session(workers={"default": 2}) as session:
        for value in sent:
            back = await session.run(lambda x: x, value)
            assert type(back) is type(value)
            np.testing.assert_equal(back, value)
        large = np.random.default_rng(2).random(3_000_000)
        task = session.submit(lambda x: x[::-1].copy(), large)
        assert np.array_equal(await task, large[::-1])
        result = await task.result()
        assert result.sizes.args_bytes >= large.nbytes <= result.sizes.value_bytes


def test_a_serializer_holds_on_the_way_to_a_worker_and_back() -> None:
    command = [sys.executable, "-c", "from tests.real.meshes import main; main()"]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.stdout, done.stderr) == ("fine a 200000 9999900000.0\n", "")


async def test_a_result_tells_all_about_its_task() -> None:
    async with steerio.open_session(workers={"default": 1, "other": 1}) as session:
        before = time.time()
        task = session.options(tags={"why": "because"}).submit(in_other_pool, 1.0, factor=5.0)
        result = await task.result()
        after = time.time()
    assert isinstance(result, Succeeded)
    assert result.value == 5.0
    assert (result.args, result.kwargs, result.tags) == (
        (1.0,),
        {"factor": 5.0},
        {"why": "because"},
    )
    assert result.task_type.endswith("test_session:in_other_pool")
    assert (result.attempt, result.worker) == (1, "other-1")
    times = result.timings
    stations = (
        before,
        times.created,
        times.queued,
        times.sent,
        times.started,
        times.ended,
        times.received,
        after,
    )
    moments = [moment for moment in stations if moment is not None]
    assert len(moments) == len(stations)
    assert all(b - a > -0.005 for a, b in itertools.pairwise(moments)), stations


async def test_a_function_by_value_travels_once_to_each_worker(tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"

    class Witness:
        def __reduce__(self) -> Any:
            return note_arrival, (unpacked,)

    witness = Witness()

    def use_witness(x: int) -> int:
        assert witness is not None
        return x

    async with steerio.open_session(workers={"default": 1}) as session:
        assert await session.gather(*session.map(use_witness, range(50))) == list(range(50))
    assert unpacked.read_text() == "x"


def note_arrival(file: Path) -> str:
    """Say that something was unpickled."""
    with file.open("a") as stream:
        stream.write("x")
    return "here"


@pytest.mark.parametrize("function", [deeds.count_to, deeds.count_slowly_to])
async def test_what_a_generator_yields_is_streamed(function: Callable[..., Any]) -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        async with session.events(TaskYielded, task_type=function) as events:
            assert [item async for item in session.stream(function, 100)] == list(range(100))
            assert [(await anext(events)).index for _ in range(100)] == list(range(100))
        task = session.submit(function, 3)
        assert await task is None, "they return nothing"
        with pytest.raises(UsageError, match="not a generator"):
            await anext(session.stream(deeds.double, 1))


async def test_a_generator_is_held_back_by_its_reader_and_ends_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "how-far"
    settings = steerio.Settings(items=4)
    async with (
        steerio.open_session(workers={"default": 1}, settings=settings) as session,
        session.events(TaskYielded, TaskEnded) as events,
    ):
        stream = session.stream(deeds.count_for_ever, mark)
        assert [await anext(stream) for _ in range(3)] == [0, 1, 2]
        while (await anext(events)).index < 3:
            pass
        await stream.aclose()
        while not isinstance(event := await anext(events), TaskEnded):
            assert event.index < 3 + 4
        assert event.ended_as == "cancelled"
        assert int(mark.read_text()) < 3 + 4, "it was closed, and not far ahead"
        assert await session.run(deeds.double, 1) == 2


async def test_a_store_that_cannot_be_is_refused_and_leaves_no_record(tmp_path: Path) -> None:
    record = tmp_path / "record"
    for store, said in [
        (StoreSetting(kind="redis"), "takes: hostname, port"),
        (StoreSetting(thresholds={"gpu": 1}), "'gpu', which is none of the pools here"),
    ]:
        opened = steerio.open_session(workers={"default": 1}, run_dir=record, store=store)
        with pytest.raises(UsageError, match=said):
            await opened.__aenter__()
        assert not record.exists()


async def test_a_generator_of_long_items_fills_no_store(tmp_path: Path) -> None:
    mark = tmp_path / "how-far"
    settings = steerio.Settings(items_bytes=3_000_000)
    async with (
        steerio.open_session(workers={"default": 1}, settings=settings) as session,
        session.events(TaskYielded, TaskEnded) as events,
    ):
        stream = session.stream(deeds.yield_for_ever, 2_000_000, mark)
        for _ in range(3):
            assert len(await anext(stream)) == 2_000_000
        while (await anext(events)).index < 3:
            pass
        await stream.aclose()
        assert isinstance(await anext(events), TaskEnded)
        assert int(mark.read_text()) == 4, "one is read, and one waits"


async def test_events_tell_the_life_of_tasks_to_those_who_ask() -> None:
    def report_thrice() -> None:
        for third in (1, 2, 3):
            steerio.report(third / 3, f"part {third}")
            time.sleep(0.06)  # reports that come faster are dropped

    async with (
        steerio.open_session(workers={"default": 1, "other": 1}) as session,
        session.events(task_type=report_thrice) as life,
        session.events(TaskEnded, pool="other") as others,
    ):
        await session.run(report_thrice)
        await session.run(in_other_pool, 1.0)
        seen = [await anext(life) for _ in range(6)]
        kinds = [TaskQueued, TaskStarted, TaskProgress, TaskProgress, TaskProgress, TaskEnded]
        assert [type(event) for event in seen] == kinds
        assert [e.message for e in seen if isinstance(e, TaskProgress)] == [
            "part 1",
            "part 2",
            "part 3",
        ]
        numbers = [event.number for event in seen]
        assert numbers == sorted(set(numbers))
        assert await session.run(deeds.report_from_threads, 12) == 12
        ended = await anext(others)
        assert ended.task_type.endswith("in_other_pool")


async def test_failures_come_back_with_what_was_raised_and_where() -> None:
    class Local(Exception):
        pass

    def raise_local() -> None:
        raise Local("from afar")

    async with steerio.open_session(workers={"default": 1}) as session:
        with pytest.raises(TaskFailed, match="Unlucky: oh") as caught:
            await session.run(deeds.be_unlucky, "oh")
        assert isinstance(caught.value.__cause__, deeds.Unlucky)
        result = caught.value.result
        assert isinstance(result, Failed)
        assert result.error.type.endswith("deeds.Unlucky")
        assert result.error.message == "oh"
        assert "raise Unlucky(what)" in result.error.traceback
        assert "steerio/worker" not in result.error.traceback, "only the user's own lines"

        result = await session.submit(raise_local).result()
        assert isinstance(result, Failed)
        assert isinstance(result.error.exception, Local), "the same class, though it has no path"

        result = await session.submit(deeds.be_stubborn).result()
        assert isinstance(result, Failed)
        assert (result.error.message, result.error.exception) == ("1 and 2", None)

        with pytest.raises(TaskFailed, match=r"sys\.exit\(4\)"):
            await session.run(deeds.leave_by_exit, 4)
        with pytest.raises(TaskFailed, match="cannot be sent between processes"):
            await session.run(deeds.unpicklable)
        with pytest.raises(EncodingError, match="does not fit its annotation"):
            session.submit(deeds.double, "two")  # type: ignore[arg-type]
        with pytest.raises(EncodingError, match="cannot be sent between processes"):
            await session.run(lambda x: x, threading.Lock())
        with pytest.raises(TypeError, match="double"):
            session.submit(deeds.double)  # type: ignore[call-arg]
        with pytest.raises(UnknownPool, match=r"workers=\{\"other\": 1\}"):
            session.submit(in_other_pool, 1.0)
        assert await session.run(deeds.double, 1) == 2


async def test_failures_are_tried_again_where_that_is_allowed(tmp_path: Path) -> None:
    async with (
        steerio.open_session(workers={"default": 1}) as session,
        session.events(TaskRetried) as retries,
    ):
        thrice = session.options(retries={"failed": 2})
        assert await thrice.run(deeds.fail_times, 2, tmp_path / "a") == 3
        assert (await anext(retries)).reason.endswith("Unlucky")
        result = await thrice.submit(deeds.fail_times, 9, tmp_path / "b").result()
        assert isinstance(result, Failed)
        assert (result.attempt, result.error.message) == (3, "attempt 3")
        with pytest.raises(UsageError, match="retries go by kind of end"):
            session.options(retries={"exploded": 1})
        with pytest.raises(UsageError, match=r"as in \{'failed': 2\}, not 3"):
            session.options(retries=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_queued_tasks_go_by_priority_and_then_by_order(tmp_path: Path) -> None:
    order = tmp_path / "order"

    def note(name: str) -> None:
        with order.open("a") as stream:
            stream.write(name)

    async with (
        steerio.open_session(workers={"default": 1}) as session,
        session.events(TaskProgress) as events,
    ):
        blocker = session.submit(deeds.cooperate)
        await anext(events)
        tasks = {name: session.submit(note, name) for name in "abc"}
        tasks["d"] = session.options(priority=2).submit(note, "d")
        tasks["b"].reprioritise(1.0)
        tasks["c"].reprioritise(3.0)
        session.reprioritise({tasks["c"]: 1.0})
        blocker.cancel()
        await session.gather(*tasks.values())
    assert order.read_text() == "dbca"


@pytest.mark.parametrize("new_loop", LOOPS, ids=["plain", "uvloop"])
def test_sessions_live_side_by_side_and_leave_their_process_as_it_was(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    def surroundings() -> list[object]:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP)
        handlers = [signal.getsignal(number) for number in numbers]
        return [asyncio.get_event_loop_policy(), sys.getswitchinterval(), *handlers]

    async def use(session: Session, seen: list[object]) -> int:
        seen.append(surroundings())
        values = await session.gather(*session.map(deeds.double, range(10)))
        pid: int = await session.run(deeds.process_id)
        return pid if values == [2 * x for x in range(10)] else 0

    async def main() -> None:
        before = surroundings()
        seen: list[object] = []
        async with (
            steerio.open_session(workers={"default": 1}, name="one") as one,
            steerio.open_session(workers={"default": 1}, name="two") as two,
        ):
            pids = await asyncio.gather(use(one, seen), use(two, seen))
            assert 0 not in pids
            assert pids[0] != pids[1]
        programs.wait_for_end(pids, within_s=1.0)
        async with steerio.open_session(workers={"default": 1}) as three:
            assert await use(three, seen)
        handlers = [before[0], *before[2:]]
        assert all(s[:1] + s[2:] == handlers for s in seen if isinstance(s, list))
        assert surroundings() == before

    with asyncio.Runner(loop_factory=new_loop) as runner:
        # the runner handles SIGINT while it runs; what is around it must not change
        runner.run(main())


def test_a_session_opens_in_a_loop_of_another_thread() -> None:
    found: list[object] = []

    async def main() -> None:
        async with steerio.open_session(workers={"default": 1}) as session:
            found.append(await session.run(deeds.double, 21))

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join(programs.START_S)
    assert found == [42]


async def test_a_session_that_is_cancelled_as_it_opens_or_closes_leaves_nothing() -> None:
    async def live(opened: asyncio.Event) -> None:
        async with steerio.open_session(workers={"default": 1}) as session:
            opened.set()
            await session.run(deeds.loop_in_python)

    for turns in (0, 1, 3, 10):
        opened = asyncio.Event()
        task = asyncio.create_task(live(opened))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    opened = asyncio.Event()
    task = asyncio.create_task(live(opened))
    await opened.wait()
    for _ in range(5):  # again and again, while it closes
        task.cancel()
        await asyncio.sleep(0.01)
    await asyncio.wait([task])
    assert task.cancelled()


async def test_what_was_not_awaited_is_cancelled_with_its_session() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        tasks = [session.submit(deeds.loop_in_python) for _ in range(3)]
    results = [await task.result() for task in tasks]
    assert all(isinstance(result, (steerio.Lost, Cancelled)) for result in results)
    with pytest.raises(steerio.BrokerLost):
        session.submit(deeds.double, 1)


async def test_a_run_directory_holds_one_session(tmp_path: Path) -> None:
    async with steerio.open_session(workers={"default": 1}, run_dir=tmp_path) as session:
        with pytest.raises(UsageError, match="holds another run already"):
            async with steerio.open_session(workers={"default": 1}, run_dir=tmp_path):
                pass
        assert await session.run(deeds.double, 4) == 8
    with pytest.raises(UsageError, match="holds another run already"):
        async with steerio.open_session(workers={"default": 1}, run_dir=tmp_path):
            pass
