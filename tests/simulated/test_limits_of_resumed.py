"""A resumed campaign that has reached a limit already runs nothing more."""

from __future__ import annotations

import contextlib
from random import Random
from typing import ClassVar

import pytest

from steerio import Board, Campaign, Limits, Succeeded, on_success, task
from steerio.testing import Model
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import play


@task
def double(x: int) -> int:
    return 2 * x


class Counting(Campaign):
    """Counts the tasks that were done."""

    workers: ClassVar = {"default": 2}

    def __init__(self) -> None:
        self.board: Board[int] = Board(double, range(40))
        self.told = 0

    @on_success(double)
    async def take_in(self, result: Succeeded) -> None:
        self.told += 1


@pytest.mark.parametrize("at", range(40, 70, 3))
def test_a_limit_that_earlier_incarnations_have_reached_lets_nothing_run(at: int) -> None:
    disk = CrashingDisk(crash_at=at)
    first, again = Counting(), Counting()
    with contextlib.suppress(BaseException):
        play(first, disk, Model(1.0), every_s=2.0)
    assert disk.crashed
    disk = CrashingDisk(disk.survivors("nothing", Random(0)))
    keeping = play(again, disk, Model(1.0), every_s=2.0, limits=Limits(tasks=4))
    assert again.told == keeping.recorded_before <= first.told
