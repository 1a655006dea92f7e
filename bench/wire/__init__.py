"""The claims about the wire: links, many peers, many messages at once, and peers that are lost.

Each module has its `CLAIMS` and `measure(effort)`, as those of the spine do.
"""

from __future__ import annotations

from bench.part import Part, name_of
from bench.wire import (
    behind_nodes,
    beside_flood,
    far_link,
    far_workers,
    large_move,
    lost_workers,
    many_needs,
    others_million,
    relays,
    standing,
    two_outstanding,
)

PARTS: dict[str, Part] = {
    name_of(module): Part(module.CLAIMS, module.measure)
    for module in (
        standing,
        behind_nodes,
        relays,
        far_workers,
        two_outstanding,
        far_link,
        beside_flood,
        lost_workers,
        large_move,
        many_needs,
        others_million,
    )
}
"""By the name that `--only` takes, in the order of the print-out."""
