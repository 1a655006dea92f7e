"""Budgets: what the givers of orders have used, and whether there is room, without a clock."""

from __future__ import annotations

from steerio import Budget
from steerio.campaign.budgets import HOUR_S, GiverAccounts
from steerio.model.roles import NO_BUDGET

TWO = Budget(tasks_per_hour=2)


def test_who_has_no_budget_may_submit_any_number() -> None:
    accounts = GiverAccounts()
    for at in range(1000):
        accounts.submits("ada", at)
    accounts.worked("ada", 1e9)
    assert accounts.refusal("ada", NO_BUDGET, 1000) == ""


def test_no_more_tasks_are_submitted_within_any_hour_than_may_be() -> None:
    accounts = GiverAccounts()
    for at in (0, 600):
        assert accounts.refusal("ada", TWO, at) == ""
        accounts.submits("ada", at)
    assert accounts.refusal("ada", TWO, 900) == (
        "ada has submitted 2 tasks within the last hour, and may submit 2: there is room in 45 min"
    )
    assert accounts.refusal("bob", TWO, 900) == "", "another's"
    assert "in 1 s" in accounts.refusal("ada", TWO, HOUR_S - 1)
    assert accounts.refusal("ada", TWO, HOUR_S) == ""
    accounts.submits("ada", HOUR_S)
    assert "there is room in 10 min" in accounts.refusal("ada", TWO, HOUR_S)
    assert "has 0 tasks" in accounts.refusal("bob", Budget(tasks_per_hour=0), 0)


def test_there_is_room_for_a_smaller_budget_when_enough_have_gone_by() -> None:
    accounts = GiverAccounts()
    for at in (0, 100, 200):
        accounts.submits("ada", at)
    refusal = accounts.refusal("ada", TWO, 300)
    assert "has submitted 3 tasks within the last hour, and may submit 2" in refusal
    assert "there is room in 57 min" in refusal, "when the second of them is an hour ago"
    assert accounts.refusal("ada", TWO, HOUR_S) != ""
    assert accounts.refusal("ada", TWO, HOUR_S + 100) == ""


def test_worker_hours_are_used_up_for_good() -> None:
    accounts, budget = GiverAccounts(), Budget(worker_hours=0.5)
    accounts.worked("ada", 1799)
    assert accounts.refusal("ada", budget, 0) == ""
    accounts.worked("ada", 1)
    assert accounts.refusal("ada", budget, 1e9) == (
        "the tasks of ada have used 0.5 of 0.5 worker-hours, so there is no room for another"
    )


def test_accounts_are_kept_and_a_clock_that_was_set_back_blocks_no_one_for_longer() -> None:
    accounts = GiverAccounts()
    for at in (5000, 6000):
        accounts.submits("ada", at)
    accounts.worked("ada", 36)
    kept = accounts.copied()
    accounts.submits("ada", 6001)
    again = GiverAccounts()
    again.restore(kept, now=10)
    assert again.all["ada"].worker_s == 36
    assert len(again.all["ada"].submitted) == 2
    assert "there is room in 60 min" in again.refusal("ada", TWO, 10)
    assert again.refusal("ada", TWO, 10 + HOUR_S) == ""
