"""A restored board knows which of its entries were handed out, and hands them out again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random
from typing import Any, ClassVar

from steerio import Board, Campaign, Succeeded, on_success
from tests.contract.crashing_disk import CrashingDisk
from tests.core.counting import growth
from tests.simulated.ledgers import Ledger
from tests.simulated.random_histories import Setting, play
from tests.simulated.random_tasks import measure


def restored(board: Board[Any]) -> Board[Any]:
    """Return a board with the state of another."""
    again: Board[Any] = Board(measure)
    again.restore(board.state())
    return again


def half_handed_out(**options: Any) -> Board[Any]:
    board: Board[Any] = Board(measure, ["a", "b", "c", "d"], **options)
    assert board.take() is not None
    assert board.take() is not None
    return restored(board)


def keys_taken(board: Board[Any]) -> list[Any]:
    taken = iter(board.take, None)
    return [key for key, *_ in taken if key is not None]


def test_entries_that_were_handed_out_go_first() -> None:
    board = half_handed_out()
    board.rescore({"c": 1.0, "d": 2.0})
    assert board.waiting == ["d", "c"]
    assert keys_taken(board) == ["a", "b", "d", "c"]


def test_entries_that_were_handed_out_are_not_taken_back() -> None:
    board = half_handed_out()
    assert not board.discard("a")
    board.replace([])
    assert keys_taken(board) == ["a", "b"]


def test_entries_that_were_handed_out_are_not_added_again() -> None:
    board = half_handed_out()
    assert not board.add("a", 1.0)
    assert board.replace(["b", "e"]) == 1
    assert keys_taken(board) == ["a", "b", "e"]


def test_entries_that_were_handed_out_do_not_count_for_the_limit() -> None:
    board: Board[Any] = Board(measure, ["a", "b"], limit=2)
    board.take()
    board.add("c")
    again: Board[Any] = Board(measure, limit=2)
    again.restore(board.state())
    assert len(again) == 2
    again.take()
    again.take()
    assert again.add("d")


def test_handing_out_again_is_no_more_work_for_one_entry_if_there_are_many() -> None:
    def prepared(size: int) -> Callable[[], object]:
        board: Board[Any] = Board(measure, range(size))
        for x in range(0, size, 2):
            board.add(f"{x} elsewhere", pool="elsewhere")
        while board.take() is not None:
            pass
        again = restored(board)

        def work() -> None:
            while again.left:
                (lane, *_) = again.lanes
                assert lane in again.lanes
                assert again.had_out(lane)
                assert again.take(lane) is not None

        return work

    assert growth(prepared) < 2.3


def test_an_entry_that_was_handed_out_may_be_cancelled_before_it_is_again() -> None:
    board = half_handed_out()
    assert board.cancel("a")
    assert not board.cancel("a")
    assert keys_taken(board) == ["b", "c", "d"]


def test_the_state_of_a_board_that_was_just_restored_is_the_same() -> None:
    board = restored(half_handed_out())
    assert len(board) == 2
    assert keys_taken(board) == ["a", "b", "c", "d"]


class Choosy(Campaign):
    """Takes all entries that wait back, when it is resumed."""

    workers: ClassVar = {"default": 4, "learn": 1}

    def __init__(self) -> None:
        self.board: Board[Any] = Board(measure, [("me", x) for x in range(8)])
        self.seen: set[int] = set()
        self.replaced = False

    async def resumed(self) -> None:
        self.board.replace([])
        self.replaced = True

    @on_success(measure)
    async def take_in(self, result: Succeeded) -> None:
        self.seen.add(result.args[1])


def test_a_resumed_campaign_runs_what_was_handed_out_although_it_takes_the_rest_back() -> None:
    replaced = 0
    for at in range(10, 40):
        disk, ledger = CrashingDisk(crash_at=at), Ledger()
        first, again = Choosy(), Choosy()
        with contextlib.suppress(BaseException):
            play(first, disk, ledger, Setting(workers=4, every_results=1, sync_every=1))
        assert disk.crashed
        after = CrashingDisk(disk.survivors("nothing", Random(0)))
        play(again, after, ledger, Setting(workers=1))
        assert set(range(4)) <= again.seen >= first.seen
        replaced += again.replaced
    assert replaced > 10
