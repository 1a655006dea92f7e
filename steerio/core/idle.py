"""The idle workers of one pool, by what they have.

A task goes to the *least* of those that fit it, so that the large ones stay free for tasks
that fit no other (best fit, as packers say).  Accelerators are dearest, then what a tag
says, then memory, then cores.  Among workers of one make who became idle last goes first:
its caches are warm.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from steerio.core.records import WorkerRecord
from steerio.model.places import WorkerNeeds


class IdleWorkers:
    """Workers with nothing in hand.

    Invariant: the groups are in order of what a worker of each has, the least first.
    """

    def __init__(self) -> None:
        self._groups: dict[WorkerNeeds, dict[WorkerRecord, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<IdleWorkers {', '.join(worker.name for worker in self)}>"

    def __iter__(self) -> Iterator[WorkerRecord]:
        """Go through them, the least first."""
        for group in self._groups.values():
            yield from group

    def add(self, worker: WorkerRecord) -> None:
        """Take in a worker that became idle."""
        group = self._groups.get(worker.make)
        if group is None:
            group = self._new_group(worker.make)
        group[worker] = None
        self._count += 1

    def __delitem__(self, worker: WorkerRecord) -> None:
        """Take out a worker that is there."""
        del self._groups[worker.make][worker]
        self._count -= 1

    def discard(self, worker: WorkerRecord) -> None:
        """Take out a worker if it is there."""
        if worker in self._groups.get(worker.make, ()):
            del self[worker]

    def take(self, needs: WorkerNeeds | None) -> WorkerRecord | None:
        """Take out the least worker that fits a task, or return ``None``."""
        if self._count:
            for make, group in self._groups.items():
                if group and (needs is None or make.suffices_for(needs)):
                    self._count -= 1
                    return group.popitem()[0]
        return None

    def fits(self, needs: WorkerNeeds | None) -> bool:
        """Whether one of them could take a task."""
        return any(needs is None or make.suffices_for(needs) for make in self.makes())

    def makes(self) -> list[WorkerNeeds]:
        """What there are workers of, the least first."""
        return [make for make, group in self._groups.items() if group]

    def take_of(self, make: WorkerNeeds) -> WorkerRecord | None:
        """Take out a worker of just this make, or return ``None``."""
        group = self._groups.get(make)
        if not group:
            return None
        self._count -= 1
        return group.popitem()[0]

    def _new_group(self, make: WorkerNeeds) -> dict[WorkerRecord, None]:
        """Make room for workers of another make, and forget makes of which there are none."""
        groups = {other: group for other, group in self._groups.items() if group} | {make: {}}
        self._groups = {each: groups[each] for each in sorted(groups, key=_size)}
        return self._groups[make]


def _size(make: WorkerNeeds) -> tuple[float, int, float, int, tuple[str, ...]]:
    return (make.gpus, len(make.tags), make.memory_bytes or inf, make.cpus, make.tags)
