"""What tasks leave: no zombies stay, and nothing in shared memory of a worker that is gone."""

# Streams of a process are there when they were asked for.
# pyright: reportOptionalSubscript=false, reportCallIssue=false, reportArgumentType=false

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import pytest

import steerio
from steerio import Cancelled, Lost, TaskStarted
from steerio.edge.system.descendants import ended, is_tracker
from tests import leaks
from tests.own_folders import SHARED_MEMORY
from tests.real.programs import START_S, lives, wait_for_end

pytestmark = pytest.mark.borders
kept: list[Any] = []


def leave_program() -> None:
    """Start a program and forget it."""
    subprocess.Popen(["true"])


def leave_fork() -> None:
    """Fork and forget."""
    if not os.fork():
        os._exit(0)


def leave_orphan() -> None:
    """Have a shell leave something, which falls to the worker."""
    subprocess.run("true &", shell=True, check=True)


def keep_program() -> int:
    """Start a program that fails, and keep what tells how."""
    kept.append(subprocess.Popen(["sh", "-c", "exit 3"]))
    return os.getpid()


def kept_status() -> int | None:
    """Ask how it ended."""
    status: int | None = kept[0].poll()
    return status


def count_ended() -> int:
    """Count the processes that nobody has waited for."""
    return len(ended())


def share(then: str) -> str:
    """Make shared memory, and go in some way."""
    memory = shared_memory.SharedMemory(create=True, size=1_000)
    kept.append(memory)
    if then == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif then == "stopped":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        time.sleep(60)
    return memory.name


def read_shared(name: str) -> int:
    """Read what another has made."""
    memory = shared_memory.SharedMemory(name)
    first = memory.buf[0]
    memory.close()
    return first


def unlink_shared(name: str) -> None:
    """Remove what another has made."""
    memory = shared_memory.SharedMemory(name)
    memory.close()
    memory.unlink()


def start_slow_tracker(gate: str, done: str) -> int:
    """Start a program that looks like a tracker, and is done only when it is let through."""
    code = "from multiprocessing.resource_tracker import main\n"
    code += f"open({gate!r}).close(); open({done!r}, 'w').close()"
    # as multiprocessing starts its own, which a signal to the worker's group does not end either
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        kept.append(subprocess.Popen([sys.executable, "-c", code]))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return kept[-1].pid


def map_array(then: str) -> int:
    """Have joblib map a large array for its processes."""
    import joblib
    import numpy as np

    large = np.ones(300_000)
    sums = joblib.Parallel(n_jobs=2, max_nbytes=1_000)(joblib.delayed(np.sum)(large) for _ in "ab")
    if then == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return int(sum(sums))


async def test_no_zombies_stay_of_what_tasks_have_left() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        worker = await session.run(keep_program)
        deeds: list[Callable[[], None]] = [leave_program, leave_fork, leave_orphan]
        await session.gather(*(session.submit(deed) for deed in deeds * 10))
        await session.run(time.sleep, 1.1)
        await session.run(leave_program)
        await session.run(time.sleep, 0.1)
        assert await session.run(count_ended) <= 2, "one is kept, and one may just have ended"
        assert await session.run(kept_status) == 3
        assert await session.run(os.getpid) == worker


async def test_nothing_stays_in_shared_memory_of_workers_that_are_gone() -> None:
    before = leaks.take_stock()
    async with steerio.open_session(workers={"default": 1}) as session:
        own = SHARED_MEMORY / f"psm_of_{os.getpid()}"
        own.write_bytes(bytes([7] * 10))
        try:
            once = session.options(retries={"lost": 0})
            assert await session.run(read_shared, own.name) == 7
            assert isinstance(await once.submit(share, "killed").result(), Lost)
            async with session.events(TaskStarted) as events:
                waiting = once.submit(share, "stopped")
                await anext(events)
            waiting.cancel()
            assert isinstance(await waiting.result(), Cancelled)
            name = await session.run(share, "stays")
            assert (SHARED_MEMORY / name).exists(), "its worker lives"
            await session.run(unlink_shared, name)
            await session.run(share, "stays")
            assert own.exists(), "which a worker that is gone has only read"
        finally:
            own.unlink()
    assert leaks.shared_memory_left(before) == []


async def test_a_tracker_that_is_slow_is_not_killed_though_the_session_has_ended(
    tmp_path: Path,
) -> None:
    gate, done = tmp_path / "gate", tmp_path / "done"
    os.mkfifo(gate)
    async with steerio.open_session(workers={"default": 1}) as session:
        tracker = await session.run(start_slow_tracker, str(gate), str(done))
    assert lives(tracker)
    gate.open("w").close()
    wait_for_end([tracker], within_s=START_S)
    assert done.exists()


async def test_nothing_stays_of_what_joblib_has_mapped() -> None:
    pytest.importorskip("joblib")
    before = leaks.take_stock()
    async with steerio.open_session(workers={"default": 1}) as session:
        once = session.options(retries={"lost": 0})
        assert await session.run(map_array, "stays") == 600_000
        assert isinstance(await once.submit(map_array, "killed").result(), Lost)
    assert leaks.shared_memory_left(before) == []


def test_a_tracker_is_known_from_its_first_moment() -> None:
    for _ in range(30):
        tracker = subprocess.Popen(
            [sys.executable, "-c", "from multiprocessing.resource_tracker import main"]
        )
        assert is_tracker(tracker.pid)
        tracker.kill()
        tracker.wait()
