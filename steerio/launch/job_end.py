"""The end of the batch job in which this process is, as its batch system knows it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from steerio.edge.system.outside_commands import run_command
from steerio.launch.batch_systems import SYSTEMS
from steerio.launch.walltime import find_end

ANSWER_S = 10.0
"""Longest wait for the answer of a batch system."""

log = logging.getLogger("steerio.launch")


def node_end(walltime: str | None, environment: Mapping[str, str], now: float) -> float | None:
    """Return when this node ends, in Unix seconds; ``None`` if that is not known.

    The batch system is asked only if neither the user nor a variable says it: each process that
    asks is a burden for the batch system.

    Args:
        walltime: the user's; ``none``: it does not end.
        environment: the variables of this process.
        now: Unix seconds.

    Raises:
        UsageError: ``walltime`` cannot be read.
    """
    end = find_end(walltime, environment, now)
    return _asked(environment, now) if end is None and walltime is None else end


def _asked(environment: Mapping[str, str], now: float) -> float | None:
    """Ask the batch system of this job for the job's end."""
    for system in SYSTEMS.values():
        job = environment.get(system.job_variable, "")
        if not job:
            continue
        try:
            answer = run_command(system.ask_left(job), ANSWER_S)
            end = None if answer.status else system.end(answer.output, now)
        except (OSError, TimeoutError, ValueError) as error:
            log.info("the end of job %s of %s is not known: %s", job, system.name, error)
            return None
        # a job that is over has no steps: its variable was inherited
        return end if end is not None and end > now else None
    return None
