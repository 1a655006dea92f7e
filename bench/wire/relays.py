"""Many workers behind few nodes, their relays: how fast they come, and how they work."""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate, spread

NODES, PER_NODE = 16, 63
WORKERS = NODES * PER_NODE
CLAIMS = (
    Claim(
        f"{WORKERS:,} workers behind {NODES} nodes joining at once: joined and busy",
        6.0,
        2.0,
        "lower",
        "s",
    ),
    Claim(f"no-op tasks/s of {WORKERS:,} workers against 2", 0.8, 1.0, "higher", "x"),
)
ROUND_S = 120.0


def measure(effort: Effort) -> list[Measurement]:
    """A broker for each round of joining; the last one goes on, beside one of two workers."""
    tasks = effort.of(16_000, 8_000)
    seconds = [_join() for _ in range(effort.of(4, 1))]
    with _many(NODES, PER_NODE) as many, _many(1, 2) as few:
        seconds.append(many.ask(Round("join"), ROUND_S)["seconds"][0])
        few.ask(Round("join"), ROUND_S)
        pairs = alternate(
            partial(tasks_per_s, few, tasks), partial(tasks_per_s, many, tasks), effort.of(16, 6)
        )
    return [
        CLAIMS[0].measured(spread(seconds), "light stand-ins in two processes"),
        CLAIMS[1].against_floor(pairs, "tasks/s"),
    ]


def tasks_per_s(side: Contestant, tasks: int) -> float:
    """One round of one side."""
    return side.ask(Round("at_once", tasks), ROUND_S)["tasks_per_s"][0]


def _many(nodes: int, each: int) -> Contestant:
    return Contestant("bench.ours.many_workers", str(nodes), str(each), close_s=30)


def _join() -> float:
    with _many(NODES, PER_NODE) as side:
        return side.ask(Round("join"), ROUND_S)["seconds"][0]
