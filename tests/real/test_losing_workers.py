"""Workers, zygotes and nodes that are lost: their tasks are tried again or end with a reason."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import steerio
from steerio import (
    Event,
    Lost,
    NodeJoined,
    NodeLost,
    PoolFailed,
    Succeeded,
    TaskProgress,
    TaskRetried,
    TimedOut,
    WorkerJoined,
    WorkerLost,
)
from steerio.worker.context import running_here
from tests.real import deeds, programs

SOON_S = 10.0
"""A bound for what takes far less, on machines that are slow at times."""


def parent_of(pid: int) -> int:
    """Return the parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_worker_killed_at_work_is_replaced_and_its_task_done_by_another(
    tmp_path: Path,
) -> None:
    async with (
        steerio.open_session(workers={"default": 2}) as session,
        session.events(WorkerLost, TaskRetried, WorkerJoined) as events,
    ):
        task = session.submit(deeds.die_once, tmp_path / "died")
        survivor = await task
        result = await task.result()
        assert isinstance(result, Succeeded)
        assert result.attempt == 2
        seen: list[Event] = []
        async with asyncio.timeout(SOON_S):
            while sum(isinstance(event, WorkerJoined) for event in seen) < 3:
                seen.append(await anext(events))
        (lost,) = [event for event in seen if isinstance(event, WorkerLost)]
        assert "SIGKILL" in lost.reason
        assert (lost.task_id, lost.worker) != (None, result.worker)
        (retried,) = [event for event in seen if isinstance(event, TaskRetried)]
        assert "lost" in retried.reason
        status = await session.status()
        assert status.pools["default"].workers == 2
        assert survivor in [worker.pid for worker in status.workers]
        node = parent_of(parent_of(survivor))
        assert all(programs.lives(pid) for pid in programs.family(node)), "no zombie is left"


def reports_what_cannot_be_said() -> None:
    """Have the worker itself report something that no message has room for."""
    worker: Any = running_here()
    worker.report(ValueError("no number"), "")


@pytest.mark.borders
async def test_a_worker_that_cannot_say_something_ends_and_that_is_its_reason() -> None:
    async with (
        steerio.open_session(workers={"default": 1}) as session,
        session.events(WorkerLost) as events,
    ):
        await session.submit(reports_what_cannot_be_said).result()
        lost = await anext(events)
        assert isinstance(lost, WorkerLost)
        assert "a message to the broker could not be sent: ReportProgress" in lost.reason
        assert await session.run(abs, -1) == 1


async def test_a_task_that_takes_down_three_workers_is_not_tried_again() -> None:
    signs = {
        "killed": "SIGKILL",
        "segfault": "SIGSEGV",
        "exit": "exited with status 3",
        "abort": "SIGABRT",
    }
    async with steerio.open_session(workers={"default": 1}) as session:
        for how, sign in signs.items():
            deadly = session.options(retries={"lost": 9}).submit(deeds.die, how)
            harmless = session.submit(deeds.double, 3)
            result = await deadly.result()
            assert isinstance(result, Lost)
            assert result.attempt == 3
            assert "it took down 3 workers" in result.reason
            assert sign in result.reason
            assert await harmless == 6
        result = await session.options(retries={"lost": 0}).submit(deeds.die, "exit").result()
        assert isinstance(result, Lost)
        assert (result.attempt, result.reason) == (1, "its process exited with status 3")


async def test_a_worker_that_was_told_to_end_from_outside_is_lost_and_its_task_is_not() -> None:
    async with (
        steerio.open_session(workers={"default": 1}) as session,
        session.events(TaskProgress) as events,
    ):
        task = session.submit(deeds.cooperate)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            pid = int((await anext(events)).message)
            os.kill(pid, number)
            if number == signal.SIGINT:
                break
        # Ctrl-C is for the campaign alone
        assert not task.done
        assert programs.lives(pid)
        task.cancel()
        assert (await task.result()).attempt == 3


async def test_a_worker_stopped_while_idle_is_killed_when_its_task_is_out_of_time() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        pid = await session.run(deeds.process_id)
        os.kill(pid, signal.SIGSTOP)
        async with asyncio.timeout(SOON_S):
            limited = session.options(timeout_s=0.3, cancel_grace_s=0.1)
            result = await limited.submit(deeds.process_id).result()
            assert isinstance(result, TimedOut)
            assert await session.run(deeds.process_id) != pid


