"""Boards feed their pools wherever a campaign keeps them, and rank only what can be ranked."""

from __future__ import annotations

import asyncio
import math
from typing import Any, ClassVar

import pytest

from steerio import Board, BoardFull, Campaign, Succeeded, agent, on_success, task
from steerio.errors import UsageError
from steerio.testing import Model, simulate

TASK_S = 10.0


@task
def compute(x: int) -> int:
    return x


class Two(Campaign):
    workers: ClassVar = {"default": 2}

    def __init__(self) -> None:
        self.done: list[int] = []

    @on_success(compute)
    async def record(self, result: Succeeded) -> None:
        self.done.append(result.args[0])


def run(campaign: Two) -> tuple[list[int], float]:
    """Run it; returns what was done, and when it had ended."""
    came = simulate(campaign, model=Model(TASK_S))
    return sorted(came.campaign.done), came.duration_s


@pytest.mark.parametrize("container", [list, tuple, set, lambda of: dict(enumerate(of))])
def test_boards_in_a_list_or_dict_are_fed(container: Any) -> None:
    campaign = Two()
    campaign.boards = container([Board(compute, range(3)), Board(compute, range(3, 6))])  # type: ignore[attr-defined]
    assert run(campaign) == (list(range(6)), 3 * TASK_S)


def test_a_board_that_is_assigned_later_is_fed_at_once() -> None:
    class Later(Two):
        async def setup(self) -> None:
            self.submit(compute, 100)

        @agent
        async def open_another(self) -> None:
            await asyncio.sleep(1)
            self.second = Board(compute, range(2))
            await asyncio.sleep(2 * TASK_S)
            self.third = Board(compute, range(2, 4))
            assert len(self.third) == 0, "both were handed out"

    assert run(Later()) == ([0, 1, 2, 3, 100], 1 + 3 * TASK_S)


def test_a_board_that_is_appended_to_a_list_later_is_fed_before_the_end() -> None:
    class Growing(Two):
        def __init__(self) -> None:
            super().__init__()
            self.boards = [Board(compute, [0])]

        @on_success(compute)
        async def extend(self, result: Succeeded) -> None:
            if result.args[0] < 3:
                self.boards.append(Board(compute, [result.args[0] + 1]))

    assert run(Growing()) == ([0, 1, 2, 3], 4 * TASK_S)


def test_a_board_that_is_replaced_hands_out_no_more() -> None:
    class Replacing(Two):
        def __init__(self) -> None:
            super().__init__()
            self.todo = Board(compute, range(100))

        @agent
        async def replace(self) -> None:
            await asyncio.sleep(1)
            self.todo = Board(compute, [1_000])

    assert run(Replacing()) == ([0, 1, 1_000], 2 * TASK_S)


def test_a_campaign_may_go_on_being_used_after_its_end() -> None:
    campaign = Two()
    run(campaign)
    campaign.todo = Board(compute, [1])  # type: ignore[attr-defined]
    assert campaign.todo.add(2)  # type: ignore[attr-defined]


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_has_no_rank_is_refused_and_nothing_is_changed(score: float) -> None:
    board = Board(compute, [1, 2, 3])
    with pytest.raises(UsageError, match=f"the score of 2 is {score}, but"):
        board.rescore({1: 5.0, 2: score})
    with pytest.raises(UsageError, match="the score of 4 is"):
        board.add(4, score)
    with pytest.raises(UsageError, match="the score of 5 is"):
        board.add_all([5, 6], score)
    assert board.waiting == [1, 2, 3]
    assert [board.score(key) for key in board.waiting] == [0, 0, 0]
    assert [board.take() for _ in range(4)] == [
        *((n, (n,), "", (), None) for n in (1, 2, 3)),
        None,
    ]


def test_what_was_added_before_a_board_was_full_is_fed() -> None:
    class Filling(Two):
        def __init__(self) -> None:
            super().__init__()
            self.todo = Board(compute, limit=2)

        async def setup(self) -> None:
            self.submit(compute, 0)

        @agent
        async def fill(self) -> None:
            await asyncio.sleep(1)
            with pytest.raises(BoardFull):
                self.todo.add_all(range(1, 10))
            assert len(self.todo) < 2

    assert run(Filling())[0] == [0, 1, 2]


@pytest.mark.borders
def test_a_board_in_the_attribute_of_another_object_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class State:
        def __init__(self) -> None:
            self.todo = Board(compute, [1, 2])
            self.both = [self.todo]

    class Deep(Campaign):
        workers: ClassVar = {"default": 1}

        def __init__(self, *, also: bool) -> None:
            self.state = State()
            if also:
                self.todo = self.state.todo

    simulate(Deep(also=False), model=Model(1.0))
    assert "2 entries of the board self.state.todo were never handed out" in caplog.text
    caplog.clear()
    assert simulate(Deep(also=True), model=Model(1.0)).ended == {"succeeded": 2}
    assert "never" not in caplog.text
