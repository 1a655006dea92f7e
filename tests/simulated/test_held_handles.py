"""No snapshot is taken while an agent has handles whose results would be lost."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import Any, ClassVar

import pytest

from steerio import Campaign, Succeeded, Task, agent, on_success
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.ledgers import Ledger
from tests.simulated.random_histories import Setting, play
from tests.simulated.random_tasks import measure

OFTEN = Setting(every_results=2)


class Steady(Campaign):
    """An agent with three tasks under way at any time, in a local variable."""

    workers: ClassVar = {"default": 2, "learn": 1}

    def __init__(self) -> None:
        self.next = 0
        self.values: list[int] = []

    @agent
    async def steer(self) -> None:
        pending: set[Any] = set()
        while self.next < 10 or pending:
            while len(pending) < 3 and self.next < 10:
                pending.add(self.submit(measure, "steady", self.next))
                self.next += 1
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            self.values += [await task for task in done]
            await self.checkpoint()


class Carefree(Campaign):
    """An agent that keeps the handles of tasks whose results a handler takes, or it has read."""

    workers: ClassVar = {"default": 2, "learn": 1}

    def __init__(self) -> None:
        self.step = 0
        self.noted: list[int] = []

    @agent
    async def walk(self) -> None:
        while self.step < 10:
            task: Task[int] = self.submit(measure, "walk", self.step)
            kept = {"all": [task]}
            await task
            self.step += 1
            await self.checkpoint()
            del kept

    @on_success(measure)
    async def take_in(self, result: Succeeded) -> None:
        self.noted.append(result.value)


def test_a_snapshot_loses_no_result_of_an_agent_that_keeps_handles(
    caplog: pytest.LogCaptureFixture,
) -> None:
    whole = Steady()
    disk = CrashingDisk()
    play(whole, disk, Ledger(), OFTEN)
    assert "Steady.steer calls checkpoint() with <Task" in caplog.text
    assert "in the variable pending, and its result would be lost" in caplog.text
    for at in range(8, disk.changes):
        first, ledger = CrashingDisk(crash_at=at), Ledger()
        with contextlib.suppress(BaseException):
            play(Steady(), first, ledger, OFTEN)
        assert first.crashed
        again = Steady()
        play(again, CrashingDisk(first.survivors("everything", Random(at))), ledger, OFTEN)
        assert sorted(again.values) == sorted(whole.values), at


def test_handles_of_tasks_whose_results_were_read_are_no_reason_to_take_no_snapshot() -> None:
    keeping = play(Carefree(), CrashingDisk(), Ledger(), OFTEN)
    assert keeping.snapshots.taken > 3
