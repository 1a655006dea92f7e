"""The number of loops of an agent, and those that begin or go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.campaign.agent_loops import LoopChanges, changes_to, size_of
from steerio.model.status import PoolLoad


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("size", "running", "ended", "changes"),
    [
        (3, {}, set(), ([0, 1, 2], [], [])),
        (0, {}, set(), ([], [], [])),
        (1, {0: False, 1: False, 2: True}, set(), ([], [1], [])),
        (3, {0: False, 1: True}, set(), ([2], [], [1])),
        (3, {1: False}, {0}, ([2], [], [])),
        (2, {}, {0, 1}, ([], [], [])),
    ],
)
def test_loops_begin_and_go_by_their_index(
    size: int, running: dict[int, bool], ended: set[int], changes: Any
) -> None:
    assert changes_to(size, running, ended) == LoopChanges(*changes)


@given(
    st.integers(0, 20),
    st.dictionaries(st.integers(0, 20), st.booleans()),
    st.sets(st.integers(0, 20)),
)
def test_as_many_loops_stay_as_there_should_be_but_for_those_that_have_ended(
    size: int, running: dict[int, bool], ended: set[int]
) -> None:
    ended -= set(running)
    changes = changes_to(size, running, ended)
    after = {**running, **dict.fromkeys(changes.begin, False)}
    after |= dict.fromkeys(changes.go, True) | dict.fromkeys(changes.stay, False)
    staying = {index for index, leaving in after.items() if not leaving}
    assert staying == set(range(size)) - ended


def test_workers_that_start_count_and_those_that_leave_do_not() -> None:
    assert size_of(None) == 0
    assert size_of(PoolLoad(5, 1, 0, 4, starting=2, draining=1)) == 4
