"""Pools whose tasks an executor of another program runs are as pools of workers, or say why not."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import steerio
from steerio import Campaign, OnExecutor, agent, on_success, task
from steerio.errors import TaskCancelled, TaskFailed, TaskLost, TaskTimedOut, UsageError
from steerio.launch import engine_node
from steerio.node import engine
from steerio.session.session import Session
from steerio.worker.engine_call import run_call
from tests.real.deeds import answer_when_told, be_unlucky, count_slowly_to, count_to
from tests.real.programs import running, steerio_command
from tests.real.test_standing_broker import broker_in

BOUND_S = 60.0


def processes() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))


MAKES: dict[str, Callable[[], Executor]] = {
    "threads": lambda: ThreadPoolExecutor(2),
    "processes": processes,
}


@task(pool="engine")
def double(x: int) -> int:
    return 2 * x


@task(pool="engine")
async def add_one(x: int) -> int:
    await asyncio.sleep(0)
    return x + 1


@task(pool="engine")
def total(values: np.ndarray) -> tuple[float, np.ndarray]:
    return float(values.sum()), values * 2


@task(pool="engine")
def hold(folder: Path) -> int:
    return answer_when_told(folder)


@task(pool="engine")
def hold_then_fill(folder: Path) -> np.ndarray:
    return np.ones(10_000 * answer_when_told(folder))


@task(pool="engine")
def process_id() -> int:
    return os.getpid()


@task(pool="native")
def native_process_id() -> int:
    return os.getpid()


@task(pool="engine")
def seed() -> int:
    return steerio.random_seed()


@task(pool="engine")
def end_process(mark: Path) -> int:
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return 7


@pytest.fixture(params=list(MAKES))
async def session(request: pytest.FixtureRequest) -> AsyncIterator[Session]:
    on = OnExecutor(MAKES[request.param], slots=2)
    async with steerio.open_session(workers={"engine": on}) as opened:
        yield opened


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens in another process."""

    def look() -> None:
        end = time.monotonic() + BOUND_S
        while not condition():
            assert time.monotonic() < end
            threading.Event().wait(0.005)

    await asyncio.to_thread(look)


async def there(path: Path) -> None:
    """Wait for a file that another process writes."""
    await until(path.exists)


