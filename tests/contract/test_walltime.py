"""Lengths of time as users and batch systems write them."""

from __future__ import annotations

import pytest

from steerio.errors import UsageError
from steerio.launch.walltime import END_VARIABLES, find_end, parse_seconds

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3600", 3_600),
        ("0.5", 0.5),
        ("90s", 90),
        ("90m", 5_400),
        ("1.5h", 5_400),
        ("2d", 172_800),
        ("45:00", 2_700),
        ("1:30:00", 5_400),
        ("01:30:05", 5_405),
        ("2-12", 216_000),
        ("2-12:30", 217_800),
        ("2-12:30:05", 217_805),
        (" 10 m ", 600),
    ],
)
def test_lengths_of_time_are_read_as_people_and_slurm_write_them(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "soon", "0", "0:00", "-5", "1:2:3:4", "5 minutes", "1e3", "nan", "inf", "٣", "1-"]
)
def test_what_is_no_length_of_time_is_refused_with_how_to_say_it(text: str) -> None:
    with pytest.raises(UsageError, match="is no length of time: say it in seconds"):
        parse_seconds(text)


def test_what_the_user_says_counts_more_than_what_the_batch_system_does() -> None:
    ours, theirs = END_VARIABLES
    slurm = {theirs: "1003600"}
    assert find_end(None, slurm, NOW) == NOW + 3_600
    assert find_end(None, {**slurm, ours: "1001800"}, NOW) == NOW + 1_800
    assert find_end("10m", slurm, NOW) == NOW + 600
    assert find_end("none", slurm, NOW) is None
    assert find_end(None, {}, NOW) is None


@pytest.mark.parametrize("said", ["", "Unknown", "-1", "999999", "1e9"])
def test_what_says_nothing_of_this_job_is_passed_over(said: str) -> None:
    assert find_end(None, dict.fromkeys(END_VARIABLES, said), NOW) is None
