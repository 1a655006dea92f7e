"""Boards that go newest first and displace, that draw, and that share their workers by weight."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from random import Random
from typing import Any, ClassVar

import pytest

from steerio import Board, Campaign, Succeeded, on_success, task
from steerio.errors import UsageError
from steerio.testing import Model, simulate
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import play

TASK_S = 1.0


@task
def compute(x: int) -> int:
    return x


@task
def other(x: int) -> int:
    return x


# -- newest first ----------------------------------------------------------------------------


def test_the_newest_go_first_and_the_oldest_are_displaced_and_told() -> None:
    gone: list[Any] = []
    board = Board(compute, newest_first=True, limit=3, on_displaced=gone.append)
    assert board.add_all(range(5)) == 5
    assert (board.waiting, gone, board.displaced) == ([4, 3, 2], [0, 1], 2)
    assert board.add(9, score=-1.0)
    assert (board.waiting, gone) == ([4, 3, 9], [0, 1, 2])
    assert "3 displaced" in repr(board)
    taken = board.take()
    assert taken is not None
    assert taken.key == 4
    board.ends(4)
    assert board.add(0), "one that was displaced may come again"
    assert not board.add(4), "one that has ended may not"
    assert (board.waiting, gone) == ([0, 3, 9], [0, 1, 2])


def test_a_displaced_item_may_go_to_another_board() -> None:
    second = Board(other)
    board = Board(compute, newest_first=True, limit=2, on_displaced=second.add)
    board.add_all(range(5))
    assert second.waiting == [0, 1, 2]


def test_settings_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(UsageError, match="newest_first=True"):
        Board(compute, on_displaced=print)
    with pytest.raises(UsageError, match="called, not awaited"):
        Board(compute, newest_first=True, on_displaced=asyncio.sleep)
    with pytest.raises(UsageError, match="key of a board is a plain function"):
        Board(compute, [1], key=asyncio.sleep)
    with pytest.raises(UsageError, match="take one"):
        Board(compute, newest_first=True, draw=True)
    for weight in (0, -1, float("nan"), 1e9):
        with pytest.raises(UsageError, match="weight of a board"):
            Board(compute, weight=weight)
    with pytest.raises(UsageError, match="weight of a board"):
        Board(compute, weight="2")  # type: ignore[arg-type]


class Stacked(Campaign):
    """Works on a bounded stack that grows faster than it is worked off."""

    workers: ClassVar = {"default": 1}

    def __init__(self) -> None:
        self.gone: list[int] = []
        self.stack = Board(compute, [0], newest_first=True, limit=3, on_displaced=self.displaced)
        self.done: list[int] = []

    def displaced(self, item: int) -> None:
        self.gone.append(item)

    @on_success(compute)
    async def grow(self, result: Succeeded) -> None:
        self.done.append(result.args[0])
        if len(self.done) < 10:
            first = 10 * len(self.done)
            self.stack.add_all(range(first, first + 2))


def test_a_stack_is_worked_off_from_the_top() -> None:
    run = simulate(Stacked(), model=Model(TASK_S)).campaign
    assert run.done[:2] == [0, 11]
    assert len(run.done) == len(set(run.done))
    assert set(run.done).isdisjoint(run.gone)
    assert run.gone == sorted(run.gone)
    assert run.stack.displaced == len(run.gone) == 19 - len(run.done) > 3


# -- draws -----------------------------------------------------------------------------------


class Drawing(Campaign):
    workers: ClassVar = {"default": 2}

    def __init__(self) -> None:
        self.board = Board(compute, draw=True)
        for x in range(40):
            self.board.add(x, score=float(x % 4))
        self.done: list[int] = []

    @on_success(compute)
    async def note_it(self, result: Succeeded) -> None:
        self.done.append(result.args[0])


def test_draws_depend_on_the_seed_alone() -> None:
    def drawn(seed: int) -> list[int]:
        return simulate(Drawing(), model=Model(TASK_S), seed=seed).campaign.done

    assert drawn(1) == drawn(1) != drawn(2)
    assert sorted(drawn(1)) == list(range(40))
    assert {x % 4 for x in drawn(1)[-10:]} == {0}, "those of score 0 go last"


def test_a_score_that_is_no_chance_is_refused() -> None:
    board = Board(compute, [1, 2], draw=True)
    with pytest.raises(UsageError, match="the score of 3 is -1"):
        board.add(3, score=-1.0)
    with pytest.raises(UsageError, match="the score of 2 is -2"):
        board.rescore({1: 1.0, 2: -2.0})
    assert [board.score(key) for key in board.waiting] == [0, 0]


# -- weights ---------------------------------------------------------------------------------


class Shared(Campaign):
    """Two boards feed the same workers."""

    workers: ClassVar = {"default": 3}

    def __init__(self, weights: tuple[float | None, float | None], ahead: int = 0) -> None:
        self.many = Board(compute, range(300), weight=weights[0], ahead=ahead)
        self.few = Board(other, range(300), weight=weights[1])
        self.order: list[str] = []

    @on_success(compute)
    async def note_compute(self, result: Succeeded) -> None:
        self.order.append("many")

    @on_success(other)
    async def note_other(self, result: Succeeded) -> None:
        self.order.append("few")


def test_boards_share_their_workers_by_weight() -> None:
    order = simulate(Shared((2, 1), ahead=2), model=Model(TASK_S)).campaign.order
    assert len(order) == 600
    for tasks in range(1, 400):
        assert abs(order[:tasks].count("many") - 2 * tasks / 3) < 1
    assert set(order[450:]) == {"few"}, "the rest goes to the one that has entries"


def test_boards_without_a_weight_go_first() -> None:
    order = simulate(Shared((2, None)), model=Model(TASK_S)).campaign.order
    assert order == ["few"] * 300 + ["many"] * 300


def test_a_board_that_was_empty_has_saved_nothing_up() -> None:
    class Late(Shared):
        def __init__(self) -> None:
            super().__init__((1, 1))
            self.few.replace([])

        @on_success(compute, every=150)
        async def begin(self, results: list[Succeeded]) -> None:
            self.few.replace(range(1000, 1100))

    order = simulate(Late(), model=Model(TASK_S)).campaign.order
    first = order.index("few")
    assert 150 <= first <= 160
    assert abs(order[first : first + 100].count("few") - 50) <= 1


# -- resuming --------------------------------------------------------------------------------


class Everything(Campaign):
    workers: ClassVar = {"default": 1}

    def __init__(self) -> None:
        self.gone: list[int] = []
        self.drawn = Board(compute, draw=True, weight=3)
        for x in range(30):
            self.drawn.add(x, score=1.0 + x)
        self.stack = Board(
            other, range(20), newest_first=True, limit=10, on_displaced=self.displaced, weight=1
        )
        self.order: list[tuple[str, int]] = []

    def displaced(self, item: int) -> None:
        self.gone.append(item)

    @on_success(compute)
    async def note_drawn(self, result: Succeeded) -> None:
        self.order.append(("drawn", result.args[0]))
        self.stack.add(100 + result.args[0])

    @on_success(other)
    async def note_other(self, result: Succeeded) -> None:
        self.order.append(("stack", result.args[0]))


@pytest.mark.parametrize("every_s", [4.0, 1000.0])
def test_a_resumed_campaign_draws_shares_and_displaces_as_one_that_was_not_cut_off(
    every_s: float,
) -> None:
    whole = Everything()
    play(whole, CrashingDisk(), Model(TASK_S), workers=1, every_s=every_s)
    assert Counter(kind for kind, _ in whole.order)["drawn"] == 30
    resumed = 0
    for at in range(20, 130, 9):
        disk = CrashingDisk(crash_at=at)
        with contextlib.suppress(BaseException):
            play(Everything(), disk, Model(TASK_S), workers=1, every_s=every_s)
        if not disk.crashed:
            continue
        again = Everything()
        left = CrashingDisk(disk.survivors("nothing", Random(0)))
        keeping = play(again, left, Model(TASK_S), workers=1, every_s=every_s)
        resumed += keeping.recorded_before > 0
        assert again.order == whole.order
        assert again.gone == whole.gone
        assert again.stack.displaced == whole.stack.displaced
    assert resumed > 3
