"""The claims about the path of one task: agent, client, broker, worker and back.

Each module has its `CLAIMS` and `measure(effort)`, which returns one measurement for each of
them, in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.spine import (
    busy,
    core_decisions,
    decisions,
    idle_memory,
    memory,
    queued_million,
    reaction,
    round_trip,
    startup,
    throughput,
)


@dataclass(frozen=True, slots=True)
class Part:
    """The claims of one module, and how they are measured."""

    claims: Sequence[Claim]
    measure: Callable[[Effort], list[Measurement]]


PARTS: dict[str, Part] = {
    module.__name__.rpartition(".")[2]: Part(module.CLAIMS, module.measure)
    for module in (
        throughput,
        round_trip,
        decisions,
        reaction,
        busy,
        queued_million,
        memory,
        startup,
        idle_memory,
        core_decisions,
    )
}
"""By the name that `--only` takes, in the order of the print-out."""
