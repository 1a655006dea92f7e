"""The roles of those that give orders to a campaign, and the orders that each of them may give.

A role includes those below it. One that may only propose has its orders put as questions: someone
with a higher role approves or denies each.
"""

from __future__ import annotations

from math import isfinite
from typing import Literal, get_args

from msgspec import Struct

from steerio.errors import UsageError

Role = Literal["look", "propose", "steer", "code"]
ROLES: tuple[Role, ...] = get_args(Role)
"""All roles, the lowest first."""

ASSISTANT = "assistant"
"""The name of an assistant that was given no other; no access token is called so."""


class Budget(Struct, frozen=True, gc=False):
    """How much one giver of orders may have computed; ``None``: as much as it likes.

    Attributes:
        tasks_per_hour: tasks that it submits within any hour.
        worker_hours: the time of workers that its tasks take in all, in hours.
    """

    tasks_per_hour: int | None = None
    worker_hours: float | None = None


NO_BUDGET = Budget()
"""No limit."""


def includes(role: Role, least: Role) -> bool:
    """Say whether a role is at least another."""
    return ROLES.index(role) >= ROLES.index(least)


def check_budget(budget: Budget) -> None:
    """Refuse a budget that would bound nothing.

    Raises:
        UsageError: it is negative, infinite or no number.
    """
    for most, what in (
        (budget.tasks_per_hour, "tasks_per_hour"),
        (budget.worker_hours, "worker_hours"),
    ):
        if most is not None and not (isfinite(most) and most >= 0):
            raise UsageError(f"{what} of a budget is a finite number from 0, not {most!r}")
