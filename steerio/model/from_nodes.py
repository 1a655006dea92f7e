"""The messages of nodes, and of the workers that they watch, to the broker.

A node speaks of its workers by their names, a worker of its attempts by their runs.  A node on
another host is a *relay*: its workers speak to it, and it passes their words on, unread.
"""

from __future__ import annotations

from msgspec import Struct

from steerio.model.objects import StoredObject
from steerio.model.places import WorkerNeeds
from steerio.model.tasks import ReportedAs

# -- from nodes -------------------------------------------------------------------------


class KeptWorker(Struct, frozen=True, gc=False, array_like=True):
    """A worker that its node has kept: it works on this attempt, or has ended it unheard."""

    worker: str
    pool: str
    task_id: int
    run: int


class JoinNode(Struct, frozen=True, gc=False, array_like=True, tag=20):
    """A node joins, ready to start this many workers for each pool.

    ``requires`` names the things that a process needs to serve a pool: modules that it has loaded,
    a place of a certain kind.  A process that has all of that may be moved to the pool as it is.
    ``makes`` is the share of each of its workers, by pool; without one: one core. ``walltime_s`` is
    how long the node may yet run, if that is bounded. ``keeps`` are those among the workers that it
    has kept since another broker, or this one, had let it in; each says next that it is ready.
    """

    protocol: int
    name: str
    host: str
    pid: int
    workers: dict[str, int]
    requires: dict[str, list[str]] = {}
    makes: dict[str, WorkerNeeds] = {}
    walltime_s: float | None = None
    keeps: list[KeptWorker] = []


class WorkerExited(Struct, frozen=True, gc=False, array_like=True, tag=21):
    """A worker process ended; ``run`` is the attempt that it worked on (0: none).

    ``left`` are objects that it has put into a store of which only its node's host knows. The
    broker may know of some from the worker itself.
    """

    worker: str
    run: int
    reason: str
    left: list[bytes] = []


class NotBegun(Struct, frozen=True, gc=False, array_like=True, tag=22):
    """A worker has not begun this attempt and will not: a node's answer to `TakeBack`."""

    worker: str
    run: int


class WorkerSaid(Struct, frozen=True, gc=False, array_like=True, tag=35):
    """A worker said this: a batch of its messages, as it came (see ``edge.wire.headers``).

    ``header`` is the batch's; one that is long is the first of the frames, and ``header`` is empty.
    ``fault`` says why the worker's stream cannot be read any more, if so.
    """

    worker: str
    header: bytes
    frames: int
    fault: str = ""


class WorkerAccount(Struct, frozen=True, gc=False, array_like=True):
    """The account of a node on one worker.

    ``ended`` is the last attempt whose end the worker has told, by a word that was passed on before
    this. ``runs`` are the attempts after it that the worker was passed. ``said`` counts its batches
    that were passed on.
    """

    worker: str
    runs: list[int]
    ended: int
    said: int


class Account(Struct, frozen=True, gc=False, array_like=True, tag=36):
    """All workers of a node, by its word, because words or orders about them were lost.

    ``heard``: the broker's clock at the last message of which the node knows that everything the
    broker had said before it has arrived, or never will. ``orders_lost``: some of that has not.
    """

    heard: float
    workers: list[WorkerAccount]
    orders_lost: bool


# -- from workers -----------------------------------------------------------------------


class JoinWorker(Struct, frozen=True, gc=False, array_like=True, tag=30):
    """A worker is ready."""

    protocol: int
    worker: str
    pid: int


class RemoteError(Struct, frozen=True, gc=False, array_like=True):
    """An exception on its way; ``pickled`` is empty if it cannot be pickled."""

    type: str
    message: str
    traceback: str
    pickled: bytes = b""


class Report(Struct, frozen=True, gc=False, array_like=True, tag=31):
    """An attempt ended; ``error`` says how if it did not succeed.

    ``ended_as`` is ``succeeded``, ``failed`` or ``cancelled``; ``started`` and ``ended``
    are on the monotonic clock of the worker's host.
    """

    run: int
    ended_as: ReportedAs
    started: float
    ended: float
    body: bytes
    frames: int
    error: RemoteError | None
    stored: StoredObject | None = None


class ReturnTask(Struct, frozen=True, gc=False, array_like=True, tag=32):
    """A held task goes back unstarted, for it was recalled; the node may have said so before."""

    run: int


class YieldItem(Struct, frozen=True, gc=False, array_like=True, tag=33):
    """A running generator task yields an item; without body and frames if there is no reader."""

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


class ReportPort(Struct, frozen=True, gc=False, array_like=True, tag=37):
    """The first worker of a gang begins, and has chosen this port for the others.

    By the token, which no one else is told, they know each other there.
    """

    run: int
    port: int
    token: bytes = b""
