"""What nodes, and the workers that they watch, say to the broker.

A node speaks of its workers by their names, a worker of its attempts by their runs.
"""

from __future__ import annotations

from msgspec import Struct

from steerio.model.objects import StoredObject
from steerio.model.places import WorkerNeeds

# -- from nodes -------------------------------------------------------------------------


class JoinNode(Struct, frozen=True, gc=False, array_like=True, tag=20):
    """A node joins, ready to start this many workers for each pool.

    ``requires`` names what a process needs to serve a pool: modules that it has loaded, a
    place of a certain kind.  One that has all of that may be moved to it as it is.  ``makes``
    is what its workers of a pool have; of pools that are not named: one core.  ``walltime_s`` is
    how long it may yet run, where that is bounded.
    """

    protocol: int
    name: str
    host: str
    pid: int
    workers: dict[str, int]
    requires: dict[str, list[str]] = {}
    makes: dict[str, WorkerNeeds] = {}
    walltime_s: float | None = None


class WorkerExited(Struct, frozen=True, gc=False, array_like=True, tag=21):
    """A worker process ended; ``run`` is what it worked on (0: nothing).

    ``left`` are objects that it has put where only its node's host knows of them.  The broker may
    know of some from the worker itself.
    """

    worker: str
    run: int
    reason: str
    left: list[bytes] = []


class NotBegun(Struct, frozen=True, gc=False, array_like=True, tag=22):
    """A worker has not begun this attempt and will not: a node's answer to `TakeBack`."""

    worker: str
    run: int


# -- from workers -----------------------------------------------------------------------


class JoinWorker(Struct, frozen=True, gc=False, array_like=True, tag=30):
    """A worker is ready."""

    protocol: int
    worker: str
    pid: int


class RemoteError(Struct, frozen=True, gc=False, array_like=True):
    """An exception on its way: ``pickled`` is empty where it does not travel."""

    type: str
    message: str
    traceback: str
    pickled: bytes = b""


class Report(Struct, frozen=True, gc=False, array_like=True, tag=31):
    """An attempt ended; ``error`` says how where it did not succeed.

    ``ended_as`` is ``succeeded``, ``failed`` or ``cancelled``; ``started`` and ``ended``
    are on the monotonic clock of the worker's host.
    """

    run: int
    ended_as: str
    started: float
    ended: float
    body: bytes
    frames: int
    error: RemoteError | None
    stored: StoredObject | None = None


class ReturnTask(Struct, frozen=True, gc=False, array_like=True, tag=32):
    """A held task goes back unstarted, for it was recalled; its node may have said so before."""

    run: int


class YieldItem(Struct, frozen=True, gc=False, array_like=True, tag=33):
    """A running generator task yields an item; without body and frames: one that nobody reads."""

    run: int
    index: int
    body: bytes
    frames: int
    stored: StoredObject | None = None


class ReportProgress(Struct, frozen=True, gc=False, array_like=True, tag=34):
    """A running task says how far it is."""

    run: int
    fraction: float | None
    message: str
