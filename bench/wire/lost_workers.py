"""The step in which a broker loses all its workers: the switch in front of their nodes fails.

All nodes have been silent for a lease, which one step finds.  All workers are at work, and more
tasks are queued.
"""

from __future__ import annotations

import time

from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import spread
from bench.wire.hosts import POOL, SimulatedHosts

WORKERS, PER_NODE = 25_600, 100
QUEUED = 20_000
CLAIMS = (
    Claim(f"{WORKERS:,} workers lost at once, broker's step", 1.0, 0.2, "lower", "s"),
    Claim("the same, each on a node of its own, broker's step", 1.0, 0.5, "lower", "s"),
)


def lose_all(nodes: int, per_node: int) -> float:
    """Return the seconds of the step in which all nodes are lost.

    Raises:
        RuntimeError: they are not, or their tasks are not queued again.
    """
    hosts = SimulatedHosts(nodes, per_node)
    core = hosts.core
    hosts.submit(nodes * per_node + QUEUED)
    hosts.now += hosts.settings.lease_s - 0.5
    hosts.broker.step()
    queued = len(core.tasks)
    hosts.now += 1.0
    began = time.perf_counter()
    hosts.broker.step()
    took_s = time.perf_counter() - began
    if core.workers or core.pools[POOL].load().queued != queued:
        raise RuntimeError(f"not all is lost and queued again: {core}")
    return took_s


def measure(effort: Effort) -> list[Measurement]:
    """A broker for each round: it has nothing left after it."""
    rounds = effort.of(5, 2)
    together = [lose_all(WORKERS // PER_NODE, PER_NODE) for _ in range(rounds)]
    each = [lose_all(WORKERS, 1) for _ in range(rounds)]
    behind = f"all busy, {QUEUED:,} tasks behind them"
    return [
        CLAIMS[0].measured(
            spread(together), f"{WORKERS // PER_NODE} nodes of {PER_NODE}, {behind}"
        ),
        CLAIMS[1].measured(spread(each), behind),
    ]
