"""Stop rules: bounds after which a campaign ends by itself."""

from __future__ import annotations

import math

from msgspec import Struct, structs

from steerio.errors import UsageError
from steerio.model.results import Cancelled, Result, Succeeded


class Limits(Struct, frozen=True, kw_only=True):
    """When to stop; ``None`` is no bound.

    Attributes:
        tasks: tasks that ended (cancelled ones do not count).
        successes: tasks that succeeded.
        failures: tasks that did not succeed.  Up to this number they are tolerated, so they
            need no ``on_failure``; one more stops the campaign.
        wall_s: seconds since the campaign began.
        worker_s: seconds that workers spent inside tasks, summed over workers.
        drain: whether running tasks may end (queued ones are cancelled in any case).
    """

    tasks: int | None = None
    successes: int | None = None
    failures: int | None = None
    wall_s: float | None = None
    worker_s: float | None = None
    drain: bool = True

    def __post_init__(self) -> None:
        """Refuse bounds that cannot be."""
        for name, value in structs.asdict(self).items():
            if name == "drain" or value is None:
                continue
            if not math.isfinite(value):
                raise UsageError(f"Limits.{name} must be a finite number or None, not {value}")
            if value < 0 or (value == 0 and name != "failures"):
                raise UsageError(f"Limits.{name} must be above 0 or None, not {value}")


class Spent:
    """What a campaign has used up so far."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.tasks = self.successes = self.failures = 0
        self.worker_s = 0.0

    def __repr__(self) -> str:
        return f"<Spent {self.tasks} tasks, {self.failures} failures, {self.worker_s:.1f} worker s>"

    def count(self, result: Result) -> str:
        """Count a result; returns which limit is reached, or nothing."""
        if isinstance(result, Cancelled):
            return ""
        self.tasks += 1
        self.worker_s += result.timings.run_s or 0.0
        if isinstance(result, Succeeded):
            self.successes += 1
        else:
            self.failures += 1
        limits = self.limits
        if limits.tasks is not None and self.tasks >= limits.tasks:
            return f"{self.tasks} tasks have ended"
        if limits.successes is not None and self.successes >= limits.successes:
            return f"{self.successes} tasks have succeeded"
        if limits.failures is not None and self.failures > limits.failures:
            return f"{self.failures} tasks did not succeed (limit {limits.failures})"
        if limits.worker_s is not None and self.worker_s >= limits.worker_s:
            return f"{self.worker_s:.1f} worker seconds are spent"
        return ""
