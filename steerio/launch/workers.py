"""Numbers of workers by pool, and the needs of each worker, as users write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import copy
from typing import TypeAlias, cast

from steerio.errors import UsageError
from steerio.launch.needs import Needs, describe
from steerio.model.bounds import NAME_CHARACTERS
from steerio.model.places import WorkerNeeds
from steerio.model.showing import short

LIMIT_WORKERS = 2_000
"""Most workers of one node."""
DEFAULT = "default"
"""The pool of task types that name none."""
_HOW_MANY = 'workers says how many each pool has, like workers={"simulate": 2}'
_EXAMPLE = "like simulate=2,learn=1:gpus=1:cpus=4:memory=8G:tags=bigmem"


class Workers:
    """The number of workers of a pool, and the share of the node that each gets.

    Use it in place of a number: ``workers={"simulate": 8, "learn": Workers(2, gpus=1, cpus=4)}``.

    Args:
        count: the number of workers.
        cpus: cores (hardware threads) for each.
        gpus: accelerators of any make for each; below 1 the share of one: 0.5, 0.25...
        memory: most memory that each may take, in bytes or like ``"8G"``; 0: no limit.
        tags: properties of their node, by names of your own.

    Raises:
        UsageError: a value is malformed or out of bounds; the message names it.
    """

    __slots__ = ("count", "needs")

    def __init__(
        self,
        count: int,
        *,
        cpus: int = 1,
        gpus: float = 0,
        memory: int | str = 0,
        tags: Iterable[str] = (),
    ) -> None:
        self.count = count
        self.needs = Needs(cpus=cpus, gpus=gpus, memory=memory, tags=tags).value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Workers):
            return NotImplemented
        return (self.count, self.needs) == (other.count, other.needs)

    def __hash__(self) -> int:
        return hash((self.count, self.needs))

    def __repr__(self) -> str:
        return f"Workers({', '.join([repr(self.count), *describe(self.needs)])})"


AskedWorkers: TypeAlias = Mapping[str, int | Workers]


def named_workers(workers: object, pools: Iterable[str]) -> AskedWorkers:
    """Return workers by pool; a number alone is for the only pool, or for ``default``.

    Raises:
        UsageError: a number alone with several pools, or something else altogether.
    """
    if isinstance(workers, Mapping):
        return cast("AskedWorkers", workers)
    if not _is_count(workers) and not isinstance(workers, Workers):
        raise UsageError(f"{_HOW_MANY}, not {workers!r}")
    known = sorted(set(pools))
    if len(known) > 1 and DEFAULT not in known:
        raise UsageError(
            f"workers={workers!r} does not say for which pool: there are {', '.join(known)}; "
            f"say workers={{{known[0]!r}: {workers!r}}}"
        )
    pool = known[0] if len(known) == 1 else DEFAULT
    return {pool: cast("int | Workers", workers)}


def check_by_pool(workers: object) -> None:
    """Refuse workers that do not go by pool.

    Raises:
        UsageError: they do not.
    """
    if not isinstance(workers, Mapping):
        raise UsageError(f"{_HOW_MANY}, not {workers!r}")


def merged_workers(asked: AskedWorkers, usual: AskedWorkers) -> AskedWorkers:
    """Return the workers that were asked for, and the usual ones for other pools.

    A number alone changes the number of workers, and not the share of each.
    """
    merged = dict(usual)
    for pool, workers in asked.items():
        before = merged.get(pool)
        if isinstance(before, Workers) and not isinstance(workers, Workers):
            count, workers = workers, copy(before)
            workers.count = count
        merged[pool] = workers
    return merged


def check_workers(workers: AskedWorkers) -> dict[str, int]:
    """Return the number of workers for each pool, checked.

    Raises:
        UsageError: a pool has no name, or a number is none; the message says which.
    """
    check_by_pool(workers)
    if not workers:
        raise UsageError('no workers: say how many for each pool, like workers={"default": 2}')
    counts = _check_each(workers)
    if not sum(counts.values()):
        raise UsageError("all pools are without workers: none could be moved to any of them")
    if sum(counts.values()) > LIMIT_WORKERS:
        raise UsageError(f"{sum(counts.values())} workers are too many for one node")
    return counts


def _check_each(workers: AskedWorkers) -> dict[str, int]:
    """Return the number of workers for each pool, each checked by itself."""
    counts = counts_of(workers)
    for pool, count in counts.items():
        if not _is_name(pool):
            raise UsageError(
                f"{short(pool)} is no name for a pool: 1 to {NAME_CHARACTERS} letters, digits, "
                "'.', '-' and '_'"
            )
        if not _is_count(count):
            raise UsageError(f"pool {pool!r} needs a number of workers, 0 or more, not {count!r}")
    return counts


def counts_of(workers: AskedWorkers) -> dict[str, int]:
    """Return the number of workers for each pool, as they were given."""
    return {
        pool: asked.count if isinstance(asked, Workers) else asked
        for pool, asked in workers.items()
    }


def needs_of(workers: AskedWorkers) -> dict[str, WorkerNeeds]:
    """Return the needs of each worker of a pool, for pools that give them."""
    return {pool: asked.needs for pool, asked in workers.items() if isinstance(asked, Workers)}


def _is_name(pool: object) -> bool:
    if not isinstance(pool, str) or len(pool) > NAME_CHARACTERS:
        return False
    return re.fullmatch(r"[\w.-]+", pool) is not None


def _is_count(count: object) -> bool:
    return isinstance(count, int) and not isinstance(count, bool) and count >= 0


def parse_workers(text: str) -> dict[str, int | Workers]:
    """Read ``simulate=2,learn=1:gpus=1:cpus=4:memory=8G:tags=bigmem+fast``.

    A bare number is for the pool ``default``.  All may be 0: others may have workers.

    Raises:
        UsageError: it does not read like that; the message shows the part that does not.
    """
    workers: dict[str, int | Workers] = {}
    for part in text.split(","):
        said, *details = part.strip().split(":")
        pool, equals, count = said.partition("=")
        if not equals:
            pool, count = "default", pool
        pool = pool.strip()
        if not count.strip().isdigit():
            raise UsageError(f"{part.strip()!r} in --workers is not POOL=NUMBER, {_EXAMPLE}")
        if pool in workers:
            raise UsageError(f"--workers names the pool {pool!r} twice")
        workers[pool] = _with_needs(int(count), details) if details else int(count)
    _check_each(workers)
    return workers


def _with_needs(count: int, details: list[str]) -> Workers:
    told: dict[str, str] = {}
    for detail in details:
        name, _, value = (word.strip() for word in detail.partition("="))
        if name not in ("cpus", "gpus", "memory", "tags") or not value:
            raise UsageError(
                f"{detail.strip()!r} in --workers is none of cpus=N, gpus=N, memory=SIZE and "
                f"tags=NAME+NAME, {_EXAMPLE}"
            )
        if name in told:
            raise UsageError(f"--workers says {name} twice for one pool")
        told[name] = value
    try:
        cpus, gpus = int(told.get("cpus", "1")), float(told.get("gpus", "0"))
    except ValueError as error:
        raise UsageError(f"a number in --workers cannot be read: {error}") from None
    tags = told["tags"].split("+") if "tags" in told else ()
    return Workers(count, cpus=cpus, gpus=gpus, memory=told.get("memory", 0), tags=tags)
