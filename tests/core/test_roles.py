"""The roles of givers of orders, and their budgets."""

from __future__ import annotations

import math

import pytest

from steerio.errors import UsageError
from steerio.model.roles import NO_BUDGET, ROLES, Budget, Role, check_budget, includes


@pytest.mark.parametrize("role", ROLES)
def test_a_role_includes_itself_and_those_below(role: Role) -> None:
    at = ROLES.index(role)
    assert [includes(role, least) for least in ROLES] == [n <= at for n in range(len(ROLES))]


@pytest.mark.parametrize("budget", [NO_BUDGET, Budget(0, 0.0), Budget(10, 2.5)])
def test_a_budget_bounds_something_or_is_none(budget: Budget) -> None:
    check_budget(budget)


@pytest.mark.parametrize("number", [-1, math.inf, math.nan])
def test_a_budget_that_would_bound_nothing_is_refused(number: float) -> None:
    with pytest.raises(UsageError, match="worker_hours of a budget is a finite number from 0"):
        check_budget(Budget(worker_hours=number))
