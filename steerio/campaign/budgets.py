"""The budgets of those that give orders: how much is used, and whether there is room.

All times are in seconds, and the caller's: so the accounts of one giver can be kept in a snapshot,
and tested without a clock.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from steerio.model.durations import spoken
from steerio.model.roles import Budget
from steerio.model.showing import counted

HOUR_S = 3600.0
ORDERS_A_MINUTE = 60
"""Most orders of one giver that may only propose, or of one assistant, within a minute."""


class OrderRate:
    """The orders of the last minute, of each giver; tries and repetitions count."""

    def __init__(self) -> None:
        self._given: deque[tuple[float, str]] = deque()

    def __repr__(self) -> str:
        return f"<OrderRate: {len(self._given)} in the last minute>"

    def refusal(self, by: str, now: float) -> str:
        """Count an order of a giver; return why it is one too many, or nothing."""
        while self._given and self._given[0][0] <= now - 60.0:
            self._given.popleft()
        if sum(giver == by for _, giver in self._given) >= ORDERS_A_MINUTE:
            return f"{by} has given {ORDERS_A_MINUTE} orders within a minute: give it later"
        self._given.append((now, by))
        return ""


class GiverAccount(Struct):
    """The tasks that one giver has submitted by orders.

    Attributes:
        submitted: when, of those within the last hour, the oldest first.
        worker_s: the seconds that those which have ended took of workers.
    """

    submitted: list[float] = []
    worker_s: float = 0.0


class GiverAccounts:
    """The accounts of all that have submitted tasks by orders, by name."""

    def __init__(self) -> None:
        self.all: dict[str, GiverAccount] = {}

    def __repr__(self) -> str:
        return f"<GiverAccounts of {len(self.all)}>"

    def submits(self, by: str, at: float) -> None:
        """Count a task that a giver submits."""
        account = self.all.setdefault(by, GiverAccount())
        _forget(account, at)
        account.submitted.append(at)

    def worked(self, by: str, seconds: float) -> None:
        """Count the time that a worker took for a task of a giver."""
        self.all.setdefault(by, GiverAccount()).worker_s += seconds

    def refusal(self, by: str, budget: Budget, now: float) -> str:
        """Return why a giver may not submit another task now, or nothing."""
        account = self.all.get(by, GiverAccount())
        most_s = None if budget.worker_hours is None else budget.worker_hours * HOUR_S
        if most_s is not None and account.worker_s >= most_s:
            used = f"{account.worker_s / HOUR_S:.3g} of {budget.worker_hours:g} worker-hours"
            return f"the tasks of {by} have used {used}, so there is no room for another"
        most = budget.tasks_per_hour
        _forget(account, now)
        if most is None or len(account.submitted) < most:
            return ""
        used = f"{by} has submitted {counted(len(account.submitted), 'task')} within the last hour"
        if not most:
            return f"{by} may submit no task: its budget has 0 tasks within any hour"
        left_s = account.submitted[-most] + HOUR_S - now
        return f"{used}, and may submit {most}: there is room in {spoken(left_s)}"

    def copied(self) -> dict[str, GiverAccount]:
        """Return copies of all, for a snapshot."""
        return {by: GiverAccount(each.submitted[:], each.worker_s) for by, each in self.all.items()}

    def restore(self, accounts: dict[str, GiverAccount], now: float) -> None:
        """Go on with accounts of an earlier incarnation; the clock may have been set back."""
        self.all = {
            by: GiverAccount([min(at, now) for at in each.submitted], each.worker_s)
            for by, each in accounts.items()
        }


def _forget(account: GiverAccount, now: float) -> None:
    account.submitted = [at for at in account.submitted if at > now - HOUR_S]
