"""What a task forks is an ordinary process, whichever library does it, and a stop ends it too."""

from __future__ import annotations

import asyncio
import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import steerio
from steerio import Cancelled, Session, TaskStarted
from tests.real.programs import wait_for_end

pytestmark = pytest.mark.borders
METHODS = ("fork", "spawn", "forkserver")


def square(x: int) -> int:
    """Square."""
    return x * x


def say_and_wait(place: str) -> None:
    """Write down that this process is there, and wait for its end."""
    (Path(place) / f"{os.getpid()}").touch()
    time.sleep(60)


def wait_until_there(place: Path, number: int) -> list[int]:
    """Return the processes that wait there, once they are so many."""
    while len(found := [int(path.name) for path in place.iterdir()]) < number:
        time.sleep(0.01)
    return found


def terminate_process(method: str, place: str) -> int | None:
    """Terminate a process that was started in this way; return how it ended."""
    context: Any = multiprocessing.get_context(method)
    process = context.Process(target=say_and_wait, args=(place,))
    process.start()
    (there,) = wait_until_there(Path(place), 1)
    process.terminate()
    process.join()
    Path(place, f"{there}").unlink()
    return process.exitcode


def terminate_at_once() -> list[int | None]:
    """Terminate processes the moment they are forked."""
    ended: list[int | None] = []
    for _ in range(50):
        process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        process.start()
        process.terminate()
        process.join()
        ended.append(process.exitcode)
    return ended


def square_in_pool(method: str) -> list[int]:
    """Have a pool compute; it is terminated."""
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, range(4))


def square_in_executor(method: str) -> list[int]:
    """Have an executor compute."""
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        return list(executor.map(square, range(4)))


def square_with_joblib(backend: str) -> list[int]:
    """Have joblib compute."""
    import joblib

    parallel = joblib.Parallel(n_jobs=2, backend=backend)
    squares: Any = parallel(joblib.delayed(square)(x) for x in range(4))
    return list(squares)


def forked(end: Callable[[], Any]) -> Any:
    """Fork, and return how the child ended, which goes on with ``end``."""
    child = os.fork()
    if not child:
        return end()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def forked_by_coroutine(code: int) -> Any:
    """Fork inside a loop."""
    return forked(lambda: sys.exit(code))


def forked_by_generator() -> Any:
    """Fork between two items; the child goes on to the end of this."""
    yield 1
    child = os.fork()
    yield 2
    if child:
        yield os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def interrupted() -> Any:
    """Send SIGINT to a fork."""

    def be_interrupted() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            os._exit(7)

    return forked(be_interrupted)


def forked_by_thread() -> list[Any]:
    """Fork in a thread."""
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(forked(lambda: os._exit(6))))
    thread.start()
    thread.join()
    return ended


def keeps_own_handler() -> Any:
    """Fork with a handler of the task's own, which is inherited as anywhere."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(8))
    try:
        return forked(lambda: signal.raise_signal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def reports_in_child() -> int:
    """Say things in a fork, which has no way to say them."""

    def say() -> None:
        steerio.report(0.5)
        assert not steerio.should_stop()

    return forked(say)


def handlers_of_program() -> str:
    """Ask a program which handlers it begins with."""
    asked = "import signal; print(*map(signal.getsignal, (15, 2, 1)))"
    return subprocess.check_output([sys.executable, "-c", asked], text=True)


def waits_in_pool(place: str) -> None:
    """Wait with all processes of a pool."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(say_and_wait, [place] * 2, chunksize=1)


@steerio.task(cancel_grace_s=30.0)
def is_stopped_amid_fork() -> None:
    """Fork, and be stopped in the hooks of that: of what is raised in there nobody hears."""

    def strike(frame: FrameType, event: str, argument: object) -> Any:
        if event == "call" and frame.f_code.co_qualname in ("_in_parent", "Thread.start"):
            signal.raise_signal(signal.SIGTERM)

    while not steerio.should_stop():
        pass
    sys.settrace(strike)
    child = os.fork()
    sys.settrace(None)
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    time.sleep(60)


