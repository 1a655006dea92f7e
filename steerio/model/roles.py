"""The roles of those that give orders to a campaign, and the orders that each of them may give.

A role includes those below it. One that may only propose has its orders put as questions: someone
with a higher role approves or denies each.
"""

from __future__ import annotations

from typing import Literal, get_args

from msgspec import Struct

Role = Literal["look", "propose", "steer", "code"]
ROLES: tuple[Role, ...] = get_args(Role)
"""All roles, the lowest first."""


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
