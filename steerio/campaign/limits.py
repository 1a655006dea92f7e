"""Stop rules: bounds after which a campaign ends by itself."""

from __future__ import annotations

import math

from msgspec import Struct, structs

from steerio.campaign.usage import worker_seconds
from steerio.errors import UsageError
from steerio.model.bounds import real
from steerio.model.results import Cancelled, Result, Succeeded
from steerio.model.showing import counted, short
from steerio.session.argument_checks import check_kind

GRACES = ("drain", "calls", "finish", "leave")
"""The steps of an end that have a bound, in order, as ``Limits.NAME_s``."""
_COUNTS = ("tasks", "successes", "failures")
_MAY_BE_0 = ("failures", *(f"{name}_s" for name in GRACES))


class Limits(Struct, frozen=True, kw_only=True):
    """The bounds after which a campaign stops; ``None`` is no bound.

    Attributes:
        tasks: tasks that ended (cancelled ones do not count, recalled ones do).
        successes: tasks that succeeded.
        failures: tasks that did not succeed.  Up to this number they are tolerated, and need no
            ``on_failure``; one more stops the campaign.
        wall_s: seconds since the campaign began.
        worker_s: seconds that workers spent inside tasks, summed over workers (each of a gang
            for as long as its first); recalled tasks count for none.
        drain: whether running tasks may end (queued ones are cancelled in any case).
        drain_s: seconds that they may go on after ``wall_s`` have passed; then they are cancelled.
        calls_s: seconds that calls under way may go on after running tasks were cancelled because
            the campaign must end: by ``wall_s``, a signal or ``steerio stop``.
        finish_s: seconds that ``finish`` may then take.
        leave_s: seconds that agents may still go on after they were cancelled; then `run` ends its
            process.
    """

    tasks: int | None = None
    successes: int | None = None
    failures: int | None = None
    wall_s: float | None = None
    worker_s: float | None = None
    drain: bool = True
    drain_s: float | None = 60.0
    calls_s: float | None = 10.0
    finish_s: float | None = 60.0
    leave_s: float | None = 30.0

    def __post_init__(self) -> None:
        """Refuse invalid bounds."""
        for name, value in structs.asdict(self).items():
            if name == "drain":
                if not isinstance(value, bool):
                    raise UsageError(f"Limits.drain is True or False, not {short(value)}")
                continue
            if value is None:
                continue
            if not math.isfinite(number := real(value, f"Limits.{name}")):
                raise UsageError(f"Limits.{name} must be a finite number or None, not {value}")
            if name in _COUNTS and not number.is_integer():
                raise UsageError(f"Limits.{name} must be a whole number or None, not {value}")
            if value < 0 or (value == 0 and name not in _MAY_BE_0):
                raise UsageError(f"Limits.{name} must be above 0 or None, not {value}")


def parse_graces(text: str | None) -> dict[str, float | None]:
    """Read ``drain=60,calls=10,finish=60,leave=30``, or some of it, as fields of `Limits`.

    Raises:
        UsageError: it does not read like that.
    """
    graces: dict[str, float | None] = {}
    for part in text.split(",") if text else ():
        name, _, said = (word.strip() for word in part.partition("="))
        seconds: float | None = None
        try:
            seconds = None if said == "none" else float(said)
        except ValueError:
            name = ""
        if name not in GRACES or f"{name}_s" in graces:
            raise UsageError(
                f"{part.strip()!r} in --grace is not STEP=SECONDS: each step once of "
                f"{', '.join(GRACES)}; none for no bound, like drain=600,calls=none"
            )
        graces[f"{name}_s"] = seconds
    return graces


def check_limits(limits: object) -> None:
    """Refuse limits of a wrong type.

    Raises:
        UsageError: they are no `Limits`.
    """
    check_kind("limits", limits, Limits, "a steerio.Limits, like Limits(tasks=100)")


class Spent:
    """The tasks and the time that a campaign has used up so far."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.tasks = self.successes = self.failures = 0
        self.recalled = 0
        """How many of these were given known results, and had no worker."""
        self.worker_s = 0.0

    def __repr__(self) -> str:
        tasks, failures = counted(self.tasks, "task"), counted(self.failures, "failure")
        return f"<Spent {tasks}, {failures}, {self.worker_s:.1f} worker s>"

    def count(self, result: Result, gang: int = 1) -> str:
        """Count a result of so many workers; return which limit is reached, in words, or ``""``."""
        if isinstance(result, Cancelled):
            return ""
        self.tasks += 1
        if isinstance(result, Succeeded):
            self.successes += 1
            if result.recalled:
                self.recalled += 1
                return self.reached
        else:
            self.failures += 1
        self.worker_s += worker_seconds(result, gang)
        return self.reached

    @property
    def reached(self) -> str:
        """Which limit is reached, in words, or ``""``."""
        limits = self.limits
        if limits.tasks is not None and self.tasks >= limits.tasks:
            return _count(self.tasks, "ended")
        if limits.successes is not None and self.successes >= limits.successes:
            return _count(self.successes, "succeeded")
        if limits.failures is not None and self.failures > limits.failures:
            return f"{counted(self.failures, 'task')} did not succeed (limit {limits.failures})"
        if limits.worker_s is not None and self.worker_s >= limits.worker_s:
            return f"{self.worker_s:.1f} worker seconds are spent"
        return ""


def _count(tasks: int, did: str) -> str:
    return f"{counted(tasks, 'task')} {'has' if tasks == 1 else 'have'} {did}"
