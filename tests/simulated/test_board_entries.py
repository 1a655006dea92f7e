"""Entries of a board with task types, pools and options of their own; and cancelled ones."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any, ClassVar

import pytest

from steerio import Board, Campaign, Needs, Result, Workers, on_result, task
from steerio.campaign.demand import count_workers
from steerio.errors import UsageError
from steerio.model.results import Cancelled, Succeeded, TimedOut
from steerio.testing import Model, simulate
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import play

TASK_S = 10.0


@task
def relax(x: int) -> int:
    return x


@task
def screen(x: int) -> int:
    return -x


@task(pool="large")
def refine(x: int) -> int:
    return 2 * x


class Noting(Campaign):
    workers: ClassVar = {"default": 1, "large": 1}

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.board = Board(relax)

    @on_result(relax)
    async def note_relax(self, result: Result) -> None:
        self.results.append(result)

    @on_result(screen)
    async def note_screen(self, result: Result) -> None:
        self.results.append(result)

    @on_result(refine)
    async def note_refine(self, result: Result) -> None:
        self.results.append(result)

    @property
    def order(self) -> list[tuple[str, int]]:
        return [(r.task_type.rpartition(":")[2], r.args[0]) for r in self.results]


def test_tasks_of_several_types_are_ranked_together() -> None:
    campaign = Noting()
    for x in range(6):
        campaign.board.add(x, score=x, task_type=screen if x % 2 else None)
    assert campaign.board.waiting == [5, 4, 3, 2, 1, 0]
    run = simulate(campaign, model=Model(TASK_S))
    kinds = [("screen" if x % 2 else "relax", x) for x in (5, 4, 3, 2, 1, 0)]
    assert run.campaign.order == kinds


def test_each_pool_gets_the_best_entry_that_is_for_it() -> None:
    campaign = Noting()
    for x in range(8):
        campaign.board.add(x, score=x, task_type=refine if x < 4 else None)
    run = simulate(campaign, model=Model(TASK_S))
    assert run.duration_s == 4 * TASK_S, "both pools were busy all the time"
    order = run.campaign.order
    assert [x for kind, x in order if kind == "refine"] == [3, 2, 1, 0]
    assert [x for kind, x in order if kind == "relax"] == [7, 6, 5, 4]


def test_an_entry_may_go_to_another_pool_with_options_of_its_own() -> None:
    campaign = Noting()
    campaign.board.add(1, pool="large", tags={"stage": "two"})
    campaign.board.add(2, timeout_s=TASK_S / 2)
    campaign.board.add(3)
    run = simulate(campaign, model=Model(TASK_S))
    by_item = {result.args[0]: result for result in run.campaign.results}
    assert by_item[1].tags == {"stage": "two"}
    assert by_item[1].task_type == by_item[3].task_type
    assert isinstance(by_item[2], TimedOut)
    assert isinstance(by_item[3], Succeeded)
    assert run.duration_s < 2 * TASK_S, "the pools worked beside each other"


def test_entries_with_needs_go_to_the_workers_that_fit() -> None:
    class Mixed(Noting):
        workers: ClassVar = {"default": [Workers(1), Workers(1, cpus=4)]}

    campaign = Mixed()
    for x in range(4):
        campaign.board.add(x, score=-x, needs=Needs(cpus=4) if x < 2 else None)
    run = simulate(campaign, model=Model(TASK_S), workers={"default": 2})
    assert len(run.campaign.results) == 4


def test_wrong_options_of_an_entry_are_refused() -> None:
    board = Board(relax)
    with pytest.raises(UsageError, match="timeout_s"):
        board.add(1, timeout_s=-1)
    with pytest.raises(UsageError, match="the pool of an entry"):
        board.add(1, pool="")
    with pytest.raises(TypeError, match="no option 'timeout'"):
        board.add(1, timeout=3)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="neither a function nor"):
        board.add(1, task_type=5)  # type: ignore[arg-type]
    assert not board.waiting


def test_a_pool_without_workers_that_entries_name_is_told_at_the_start() -> None:
    class Small(Noting):
        workers: ClassVar = {"default": 1}

        @on_result(refine)
        async def note_refine(self, result: Result) -> None: ...

    campaign = Small()
    campaign.board.add(1, pool="larg")
    with pytest.raises(UsageError, match="no workers for the pools larg, large,"):
        count_workers(campaign, None)


# -- cancelling ------------------------------------------------------------------------------


def test_an_entry_is_cancelled_wherever_it_is() -> None:
    class Cancelling(Noting):
        def __init__(self) -> None:
            super().__init__()
            self.board.add_all(range(4))
            self.said: list[Any] = []

        @on_result(relax, concurrent=1)
        async def note_relax(self, result: Result) -> None:
            self.results.append(result)
            if result.args[0] == 0:
                board = self.board
                assert list(board.running) == [1]
                self.said = [board.cancel(key) for key in (0, 1, 2, 99)]
                assert board.waiting == [3]
                assert board.add(2, score=-5.0), "one that waited may come again"

    run = simulate(Cancelling(), model=Model(TASK_S)).campaign
    assert run.said == [False, True, True, False]
    assert [(r.args[0], type(r)) for r in run.results] == [
        (0, Succeeded),
        (1, Cancelled),
        (3, Succeeded),
        (2, Succeeded),
    ]
    assert run.board.ended == {0, 1, 2, 3}


def test_an_entry_that_was_out_when_the_run_was_cut_off_can_be_cancelled() -> None:
    board: Board[int] = Board(relax, range(3))
    board.take()
    again: Board[int] = Board(relax)
    again.restore(board.state())
    assert again.cancel(0)
    assert not again.cancel(0)
    assert again.left == 2
    assert again.ended == {0}


# -- resuming --------------------------------------------------------------------------------


class Several(Noting):
    def __init__(self) -> None:
        super().__init__()
        for x in range(8):
            self.board.add(x, score=x, pool="large" if x % 2 else None, tags={"x": str(x)})
            self.board.add(10 + x, score=x, task_type=screen)


def test_entries_keep_their_types_pools_and_tags_over_a_resume() -> None:
    snapshots = 0
    for at in range(25, 110, 9):
        disk = CrashingDisk(crash_at=at)
        with contextlib.suppress(BaseException):
            play(Several(), disk, Model(TASK_S), every_s=15.0, pool="default large")
        again = Several()
        left = CrashingDisk(disk.survivors("nothing", Random(0)))
        keeping = play(again, left, Model(TASK_S), every_s=15.0, pool="default large")
        snapshots += keeping.snapshots.taken
        assert sorted(again.order) == sorted(
            [("relax", x) for x in range(8)] + [("screen", 10 + x) for x in range(8)]
        )
        tags = {r.args[0]: r.tags for r in again.results if r.args[0] < 8}
        assert tags == {x: {"x": str(x)} for x in range(8)}
    assert snapshots > 0


@pytest.mark.parametrize("draw", [False, True])
def test_the_best_entry_goes_first_though_others_for_the_same_workers_need_less(draw: bool) -> None:
    class OwnNeeds(Campaign):
        workers: ClassVar = {"default": Workers(1, memory="4 GiB")}

        def __init__(self) -> None:
            self.board = Board(relax, draw=draw)
            for x in range(40):
                score = 1e9**x if draw and x < 20 else float(x)
                self.board.add(x, score=score, needs=Needs(memory=f"{1000 + x} MiB"))
            self.handed_out: list[int] = []

        @on_result(relax)
        async def hear(self, result: Result) -> None:
            self.handed_out.append(result.args[0])

    handed_out = simulate(OwnNeeds(), model=Model(1.0)).campaign.handed_out
    first = list(range(19, 0, -1)) if draw else list(range(39, -1, -1))
    assert handed_out[: len(first)] == first