def alive(number: int) -> bool:
    """Say whether a process has not ended."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def held_in(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir()
    return made


# -- values and errors -----------------------------------------------------------------------------


async def test_values_come_back_of_functions_coroutines_and_code_that_travels(
    session: Session,
) -> None:
    number = 5
    by_value = task(pool="engine")(lambda x: x * number)
    assert await session.submit(double, 4) == 8
    assert await session.submit(add_one, 4) == 5
    assert await session.submit(by_value, 4) == 20
    tasks = [session.submit(double, x) for x in range(500)]
    assert [await each for each in tasks] == [2 * x for x in range(500)]


async def test_an_exception_comes_back_with_its_traceback(session: Session) -> None:
    with pytest.raises(TaskFailed) as caught:
        await session.submit(task(pool="engine")(be_unlucky), "number")
    assert type(caught.value.__cause__).__name__ == "Unlucky"
    assert "be_unlucky" in str(caught.value)
    assert "engine_runs" not in str(caught.value)


async def test_a_task_that_failed_is_tried_again(session: Session, tmp_path: Path) -> None:
    mark = tmp_path / "tried"

    @task(pool="engine", retries={"failed": 1})
    def fail_once(mark: Path) -> str:
        if not mark.exists():
            mark.touch()
            raise ValueError("the first time")
        return "done"

    done = session.submit(fail_once, mark)
    assert await done == "done"
    assert (await done.result()).attempt == 2


async def test_large_values_go_by_reference_in_both_directions(session: Session) -> None:
    values = np.arange(500_000.0)
    reference = await session.put(values)
    for given in (values, reference):
        summed, doubled = await session.submit(total, given)
        assert summed == values.sum()
        assert (doubled == values * 2).all()


@pytest.mark.parametrize("count", [count_to, count_slowly_to])
async def test_the_items_of_a_generator_come_with_its_end(
    session: Session, count: Callable[[int], Any]
) -> None:
    stream = session.stream(task(pool="engine")(count), 40)
    assert [item async for item in stream] == list(range(40))


async def test_a_task_has_its_own_random_seed(session: Session) -> None:
    one, other = session.submit(seed), session.submit(seed)
    assert await one != await other


async def test_a_gang_is_refused_with_advice(session: Session) -> None:
    with pytest.raises(TaskFailed, match="an engine runs each task by itself"):
        await session.options(gang=2).submit(double, 1)


# -- order, cancelling, time -----------------------------------------------------------------------


async def test_the_queue_is_in_order_of_priority(tmp_path: Path) -> None:
    on = OnExecutor(lambda: ThreadPoolExecutor(1), slots=1)
    async with steerio.open_session(workers={"engine": on}) as session:
        folder = held_in(tmp_path, "held")
        first, ended = session.submit(hold, folder), list[int]()
        await there(folder / "begun")
        tasks = [session.options(priority=x).submit(double, x) for x in (1, 3, 2)]
        for each in tasks:
            each.add_done_callback(lambda done: ended.append(done.args[0]))
        (folder / "go").touch()
        await first
        for each in tasks:
            await each
        assert ended == [3, 2, 1]


async def test_a_call_that_the_engine_has_not_begun_is_withdrawn(tmp_path: Path) -> None:
    on = OnExecutor(lambda: ThreadPoolExecutor(1), slots=2)  # one of two waits in its own queue
    async with steerio.open_session(workers={"engine": on}) as session:
        folder = held_in(tmp_path, "held")
        first = session.submit(hold, folder)
        await there(folder / "begun")
        second = session.submit(double, 1)
        second.cancel()
        with pytest.raises(TaskCancelled):
            await second
        (folder / "go").touch()
        assert await first == 42


async def test_a_call_that_runs_is_left_to_itself_and_its_slot_is_replaced(
    session: Session, tmp_path: Path
) -> None:
    folder = held_in(tmp_path, "held")
    running = session.options(cancel_grace_s=0.01).submit(hold, folder)
    await there(folder / "begun")
    running.cancel()
    with pytest.raises(TaskCancelled):
        await running
    assert await session.submit(double, 2) == 4
    (folder / "go").touch()  # the engine's own process still runs it
    await there(folder / "ends")


async def test_a_task_that_takes_too_long_times_out(session: Session, tmp_path: Path) -> None:
    folder = held_in(tmp_path, "held")
    options = session.options(timeout_s=0.05, cancel_grace_s=0.01)
    with pytest.raises(TaskTimedOut):
        await options.submit(hold, folder)
    (folder / "go").touch()
    assert await session.submit(double, 2) == 4


# -- engines that break, or end ----------------------------------------------------------------


async def test_a_pool_whose_executor_breaks_for_good_fails_with_the_reason(tmp_path: Path) -> None:
    with processes() as executor:
        workers = {"engine": OnExecutor(executor, slots=1)}
        async with steerio.open_session(workers=workers) as session:
            assert await session.submit(double, 1) == 2
            with pytest.raises(TaskLost, match="BrokenProcessPool"):
                await session.submit(end_process, tmp_path / "mark")
            with pytest.raises(TaskLost, match="BrokenProcessPool"):
                await session.submit(double, 1)


async def test_an_executor_that_was_shut_down_meanwhile_loses_its_tasks() -> None:
    executor = ThreadPoolExecutor(1)
    workers = {"engine": OnExecutor(executor, slots=1)}
    async with steerio.open_session(workers=workers) as session:
        assert await session.submit(double, 1) == 2
        executor.shutdown()
        with pytest.raises(TaskLost, match="cannot schedule new futures after shutdown"):
            await session.submit(double, 1)


async def test_tasks_are_lost_with_the_reason_if_no_executor_can_be_made() -> None:
    def make() -> Executor:
        raise OSError("no such cluster")

    async with steerio.open_session(workers={"engine": OnExecutor(make, slots=1)}) as session:
        with pytest.raises(TaskLost, match="no executor could be made: OSError: no such cluster"):
            await session.submit(double, 1)


class Deaf(Executor):
    """Takes calls and never ends one, nor lets one be cancelled."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        del fn, args, kwargs
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        return future


