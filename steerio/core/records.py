"""The core's records of tasks, task types, workers, nodes, moves and clients.

Records are plain mutable state of the core and never leave it but as arguments of
effects.  Task records are kept out of the garbage collector (``gc=False``): with a
million of them queued, every full collection would walk them all, and none can be
part of a cycle.
"""

from __future__ import annotations

from collections import deque
from math import inf
from typing import Any, NamedTuple

from msgspec import Struct, field

from steerio.core.deadlines import Due
from steerio.core.lifecycle import MoveState, Phase
from steerio.model.moving import How
from steerio.model.objects import Inputs, StoredObject, Version
from steerio.model.places import WorkerNeeds
from steerio.model.tasks import TaskOptions, TaskSpec

TRIP_S = 0.003
"""The time that it takes to have a held task back, before it was measured."""
PLAIN = WorkerNeeds()
"""The make of a worker of which nothing else is said."""


class TypeRecord(Struct, eq=False):
    """A task type as the broker knows it.

    ``mean_s`` is a running mean of measured durations (negative: none measured yet, and ``begun``
    are the attempts that workers began until then).  ``clients`` counts the numbers by which
    clients know it, ``tasks`` its tasks that have not ended. ``told`` are the workers that were
    told of it.
    """

    type_id: int
    spec: TaskSpec
    mean_s: float = -1.0
    clients: int = 0
    tasks: int = 0
    told: dict[WorkerRecord, None] = field(default_factory=dict["WorkerRecord", None])
    begun: dict[WorkerRecord, int] = field(default_factory=dict["WorkerRecord", int])


class Attempt(Struct, frozen=True, gc=False):
    """An attempt at a task after which there was another.  Times are on the core's clock.

    ``started`` and ``ended`` are as its worker said, if it did; ``over`` is when that was known.
    """

    number: int
    worker: str
    node: str
    sent: float | None
    started: float | None
    ended: float | None
    over: float
    reason: str
    versions: dict[str, int] | None = None
    others: list[RankRun] | None = None


class RankRun(Struct, frozen=True, gc=False):
    """The part that a worker other than the first had in a gang's attempt; times as it said."""

    worker: str
    node: str
    started: float | None = None
    ended: float | None = None


class TaskRecord(Struct, gc=False, eq=False):
    """One task from submission to result.  Times are on the core's clock, in seconds.

    ``not_again`` is why it may not be queued again, if it may not. ``versions`` are those that its
    attempt was given of the names of which it takes the latest. ``unread``: its items have no
    reader. ``earlier`` are the attempts before the last. ``because`` are the ids of the results
    that led to it, for the record.

    While a gang runs a task each of its workers has a record of its own in hand, with its ``rank``
    (below 0: it is the task itself). ``others`` are the workers of the last such attempt but the
    first.
    """

    task_id: int
    client: int
    type: TypeRecord
    body: bytes
    frames: tuple[Any, ...]
    options: TaskOptions
    created: float
    queued: float
    order: int
    priority: float
    tags: dict[str, str] | None = None
    cause: str = ""
    state: int = 0
    attempt: int = 0
    run: int = 0
    worker: WorkerRecord | None = None
    sent: float | None = None
    reached: float | None = None
    failures: int = 0
    losses: int = 0
    kills: int = 0
    timeouts: int = 0
    stop_reason: str = ""
    out_of_time: bool = False
    preempted: bool = False
    pool: str = ""
    not_again: str | None = None
    inputs: Inputs | None = None
    versions: dict[str, Version] | None = None
    unread: bool = False
    earlier: list[Attempt] | None = None
    because: tuple[int, ...] = ()
    rank: int = -1
    others: list[RankRun] | None = None

    def __lt__(self, other: object) -> bool:
        """Break ties of queue entries of equal priority and order; either may go first."""
        return False


