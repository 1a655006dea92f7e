"""The needs of workers, the topology of a node, and the place a worker gets there.

All are values: a topology is read once, by a probe that may be on another machine and another day,
and places follow from it. The words are no vendor's: a pool asks for accelerators, and
`steerio.node.device_variables` has a table of the variables for each make.

Cores are hardware threads, which the operating system calls CPUs.  Two of them may be the threads
of one physical core.
"""

from __future__ import annotations

import re
from typing import cast

from msgspec import Struct

from steerio.errors import UsageError
from steerio.model.objects import NO_WORD

LEAST_MEMORY_BYTES = 64 * 2**20
"""A worker with less does not even start."""
LIMIT_ACCELERATORS = 1024
"""Most accelerators that one worker may ask for."""
LIMIT_SHARERS = 64
"""Most workers that share one accelerator."""
_TAG = re.compile(r"[\w.-]+")
_ROUNDING = 0.03
"""So that 0.33 is a third."""


class WorkerNeeds(Struct, frozen=True, cache_hash=True):
    """The share of its node that each worker of a pool needs, and so has; or a task's needs.

    Attributes:
        cpus: cores (hardware threads) of its own.
        gpus: accelerators of its own, a whole number; or its share of one, a half (0.5), a
            third (0.33) and so on.
        memory_bytes: most memory that it may take; 0: no limit.
        tags: other properties of its node, by names of your own.

    Raises:
        UsageError: a number is out of bounds, or a tag is no name.
    """

    cpus: int = 1
    gpus: float = 0
    memory_bytes: int = 0
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse numbers that are out of bounds, and tags that are no names."""
        if not _is_whole(self.cpus) or self.cpus < 1:
            raise UsageError(f"cpus must be a whole number above 0, not {self.cpus!r}")
        if not _is_number(self.gpus) or not self._accelerators_can_be():
            raise UsageError(
                f"gpus must be a whole number, or the share of one that a worker gets "
                f"(0.5, 0.33, 0.25 and so on, down to 1/{LIMIT_SHARERS}), not {self.gpus!r}"
            )
        if not _is_whole(self.memory_bytes) or self.memory_bytes < 0:
            raise UsageError(f"memory must be 0 or more bytes, not {self.memory_bytes!r}")
        if 0 < self.memory_bytes < LEAST_MEMORY_BYTES:
            raise UsageError(
                f"memory of {self.memory_bytes} bytes is less than a worker takes to start "
                f"({LEAST_MEMORY_BYTES} bytes); say it with a unit, like 8G"
            )
        for tag in cast("tuple[object, ...]", self.tags):
            if not isinstance(tag, str) or not _TAG.fullmatch(tag):
                raise UsageError(f"{tag!r} is no name for a tag: letters, digits, '-', '.', '_'")

    def _accelerators_can_be(self) -> bool:
        if 0 < self.gpus < 1:
            sharers = round(1 / self.gpus)
            return sharers <= LIMIT_SHARERS and abs(self.gpus * sharers - 1) <= _ROUNDING
        return 0 <= self.gpus <= LIMIT_ACCELERATORS and float(self.gpus).is_integer()

    @property
    def devices(self) -> int:
        """The number of accelerators it uses, shared or not."""
        return 1 if 0 < self.gpus < 1 else int(self.gpus)

    @property
    def sharers(self) -> int:
        """The number of workers that share an accelerator of it."""
        return round(1 / self.gpus) if 0 < self.gpus < 1 else 1

    def suffices_for(self, needs: WorkerNeeds) -> bool:
        """Say whether a worker that has this can take a task with these needs.

        A worker without a limit has memory enough.
        """
        if 0 < self.gpus < 1 and 0 < needs.gpus < 1:  # shares: 0.33 and 0.3333 are a third
            gpus = self.sharers <= needs.sharers
        else:
            gpus = self.gpus >= needs.gpus
        return (
            gpus
            and self.cpus >= needs.cpus
            and (not self.memory_bytes or self.memory_bytes >= needs.memory_bytes)
            and set(needs.tags) <= set(self.tags)
        )

    def __str__(self) -> str:
        """Say it as on the command line."""
        said = [f"cpus={self.cpus}"]
        said += [f"gpus={self.gpus:g}"] if self.gpus else []
        said += [f"memory={say_bytes(self.memory_bytes)}"] if self.memory_bytes else []
        said += [f"tags={'+'.join(self.tags)}"] if self.tags else []
        return ":".join(said)


class NodeCore(Struct, frozen=True):
    """One hardware thread.

    Attributes:
        id: its number in the operating system.
        core: number of its physical core; threads of one core in one package share it.
        package: number of its socket.
        numa: number of its NUMA node.
    """

    id: int
    core: int
    package: int = 0
    numa: int = 0


class Accelerator(Struct, frozen=True, kw_only=True):
    """One device, or a part of one that counts as a device of its own.

    Attributes:
        vendor: ``nvidia``, ``amd`` or ``intel``.
        index: its number among those that the vendor's runtime shows.
        id: its name in the vendor's visibility variable: an index, a UUID or a MIG UUID.
        name: of the product.
        memory_bytes: its memory; 0 if not known.
        numa: the NUMA node it hangs on; ``None`` if not known.
        cores: numbers of the hardware threads near it; empty if not known.
        parent: for slices and tiles, the device that it is a part of.
        lone: whether a process can use no other beside it, as with MIG slices.
    """

    vendor: str
    index: int
    id: str
    name: str = ""
    memory_bytes: int = 0
    numa: int | None = None
    cores: tuple[int, ...] = ()
    parent: str = ""
    lone: bool = False


class Topology(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cores, accelerators and memory of a node that may be used here.

    Attributes:
        cores: the hardware threads that this process may run on; none if that is not known, or
            processes cannot be pinned.
        accelerators: those that may be used.
        cpu_quota: how many cores' worth of time may be used, if that is bounded.
        memory_limit_bytes: how much memory may be used, if that is known.
        notes: devices and bounds that were left out, and why.
    """

    cores: tuple[NodeCore, ...] = ()
    accelerators: tuple[Accelerator, ...] = ()
    cpu_quota: float | None = None
    memory_limit_bytes: int | None = None
    notes: tuple[str, ...] = ()


class Place(Struct, frozen=True, kw_only=True):
    """The cores and devices of a worker, and the variables that tell it of them.

    Attributes:
        cores: the hardware threads it is pinned to; empty: it is not pinned.
        accelerators: ids of its accelerators.
        environment: variables to set in its process.
        memory_bytes: most memory it may take; 0: no limit.
        threads: how many threads numeric libraries that are loaded already shall use; 0: as
            they are.
        why: for people: the reasons for this place.
    """

    cores: list[int] = []
    accelerators: list[str] = []
    environment: dict[str, str] = {}
    memory_bytes: int = 0
    threads: int = 0
    why: str = ""


def say_bytes(count: int) -> str:
    """Write a number of bytes as people do, in powers of 1024: ``8G``."""
    for unit, size in (("T", 2**40), ("G", 2**30), ("M", 2**20), ("K", 2**10)):
        if count >= size:
            return f"{count / size:.4g}{unit}"
    return str(count)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value < NO_WORD


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