async def test_a_session_ends_although_its_engine_says_nothing() -> None:
    async with steerio.open_session(workers={"engine": OnExecutor(Deaf(), slots=2)}) as session:
        waiting = session.submit(double, 1)
    with pytest.raises(TaskCancelled):
        await waiting


async def test_a_session_ends_amid_the_calls_of_its_engine(
    session: Session, tmp_path: Path
) -> None:
    folder = held_in(tmp_path, "held")
    session.submit(hold, folder)
    for x in range(100):
        session.submit(double, x)
    await there(folder / "begun")
    (folder / "go").touch()  # and ends with the fixture


class Failing(ThreadPoolExecutor):
    """Loses its first call with a task, as when a process of an engine dies."""

    lost = False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        if fn is run_call and not self.lost:
            self.lost = True
            future: Future[Any] = Future()
            future.set_exception(ConnectionError("the node is gone"))
            return future
        return super().submit(fn, *args, **kwargs)


async def test_a_call_that_the_engine_loses_costs_its_task_a_try() -> None:
    on = OnExecutor(lambda: Failing(1), slots=1)
    async with steerio.open_session(workers={"engine": on}) as session:
        task_ = session.submit(double, 4)
        assert await task_ == 8
        assert (await task_.result()).attempt == 2
    on = OnExecutor(lambda: Failing(1), slots=1)
    async with steerio.open_session(workers={"engine": on}) as session:
        with pytest.raises(TaskLost, match="ConnectionError: the node is gone"):
            await session.options(retries={"lost": 0}).submit(double, 4)


class Late(ThreadPoolExecutor):
    """Begins no call before it is let go, as if it waited for a batch job."""

    def __init__(self) -> None:
        super().__init__(1)
        self.go = threading.Event()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        def later() -> Any:
            assert self.go.wait(BOUND_S)
            return fn(*args, **kwargs)

        return super().submit(later)


async def test_tasks_wait_with_an_engine_that_begins_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PATIENCE_S", 0.0)
    with Late() as late:
        workers = {"engine": OnExecutor(late, slots=1)}
        async with steerio.open_session(workers=workers) as session:
            async with session.events(steerio.TaskStarted) as events:
                waiting = session.submit(double, 4)
                await anext(aiter(events))
            late.go.set()
            assert await waiting == 8


async def test_a_large_value_of_a_call_that_was_left_to_itself_is_removed(tmp_path: Path) -> None:
    on = OnExecutor(lambda: ThreadPoolExecutor(1), slots=1)
    async with steerio.open_session(workers={"engine": on}) as session:
        assert session.reached_by is not None
        objects = Path(session.reached_by.objects) / "objects"
        folder = held_in(tmp_path, "held")
        running = session.options(cancel_grace_s=0.01).submit(hold_then_fill, folder)
        await there(folder / "begun")
        running.cancel()
        with pytest.raises(TaskCancelled):
            await running
        (folder / "go").touch()
        assert await session.submit(double, 2) == 4  # the thread has ended the other call
        await until(lambda: [each.name for each in objects.iterdir()] == ["freed"])


async def test_processes_that_do_not_end_are_killed_with_their_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_node, "END_S", 0.1)
    folder = held_in(tmp_path, "held")
    workers = {"engine": OnExecutor(processes, slots=1)}
    async with steerio.open_session(workers=workers) as session:
        number = await session.submit(process_id)
        waiting = session.submit(hold, folder)
        await there(folder / "begun")
    with pytest.raises(TaskCancelled):
        await waiting
    await until(lambda: not alive(number))
    assert not (folder / "ends").exists()


# -- pools -----------------------------------------------------------------------------------------


