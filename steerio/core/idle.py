"""The idle workers of one pool, by make and by the end of their nodes.

A task goes to the *least* of those that fit it, so that the large ones stay free for tasks
that fit no other (best fit, as packers say).  Accelerators are dearest, then tags, then memory,
then cores; then time, which only nodes with a walltime are short of. Among equal workers the one
that became idle last goes first: its caches are warm.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from math import inf

from steerio.core.records import WorkerRecord
from steerio.model.places import WorkerNeeds

Kind = tuple[WorkerNeeds, float]
"""A worker's make, and the time until which it can run tasks."""
_Size = tuple[float, int, float, int, tuple[str, ...], float]
_Group = dict[WorkerRecord, None]
_SLACK = 16
"""Kinds without workers that are tolerated, however few others there are."""


class IdleWorkers:
    """The workers with nothing in hand, in groups of one kind.

    Invariant: the groups are in order of their kinds, the least first.
    """

    def __init__(self) -> None:
        self._groups: dict[Kind, _Group] = {}
        self._in_order: list[tuple[_Size, Kind, _Group]] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<IdleWorkers {', '.join(worker.name for worker in self)}>"

    def __iter__(self) -> Iterator[WorkerRecord]:
        """Go through them, the least first."""
        for _, _, group in self._in_order:
            yield from group

    def add(self, worker: WorkerRecord) -> None:
        """Take in a worker that became idle."""
        kind = (worker.make, worker.node.until)
        group = self._groups.get(kind)
        if group is None:
            group = self._new_group(kind)
        group[worker] = None
        self._count += 1

    def __delitem__(self, worker: WorkerRecord) -> None:
        """Take out a worker that is there."""
        del self._groups[worker.make, worker.node.until][worker]
        self._count -= 1

    def discard(self, worker: WorkerRecord) -> None:
        """Take out a worker if it is there."""
        if worker in self._groups.get((worker.make, worker.node.until), ()):
            del self[worker]

    def take(self, needs: WorkerNeeds | None, takes_s: float, now: float) -> WorkerRecord | None:
        """Take out the least worker that fits a task that takes so long, or return ``None``."""
        if self._count:
            for _, (make, last), group in self._in_order:  # as `fits` says, spelled out for speed
                if group and takes_s <= last - now and (needs is None or make.suffices_for(needs)):
                    self._count -= 1
                    return group.popitem()[0]
        return None

    def fits(self, needs: WorkerNeeds | None, takes_s: float, now: float) -> bool:
        """Say whether one of them could take a task that takes so long."""
        return any(fits(kind, needs, takes_s, now) for kind in self.kinds())

    def kinds(self) -> list[Kind]:
        """Return the kinds of the workers that are there, the least first."""
        return [kind for _, kind, group in self._in_order if group]

    def count(self, kind: Kind) -> int:
        """Return the number of those of just this kind."""
        return len(self._groups.get(kind, ()))

    def take_of(self, make: WorkerNeeds, until: float) -> WorkerRecord | None:
        """Take out a worker of just this kind, or return ``None``."""
        group = self._groups.get((make, until))
        if not group:
            return None
        self._count -= 1
        return group.popitem()[0]

    def take_from(self, kinds: Iterable[Kind], count: int) -> list[WorkerRecord]:
        """Take out so many of these kinds, of the first ones first; there are enough."""
        taken: list[WorkerRecord] = []
        for kind in kinds:
            while len(taken) < count and (worker := self.take_of(*kind)) is not None:
                taken.append(worker)
        return taken

    def _new_group(self, kind: Kind) -> _Group:
        """Make room for workers of another kind, and now and then forget kinds without any."""
        if len(self._groups) > 2 * self._count + _SLACK:
            self._in_order = [entry for entry in self._in_order if entry[2]]
            self._groups = {each: group for _, each, group in self._in_order}
        group = self._groups[kind] = {}
        insort(self._in_order, (_size(kind), kind, group), key=_size_of)
        return group


def fits(kind: Kind, needs: WorkerNeeds | None, takes_s: float, now: float) -> bool:
    """Say whether workers of a kind could take a task that takes so long.

    A worker that becomes free is offered tasks for the time that it has left. This asks for the
    same, to the last bit, so that both agree whether it fits.
    """
    make, last = kind
    return takes_s <= last - now and (needs is None or make.suffices_for(needs))


def _size_of(entry: tuple[_Size, Kind, _Group]) -> _Size:
    return entry[0]


def _size(kind: Kind) -> _Size:
    make, until = kind
    return (make.gpus, len(make.tags), make.memory_bytes or inf, make.cpus, make.tags, until)
