"""A run is shown in lines that fit any terminal, and that hold nothing but text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from steerio.campaign.run_lines import (
    RunLook,
    cells,
    cut_to,
    plain,
    pool_lines,
    run_lines,
    share,
)
from steerio.model.status import PoolLoad
from steerio.session.pace import Rate
from steerio.session.tally import FailedTask

LOOK = RunLook(
    name="Search",
    seconds=83.2,
    on_boards=9_000,
    done=340,
    recalled=12,
    bad="3 failed, 1 timed out",
    rate=28.14,
    now=30.2,
    left="about 4 min left",
    pools={
        "simulate": PoolLoad(16, 1, 120, 15),
        "learn": PoolLoad(4, 1, 0, 1, starting=2, draining=1),
        "idle": PoolLoad(0, 0, 0, 0),
    },
    notes={"best_ev": -7.25, "regret": 0.125},
    failures=(FailedTask(17, "energy", "failed", "ValueError: no such molecule: CCX(=O)"),),
    troubles=("nothing can go on: 3 queued in 'learn' wait",),
    stopping="an agent stopped the campaign: waiting for running tasks",
)


def shown(look: RunLook, width: int, height: int = 24, **options: Any) -> list[str]:
    return [plain(line).rstrip() for line in run_lines(look, width, height, **options)]


def test_a_wide_terminal_has_pools_with_bars() -> None:
    assert shown(LOOK, 100) == [
        "Search  83 s  340 done (12 recalled)  3 failed, 1 timed out  9000 on boards",
        "30.2/s now, 28.1/s in all  about 4 min left",
        "simulate ██████████████████████░░ 15/16 busy  120 queued",
        "learn    ██████░░░░░░············ 1/4 busy  2 starting  1 draining",
        "idle     ························ 0/0 busy",
        "best_ev=-7.25  regret=0.125",
        "task 17 energy failed: ValueError: no such molecule: CCX(=O)",
        "nothing can go on: 3 queued in 'learn' wait",
        "stopping: an agent stopped the campaign: waiting for running tasks",
    ]


def test_a_narrow_terminal_has_the_same_without_bars_in_more_lines() -> None:
    assert shown(LOOK, 40) == [
        "Search  83 s  340 done (12 recalled)",
        "3 failed, 1 timed out  9000 on boards",
        "30.2/s now, 28.1/s in all",
        "about 4 min left",
        "simulate 15/16 busy, 120 queued",
        "learn    1/4 busy, 2 starting, 1 draini…",
        "idle     0/0 busy",
        "best_ev=-7.25  regret=0.125",
        "task 17 energy failed: ValueError: no s…",
        "nothing can go on: 3 queued in 'learn'",
        "wait",
        "stopping: an agent stopped the campaign:",
        "waiting for running tasks",
    ]


def test_a_pool_that_is_paused_says_by_whom_and_why() -> None:
    pools = {"learn": PoolLoad(4, 1, 7, 1, paused="by ada: to look\x1b[2J")}
    (line,) = [plain(line) for line in pool_lines(pools, 100, 5)]
    assert line.endswith("3/4 busy  7 queued  paused by ada: to look\N{REPLACEMENT CHARACTER}[2J")


def test_a_terminal_of_ascii_gets_ascii() -> None:
    for line in shown(LOOK, 60, blocks=False):
        assert line.isascii()
    assert "simulate ######################-- 15/16 busy  120 queued" in shown(
        LOOK, 70, blocks=False
    )


def test_of_many_pools_the_first_are_shown_and_the_others_counted() -> None:
    pools = {f"pool{n}": PoolLoad(1, 1, 0, 0) for n in range(30)}
    lines = [plain(line) for line in pool_lines(pools, 100, 5)]
    assert [line.split()[0] for line in lines] == ["pool0", "pool1", "pool2", "pool3", "and"]
    assert lines[-1] == "and 26 more pools"
    assert len(shown(structs.replace(LOOK, pools=pools), 80, 12)) <= 11


TEXTS = st.text(max_size=60)


@given(
    names=st.lists(TEXTS, max_size=30),
    why=TEXTS,
    trouble=TEXTS,
    width=st.integers(8, 250),
    height=st.integers(1, 60),
    blocks=st.booleans(),
)
def test_any_names_and_messages_fit_any_terminal(
    names: list[str], why: str, trouble: str, width: int, height: int, blocks: bool
) -> None:
    look = structs.replace(
        LOOK,
        pools={name: PoolLoad(3, 1, n, 1, paused=why) for n, name in enumerate(names)},
        stopping=why,
        troubles=(trouble,),
        notes={why: 1.0},
    )
    lines = [plain(line) for line in run_lines(look, width, height, blocks=blocks)]
    assert len(lines) <= max(height - 1, 4)
    for line in lines:
        assert cells(line) <= width
        assert line.isprintable(), "no escape sequence of a user's own reaches the terminal"


def test_wide_characters_take_two_columns_and_accents_none() -> None:
    assert (cells("abc"), cells("分子"), cells("e\u0301")) == (3, 4, 1)
    assert plain(cut_to([("分子分子", "")], 6)) == "分子…"


@pytest.mark.parametrize(
    ("part", "whole", "found"),
    [(0, 10, 0), (1, 10_000, 1), (9_999, 10_000, 9), (10, 10, 10), (5, 10, 5), (3, 0, 10)],
)
def test_a_bar_is_empty_only_for_none_and_full_only_for_all(
    part: int, whole: int, found: int
) -> None:
    assert share(part, whole, 10) == found


def test_the_present_rate_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    assert rate.now(0.0, 0) == 0.0
    assert rate.now(5.0, 50) == 10.0
    assert rate.now(100.0, 50) == 0.0
    rates = [rate.now(float(second), 50 + 2 * (second - 100)) for second in range(101, 120)]
    assert rates[-1] == pytest.approx(2.0)
