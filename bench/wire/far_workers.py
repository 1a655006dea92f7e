"""Workers of a node over TCP: the broker's time for each of their tasks, and what CURVE costs."""

from __future__ import annotations

from functools import partial

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate

CLAIMS = (
    Claim(
        "broker's CPU per no-op task of a remote node against its own workers",
        1.0,
        0.8,
        "lower",
        "x",
    ),
    Claim("no-op tasks/s: CURVE over loopback TCP against plain", 0.8, 0.95, "higher", "x"),
)


def measure(effort: Effort) -> list[Measurement]:
    """Sessions with two workers each, in turn: of their own, over TCP, and over TCP with CURVE."""
    tasks, rounds = effort.of(2000, 1000), effort.of(24, 8)
    with Contestant("bench.ours.far_workers", "plain") as plain:
        with Contestant("bench.ours.far_workers", "own") as own:
            cpu = alternate(
                partial(asked, own, "cpu_s", tasks), partial(asked, plain, "cpu_s", tasks), rounds
            )
        with Contestant("bench.ours.far_workers", "curve") as curve:
            rates = alternate(
                partial(asked, plain, "tasks_per_s", tasks),
                partial(asked, curve, "tasks_per_s", tasks),
                rounds,
            )
    return [
        CLAIMS[0].against_floor(cpu, "µs, with the client's (floor: its own workers)", 1e6),
        CLAIMS[1].against_floor(rates, "tasks/s"),
    ]


def asked(side: Contestant, what: str, tasks: int) -> float:
    """One round of one side."""
    return side.ask(Round("at_once", tasks))[what][0]