class GangRecord(Struct, eq=False):
    """The attempt of a task that several workers run together.

    ``ranks`` are the records in their hands, by the numbers of their runs, of those that have not
    ended. ``address`` is where the others reach the first. ``first`` is the end of that one, if it
    succeeded, and ``succeeded`` counts those that did. The attempt ends by the ``loss`` of a worker
    (why, and whether the task may be guilty), or else by the ``failure`` that came first. The
    workers of the runs in ``signalled`` were sent signals for that. ``others`` are as in
    `TaskRecord`; ``times`` are those at which the first began and ended, as far as known.
    """

    task: TaskRecord
    size: int
    address: str
    ranks: dict[int, TaskRecord] = field(default_factory=dict[int, TaskRecord])
    others: list[RankRun] = field(default_factory=list[RankRun])
    succeeded: int = 0
    first: Any = None
    failure: Any = None
    times: tuple[float | None, float | None] = (None, None)
    loss: tuple[str, bool] | None = None
    signalled: set[int] = field(default_factory=set[int])


class WorkerRecord(Struct, eq=False):
    """One worker.

    ``in_hand`` are the tasks that it was sent, in the order in which it runs them. ``home`` is the
    pool that it belongs to, which may have lent it to ``pool``; ``move`` brought it there, and
    ``goes_home`` says whether it returns as soon as it has nothing in hand. ``put_off_s`` is for
    how long its start was put off last because too many had failed. ``make`` is its share of its
    node, with which it was started, for whichever pool that was. ``broken`` is why it must be
    ended, if one of its messages cannot be read; ``pressed`` is the deadline for which its node is
    told to kill it, and ``over_at`` when it is over even if the node does not say so.
    ``known_types`` are the task types that it was told of, by their ids, and ``last_type`` is the
    type of its last task. ``clients`` counts the clients that its task is.
    """

    name: str
    pool: str
    node: NodeRecord
    home: str = ""
    move: MoveRecord | None = None
    goes_home: bool = False
    number: int = 0
    put_off_s: float = 0.0
    make: WorkerNeeds = PLAIN
    peer: int = 0
    pid: int = 0
    phase: Phase = Phase.STARTING
    broken: str = ""
    pressed: Due | None = None
    over_at: float = inf
    in_hand: deque[TaskRecord] = field(default_factory=deque[TaskRecord])
    last_type: TypeRecord | None = None
    known_types: dict[int, TypeRecord] = field(default_factory=dict[int, TypeRecord])
    clients: int = 0

    def forget_types(self) -> None:
        """Note that it knows no task type: it is gone, or has not heard of all of them."""
        for kind in self.known_types.values():
            del kind.told[self]
        self.known_types, self.last_type = {}, None


class KeptByNode(NamedTuple):
    """A worker that its node has kept, and the attempt that it works on, by the node's word."""

    worker: str
    pool: str
    task_id: int
    run: int


class KeptAttempt(Struct, eq=False):
    """An attempt with which a worker went on while its node had no broker.

    If it ends before its client is back the worker is free (``None``), and the success waits; both
    do no longer than ``until``.  ``submitted``: its task has been here since the node is.
    """

    task_id: int
    run: int
    worker: WorkerRecord | None
    until: float
    submitted: bool
    ending: Any = None


class NodeRecord(Struct, eq=False):
    """One node, the workers it runs, and when it was last heard of.

    ``ends`` is when its walltime is over, and ``until`` when its tasks must be done before that.
    While it is ``draining`` it gets no task; tasks that still run there at ``drain_by`` are
    stopped, from when on it is ``overdue``. ``drained``: all workers are gone; ``away`` are the
    homes of those that went. ``retires``: it ends then. ``watchers`` are told, by client and its
    number. ``put_off`` are the numbers of workers that are gone and are replaced here later. A
    message to it and the answer take ``link_s``; to have a task back that one of its workers holds
    takes about ``trip_s``.
    """

    name: str
    host: str
    peer: int
    heard: float
    number: int = 0
    offset_s: float = 0.0
    link_s: float = 0.0
    trip_s: float = TRIP_S
    workers: dict[str, WorkerRecord] = field(default_factory=dict[str, WorkerRecord])
    requires: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    makes: dict[str, WorkerNeeds] = field(default_factory=dict[str, WorkerNeeds])
    ends: float = inf
    until: float = inf
    draining: str = ""
    drain_by: float = inf
    overdue: bool = False
    drained: bool = False
    retires: bool = False
    away: list[str] = field(default_factory=list[str])
    watchers: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    put_off: dict[int, None] = field(default_factory=dict[int, None])

    def make(self, pool: str) -> WorkerNeeds:
        """Return the make of a worker that is started here for a pool."""
        return self.makes.get(pool, PLAIN)

    def keeps(self, source: str, target: str) -> bool:
        """Say whether a process of one pool can serve another as it is."""
        return set(self.requires.get(target, ())) <= set(self.requires.get(source, ()))


