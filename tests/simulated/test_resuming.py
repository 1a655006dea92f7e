"""Campaigns that were cut off go on where they were: nothing is lost, and nothing is told twice."""

from __future__ import annotations

import random
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
    async def take_in(self, result: Succeeded) -> None:
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


class Molecule:
    """An item of a board that an attribute has as well."""

    def __init__(self, x: int) -> None:
        self.x, self.score = x, 0.0


@task
def weigh(molecule: Molecule) -> int:
    return molecule.x


class Shared(Campaign):
    """Ranks its board by objects that it has in an attribute."""

    workers: ClassVar = {"default": 1}

    def __init__(self) -> None:
        self.molecules = [Molecule(x) for x in range(20)]
        self.board: Board[Molecule] = Board(weigh, self.molecules)
        self.order: list[int] = []
        self.drawn: list[float] = []

    @on_success(weigh)
    async def rank(self, result: Succeeded) -> None:
        self.order.append(result.value)
        self.drawn.append(random.random())
        for molecule in self.molecules:
            molecule.score = float(molecule.x if len(self.order) > 12 else -molecule.x)
        self.board.rescore(lambda molecule: molecule.score)


def test_objects_on_a_board_stay_those_of_the_attributes_and_generators_go_on() -> None:
    random.seed(3)
    disk, whole = CrashingDisk(), Shared()
    play(whole, disk, Model(1.0), workers=1, every_s=2.0)
    restored = 0
    for at in range(20, disk.changes, 7):
        random.seed(3)
        files = cut(Shared(), CrashingDisk(), at, model=Model(1.0), workers=1, every_s=2.0)
        if files is None:  # it had ended before
            continue
        random.seed(at)
        again = Shared()
        keeping = play(again, CrashingDisk(files), Model(1.0), workers=1, every_s=2.0)
        assert again.order == whole.order
        if keeping.past.covers:
            restored += 1
            assert again.drawn == whole.drawn
    assert restored


class OfClass(Campaign):
    """Keeps what it knows in a dict of its class, by a slip."""

    workers: ClassVar = {"default": 1}
    known: ClassVar[dict[int, int]] = {}

    async def setup(self) -> None:
        self.map(measure, range(20))

    @on_success(measure)
    async def take_in(self, result: Succeeded) -> None:
        self.known[result.args[0]] = result.value


def test_no_snapshot_is_taken_without_an_attribute_of_the_class(
    caplog: pytest.LogCaptureFixture,
) -> None:
    keeping = play(OfClass(), CrashingDisk(), Model(1.0), workers=1)
    assert keeping.snapshots.taken == 0
    assert "OfClass.known has changed, which is an attribute of the class" in caplog.text
    OfClass.known.clear()
