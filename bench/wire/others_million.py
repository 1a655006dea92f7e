"""How long one client's task waits to be taken in while another submits a million.

All messages of both have arrived, in batches, and are received in turn, as from a ZeroMQ socket.
"""

from __future__ import annotations

import time
from dataclasses import replace

from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import spread
from bench.wire.hosts import SimulatedHosts, submissions

MANY, MANY_QUICK = 1_000_000, 100_000
CLAIMS = (
    Claim(
        f"one client's task beside {MANY:,} of another, until it is taken in",
        0.1,
        0.03,
        "lower",
        "s",
    ),
)


def wait_s(many: int) -> float:
    """Return the seconds until the one task is there."""
    hosts = SimulatedHosts(1, 2)
    loud, quiet = hosts.join_client(hosts.far), hosts.join_client(hosts.far)
    hosts.far.say_at_once(loud, submissions(1, many))
    (mine,) = submissions(2, 1)
    hosts.far.say_at_once(quiet, [mine])
    began = time.perf_counter()
    hosts.step_until(lambda: mine.task_id in hosts.core.tasks)
    return time.perf_counter() - began


def measure(effort: Effort) -> list[Measurement]:
    """The quick look has a tenth of the tasks, and its claim says so."""
    many = effort.of(MANY, MANY_QUICK)
    claim = replace(
        CLAIMS[0], text=f"one client's task beside {many:,} of another, until it is taken in"
    )
    return [claim.measured(spread([wait_s(many) for _ in range(effort.of(5, 3))]))]
