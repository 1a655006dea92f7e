"""Campaigns that were cut off go on where they were: nothing is lost, and nothing is told twice."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar

import pytest

from steerio import Board, Campaign, Succeeded, agent, on_success, task
from steerio.testing import Model
from tests.simulated.kept_runs import CrashingDisk, cut, play

RAN: list[tuple[str, int]] = []
"""The calls that workers made."""


@task
def measure(x: int) -> int:
    RAN.append(("measure", x))
    return x * x


@task
def refine(x: int) -> int:
    RAN.append(("refine", x))
    return -x


MODEL = Model(lambda random, x: 0.5 + random.random())


class Search(Campaign):
    """A board that is ranked anew by batches, follow-up tasks, and an agent that checkpoints."""

    workers: ClassVar = {"default": 2}

    def __init__(self, items: int = 24) -> None:
        self.board: Board[int] = Board(measure, range(items))
        self.seen: dict[int, int] = {}
        self.refined: list[int] = []
        self.batches = 0
        self.steps = 0
        self.random = Random(7)

    @on_success(measure)
    async def note(self, result: Succeeded) -> None:
        assert result.args[0] not in self.seen
        self.seen[result.args[0]] = result.value
        if result.args[0] % 5 == 0:
            self.submit(refine, result.args[0])

    @on_success(measure, every=4)
    async def rank(self, results: list[Succeeded]) -> None:
        self.batches += 1
        best = max(result.value for result in results)
        self.board.rescore(lambda item: float(-abs(item * item - best)))

    @on_success(refine)
    async def keep(self, result: Succeeded) -> None:
        self.refined.append(result.value)

    @agent
    async def walk(self) -> None:
        while self.steps < 6:
            value = await self.run(refine, 1000 + self.steps)
            self.refined.append(value)
            self.steps += 1
            await self.checkpoint()


def outcome(campaign: Search) -> dict[str, Any]:
    return {
        "seen": dict(sorted(campaign.seen.items())),
        "refined": sorted(campaign.refined),
        "batches": campaign.batches,
        "steps": campaign.steps,
        "waiting": campaign.board.waiting,
        "ended": sorted(campaign.board.ended),
    }


@pytest.fixture(scope="module")
def uncut() -> tuple[dict[str, Any], int]:
    disk = CrashingDisk()
    campaign = Search()
    keeping = play(campaign, disk, MODEL)
    assert keeping.snapshots.taken >= 2
    return outcome(campaign), disk.changes


def test_a_run_that_was_cut_at_any_write_ends_as_one_that_was_not(
    uncut: tuple[dict[str, Any], int],
) -> None:
    whole, changes = uncut
    for at in range(3, changes):
        files = cut(Search(), CrashingDisk(), at, model=MODEL)
        assert files is not None, at
        again = Search()
        play(again, CrashingDisk(files), MODEL, seed=at)
        assert outcome(again) == whole, at


class Changing(Campaign):
    """A campaign that decides otherwise after it was resumed."""

    workers: ClassVar = {"default": 2}

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers
        self.values: list[int] = []

    @agent
    async def walk(self) -> None:
        self.values = await self.gather(*self.map(measure, self.numbers))


def test_results_that_no_call_asks_for_again_are_recovered() -> None:
    disk = CrashingDisk()
    play(Changing([1, 2, 3, 3]), disk, MODEL)
    RAN.clear()
    again = Changing([3, 4])
    play(again, disk, MODEL)
    assert again.values == [9, 16]
    assert RAN == [("measure", 4)]
    assert sorted((each.args, each.value) for each in again.recovered) == [  # type: ignore[attr-defined]
        ((1,), 1),
        ((2,), 4),
        ((3,), 9),
    ]
