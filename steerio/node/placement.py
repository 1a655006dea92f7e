"""The places of workers: their cores and accelerators on their node.

Places are planned for all workers that a node offers, the most demanding first: so each device's
workers find cores near it, in whatever order they start. A worker takes a place planned for its
pool, and gives it back as it ends, for the one that replaces it. If a pool is full, because workers
were moved, its worker gets free cores and devices, and if these are too few also planned ones that
are not occupied.

Invariant: a core belongs to one place; a device to one, or to several of equal shares.
If there are too few cores for all, no worker is pinned, for two workers on one core are worse than
a scheduler's choice. Devices have no such way out: if they are too few, there is no place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Mapping

from msgspec import Struct

from steerio.errors import NoPlace
from steerio.model.places import NodeCore, Place, Topology, WorkerNeeds, say_bytes
from steerio.model.showing import counted, time_of_cores
from steerio.node.device_variables import THREAD_VARIABLES, device_variables, thread_variables
from steerio.node.picking import Device, Picker


class TakenPlace(Struct, eq=False):
    """A place with its cores and devices of the node."""

    cores: list[NodeCore]
    devices: list[Device]
    place: Place


class Placement:
    """The places of one node.

    Args:
        topology: of the node.
        workers: the number it offers for each pool.
        needs: the needs of each worker, by pool; without any: one core.
        pin: whether workers are pinned.
        spare_cores: the number of cores to leave to others.
        environment: the variables that are set already, which workers inherit.
    """

    def __init__(
        self,
        topology: Topology,
        workers: Mapping[str, int],
        needs: Mapping[str, WorkerNeeds],
        *,
        pin: bool = True,
        spare_cores: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._topology = topology
        self._workers = workers
        self._needs = needs
        self._environment = environment or {}
        self._vendors = {device.vendor for device in topology.accelerators}
        self._hands_out = any(need.gpus for need in needs.values())
        wanted = sum(count * self.needs(pool).cpus for pool, count in workers.items())
        self._picker = Picker(topology, spare_cores, wanted)
        self._unpinned = _why_unpinned(topology, self._picker, pin, wanted, spare_cores)
        self._planned: dict[str, list[TakenPlace]] = {pool: [] for pool in workers}
        self._placed: dict[str, tuple[str, TakenPlace]] = {}
        self._refused: dict[str, NoPlace] = {}
        for pool in sorted(workers, key=lambda pool: _demand(self.needs(pool)), reverse=True):
            self._plan(pool, workers[pool])

    def needs(self, pool: str) -> WorkerNeeds:
        """Return the needs of each worker of a pool."""
        return self._needs.get(pool, WorkerNeeds())

    def place(self, worker: str, pool: str, without: Container[str] = ()) -> Place:
        """Give a worker its place.

        Args:
            worker: its name.
            pool: its pool.
            without: ids of accelerators that turned out to be others'.

        Raises:
            NoPlace: there is none, or too few for all planned workers of the pool.
        """
        if pool in self._refused:
            raise self._refused[pool]
        planned = self._planned.setdefault(pool, [])
        for held in planned:
            if not any(device.id in without for device in held.devices):
                planned.remove(held)
                break
        else:
            held = self._make_room(pool, without)
        self._placed[worker] = pool, held
        return held.place

    def release(self, worker: str) -> None:
        """Take back a worker's place, if it had one."""
        if worker in self._placed:
            pool, held = self._placed.pop(worker)
            if self._lacks_place(pool) and (held.cores or self._unpinned):
                self._planned[pool].append(held)
            else:
                self._give_back(held)

    def keep(self, worker: str, pool: str) -> bool:
        """Let a worker that was moved to another pool keep its place.

        ``False``, with nothing changed, if it has none or that pool needs another: then it has to
        be started anew.
        """
        if worker not in self._placed or pool in self._refused:
            return False
        old, held = self._placed[worker]
        if self.needs(old) != self.needs(pool):
            return False
        self._planned.setdefault(pool, [])
        self._placed[worker] = pool, held
        return True

    def _lacks_place(self, pool: str) -> bool:
        """Say whether a pool has fewer places, occupied or not, than were planned for it."""
        occupied = sum(1 for other, _ in self._placed.values() if other == pool)
        return len(self._planned[pool]) + occupied < self._workers.get(pool, 0)

    def _plan(self, pool: str, count: int) -> None:
        try:
            for _ in range(count):
                self._planned[pool].append(self._hold(pool, (), self._unpinned))
        except NoPlace as error:
            for held in self._planned[pool]:
                self._give_back(held)
            self._planned[pool] = []
            self._refused[pool] = error

    def _make_room(self, pool: str, without: Container[str]) -> TakenPlace:
        """Hold a free place, or if need be one that is only planned, of the last pool first."""
        idle = [(other, held) for other, places in self._planned.items() for held in places]
        while idle:
            with contextlib.suppress(NoPlace):
                held = self._hold(pool, without, self._unpinned)
                if self._unpinned or held.cores:
                    return held
                self._give_back(held)
            other, unused = idle.pop()
            self._planned[other].remove(unused)
            self._give_back(unused)
        return self._hold(pool, without, self._unpinned)

    def _hold(self, pool: str, without: Container[str], unpinned: str) -> TakenPlace:
        needs = self.needs(pool)
        limit = self._topology.memory_limit_bytes
        if limit is not None and needs.memory_bytes > limit:
            raise NoPlace(
                pool,
                f"it may take {say_bytes(needs.memory_bytes)} of memory, and this node has "
                f"{say_bytes(limit)}",
            )
        devices = self._picker.devices(needs, without)
        if devices is None:
            raise NoPlace(pool, self._lack_of_devices(pool, without))
        near = self._picker.near(devices, needs.cpus)
        cores = [] if unpinned else self._picker.cores(needs.cpus, near)
        if not (unpinned or cores):
            few = "no core is" if needs.cpus == 1 else f"no {needs.cpus} cores are"
            unpinned = f"not pinned: {few} left"
        self._picker.take(cores, devices, needs.sharers)
        why = "; ".join(
            [
                unpinned or self._picker.say_cores(cores, near, bool(devices)),
                *(device.say(needs.sharers) for device in devices),
                *self._say_threads(needs),
            ]
        )
        return TakenPlace(cores, devices, self._describe(needs, cores, devices, why))

    def _give_back(self, held: TakenPlace) -> None:
        self._picker.give_back(held.cores, held.devices)

    def _describe(
        self, needs: WorkerNeeds, cores: list[NodeCore], devices: list[Device], why: str
    ) -> Place:
        environment = thread_variables(needs.cpus, self._environment)
        if self._hands_out:
            given = [device.accelerator for device in devices]
            environment |= device_variables(given, self._vendors)
        return Place(
            cores=sorted(core.id for core in cores),
            accelerators=[device.id for device in devices],
            environment=environment,
            memory_bytes=needs.memory_bytes,
            threads=0 if any(n in self._environment for n in THREAD_VARIABLES) else needs.cpus,
            why=why,
        )

    def _say_threads(self, needs: WorkerNeeds) -> list[str]:
        stay = [
            f"{name}={self._environment[name]} stays as it was set"
            for name in THREAD_VARIABLES
            if self._environment.get(name, str(needs.cpus)) != str(needs.cpus)
        ]
        over = [f"at most {say_bytes(needs.memory_bytes)} of memory"] if needs.memory_bytes else []
        limit = self._topology.memory_limit_bytes
        total = sum(n * self.needs(pool).memory_bytes for pool, n in self._workers.items())
        if needs.memory_bytes and limit is not None and total > limit:
            over.append(f"all together {say_bytes(total)}, of {say_bytes(limit)} that there are")
        return [*over, *stay]

    def _lack_of_devices(self, pool: str, without: Container[str]) -> str:
        needs, count = self.needs(pool), self._workers.get(pool, 1)
        each = f"a share of {needs.gpus:g}" if needs.sharers > 1 else f"{needs.devices}"
        there = [device.describe() for device in self._picker.all_devices]
        taken = [device.id for device in self._picker.all_devices if device.id in without]
        told = [
            f"each of its {count} workers needs {each} of the accelerators"
            if count > 1
            else f"it needs {each} of the accelerators",
            f"this node has {', '.join(there)}" if there else "this node has none",
        ]
        mine = [h for other, h in self._placed.values() if other == pool] + self._planned[pool]
        own = [id(device) for held in mine for device in held.devices]
        others = sum(1 for d in self._picker.all_devices if d.sharers and id(d) not in own)
        told += [f"other pools have {others} of them"] if others else []
        told += [f"others on this machine use {', '.join(taken)}"] if taken else []
        if any(device.accelerator.lone for device in self._picker.all_devices) and needs.gpus > 1:
            told.append("a process can use only one MIG slice")
        return "; ".join([*told, *self._topology.notes])


def _demand(needs: WorkerNeeds) -> tuple[float, int]:
    """Return a sort key: a pool that can do with less has the second choice."""
    return needs.gpus, needs.cpus


def _why_unpinned(
    topology: Topology, picker: Picker, pin: bool, wanted: int, spare_cores: int
) -> str:
    """Return why no worker is pinned; ``""`` if they are.

    A worker that shares its only core with the campaign's process stops it, and itself, with every
    message; if that would be so, the scheduler places them better.
    """
    if not pin:
        return "not pinned: pinning is off"
    if not topology.cores:
        return "not pinned: this system does not tell its cores, or does not pin"
    if wanted <= picker.limit:
        return ""
    there = f"{len(topology.cores)} may be used"
    if topology.cpu_quota is not None and topology.cpu_quota < len(topology.cores):
        there += f", for {time_of_cores(topology.cpu_quota)}"
    if spare_cores:
        there += f", and {spare_cores} is left to the campaign's process"
    return f"not pinned: the workers want {counted(wanted, 'core')}; {there}"
