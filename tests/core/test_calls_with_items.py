"""The order in which calls with the items of tasks begin."""

from __future__ import annotations

import pytest

from steerio.campaign.item_calls import next_call


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("queue", "under_way", "place"),
    [
        ([], set(), None),
        ([[1], [2]], set(), 0),
        ([[1], [2]], {1}, 1),
        ([[1], [2]], {1, 2}, None),
        ([[1, 2], [2], [3]], {1}, 2),  # the second would overtake the first
        ([[1, 2], [2, 3], [3]], {1}, None),
        ([[2], [2], [2]], {1}, 0),
    ],
)
def test_calls_with_items_of_the_same_task_neither_overlap_nor_overtake(
    queue: list[list[int]], under_way: set[int], place: int | None
) -> None:
    assert next_call(queue, under_way) == place
