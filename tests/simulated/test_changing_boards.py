"""Snapshots of campaigns that drop boards, make others, and keep them in another order."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any, ClassVar

import pytest

from steerio import Board, Campaign, Succeeded, on_success, task
from steerio.testing import Model
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import play


@task
def double(x: int) -> int:
    return 2 * x


@task
def square(x: int) -> int:
    return x * x


class Generations(Campaign):
    """Has another board for each generation, while some tasks of the one before are out."""

    workers: ClassVar = {"default": 4}

    def __init__(self) -> None:
        self.board: Board[int] = Board(double, range(8))
        self.seen: list[int] = []
        self.generation = 0

    @on_success(double)
    async def take_in(self, result: Succeeded) -> None:
        self.seen.append(result.args[0])
        if len(self.seen) % 5 == 0 and self.generation < 5:
            self.generation += 1
            first = 100 * self.generation
            self.board = Board(double, range(first, first + 8))


class Dropping(Campaign):
    """Drops the first of its boards when that is done."""

    workers: ClassVar = {"default": 1}

    def __init__(self, holder: type) -> None:
        boards = [Board(double, range(3), tags={"of": "double"}), Board(square, range(100, 130))]
        self.boards: Any = dict(enumerate(boards)) if holder is dict else holder(boards)
        self.first = boards[0]
        self.ran: list[tuple[str, int]] = []

    @on_success(double)
    async def note_double(self, result: Succeeded) -> None:
        self.ran.append(("double", result.args[0]))
        if result.args[0] == 2:
            rest = [each for each in self.boards_now() if each is not self.first]
            kind = type(self.boards)
            self.boards = {1: rest[0]} if kind is dict else kind(rest)
            self.first = rest[0]

    @on_success(square)
    async def note_square(self, result: Succeeded) -> None:
        assert not result.tags
        self.ran.append(("square", result.args[0]))

    def boards_now(self) -> list[Any]:
        return list(self.boards.values() if type(self.boards) is dict else self.boards)


def resumed(make: Any, at: int, **options: Any) -> tuple[Any, Any]:
    """Return a campaign that was cut off at a change of its disk, and the one that went on."""
    disk = CrashingDisk(crash_at=at)
    first, again = make(), make()
    with contextlib.suppress(BaseException):
        play(first, disk, every_s=2.0, **options)
    assert disk.crashed
    play(again, CrashingDisk(disk.survivors("anything", Random(at))), every_s=2.0, **options)
    return first, again


@pytest.mark.parametrize("at", range(20, 120, 7))
def test_a_snapshot_has_the_tasks_of_a_board_that_was_dropped(at: int) -> None:
    model = Model(lambda random, x: 1.0 + 5.0 * random.random())
    first, again = resumed(Generations, at, model=model, workers=4)
    assert set(first.seen) <= set(again.seen)
    assert len(again.seen) == len(set(again.seen))
    assert not again.recovered


@pytest.mark.parametrize("holder", [list, dict, set, tuple])
def test_a_board_is_restored_as_itself_and_not_by_its_place(holder: type) -> None:
    _, again = resumed(lambda: Dropping(holder), 75, model=Model(1.0), workers=1)
    kinds = {(kind, x >= 100) for kind, x in again.ran}
    assert kinds == {("double", False), ("square", True)}
    assert len(again.ran) == 33
    assert again.first in again.boards_now()


class MadeInSetup(Campaign):
    """Makes its boards in ``setup``, and says itself what its state is."""

    workers: ClassVar = {"default": 2}

    def __init__(self, count: int) -> None:
        self.count = count
        self.told = 0

    async def setup(self) -> None:
        shares = [range(n, 24, self.count) for n in range(self.count)]
        boards: list[Board[int]] = [Board(double, share) for share in shares]
        self.work = boards[0] if self.count == 1 else boards

    def save_state(self) -> int:
        return self.told

    def restore_state(self, state: Any, version: int) -> None:
        self.told = state

    @on_success(double)
    async def take_in(self, result: Succeeded) -> None:
        self.told += 1


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("at", [30, 40, 50])
def test_boards_that_setup_made_are_there_after_a_restore(at: int, count: int) -> None:
    _, again = resumed(lambda: MadeInSetup(count), at, model=Model(1.0), workers=2)
    assert again.told == 24
