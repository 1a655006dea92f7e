"""Lengths of time are told in the unit that fits them."""

from __future__ import annotations

import pytest

from steerio.model.durations import say_s, spoken


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (3.5e-5, "35 us"),
        (0.25, "250 ms"),
        (-0.25, "-250 ms"),
        (2.5, "2.5 s"),
        (119.0, "119 s"),
        (750.0, "12.5 min"),
        (11_160.0, "3.1 h"),
        (216_000.0, "2.5 d"),
    ],
)
def test_a_measured_time_has_three_digits(seconds: float, words: str) -> None:
    assert say_s(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (119.4, "119 s"),
        (119.6, "2 min"),
        (7_100, "118 min"),
        (7_200, "2 h"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_an_estimate_is_told_in_whole_units(seconds: float, words: str) -> None:
    assert spoken(seconds) == words