async def test_a_stopped_worker_is_killed_when_its_task_is_out_of_time() -> None:
    async with (
        steerio.open_session(workers={"default": 1}) as session,
        session.events(TaskProgress) as events,
    ):
        task = session.options(timeout_s=0.5).submit(deeds.loop_in_python)
        os.kill(int((await anext(events)).message), signal.SIGSTOP)
        result = await task.result()
        assert isinstance(result, TimedOut)
        assert await session.run(deeds.double, 1) == 2


async def test_a_node_or_zygote_killed_is_replaced_with_its_workers_and_nothing_is_left() -> None:
    async with (
        steerio.open_session(workers={"default": 2}) as session,
        session.events(TaskProgress) as reports,
        session.events(NodeLost, NodeJoined) as nodes,
    ):
        assert isinstance(await anext(nodes), NodeJoined)
        for who in ("zygote", "node"):
            task = session.submit(deeds.leave_daemon)
            worker, child = map(int, (await anext(reports)).message.split())
            zygote = parent_of(worker)
            node = parent_of(zygote)
            below = [pid for pid in programs.family(node) if pid != node]
            assert {zygote, worker, child} <= set(below)
            began = time.monotonic()
            os.kill(zygote if who == "zygote" else node, signal.SIGKILL)
            async with asyncio.timeout(SOON_S):
                assert isinstance(await anext(nodes), NodeLost)
                assert isinstance(await anext(nodes), NodeJoined)
            again = (await anext(reports)).message.split()
            assert time.monotonic() - began < SOON_S
            programs.wait_for_end(below, within_s=SOON_S)
            assert str(worker) not in again
            task.cancel()
            result = await task.result()
            assert (result.attempt, result.ended_as) == (2, "cancelled")
        assert await session.gather(*session.map(deeds.double, range(9)))


async def test_a_node_that_ends_again_and_again_is_given_up() -> None:
    async with (
        steerio.open_session(workers={"default": 1}) as session,
        session.events(WorkerJoined, PoolFailed) as events,
    ):
        task = session.submit(deeds.loop_in_python)
        async with asyncio.timeout(3 * SOON_S):
            for _ in range(4):
                event = await anext(events)
                assert isinstance(event, WorkerJoined)
                os.kill(parent_of(parent_of(event.pid)), signal.SIGKILL)
            event = await anext(events)
        assert isinstance(event, PoolFailed)
        assert "4 times in a row" in event.reason
        assert isinstance(await task.result(), Lost)
        result = await session.submit(deeds.double, 1).result()
        assert isinstance(result, Lost)
        assert "the node's process ended" in result.reason


async def test_workers_that_cannot_be_started_end_their_tasks_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cannot_load.py").write_text("print('loading')\nraise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    record = tmp_path / "record"
    began = time.monotonic()
    async with steerio.open_session(
        workers={"default": 2}, preload=["cannot_load"], run_dir=record
    ) as session:
        result = await session.submit(deeds.double, 1).result()
        assert isinstance(result, Lost)
        assert "loading cannot_load failed on the worker's side" in result.reason
        assert "RuntimeError: no licence" in result.reason
        with pytest.raises(steerio.TaskLost, match="no licence"):
            await session.run(deeds.double, 2)
    assert time.monotonic() - began < SOON_S
    assert "loading\n" in (record / "workers.log").read_text()
    assert "cannot_load" not in sys.modules


async def test_a_module_that_takes_for_ever_to_load_does_not_hold_up_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "loading"
    os.mkfifo(mark)
    (tmp_path / "slow_to_load.py").write_text(
        f"import time\nopen({str(mark)!r}, 'w').close()\ntime.sleep(1000)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    async with steerio.open_session(workers={"default": 1}, preload=["slow_to_load"]) as session:
        task = session.submit(deeds.double, 1)
        await asyncio.to_thread(mark.read_text)
        assert not task.done
        began = time.monotonic()
    assert time.monotonic() - began < 2.0
    settings = steerio.Settings(start_s=0.3, start_failures=1)
    async with steerio.open_session(
        workers={"default": 1}, preload=["slow_to_load"], settings=settings
    ) as session:
        await asyncio.to_thread(mark.read_text)
        # the zygote is killed for it, and the node starts over, a few times
        async with asyncio.timeout(2 * SOON_S), session.events(NodeLost) as events:
            assert "zygote" in (await anext(events)).reason
