"""The idle workers of one pool, by make and by the end of their nodes.

A task goes to the *least* of those that fit it, so that the large ones stay free for tasks
that fit no other (best fit, as packers say).  Accelerators are dearest, then tags, then memory,
then cores; then time, which only nodes with a walltime are short of. Among equal workers the one
that became idle last goes first: its caches are warm.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from steerio.core.records import WorkerRecord
from steerio.model.places import WorkerNeeds

Kind = tuple[WorkerNeeds, float]
"""A worker's make, and the time until which it can run tasks."""


class IdleWorkers:
    """The workers with nothing in hand, in groups of one kind.

    Invariant: the groups are in order of their kinds, the least first.
    """

    def __init__(self) -> None:
        self._groups: dict[Kind, dict[WorkerRecord, None]] = {}
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

    def take(self, needs: WorkerNeeds | None, until: float) -> WorkerRecord | None:
        """Take out the least worker that fits a task that lasts ``until``, or return ``None``."""
        if self._count:
            for (make, last), group in self._groups.items():
                if group and until <= last and (needs is None or make.suffices_for(needs)):
                    self._count -= 1
                    return group.popitem()[0]
        return None

    def fits(self, needs: WorkerNeeds | None, until: float) -> bool:
        """Say whether one of them could take a task that lasts ``until``."""
        return any(
            until <= last and (needs is None or make.suffices_for(needs))
            for make, last in self.kinds()
        )

    def kinds(self) -> list[Kind]:
        """Return the kinds of the workers that are there, the least first."""
        return [kind for kind, group in self._groups.items() if group]

    def take_of(self, make: WorkerNeeds, until: float) -> WorkerRecord | None:
        """Take out a worker of just this kind, or return ``None``."""
        group = self._groups.get((make, until))
        if not group:
            return None
        self._count -= 1
        return group.popitem()[0]

    def _new_group(self, kind: Kind) -> dict[WorkerRecord, None]:
        """Make room for workers of another kind, and forget kinds of which there are none."""
        groups = {other: group for other, group in self._groups.items() if group} | {kind: {}}
        self._groups = {each: groups[each] for each in sorted(groups, key=_size)}
        return self._groups[kind]


def _size(kind: Kind) -> tuple[float, int, float, int, tuple[str, ...], float]:
    make, until = kind
    return (make.gpus, len(make.tags), make.memory_bytes or inf, make.cpus, make.tags, until)