def forks_as_it_is_stopped(place: str) -> None:
    """Be stopped, and fork while tidying up for that; a mark says that it came to the end."""
    try:
        say_and_wait(place)
    finally:
        assert forked(lambda: os._exit(4)) == 4
        time.sleep(0.05)
        (Path(place) / "tidied up").touch()


async def same_worker(session: Session) -> int:
    """Return the process of the only worker."""
    return await session.run(os.getpid)


async def test_processes_that_a_task_starts_end_as_they_would_anywhere(tmp_path: Path) -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        worker = await same_worker(session)
        for method in METHODS:
            assert await session.run(terminate_process, method, str(tmp_path)) == -15, method
        for method in ("fork", "forkserver"):  # by spawn each process imports all this again
            assert await session.run(square_in_pool, method) == [0, 1, 4, 9], method
        assert await session.run(square_in_executor, "fork") == [0, 1, 4, 9]
        assert await session.run(terminate_at_once) == [-15] * 50
        program = await session.run(handlers_of_program)
        assert program == "0 <built-in function default_int_handler> 0\n"
        assert await same_worker(session) == worker, "no signal was meant for it"


async def test_a_fork_ends_as_its_own_code_says() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        worker = await same_worker(session)
        assert await session.run(forked, lambda: os._exit(4)) == 4
        assert await session.run(forked, lambda: sys.exit(3)) == 3
        assert await session.run(forked, sys.exit) == 0
        assert await session.run(forked, lambda: sys.exit("why")) == 1
        assert await session.run(forked, lambda: 1 / 0) == 1
        assert await session.run(forked, lambda: "a value of its own") == 0
        assert await session.run(forked, lambda: os.kill(os.getpid(), 15)) == -15
        assert await session.run(forked_by_coroutine, 5) == 5
        assert await session.run(forked_by_thread) == [6]
        assert await session.run(interrupted) == 7
        assert await session.run(keeps_own_handler) == 8
        assert await session.run(reports_in_child) == 0
        items = [item async for item in session.stream(forked_by_generator)]
        assert items == [1, 2, 0], "what the child yields is not the task's"
        assert await same_worker(session) == worker


async def test_joblib_computes_inside_a_task() -> None:
    pytest.importorskip("joblib")
    async with steerio.open_session(workers={"default": 1}) as session:
        for backend in ("multiprocessing", "loky"):
            assert await session.run(square_with_joblib, backend) == [0, 1, 4, 9], backend


async def test_a_stop_that_comes_amid_a_fork_is_not_lost() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        worker = await same_worker(session)
        async with session.events(TaskStarted) as events:
            stopped = session.submit(is_stopped_amid_fork)
            await anext(events)
        stopped.cancel()
        async with asyncio.timeout(10):
            assert isinstance(await stopped.result(), Cancelled)
        assert await same_worker(session) == worker


async def test_a_task_that_forks_as_it_tidies_up_is_stopped_once(tmp_path: Path) -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        async with session.events(TaskStarted) as events:
            stopped = session.submit(forks_as_it_is_stopped, str(tmp_path))
            await anext(events)
            await asyncio.to_thread(wait_until_there, tmp_path, 1)
        stopped.cancel()
        assert isinstance(await stopped.result(), Cancelled)
        assert (tmp_path / "tidied up").exists()


async def test_a_task_that_is_stopped_takes_its_processes_along(tmp_path: Path) -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        async with session.events(TaskStarted) as events:
            waiting = session.submit(waits_in_pool, str(tmp_path))
            await anext(events)
            there = await asyncio.to_thread(wait_until_there, tmp_path, 2)
        waiting.cancel()
        assert isinstance(await waiting.result(), Cancelled)
        wait_for_end(there, within_s=5)
        assert await session.run(square, 3) == 9
