"""The walltime of a node, as users give it or as its batch system does."""

from __future__ import annotations

import re
from collections.abc import Mapping

from steerio.errors import UsageError

END_VARIABLES = ("STEERIO_END_TIME", "SLURM_JOB_END_TIME")
"""The variables that say when a job ends, in Unix seconds: of our scripts; of Slurm from 23.02."""
UNITS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def find_end(walltime: str | None, environment: Mapping[str, str], now: float) -> float | None:
    """Return when this node ends, in Unix seconds; ``None`` if no end is given.

    Args:
        walltime: the user's; ``none``: it does not end.
        environment: variables of the batch system, which count if the user gave nothing.
        now: Unix seconds.

    Raises:
        UsageError: ``walltime`` cannot be read.
    """
    if walltime is not None:
        return None if walltime.strip().lower() == "none" else now + parse_seconds(walltime)
    for variable in END_VARIABLES:
        said = environment.get(variable, "")
        # a job that is over has no steps: its variable was inherited
        if said.isascii() and said.isdecimal() and float(said) > now:
            return float(said)
    return None


def parse_seconds(text: str) -> float:
    """Read a length of time: ``3600``, ``90m``, ``1.5h``, ``45:00``, ``1:30:00``, ``2-12:00:00``.

    A number alone is of seconds; with colons it is as Slurm writes it.

    Raises:
        UsageError: it is none, or not above 0.
    """
    number = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip(), re.ASCII)
    clock = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)|(\d+)-(\d+)", text.strip(), re.ASCII)
    if number is not None:
        seconds = float(number[1]) * UNITS[number[2]]
    elif clock is not None:
        seconds = _of_clock(clock)
    else:
        seconds = 0.0
    if not seconds:
        raise UsageError(
            f"{text!r} is no length of time: say it in seconds, with a unit (90m, 1.5h, 2d), or "
            "like 1:30:00 or 2-12:00:00"
        )
    return seconds


def _of_clock(clock: re.Match[str]) -> float:
    days, hours, minutes, seconds, only_days, only_hours = (
        int(part or 0) for part in clock.groups()
    )
    if clock[1] and clock[2] is None:  # after days come hours and minutes
        hours, minutes, seconds = minutes, seconds, 0
    return ((days + only_days) * 24 + hours + only_hours) * 3_600.0 + minutes * 60 + seconds
