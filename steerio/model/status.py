"""The broker at a glance: the state of its pools, nodes and workers at one moment.

`PoolStatus` and `Status` are messages to clients; the other structs are their parts.
"""

from __future__ import annotations

from msgspec import Struct

from steerio.model.moving import NodeState
from steerio.model.objects import StoreLoad
from steerio.model.places import WorkerNeeds


class PoolLoad(Struct, frozen=True, gc=False, array_like=True):
    """One pool at a glance: workers, how many of them are idle, tasks queued and running.

    A task that a worker holds behind the one that it runs is queued.
    ``workers`` counts all workers of the pool, from the moment that they were asked for:
    ``starting`` of them are not ready yet. ``promised`` counts those that moves wait for;
    ``at_home`` those that belong to the pool, wherever they are; ``nodes`` says on which nodes the
    workers are, as far as they have been ordered there; ``failure`` says why the pool was given up,
    if it was; ``draining`` counts the workers that leave, for their nodes are drained; ``makes``
    counts the ready workers by their make; ``expected`` counts those that were announced and have
    not come, and one for each move to the pool that waits; ``stalled`` says why its tasks wait in
    vain, if they do; ``paused`` why none of its queued tasks is handed out, if that is so.
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
    paused: str = ""

    @property
    def busy(self) -> int:
        """The number of workers that are ready and not idle."""
        return self.workers - self.starting - self.idle

    def fitting(self, needs: WorkerNeeds | None) -> dict[WorkerNeeds, int]:
        """Return the makes of the workers that fit a task, and the number of workers of each."""
        return {
            make: count for make, count in self.makes if needs is None or make.suffices_for(needs)
        }


class PoolStatus(Struct, frozen=True, gc=False, array_like=True, tag=63):
    """The pools as they are now."""

    pools: dict[str, PoolLoad]


class NodeStatus(Struct, frozen=True, gc=False, array_like=True):
    """One node at a glance: its host, its workers and the number of busy ones.

    ``state`` is ``up``, ``draining`` or ``drained``; ``left_s`` is the rest of its walltime, in
    seconds, if it has one.
    """

    host: str
    workers: int
    busy: int
    state: NodeState
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
