"""An idle worker moved to a pool with a heavy import, against a fresh interpreter that imports it.

The pool that it comes from has not imported the module; its node has, once, for the other pool.
"""

from __future__ import annotations

import importlib.util

from bench.contestant import Contestant, Round
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.pairs import alternate
from bench.warm import MODULES, START_S, start_fresh

CLAIMS = tuple(
    Claim(
        f"idle worker moved to a pool with {module} preloaded, ask to first task's result, "
        "against a fresh interpreter",
        0.1,
        0.01,
        "lower",
        "x",
    )
    for module in MODULES
)


def measure(effort: Effort) -> list[Measurement]:
    """One module after the other; those that are not installed are left out."""
    rows: list[Measurement] = []
    for module, claim in zip(MODULES, CLAIMS, strict=True):
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            rows.append(claim.not_measured(f"{module} is not installed"))
        else:
            rows.append(measure_module(module, claim, effort))
    return rows


def measure_module(module: str, claim: Claim, effort: Effort) -> Measurement:
    """Moves there and back, and fresh starts, in turn."""
    with Contestant("bench.ours.moving", module) as side:
        pairs = alternate(
            lambda: start_fresh(module),
            lambda: side.ask(Round("warm"), START_S)["seconds"][0],
            effort.of(8, 2),
        )
    return claim.against_floor(pairs, "ms", scale=1e3)
