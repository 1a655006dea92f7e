"""Executors of sessions behave as the standard library's own tests want of executors."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator
from concurrent import futures
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import pytest

import steerio
from steerio.errors import CallLost, ExecutorBroken
from steerio.session.executor import SessionExecutor
from tests.real.deeds import answer_when_told, count_to, double, process_id
from tests.real.programs import START_S, python, running
from tests.real.test_standing_broker import broker_in, workers_in

BOUND_S = 60.0


@pytest.fixture
def executor() -> Generator[SessionExecutor]:
    """Open one with two workers."""
    with steerio.open_executor(steerio.open_session(workers=2)) as opened:
        yield opened


class Holding:
    """A call that runs until it is let go."""

    def __init__(self, executor: SessionExecutor, folder: Path, name: str = "held") -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.future = executor.submit(answer_when_told, self.folder)

    def begun(self) -> Holding:
        """Wait until it runs, by its file and by its future."""
        until(lambda: (self.folder / "begun").exists() and self.future.running())
        return self

    def let_go(self) -> None:
        """Have it end."""
        (self.folder / "go").touch()


def until(condition: Callable[[], object]) -> None:
    """Wait in this thread for something that happens in others."""
    end = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.002)


def take_all(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def fall(depth: int) -> NoReturn:
    if depth:
        fall(depth - 1)
    raise ZeroDivisionError("at the bottom")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(code: int) -> NoReturn:
    sys.exit(code)


def misjudged(number: int) -> str:
    return number  # type: ignore[return-value]


class Heavy:
    """Something that a weak reference can follow."""

    def method(self) -> int:
        return 7


class ExitsOnReading:
    """Something that ends the process that reads it."""

    def __reduce__(self) -> Any:
        return os._exit, (1,)


class FailsOnReading:
    """Something that cannot be read."""

    def __reduce__(self) -> Any:
        return _cannot_be_read, ()


def _cannot_be_read() -> NoReturn:
    raise RuntimeError("it cannot be read")


class FailsOnWriting:
    """Something that cannot be sent."""

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("it cannot be sent")


def give(kind: type[Any]) -> Any:
    return kind()


# -- submit ----------------------------------------------------------------------------------------


def test_calls_end_with_their_values(executor: SessionExecutor) -> None:
    assert isinstance(executor, futures.Executor)
    future = executor.submit(pow, 2, 8)
    assert isinstance(future, futures.Future)
    assert future.result(BOUND_S) == 256
    assert future.exception() is None
    assert (future.done(), future.running(), future.cancelled()) == (True, False, False)
    assert not future.cancel()
    assert executor.submit(lambda x: x + len(os.sep), 1).result(BOUND_S) == 2
    assert executor.submit(Heavy().method).result(BOUND_S) == 7
    assert executor.submit(partial(pow, 2), 5).result(BOUND_S) == 32


def test_keywords_of_any_name_reach_the_function(executor: SessionExecutor) -> None:
    future = executor.submit(take_all, 1, self=2, fn=3, function=4)  # pyright: ignore[reportCallIssue]
    assert future.result(BOUND_S) == ((1,), {"self": 2, "fn": 3, "function": 4})


def test_an_executor_stays_in_its_process(executor: SessionExecutor) -> None:
    inside = executor.submit(take_all, executor)
    with pytest.raises(steerio.EncodingError, match="stays in the process of its session"):
        inside.result(BOUND_S)
    by_name = executor.submit(lambda: executor.submit(os.getpid).result())
    with pytest.raises(steerio.UsageError, match=r"'executor'.* stays in the process"):
        by_name.result(BOUND_S)


def test_annotations_of_plain_functions_bind_nobody(executor: SessionExecutor) -> None:
    assert executor.submit(double, 2.5).result(BOUND_S) == 5.0  # type: ignore[arg-type]
    assert executor.submit(misjudged, 3).result(BOUND_S) == 3


def test_a_task_type_keeps_its_annotations_and_options(
    executor: SessionExecutor, tmp_path: Path
) -> None:
    with pytest.raises(steerio.EncodingError):
        executor.submit(steerio.task(double), 2.5).result(BOUND_S)  # type: ignore[arg-type]
    with pytest.raises(steerio.TaskTimedOut):
        executor.submit(steerio.task(timeout_s=0.05)(answer_when_told), tmp_path).result(BOUND_S)


def test_arguments_are_taken_as_they_are(executor: SessionExecutor) -> None:
    given = bytearray(100_000)
    asked = []
    for number in range(20):
        given[:] = bytes([number]) * len(given)
        asked.append(executor.submit(bytes, given))
    assert [future.result(BOUND_S)[-1] for future in asked] == list(range(20))


def test_exceptions_come_back_with_the_traceback_of_the_worker(executor: SessionExecutor) -> None:
    future = executor.submit(fall, 3)
    with pytest.raises(ZeroDivisionError, match="at the bottom") as raised:
        future.result(BOUND_S)
    assert future.exception() is raised.value
    cause = raised.value.__cause__
    assert isinstance(cause, steerio.TaskFailed)
    assert "fall(depth - 1)" in str(cause)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ((double,), TypeError),
        ((double, 1, 2), TypeError),
        ((double, FailsOnWriting()), steerio.EncodingError),
        ((give, FailsOnWriting), steerio.EncodingError),
        ((give, FailsOnReading), RuntimeError),
        ((len, FailsOnReading()), RuntimeError),
        ((leave, 3), RuntimeError),
        ((3,), steerio.UsageError),
    ],
)
def test_a_call_that_cannot_be_made_or_read_fails_alone(
    executor: SessionExecutor, call: tuple[Any, ...], error: type[BaseException]
) -> None:
    future = executor.submit(*call)
    assert isinstance(future.exception(BOUND_S), error), future.exception()
    assert executor.submit(double, 4).result(BOUND_S) == 8


@pytest.mark.parametrize("call", [(die,), (len, ExitsOnReading())])
def test_a_worker_that_dies_breaks_its_call_and_not_the_executor(
    executor: SessionExecutor, call: tuple[Any, ...]
) -> None:
    future = executor.submit(*call)
    error = future.exception(BOUND_S)
    assert isinstance(error, CallLost)
    assert isinstance(error, futures.BrokenExecutor)
    assert executor.submit(double, 4).result(BOUND_S) == 8


def test_many_threads_submit(executor: SessionExecutor) -> None:
    with futures.ThreadPoolExecutor(8) as threads:
        sums = list(threads.map(lambda n: sum(executor.map(double, range(n, n + 50))), range(8)))
    assert sums == [sum(2 * x for x in range(n, n + 50)) for n in range(8)]


def test_a_running_call_can_be_stopped(executor: SessionExecutor, tmp_path: Path) -> None:
    held = Holding(executor, tmp_path).begun()
    assert "state=running" in repr(held.future)
    assert not held.future.cancel()
    held.future.stop()
    assert isinstance(held.future.exception(BOUND_S), steerio.TaskCancelled)
    held.future.stop()
    queued = executor.submit(process_id)
    queued.stop()
    assert queued.cancelled() or queued.result(BOUND_S)


def test_a_generator_is_refused(executor: SessionExecutor) -> None:
    with pytest.raises(steerio.UsageError, match=r"session\.stream"):
        executor.submit(count_to, 3).result(BOUND_S)


def test_a_callback_may_wait_for_other_threads_that_look_at_the_future(
    executor: SessionExecutor, tmp_path: Path
) -> None:
    seen: list[bool] = []

    def look(future: futures.Future[int]) -> None:
        thread = threading.Thread(target=lambda: seen.append(future.done()))
        thread.start()
        thread.join(BOUND_S)
        assert not thread.is_alive()

    held = Holding(executor, tmp_path)
    held.future.add_done_callback(look)
    held.let_go()
    until(lambda: seen)
    assert seen == [True]


def test_a_future_keeps_no_arguments(executor: SessionExecutor) -> None:
    given = Heavy()
    gone = weakref.ref(given)
    future = executor.submit(id, given)
    future.result(BOUND_S)
    del given
    until(lambda: gone() is None)
    assert future.done()


# -- cancel and running ----------------------------------------------------------------------------


def test_queued_calls_are_cancelled_and_running_ones_are_not(
    executor: SessionExecutor, tmp_path: Path
) -> None:
    held = [Holding(executor, tmp_path, str(n)).begun() for n in range(2)]
    queued = executor.submit(process_id)
    assert not queued.running()
    assert not queued.done()
    assert queued.cancel()
    assert queued.cancel()
    assert (queued.cancelled(), queued.done()) == (True, True)
    with pytest.raises(futures.CancelledError):
        queued.result(BOUND_S)
    assert [each.future.cancel() for each in held] == [False, False]
    for each in held:
        each.let_go()
    assert [each.future.result(BOUND_S) for each in held] == [42, 42]


def test_done_callbacks_are_called_once_in_order_with_the_future(
    executor: SessionExecutor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[Any] = []

    def fail(future: object) -> NoReturn:
        called.append(future)
        raise ValueError("a callback that fails")

    held = Holding(executor, tmp_path)
    held.future.add_done_callback(fail)
    held.future.add_done_callback(called.append)
    held.let_go()
    until(lambda: len(called) == 2)
    held.future.add_done_callback(called.append)
    assert called == [held.future] * 3
    assert "a callback that fails" in caplog.text
    Holding(executor, tmp_path, "1").begun().let_go()


def test_the_callbacks_of_a_cancelled_call_are_called_at_once(
    executor: SessionExecutor, tmp_path: Path
) -> None:
    held = [Holding(executor, tmp_path, str(n)).begun() for n in range(2)]
    queued = executor.submit(process_id)
    called: list[Any] = []
    queued.add_done_callback(called.append)
    assert queued.cancel()
    assert called == [queued]
    for each in held:
        each.let_go()


# -- wait and as_completed -------------------------------------------------------------------------


def test_wait_for_the_first(executor: SessionExecutor, tmp_path: Path) -> None:
    held = Holding(executor, tmp_path)
    quick = executor.submit(double, 21)
    done, left = futures.wait([held.future, quick], BOUND_S, futures.FIRST_COMPLETED)
    assert (done, left) == ({quick}, {held.future})
    done, left = futures.wait([held.future, quick], BOUND_S, futures.FIRST_COMPLETED)
    assert (done, left) == ({quick}, {held.future})
    held.let_go()


def test_wait_for_the_first_exception(executor: SessionExecutor, tmp_path: Path) -> None:
    held = Holding(executor, tmp_path)
    first = executor.submit(double, 2)
    bad: futures.Future[int] = executor.submit(fall, 1)
    done, left = futures.wait([first, bad, held.future], BOUND_S, futures.FIRST_EXCEPTION)
    assert (done, left) == ({first, bad}, {held.future})
    held.let_go()


def test_wait_for_all_and_with_a_bound(executor: SessionExecutor, tmp_path: Path) -> None:
    held = Holding(executor, tmp_path).begun()
    quick = executor.submit(double, 1)
    assert futures.wait([held.future, quick, quick], 0.05).not_done == {held.future}
    with pytest.raises(TimeoutError):
        held.future.result(0.01)
    with pytest.raises(TimeoutError):
        held.future.exception(0)
    held.let_go()
    assert futures.wait([held.future, quick], BOUND_S).not_done == set()


def test_a_cancelled_call_ends_waits_for_several(executor: SessionExecutor, tmp_path: Path) -> None:
    held = [Holding(executor, tmp_path, str(n)).begun() for n in range(2)]
    queued = executor.submit(process_id)
    with futures.ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(futures.wait, [queued], BOUND_S)
        assert queued.cancel()
        assert waiting.result(BOUND_S).done == {queued}
    for each in held:
        each.let_go()


def test_as_completed(executor: SessionExecutor, tmp_path: Path) -> None:
    held = Holding(executor, tmp_path)
    quick, bad = executor.submit(double, 3), executor.submit(fall, 0)
    came = futures.as_completed([held.future, quick, bad, quick], BOUND_S)
    assert {next(came), next(came)} == {quick, bad}
    held.let_go()
    assert list(came) == [held.future]
    late = Holding(executor, tmp_path, "late")
    with pytest.raises(TimeoutError, match=r"1 \(of 2\) futures unfinished"):
        list(futures.as_completed([quick, late.future], timeout=0.05))
    late.let_go()


# -- map -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 2, 7, 100])
def test_map(executor: SessionExecutor, chunksize: int) -> None:
    expected = list(map(pow, range(10), range(10)))
    found = executor.map(pow, range(10), range(12), chunksize=chunksize, timeout=BOUND_S)
    assert list(found) == expected


@pytest.mark.parametrize("chunksize", [1, 3])
def test_map_raises_in_its_place(executor: SessionExecutor, chunksize: int) -> None:
    found = executor.map(divmod, [5, 6, 7, 8], [2, 3, 0, 4], chunksize=chunksize)
    if chunksize == 1:
        assert [next(found), next(found)] == [(2, 1), (2, 0)]
    with pytest.raises(ZeroDivisionError):
        list(found)


def test_map_submits_at_once_and_bounds_its_waits(
    executor: SessionExecutor, tmp_path: Path
) -> None:
    found = executor.map(answer_when_told, [tmp_path, tmp_path], timeout=0.3)
    until((tmp_path / "begun").exists)
    with pytest.raises(TimeoutError):
        list(found)
    (tmp_path / "go").touch()


def test_map_refuses_chunks_of_nothing(executor: SessionExecutor) -> None:
    with pytest.raises(ValueError, match="chunksize must be >= 1"):
        executor.map(double, [1], chunksize=0)


@pytest.mark.parametrize("chunksize", [1, 2])
def test_leaving_map_cancels_the_rest(
    executor: SessionExecutor, tmp_path: Path, chunksize: int
) -> None:
    held = [Holding(executor, tmp_path, str(n)).begun() for n in range(2)]
    (rest := tmp_path / "rest").mkdir()
    first = held[0].folder
    found = executor.map(answer_when_told, [first] * chunksize + [rest] * 4, chunksize=chunksize)
    held[0].let_go()
    assert next(found) == 42
    found.close()  # type: ignore[attr-defined]
    (rest / "go").touch()
    held[1].let_go()
    assert executor.submit(double, 1).result(BOUND_S) == 2


# -- shutdown --------------------------------------------------------------------------------------


def test_no_call_is_taken_after_the_shutdown(executor: SessionExecutor) -> None:
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(pow, 2, 5)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.map(double, [1])


def test_the_shutdown_waits_for_what_is_queued(executor: SessionExecutor) -> None:
    asked = [executor.submit(time.monotonic) for _ in range(100)]
    executor.shutdown()
    assert all(future.done() and future.result(0) for future in asked)


def test_a_shutdown_need_not_wait(executor: SessionExecutor, tmp_path: Path) -> None:
    held = Holding(executor, tmp_path).begun()
    executor.shutdown(wait=False)
    assert not held.future.done()
    held.let_go()
    assert held.future.result(BOUND_S) == 42


def test_a_shutdown_may_cancel_what_is_queued(executor: SessionExecutor, tmp_path: Path) -> None:
    held = [Holding(executor, tmp_path, str(n)).begun() for n in range(2)]
    queued = [executor.submit(process_id) for _ in range(30)]
    executor.shutdown(wait=False, cancel_futures=True)
    for each in held:
        each.let_go()
    executor.shutdown(wait=True)
    assert all(future.cancelled() for future in queued)
    assert [each.future.result(0) for each in held] == [42, 42]


def test_with_waits_for_all_also_after_an_error() -> None:
    asked: list[futures.Future[int]] = []

    def submit_and_fail(executor: futures.Executor) -> NoReturn:
        asked.extend(executor.submit(double, number) for number in range(10))
        raise KeyError

    with pytest.raises(KeyError), steerio.open_executor(steerio.open_session(workers=1)) as opened:
        submit_and_fail(opened)
    assert [future.result(0) for future in asked] == [2 * number for number in range(10)]
    with pytest.raises(ExecutorBroken):
        opened.submit(double, 1)


def test_an_interrupt_cancels_what_is_left(tmp_path: Path) -> None:
    asked: list[futures.Future[int]] = []

    def submit_and_press_a_key(executor: SessionExecutor) -> NoReturn:
        asked.extend([Holding(executor, tmp_path).begun().future, executor.submit(process_id)])
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        steerio.open_executor(steerio.open_session(workers=1)) as opened,
    ):
        submit_and_press_a_key(opened)
    for future in asked:
        assert isinstance(future.exception(0), (steerio.TaskCancelled, ExecutorBroken))


def test_what_cannot_be_opened_says_why() -> None:
    with (
        pytest.raises(steerio.UsageError, match="open_session\\(workers=4\\)"),
        steerio.open_executor(4),  # type: ignore[arg-type]
    ):
        pass
    with (
        pytest.raises(steerio.UnknownPool, match="'learn'"),
        steerio.open_executor(steerio.open_session(workers={"simulate": 1}), pool="learn"),
    ):
        pass
    with (
        pytest.raises(steerio.UsageError, match="no run directory"),
        steerio.open_executor(steerio.connect("/dev/null/none")),
    ):
        pass


def test_executors_and_futures_leave_no_references(executor: SessionExecutor) -> None:
    given = Heavy()
    gone = weakref.ref(given)
    executor.submit(id, given).result(BOUND_S)
    given = None  # type: ignore[assignment]
    until(lambda: gone() is None)
    value = next(iter(executor.map(give, [Heavy])))
    gone = weakref.ref(value)
    del value
    until(lambda: gone() is None)


SCRIPT = """
import steerio

