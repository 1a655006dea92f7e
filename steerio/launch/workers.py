"""How many workers for which pool, as users write it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from steerio.errors import UsageError

LIMIT_WORKERS = 2_000
"""Most workers of one node."""


def check_workers(workers: Mapping[str, int]) -> dict[str, int]:
    """Return a checked copy.

    Raises:
        UsageError: a pool without a name, or a number that is none; the message says which.
    """
    if not workers:
        raise UsageError('no workers: say how many for each pool, like workers={"default": 2}')
    for pool, count in workers.items():
        if not _is_name(pool):
            raise UsageError(f"{pool!r} is no name for a pool: letters, digits, '-' and '_'")
        if not _is_count(count):
            raise UsageError(f"pool {pool!r} needs a number of workers, 0 or more, not {count!r}")
    if not sum(workers.values()):
        raise UsageError("all pools are without workers: none could be moved to any of them")
    if sum(workers.values()) > LIMIT_WORKERS:
        raise UsageError(f"{sum(workers.values())} workers are too many for one node")
    return dict(workers)


def _is_name(pool: object) -> bool:
    return isinstance(pool, str) and re.fullmatch(r"[\w.-]+", pool) is not None


def _is_count(count: object) -> bool:
    return isinstance(count, int) and not isinstance(count, bool) and count >= 0


def parse_workers(text: str) -> dict[str, int]:
    """Read ``simulate=2,learn=1``; a bare number is for the pool ``default``.

    Raises:
        UsageError: it does not read like that; the message shows the part that does not.
    """
    workers: dict[str, int] = {}
    for part in text.split(","):
        pool, equals, count = part.strip().partition("=")
        if not equals:
            pool, count = "default", pool
        if not count.strip().isdigit():
            raise UsageError(
                f"{part.strip()!r} in --workers is not POOL=NUMBER, like simulate=2,learn=1"
            )
        if pool.strip() in workers:
            raise UsageError(f"--workers names the pool {pool.strip()!r} twice")
        workers[pool.strip()] = int(count)
    return check_workers(workers)
