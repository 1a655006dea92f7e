"""The trials of an optimizer: each is open, and ends once, as what it is."""

from __future__ import annotations

import pytest

from steerio.asktell import EndedTrial, Trials
from steerio.asktell.trials import no_number
from steerio.errors import UsageError


def test_a_trial_is_open_until_it_ends_once() -> None:
    trials = Trials(3)
    trial = trials.begin({"x": 1}, "note")
    assert (trials.left, list(trials.open)) == (2, [0])
    ended = trials.end(0, "succeeded", value=2.5)
    assert ended == EndedTrial(0, {"x": 1}, "succeeded", 2.5, "", "note", trial.reports)
    assert ended.succeeded
    assert (trials.left, trials.open, trials.ended) == (2, {}, [ended])
    with pytest.raises(KeyError):
        trials.end(0, "failed")


def test_an_end_is_none_of_the_others() -> None:
    trials = Trials(10)
    for number, how in enumerate(("failed", "timed_out", "lost", "cancelled")):
        trials.begin({})
        ended = trials.end(number, how, reason="for a reason")
        assert (ended.value, ended.reason, ended.succeeded) == (None, "for a reason", False)
    assert trials.counts == {"failed": 1, "timed_out": 1, "lost": 1, "cancelled": 1}
    assert trials.left == 6


def test_a_pruned_trial_has_the_last_value_that_it_reported() -> None:
    trials = Trials(2)
    trial = trials.begin({})
    assert trials.report(trial, 0, 3.0)
    assert trials.report(trial, 1, 2.0)
    assert trials.end(0, "pruned").value == 2.0
    trials.begin({})
    assert trials.end(1, "pruned").value is None


def test_steps_that_a_second_attempt_reports_again_are_no_news() -> None:
    trials = Trials(1)
    trial = trials.begin({})
    assert [trials.report(trial, step, 1.0) for step in (0, 1, 0, 1, 2)] == [
        True,
        True,
        False,
        False,
        True,
    ]
    assert trial.reports == [(0, 1.0), (1, 1.0), (2, 1.0)]
    assert trials.begin_again(0).reports == []


def test_an_interrupted_trial_stays_open() -> None:
    trials = Trials(1)
    trials.begin({"x": 1})
    assert trials.end(0, "interrupted").ended == "interrupted"
    assert list(trials.open) == [0]
    assert (trials.ended, trials.left) == ([], 0)


def test_a_trial_that_only_a_storage_knows_is_learnt() -> None:
    trials = Trials(5)
    trials.begin({"x": 0})
    trials.learn(EndedTrial(0, {"x": 0}, "succeeded", 1.0))
    trials.learn(EndedTrial(3, {"x": 3}, "failed"))
    assert (trials.open, trials.next_number, trials.left) == ({}, 4, 3)
    assert repr(trials) == "<Trials: 0 open, 1 failed, 1 succeeded, of 5>"


@pytest.mark.parametrize("limit", [0, -1, 2.5, True, "3", None])
def test_a_limit_that_is_none_is_refused(limit: object) -> None:
    with pytest.raises(UsageError, match="limit must be a whole number above 0"):
        Trials(limit)  # type: ignore[arg-type]


def test_a_name_that_is_no_identifier_is_refused() -> None:
    with pytest.raises(UsageError, match="becomes a tag"):
        Trials(3, name="my trial")


def test_values_that_are_no_numbers_are_told() -> None:
    assert [no_number(value) for value in (1, 2.0, [1.0, 2], (0.5,), float("inf"))] == [""] * 5
    for value in (float("nan"), None, "1", [1.0, float("nan")], []):
        assert no_number(value)
