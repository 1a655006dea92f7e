"""Snapshots have all that the campaign was told of, and leave nothing behind."""

from __future__ import annotations

import errno
from typing import Any, ClassVar

import pytest

from steerio import Campaign, agent, on_idle, on_success
from steerio.edge.record import entries
from steerio.edge.record.journal_segments import find_segments
from steerio.session import recorder
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.ledgers import Ledger
from tests.simulated.random_histories import Setting, play
from tests.simulated.random_tasks import measure


class Walk(Campaign):
    """An agent that checkpoints."""

    workers: ClassVar = {"default": 2, "learn": 1}

    def __init__(self, steps: int) -> None:
        self.steps = steps

    @agent
    async def walk(self) -> None:
        while self.steps:
            await self.run(measure, "walk", self.steps)
            self.steps -= 1
            await self.checkpoint()


class Idle(Campaign):
    """Tasks that are made as workers become idle."""

    workers: ClassVar = {"default": 2, "learn": 1}

    def __init__(self) -> None:
        self.made = 0
        self.seen: list[int] = []

    @on_idle("default")
    async def propose(self, idle: int) -> None:
        for _ in range(min(idle, 30 - self.made)):
            self.made += 1
            self.submit(measure, "idle", self.made)

    @on_success(measure)
    async def take_in(self, result: Any) -> None:
        self.seen.append(result.args[1])


@pytest.mark.parametrize("steps", range(1, 6))
def test_a_snapshot_that_the_end_of_the_campaign_interrupts_leaves_no_timer(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "PART_BYTES", 50)
    monkeypatch.setattr(recorder, "PART_BYTES", 50)
    play(Walk(steps), CrashingDisk(), Ledger(), Setting(every_results=1))


def test_files_that_cannot_be_removed_for_a_while_are_removed_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = CrashingDisk()

    def fail(number: int, call: str) -> None:
        disk.failing = {"unlink": errno.EIO} if 100 < number < 200 else {}

    disk.before = fail
    play(Walk(150), disk, Ledger(), Setting(every_results=1))
    assert disk.changes > 250
    assert "older ones not removed: [Errno 5]" in caplog.text
    assert len(find_segments(disk)[0]) < 10


@pytest.mark.parametrize("seed", range(5))
def test_no_snapshot_is_taken_between_two_results_that_came_together(seed: int) -> None:
    campaign, ledger = Idle(), Ledger()
    play(campaign, CrashingDisk(), ledger, Setting(seed, every_results=1, busy_s=1.5))
    assert sorted(campaign.seen) == list(range(1, 31))
    assert ledger.snapshots > 3
