"""The claims about pools: workers that move, start warm and are replaced; queues that change.

Each module has its `CLAIMS` and `measure(effort)`, as those of the spine do.
"""

from __future__ import annotations

from bench import warm
from bench.part import Part, name_of
from bench.pools import core_moves, move, queue, reallocation, warm_move

PARTS: dict[str, Part] = {
    name_of(module): Part(module.CLAIMS, module.measure)
    for module in (move, warm_move, warm, queue, core_moves, reallocation)
}
"""By the name that `--only` takes, in the order of the print-out."""
