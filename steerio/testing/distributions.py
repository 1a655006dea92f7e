"""Distributions of durations: frozen values, called with a ``random.Random``.

Each accepts the task's arguments, too, and ignores them, so it fits wherever `Model` takes a
callable.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from steerio.edge.record.record_files import TASKS_FILE
from steerio.errors import UsageError


class Constant(Struct, frozen=True):
    """The same duration always."""

    seconds: float

    def __call__(self, rng: random.Random, *args: Any, **kwargs: Any) -> float:
        """Return the duration."""
        return self.seconds


class Uniform(Struct, frozen=True):
    """A duration between two bounds, all equally likely."""

    low_s: float
    high_s: float

    def __call__(self, rng: random.Random, *args: Any, **kwargs: Any) -> float:
        """Draw a duration."""
        return rng.uniform(self.low_s, self.high_s)


class Exponential(Struct, frozen=True):
    """A memoryless duration: that of waiting for a rare event."""

    mean_s: float

    def __call__(self, rng: random.Random, *args: Any, **kwargs: Any) -> float:
        """Draw a duration."""
        return rng.expovariate(1 / self.mean_s) if self.mean_s else 0.0


class LogNormal(Struct, frozen=True):
    """The product of many small influences: the duration of most simulations."""

    median_s: float
    sigma: float

    def __call__(self, rng: random.Random, *args: Any, **kwargs: Any) -> float:
        """Draw a duration."""
        return self.median_s * math.exp(rng.gauss(0.0, self.sigma))


class Measured(Struct, frozen=True):
    """One of the durations that were measured, all equally likely."""

    seconds: tuple[float, ...]

    def __call__(self, rng: random.Random, *args: Any, **kwargs: Any) -> float:
        """Draw a duration."""
        return rng.choice(self.seconds)


def constant(seconds: float) -> Constant:
    """Return the distribution that is always ``seconds``."""
    return Constant(_positive(seconds))


def uniform(low_s: float, high_s: float) -> Uniform:
    """Return the uniform distribution between two durations.

    Raises:
        UsageError: ``low_s`` is above ``high_s``.
    """
    if low_s > high_s:
        raise UsageError(f"uniform takes the lower bound first, not {low_s}, {high_s}")
    return Uniform(_positive(low_s), high_s)


def exponential(mean_s: float) -> Exponential:
    """Return the exponential distribution with this mean."""
    return Exponential(_positive(mean_s))


def lognormal(median_s: float, sigma: float = 0.5) -> LogNormal:
    """Return the log-normal distribution with this median.

    Args:
        median_s: half of the durations are shorter.
        sigma: standard deviation of the logarithm; with 0.5 two thirds of the durations are
            within a factor of 1.65 of the median.
    """
    return LogNormal(_positive(median_s), _positive(sigma))


def _positive(value: float) -> float:
    if not 0 <= value < math.inf:
        raise UsageError(f"a distribution takes finite numbers from 0 up, not {value}")
    return value


class _RecordedTask(Struct):
    """The fields that are read of a line of ``tasks.jsonl``."""

    task_type: str
    ended_as: str
    started: float | None = None
    ended: float | None = None


class Recorded:
    """The durations of a recorded run, by task type.

    It stands for all durations of a simulation (``model=recorded(RUN_DIR)``) or for those of
    one task type (``Model(recorded(RUN_DIR), value=...)``).
    """

    def __init__(self, run_dir: Path | str) -> None:
        self._file = Path(run_dir) / TASKS_FILE
        self._durations: dict[str, list[float]] = {}
        try:
            lines = self._file.read_bytes()
        except OSError as error:
            raise UsageError(f"{run_dir} is no run directory: {error}") from None
        for line in msgspec.json.Decoder(_RecordedTask).decode_lines(lines):
            if line.ended_as == "succeeded" and line.started is not None and line.ended is not None:
                run_s = max(0.0, line.ended - line.started)
                self._durations.setdefault(line.task_type, []).append(run_s)

    def __repr__(self) -> str:
        counts = ", ".join(f"{name}: {len(d)}" for name, d in self._durations.items())
        return f"<Recorded durations of {counts or 'nothing'}>"

    def of(self, task_type: str) -> Measured:
        """Return the durations of one task type.

        If a name was not recorded, the only name of the same function in another module stands for
        it: the tasks of a file have other names when it is run as a script.

        Raises:
            UsageError: no duration of it was recorded.
        """
        found = self._durations.get(task_type)
        if found is None:
            function = task_type.partition(":")[2]
            alike = [name for name in self._durations if name.partition(":")[2] == function]
            if len(alike) != 1:
                known = ", ".join(sorted(self._durations)) or "nothing"
                raise UsageError(f"{self._file} has no duration of {task_type} (it has: {known})")
            found = self._durations[alike[0]]
        return Measured(tuple(found))


def recorded(run_dir: Path | str) -> Recorded:
    """Return the durations that a run measured, from the ``tasks.jsonl`` of its directory.

    Raises:
        UsageError: there is no such file.
    """
    return Recorded(run_dir)