class Accounted(NamedTuple):
    """The account of a node on one of its workers.

    ``ended`` is the last attempt whose end the worker has told, ``runs`` are those after it that it
    was passed.  ``words_lost``: not all that it said has come.
    """

    runs: frozenset[int]
    ended: int
    words_lost: bool


class MoveRecord(Struct, eq=False):
    """Workers that a client wants moved, for good or (``lease``) until it gives them back.

    ``taken`` are those that are at the target for it, ``reserved`` those that wait until all are
    free (if they go ``together``).  It is ``short`` while its source has too few workers for it,
    and more may yet come. ``untold`` are the workers that came (true) or went since its client was
    last told how far it is.

    An agent (``by``) that waits for it does nothing before ``awaited`` workers are there; until
    then it keeps the leases that it ``holds`` (its client's numbers for them).
    """

    number: int
    client: int
    request: int
    source: str
    target: str
    count: int
    lease: bool = False
    together: bool = False
    how: How = "drain"
    short: bool = False
    state: MoveState = MoveState.WAITING
    reason: str = ""
    awaited: int = 0
    holds: tuple[int, ...] = ()
    by: str = ""
    taken: dict[WorkerRecord, None] = field(default_factory=dict[WorkerRecord, None])
    reserved: dict[WorkerRecord, None] = field(default_factory=dict[WorkerRecord, None])
    untold: dict[str, bool] = field(default_factory=dict[str, bool])

    def take(self, worker: WorkerRecord) -> None:
        """Note that a worker is at the target for it."""
        self.taken[worker] = None
        self.untold[worker.name] = True

    def let_go(self, worker: WorkerRecord) -> None:
        """Note that a worker that it had taken is at the target for it no more."""
        del self.taken[worker]
        if not self.untold.pop(worker.name, False):
            self.untold[worker.name] = False

    def tell(self) -> tuple[list[str], list[str]]:
        """Return the workers that came and those that went since the last call."""
        untold, self.untold = self.untold, {}
        came = [name for name, there in untold.items() if there]
        return came, [name for name, there in untold.items() if not there]

    @property
    def owed(self) -> int:
        """The number of workers that are still to be found for it, while it waits."""
        return max(0, self.count - len(self.taken) - len(self.reserved))

    @property
    def blocked(self) -> bool:
        """Whether an agent does nothing before it has more workers."""
        return self.state is MoveState.WAITING and len(self.taken) < self.awaited


class OrderUnderWay(Struct, frozen=True, gc=False):
    """An order that a campaign has not answered yet; ``request`` is its giver's number for it."""

    giver: int
    request: int
    taker: int


class ClientRecord(Struct, eq=False):
    """One client, the task types it defined, and when it was last heard of.

    One that defined no task type has submitted nothing. It is looked at from time to time if it is
    ``watched``. If it is ``detached`` its tasks go on while it is ``away``, and ``results`` are the
    stored values of those that ended, by task.
    """

    name: str
    peer: int
    heard: float
    types: dict[int, TypeRecord]
    maker: str = ""
    detached: bool = False
    watched: bool = False
    away: bool = False
    results: dict[int, StoredObject] = field(default_factory=dict[int, StoredObject])
