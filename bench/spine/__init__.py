"""The claims about the path of one task: agent, client, broker, worker and back.

Each module has its `CLAIMS` and `measure(effort)`, which returns one measurement for each of
them, in that order.
"""

from __future__ import annotations

from bench.part import Part, name_of
from bench.spine import (
    busy,
    core_decisions,
    decisions,
    idle_memory,
    large_board,
    memory,
    queued_million,
    reaction,
    round_trip,
    startup,
    throughput,
)

PARTS: dict[str, Part] = {
    name_of(module): Part(module.CLAIMS, module.measure)
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
        large_board,
    )
}
"""By the name that `--only` takes, in the order of the print-out."""
