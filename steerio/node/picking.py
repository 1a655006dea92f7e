"""The free cores and devices of one node, and the choice of those that suit a worker best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable

from msgspec import Struct

from steerio.model.places import Accelerator, NodeCore, Topology, WorkerNeeds, say_bytes


class Device(Struct, eq=False):
    """An accelerator, and the share of it that is given out.

    Attributes:
        accelerator: the device itself.
        sharers: the number of workers that may share it; 0 while it is free.
        used: the number of workers that do.
    """

    accelerator: Accelerator
    sharers: int = 0
    used: int = 0

    @property
    def id(self) -> str:
        """Its name in the vendor's variable."""
        return self.accelerator.id

    def describe(self) -> str:
        """Name it for people."""
        accelerator = self.accelerator
        memory = f" {say_bytes(accelerator.memory_bytes)}" if accelerator.memory_bytes else ""
        name = f" ({accelerator.name}{memory})" if accelerator.name else ""
        kind = " slice" if accelerator.lone else ""
        return f"{accelerator.vendor}{kind} {accelerator.index}{name}"

    def say(self, sharers: int) -> str:
        """Return a worker's share of it, in words."""
        share = f"1/{sharers} of " if sharers > 1 else ""
        return f"{share}{self.describe()}"


class Picker:
    """The free part of a node.

    Args:
        topology: of the node.
        spare_cores: the number of cores that are left to others.
        wanted: the number of cores that all planned workers need.
    """

    def __init__(self, topology: Topology, spare_cores: int, wanted: int) -> None:
        cores = sorted(topology.cores, key=lambda core: core.id)
        quota = topology.cpu_quota
        bound = len(cores) if quota is None else min(len(cores), max(1, int(quota)))
        self.limit = max(0, bound - spare_cores)
        """Most cores that may be given out."""
        self.all_devices = [Device(accelerator) for accelerator in topology.accelerators]
        self._numa_of = {core.id: core.numa for core in cores}
        self._threads = Counter(_physical(core) for core in cores)
        self._free = cores[spare_cores:]
        self._given = 0
        # if each gets a physical core, second threads only slow the first ones down
        untouched = {_physical(core) for core in cores[spare_cores:]}
        untouched -= {_physical(core) for core in cores[:spare_cores]}
        self._one_thread_each = wanted <= len(untouched)

    # -- devices ------------------------------------------------------------------------------

    def devices(self, needs: WorkerNeeds, without: Container[str]) -> list[Device] | None:
        """Return devices for one worker, or ``None`` if there are too few."""
        there = [device for device in self.all_devices if device.id not in without]
        if needs.devices == 0:
            return []
        shared = [d for d in there if d.sharers == needs.sharers and d.used < d.sharers]
        if shared:  # another of equal share; a whole device is never shared
            return shared[:1]
        free = [device for device in there if not device.sharers]
        if needs.devices == 1:  # slices first: workers that need several cannot use them
            return sorted(free, key=lambda device: not device.accelerator.lone)[:1] or None
        return _together([d for d in free if not d.accelerator.lone], needs.devices)

    # -- cores --------------------------------------------------------------------------------

    def near(self, devices: Iterable[Device], count: int) -> set[int]:
        """Return the cores near these devices, or near each other, free or not."""
        accelerators = [device.accelerator for device in devices]
        near = {core for accelerator in accelerators for core in accelerator.cores}
        if accelerators:
            places = {a.numa for a in accelerators if not a.cores and a.numa is not None}
        else:
            places = self._roomiest(count)
        return near | {core for core, numa in self._numa_of.items() if numa in places}

    def _roomiest(self, count: int) -> set[int]:
        """Return the NUMA node with most cores free, if a worker fits into one.

        So that workers share the sockets' memory bandwidth evenly.
        """
        free = Counter(core.numa for core in self._free)
        if not free:
            return set()
        numa = min(free, key=lambda number: (-free[number], number))
        return {numa} if free[numa] >= count else set()

    def cores(self, count: int, near: Container[int]) -> list[NodeCore]:
        """Return cores for one worker, or none if there are too few.

        Near ones first; of those, physical cores that no other worker is on.
        """
        if self._given + count > self.limit or count > len(self._free):
            return []
        free: dict[tuple[int, int], list[NodeCore]] = {}
        for core in self._free:
            free.setdefault(_physical(core), []).append(core)
        ranked = [
            (self._rank(threads, position, near), core.numa, core.package, core.core, core.id, core)
            for threads in free.values()
            for position, core in enumerate(threads)
        ]
        ranked.sort(key=lambda entry: entry[:-1])
        return [entry[-1] for entry in ranked[:count]]

    def _rank(self, threads: list[NodeCore], position: int, near: Container[int]) -> int:
        """Return how good a free thread is, 0 best; it is one of a core's free ``threads``.

        If there are physical cores for all, sharing one is worse than being far away; if not, most
        have to share.
        """
        is_near = threads[position].id in near
        if len(threads) < self._threads[_physical(threads[0])]:  # another is taken
            return (5 if is_near else 6) if self._one_thread_each else (2 if is_near else 4)
        second = self._one_thread_each and position > 0
        return (1 if second else 0) if is_near else (4 if second else 3)

    # -- giving out ---------------------------------------------------------------------------

    def take(self, cores: list[NodeCore], devices: list[Device], sharers: int) -> None:
        """Give out the cores and devices that were picked."""
        self._free = [core for core in self._free if core not in cores]
        self._given += len(cores)
        for device in devices:
            device.sharers = sharers
            device.used += 1

    def give_back(self, cores: list[NodeCore], devices: list[Device]) -> None:
        """Free cores and devices that were taken."""
        self._free = sorted([*self._free, *cores], key=lambda core: core.id)
        self._given -= len(cores)
        for device in devices:
            device.used -= 1
            if not device.used:
                device.sharers = 0

    def say_cores(self, cores: list[NodeCore], near: set[int], at_devices: bool) -> str:
        """Return a worker's cores and the reasons, in words; call it after they were taken."""
        many = "cores" if len(cores) > 1 else "core"
        said = f"{many} {say_numbers(core.id for core in cores)}"
        nodes = {core.numa for core in cores}
        if len(set(self._numa_of.values())) > 1:
            said += f" of NUMA node {say_numbers(nodes)}"
            if near >= {core.id for core in cores}:
                said += ", near its accelerators" if at_devices else ", which had most free"
        far = [core for core in cores if near and core.id not in near]
        if far:
            said += f" (nothing nearer was left than {say_numbers(core.id for core in far)})"
        others = {_physical(core) for core in self._free}
        mine = Counter(_physical(core) for core in cores)
        shared = [p for p, n in mine.items() if n < self._threads[p] and p not in others]
        if shared:
            said += ", whose physical core another process shares"
        return said


def _together(free: list[Device], count: int) -> list[Device] | None:
    """Return so many devices of one vendor, on one NUMA node if possible."""
    best: list[Device] | None = None
    for vendor in dict.fromkeys(device.accelerator.vendor for device in free):
        there = [device for device in free if device.accelerator.vendor == vendor]
        by_node: dict[int | None, list[Device]] = {}
        for device in there:
            by_node.setdefault(device.accelerator.numa, []).append(device)
        fitting = sorted((d for d in by_node.values() if len(d) >= count), key=len)
        if fitting:
            return fitting[0][:count]
        if best is None and len(there) >= count:
            fullest_first = sorted(by_node.values(), key=len, reverse=True)
            best = [device for devices in fullest_first for device in devices][:count]
    return best


def _physical(core: NodeCore) -> tuple[int, int]:
    return core.package, core.core


def say_numbers(numbers: Iterable[int]) -> str:
    """Write numbers as the system does: ``0-3,8``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
