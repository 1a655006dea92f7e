"""The broker at a glance: how its pools, nodes and workers are when somebody looks.

`PoolStatus` and `Status` are messages to clients; the others are what these are made of.
"""

from __future__ import annotations

from msgspec import Struct

from steerio.model.objects import StoreLoad
from steerio.model.places import WorkerNeeds


class PoolLoad(Struct, frozen=True, gc=False, array_like=True):
    """One pool at a glance: workers, how many of them are idle, tasks queued and running.

    ``workers`` are all that it has, from the moment that they were asked for: ``starting`` of
    them are not ready yet.  ``promised`` are those that moves wait for; ``at_home`` those that
    belong to the pool, wherever they are; ``nodes`` says on which nodes the workers are, as far
    as they have been ordered there; ``failure`` is why the pool was given up, if it was;
    ``draining`` are the workers that leave, for their nodes are drained; ``makes`` says what the
    workers have that are ready, and how many of them have it; ``expected``
    are those that were announced and have not come, and one for each move to it that waits;
    ``stalled`` is why its tasks wait in vain, where they do.
    """

    workers: int
    idle: int
    queued: int
    running: int
    starting: int = 0
    promised: int = 0
    at_home: int = 0
    nodes: dict[str, int] = {}
    failure: str = ""
    draining: int = 0
    makes: list[tuple[WorkerNeeds, int]] = []
    expected: int = 0
    stalled: str = ""

    @property
    def busy(self) -> int:
        """How many workers are ready and not idle."""
        return self.workers - self.starting - self.idle

    def fitting(self, needs: WorkerNeeds | None) -> dict[WorkerNeeds, int]:
        """Return the makes of the workers that fit a task, and how many there are of each."""
        return {
            make: count for make, count in self.makes if needs is None or make.suffices_for(needs)
        }


class PoolStatus(Struct, frozen=True, gc=False, array_like=True, tag=63):
    """The pools as they are now."""

    pools: dict[str, PoolLoad]


class NodeStatus(Struct, frozen=True, gc=False, array_like=True):
    """One node at a glance: its host, its workers and how many of them have something in hand.

    ``state`` is ``up``, ``draining`` or ``drained``; ``left_s`` is how long its walltime lasts
    yet, in seconds, where it has one.
    """

    host: str
    workers: int
    busy: int
    state: str
    left_s: float | None


class WorkerStatus(Struct, frozen=True, gc=False, array_like=True):
    """One worker at a glance."""

    worker: str
    pool: str
    node: str
    pid: int
    phase: str
    task_id: int | None


class Status(Struct, frozen=True, gc=False, array_like=True, tag=64):
    """The answer to `AskStatus`; ``ended`` counts tasks by kind of end."""

    request: int
    pools: dict[str, PoolLoad]
    workers: list[WorkerStatus]
    nodes: dict[str, NodeStatus]
    clients: list[str]
    ended: dict[str, int]
    dropped: dict[str, int]
    events: int
    uptime_s: float
    store: StoreLoad = StoreLoad()
