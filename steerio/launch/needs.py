"""The needs of a task from its worker, or of a worker from its node, as users write them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import structs

from steerio.errors import UsageError
from steerio.model.places import WorkerNeeds

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class Needs:
    """The needs of a task from the worker that runs it.

    `Workers` gives the make of workers: a task goes only to a worker that has at least as much, and
    all of the task's tags.

    Args:
        cpus: cores (hardware threads).
        gpus: accelerators of any make; below 1 the share of one: 0.5, 0.25...
        memory: bytes or like ``"8G"``; a worker without a limit has enough.
        tags: names of your own, which the worker must have been given.

    Raises:
        UsageError: a value is malformed or out of bounds; the message names it.
    """

    __slots__ = ("value",)

    def __init__(
        self,
        *,
        cpus: int = 1,
        gpus: float = 0,
        memory: int | str = 0,
        tags: Iterable[str] = (),
    ) -> None:
        self.value = WorkerNeeds(
            cpus=cpus,
            gpus=gpus,
            memory_bytes=parse_bytes(memory) if isinstance(memory, str) else memory,
            tags=(tags,) if isinstance(tags, str) else tuple(tags),
        )

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if isinstance(other, Needs) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"Needs({', '.join(describe(self.value))})"


def describe(needs: WorkerNeeds) -> list[str]:
    """Return the needs that are not the default, as Python writes them."""
    defaults = WorkerNeeds()
    return [
        f"{name.removesuffix('_bytes')}={value!r}"
        for name, value in structs.asdict(needs).items()
        if value != getattr(defaults, name)
    ]


def parse_bytes(text: str) -> int:
    """Read a size: ``8G``, ``512M``, ``1.5T``, ``8GiB``; units are powers of 1024.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if found is None:
        raise UsageError(f"{text!r} is no size of memory: say it like 8G or 512M")
    return int(float(found[1]) * UNITS[found[2].upper()])
