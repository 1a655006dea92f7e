"""A resumed campaign may take other numbers of results in each call than before."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any, ClassVar

import pytest

from steerio import Board, Campaign, on_success, task
from steerio.testing import Model
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import play


@task
def double(x: int) -> int:
    return 2 * x


def make(every: int | None, before: int) -> Any:
    """Return a campaign that takes so many results in each call."""

    class Batches(Campaign):
        workers: ClassVar = {"default": 1}

        def __init__(self) -> None:
            self.board: Board[int] = Board(double, range(20))
            self.told: list[int] = []

        @on_success(double, every=every)
        async def take_in(self, results: Any) -> None:
            several = [results] if every is None else results
            # a call that waited when the snapshot was taken is made as it was then
            assert len(several) in {every or 1, before}
            self.told += [each.args[0] for each in several]

    return Batches()


@pytest.mark.parametrize(("before", "after"), [(8, 3), (8, 1), (8, None), (3, 8)])
def test_collected_results_are_told_although_fewer_make_a_call_now(
    before: int, after: int | None
) -> None:
    for at in range(30, 62, 3):
        disk = CrashingDisk(crash_at=at)
        with contextlib.suppress(BaseException):
            play(make(before, before), disk, Model(1.0), workers=1, every_s=3.0)
        assert disk.crashed
        again = make(after, before)
        files = disk.survivors("anything", Random(0))
        play(again, CrashingDisk(files), Model(1.0), workers=1, every_s=1000.0)
        assert again.told[-1] > 19 - (after or 1)
        assert again.told == list(range(again.told[0], again.told[-1] + 1))
