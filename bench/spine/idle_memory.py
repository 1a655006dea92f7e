"""Memory of a worker that has run a task and waits for the next."""

from __future__ import annotations

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import spread
from bench.processes import pss_bytes

CLAIMS = (Claim("idle worker's own memory (PSS)", 15, 8, "lower", "MB"),)


def measure(effort: Effort) -> list[Measurement]:
    """Each worker of each of a few sessions counts as a round."""
    megabytes: list[float] = []
    for _ in range(effort.of(4, 1)):
        with Contestant("bench.ours.session") as side:
            pids = side.ask(Round("worker_pids", task_s=0.05))["pids"]
            megabytes += [pss_bytes(int(pid)) / 1e6 for pid in pids]
    return [CLAIMS[0].measured(spread(megabytes), "two workers, nothing preloaded")]
