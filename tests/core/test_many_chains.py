"""The number of chains that may begin."""

from __future__ import annotations

import pytest

from steerio.campaign.many_chains import may_begin


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("under_way", "untaken", "at", "begins"),
    [
        (0, 0, {}, True),
        (3, 3, {}, True),
        (4, 0, {}, False),
        (0, 4, {}, False),
        (3, 0, {"relax": 1}, True),
        (3, 0, {"relax": 2}, False),
        (3, 0, {"embed": 3}, True),
    ],
)
def test_a_chain_begins_below_all_limits(
    under_way: int, untaken: int, at: dict[str, int], begins: bool
) -> None:
    assert may_begin(under_way, untaken, 4, at, {"relax": 2}) is begins