async def test_a_slot_that_is_lent_runs_tasks_of_the_other_pool_on_its_engine() -> None:
    on = OnExecutor(lambda: ThreadPoolExecutor(2), slots=2)
    async with steerio.open_session(workers={"engine": on, "native": 1}) as session:
        assert await session.submit(native_process_id) != os.getpid()
        await session.pools.move("native", "engine", 1)
        async with session.pools.lend("engine", to="native", workers=2):
            assert await session.submit(native_process_id) == os.getpid()


async def test_the_engine_goes_on_while_the_loop_computes(tmp_path: Path) -> None:
    on = OnExecutor(lambda: ThreadPoolExecutor(1), slots=1)
    ran = threading.Event()

    class Watched(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            future = super().submit(fn, *args, **kwargs)
            future.add_done_callback(lambda _: ran.set())
            return future

    on = OnExecutor(lambda: Watched(1), slots=1)
    async with steerio.open_session(workers={"engine": on}) as session:
        assert await session.submit(double, 1) == 2
        await asyncio.sleep(0)
        ran.clear()
        folder = held_in(tmp_path, "held")
        waiting = session.submit(hold, folder)
        (folder / "go").touch()
        await asyncio.sleep(0)  # the order to run it leaves
        assert ran.wait(BOUND_S)  # this thread is the loop's
        assert await waiting == 42


class Mixed(Campaign):
    """A campaign with a pool of workers and one on an executor."""

    workers: ClassVar = {"native": 1, "engine": OnExecutor(processes, slots=2)}

    def __init__(self) -> None:
        self.processes: set[int] = set()
        self.values: list[int] = []

    @agent
    async def begin(self) -> None:
        self.processes.add(await self.run(native_process_id))
        self.processes.add(await self.run(process_id))
        for x in range(20):
            self.submit(double, x)

    @on_success(double)
    async def take(self, result: steerio.Succeeded) -> None:
        self.values.append(result.value)


async def test_a_campaign_has_both_kinds_of_pools(tmp_path: Path) -> None:
    done = await steerio.conduct(Mixed(), run_dir=tmp_path / "run", progress="off")
    assert sorted(done.values) == [2 * x for x in range(20)]
    assert len(done.processes) == 2
    assert os.getpid() not in done.processes


async def test_a_standing_broker_is_served_by_a_session_for_a_while(tmp_path: Path) -> None:
    with broker_in(tmp_path):
        async with steerio.connect(tmp_path / "broker") as session:
            async with session.serve("engine", OnExecutor(lambda: ThreadPoolExecutor(2), slots=2)):
                assert await session.submit(process_id) == os.getpid()
                tasks = [session.submit(double, x) for x in range(100)]
                assert [await each for each in tasks] == [2 * x for x in range(100)]
                summed, _ = await session.submit(total, np.ones(200_000))
                assert summed == 200_000


AT_A_BROKER = """
from concurrent.futures import ThreadPoolExecutor
import os
from steerio import Campaign, OnExecutor, agent, task

@task(pool="engine")
def process_id():
    return os.getpid()

class Served(Campaign):
    workers = {"engine": OnExecutor(lambda: ThreadPoolExecutor(1), slots=1)}

    @agent
    async def begin(self):
        assert await self.run(process_id) == os.getpid()
        print("served here", flush=True)
"""


def test_a_campaign_serves_its_pools_at_a_broker_that_it_joins(tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(AT_A_BROKER)
    command = steerio_command("run", "served.py", "--join", "broker")
    with broker_in(tmp_path), running(*command, cwd=tmp_path) as program:
        program.wait_for("served here", BOUND_S)
        assert program.status() == 0, program


# -- wrong input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (lambda: OnExecutor(7, slots=1), "takes an executor, which has submit"),
        (
            lambda: OnExecutor(ThreadPoolExecutor, slots=1),
            r"is a class: say OnExecutor\(lambda: Thread",
        ),
        (lambda: OnExecutor(lambda: None, slots=0), "1 slot or more"),
    ],
)
def test_wrong_executors_are_refused(given: Callable[[], OnExecutor], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        given()


async def test_a_pool_is_served_by_nothing_else(session: Session) -> None:
    wrong: Any = ThreadPoolExecutor(1)
    with pytest.raises(UsageError, match="served by OnExecutor"):
        session.serve("engine", wrong)