def height(x):
    return x * (10 - x)

if __name__ == "__main__":
    with steerio.open_executor(steerio.open_session(workers=2)) as executor:
        print(max(executor.map(height, range(10))))
        late = executor.submit(height, 5)
    print(late.done())
"""


def test_a_plain_script_uses_one(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    with running(*python(str(tmp_path / "script.py")), cwd=tmp_path) as script:
        assert script.status(START_S) == 0, script
        assert script.output.split() == ["25", "True"]


# -- on the loop of the session --------------------------------------------------------------------


async def test_a_loop_runs_calls_in_it() -> None:
    loop = asyncio.get_running_loop()
    async with steerio.open_session(workers=2) as session:
        async with session.executor() as executor:
            assert await loop.run_in_executor(executor, double, 21) == 42
            with pytest.raises(ZeroDivisionError):
                await loop.run_in_executor(executor, fall, 2)
            asked = [executor.submit(double, number) for number in range(5)]
            bad = executor.submit(fall, 0)
        assert [future.result() for future in asked] == [0, 2, 4, 6, 8]
        assert isinstance(bad.exception(), ZeroDivisionError)


async def test_waits_that_would_stop_the_loop_for_ever_are_refused() -> None:
    async with steerio.open_session(workers=1) as session:
        executor = session.executor()
        future = executor.submit(double, 1)
        waits: list[Callable[[], object]] = [
            future.result,
            future.exception,
            partial(future.result, 5.0),
            partial(futures.wait, [future]),
            lambda: next(futures.as_completed([future])),
            lambda: list(executor.map(double, [1])),
            executor.shutdown,
        ]
        for wait in waits:
            with pytest.raises(steerio.UsageError, match="would stop the loop"):
                wait()
        with pytest.raises(TimeoutError):
            future.result(0)
        assert await asyncio.wrap_future(future) == 2
        assert future.result() == 2


async def test_its_options_and_pool_are_those_of_its_calls() -> None:
    async with steerio.open_session(workers={"simulate": 1, "learn": 1}) as session:
        with pytest.raises(steerio.UnknownPool):
            session.executor("lern")
        executor = session.executor("learn", options=session.options(tags={"for": "test"}))
        future = executor.submit(double, 1)
        task = future.task
        assert task is not None
        result = await task.result()
        for wrong in ({"priority": 3}, 5):
            with pytest.raises(steerio.UsageError, match="its own session"):
                session.executor("learn", options=wrong)  # type: ignore[arg-type]
        assert (result.tags, "learn" in (result.worker or "")) == ({"for": "test"}, True)


async def test_the_only_pool_is_that_of_its_calls() -> None:
    async with steerio.open_session(workers={"simulate": 1}) as session:
        assert await asyncio.wrap_future(session.executor().submit(double, 2)) == 4


async def test_a_cancelled_block_stops_its_calls(tmp_path: Path) -> None:
    async with steerio.open_session(workers=1) as session:
        executor = session.executor()

        async def serve() -> None:
            async with executor:
                executor.submit(answer_when_told, tmp_path)
                executor.submit(double, 1)
                await asyncio.Event().wait()

        serving = asyncio.create_task(serve())
        await asyncio.to_thread(until, (tmp_path / "begun").exists)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving


async def test_a_session_that_ends_ends_the_calls(tmp_path: Path) -> None:
    async with steerio.open_session(workers=1) as session:
        executor = session.executor()
        held = executor.submit(answer_when_told, tmp_path)
        asked: list[Any] = []

        def submit() -> None:
            asked.append(executor.submit(double, 1))

        await asyncio.to_thread(submit)
    for future in (held, *asked):
        assert isinstance(future.exception(0), (steerio.TaskCancelled, ExecutorBroken))
    with pytest.raises(ExecutorBroken):
        executor.submit(double, 1)
    with pytest.raises(ExecutorBroken):
        await asyncio.to_thread(executor.submit, double, 1)


class Old(steerio.Campaign):
    """A campaign whose agent hands its pool to code that knows executors alone."""

    workers = {"default": 2}  # noqa: RUF012

    def __init__(self) -> None:
        self.found = 0
        self.seen: list[str] = []

    @steerio.agent
    async def search(self) -> None:
        """Let a function of a library search, in a thread."""
        self.found = await asyncio.to_thread(_search, self.session.executor())

    @steerio.on_success(double)
    async def see(self, result: steerio.Succeeded) -> None:
        """See each of its calls."""
        self.seen.append(result.cause)


def _search(executor: futures.Executor) -> int:
    return max(executor.map(double, range(5)))


async def test_the_agents_of_a_campaign_see_the_calls_of_a_library() -> None:
    campaign = Old()
    await steerio.conduct(campaign)
    assert campaign.found == 8
    assert campaign.seen == ["Old.search"] * 5


# -- of a standing broker --------------------------------------------------------------------------


def test_executors_of_two_programs_share_a_standing_broker(tmp_path: Path) -> None:
    with broker_in(tmp_path), workers_in(tmp_path, "--workers", "2"):
        opening = partial(steerio.connect, tmp_path / "broker")
        with steerio.open_executor(opening()) as one, steerio.open_executor(opening()) as other:
            assert list(one.map(double, range(20))) == list(other.map(double, range(20)))


def test_a_broker_that_goes_breaks_the_executor(tmp_path: Path) -> None:
    with broker_in(tmp_path) as broker:
        with steerio.open_executor(steerio.connect(tmp_path / "broker")) as executor:
            waiting = executor.submit(double, 1)
            broker.signal(signal.SIGTERM)
            assert isinstance(waiting.exception(BOUND_S), (CallLost, ExecutorBroken))
            until(lambda: _is_broken(executor))


def _is_broken(executor: SessionExecutor) -> bool:
    try:
        executor.submit(double, 1)
    except futures.BrokenExecutor:
        return True
    return False
