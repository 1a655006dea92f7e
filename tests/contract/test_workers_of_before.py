"""A run that goes on has the workers that were asked for, and where they had been moved to."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest

from steerio import Campaign
from steerio.campaign.captured import Content
from steerio.campaign.past import Past
from steerio.campaign.plan import Plan
from steerio.campaign.planned_journal import RunValues, begin_planned
from steerio.campaign.run_journal import RunJournal
from steerio.edge.record.entries import FORMAT, Began
from steerio.errors import UsageError


class Kept:
    """A journal with the past of a run."""

    def __init__(self, past: Past) -> None:
        self.past = past

    def begin(self, began: Began) -> None:
        self.began = began


def goes_on_with(asked: dict[str, int], last: dict[str, int]) -> dict[str, int]:
    """Return the workers of a run that had asked for some, and had these when it was cut off."""
    began = Began(FORMAT, "search:Campaign", b"", b"", 7, "1", asked)
    content = msgspec.msgpack.encode(Content(b"", [], [], {}, [], last))
    journal = cast("RunJournal", Kept(Past(began, 1, snapshot=content)))
    values = RunValues(1, {"default": 2, "learn": 1}, {})
    return begin_planned(journal, Campaign(), Plan(), values).workers


@pytest.mark.parametrize(
    ("asked", "last", "then"),
    [
        ({}, {"default": 1, "learn": 2}, {"default": 1, "learn": 2}),
        ({"default": 8}, {"default": 5, "learn": 4}, {"default": 5, "learn": 4}),
        ({"default": 8}, {"default": 108, "learn": 1}, {"default": 8, "learn": 1}),  # nodes joined
        ({"default": 8}, {"default": 0, "learn": 1}, {"default": 8, "learn": 1}),  # a node was lost
        ({}, {"default": 0, "learn": 0, "other": 3}, {"default": 2, "learn": 1}),
    ],
)
def test_workers_are_where_they_were_moved_to_but_not_more_nor_fewer(
    asked: dict[str, int], last: dict[str, int], then: dict[str, int]
) -> None:
    assert goes_on_with(asked, last) == then


LIST = ("search:*",)


@pytest.mark.parametrize(
    ("before", "given", "then"),
    [(LIST, None, LIST), (LIST, ("lab:*",), ("lab:*",)), (None, LIST, LIST), (None, None, None)],
)
def test_a_run_goes_on_with_the_functions_that_were_allowed(
    before: tuple[str, ...] | None, given: tuple[str, ...] | None, then: tuple[str, ...] | None
) -> None:
    began = Began(FORMAT, "search:Campaign", b"", b"", 7, "1", allow=before)
    kept = Kept(Past(began, 1))
    values = RunValues(1, {"default": 2}, {}, given)
    journal = cast("RunJournal", kept)
    assert begin_planned(journal, Campaign(), Plan(allow=given), values).allow == then
    assert kept.began.allow == then, "for the next one, too"
    joining = Plan(join="broker")
    if before is not None and given is None:
        with pytest.raises(UsageError, match=r"only run search:\*, and the broker in broker lets"):
            begin_planned(journal, Campaign(), joining, values)
    else:
        begin_planned(journal, Campaign(), joining, values)


def test_all_incarnations_of_a_run_have_a_name_in_common_and_no_other_run_has_it() -> None:
    def name(before: Began | None) -> str:
        kept = Kept(Past(before, 0 if before is None else 1))
        values = RunValues(1, {"default": 2}, {})
        begin_planned(cast("RunJournal", kept), Campaign(), Plan(), values)
        return kept.began.run

    first, another = name(None), name(None)
    assert first != another
    assert name(Began(FORMAT, "search:Campaign", b"", b"", 7, "1", run=first)) == first
    assert name(Began(FORMAT, "search:Campaign", b"", b"", 7, "1"))
