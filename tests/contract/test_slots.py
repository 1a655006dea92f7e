"""The page that a node shares with its workers: who says what in it, and in which order."""

from __future__ import annotations

import pytest

from steerio.worker.slots import SLOTS, Slots


def test_what_is_recalled_is_not_begun_and_counts_as_ended() -> None:
    slots = Slots()
    index = slots.take()
    worker = slots.view(index)
    assert worker.begin(3)
    slots.recall(index, 5)
    assert worker.begin(4)
    assert not worker.begin(5)
    assert (slots.begun(index), slots.works_on(index, 5)) == (5, False)
    assert worker.begin(6)
    assert slots.works_on(index, 6)


def test_a_run_has_ended_before_its_end_is_written() -> None:
    slots = Slots()
    index = slots.take()
    worker = slots.view(index)
    assert worker.begin(3)
    worker.end(3)
    assert (slots.works_on(index, 3), slots.reported(index)) == (False, 0)
    worker.report(3)
    assert worker.begin(4)
    assert slots.reported(index) == 3


def test_what_was_begun_before_it_was_recalled_shows_that() -> None:
    slots = Slots()
    index = slots.take()
    assert slots.view(index).begin(5)
    slots.recall(index, 5)
    assert slots.begun(index) == 5
    assert slots.works_on(index, 5)


@pytest.mark.parametrize("recalled", [(5, 7), (7, 5)])
def test_all_that_are_recalled_stay_so_until_the_worker_has_passed_them(
    recalled: tuple[int, int],
) -> None:
    slots = Slots()
    index = slots.take()
    worker = slots.view(index)
    assert worker.begin(4)
    for run in recalled:
        slots.recall(index, run)
    assert not worker.begin(5)
    slots.recall(index, 9)
    assert not worker.begin(7)
    assert not worker.begin(9)
    slots.recall(index, 20)
    assert worker.begin(12), "what came before is forgotten, so this is not in between"
    assert not worker.begin(20)


def test_a_slot_is_cleared_for_the_next_worker_and_there_are_only_so_many() -> None:
    slots = Slots()
    index = slots.take()
    slots.recall(index, 5)
    slots.give_back(index)
    assert slots.take() == index
    assert slots.view(index).begin(5)
    for _ in range(SLOTS - 1):
        slots.take()
    with pytest.raises(RuntimeError, match="at most"):
        slots.take()
