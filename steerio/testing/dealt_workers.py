"""The workers of a simulated cluster, dealt out to its nodes."""

from __future__ import annotations

from collections.abc import Mapping

from steerio.errors import UsageError
from steerio.model.objects import check_number
from steerio.model.showing import counted


def deal(
    workers: Mapping[str, int], nodes: int | None, workers_per_node: int
) -> list[dict[str, int]]:
    """Deal workers out to nodes, pool after pool, as evenly as it goes.

    Raises:
        UsageError: there are no workers, more nodes than workers, or a number is invalid.
    """
    for pool, count in workers.items():
        if not pool or not _is_count(count):
            raise UsageError(f"pool {pool!r} needs a whole number of workers, not {count!r}")
    total = sum(workers.values())
    check_number("workers_per_node", workers_per_node, least=1)
    check_number("nodes", nodes, least=1, or_none=True)
    if nodes is None:
        nodes = -(-total // workers_per_node)
    if not 0 < nodes <= total:
        raise UsageError(
            f"{counted(total, 'worker')} cannot be dealt out to {counted(nodes, 'node')}"
        )
    dealt: list[dict[str, int]] = [{} for _ in range(nodes)]
    for index, pool in enumerate(pool for pool, count in workers.items() for _ in range(count)):
        node = dealt[index % nodes]
        node[pool] = node.get(pool, 0) + 1
    return dealt


def _is_count(count: object) -> bool:
    return isinstance(count, int) and not isinstance(count, bool) and count >= 0
