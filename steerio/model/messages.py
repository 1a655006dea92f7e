"""Messages: the two closed unions that cross a wire.

``ToBroker`` is all the broker accepts, ``FromBroker`` all it says; nothing else
decodes.  Structs are arrays on the wire (``array_like``) with an integer tag, so a
header costs under a microsecond.  A ``frames`` field counts the out-of-band frames
that belong to the message and follow the headers, in order (see ``edge.headers``).

``run`` numbers one attempt of one task, uniquely per broker: a report that names a
run the broker no longer has is late, and is dropped.
"""

from __future__ import annotations

from msgspec import Struct

from steerio.model.events import AnyEvent
from steerio.model.objects import Inputs, StoredObject, StoreLoad, Version
from steerio.model.places import WorkerNeeds
from steerio.model.tasks import TaskOptions, TaskSpec

PROTOCOL = 4
"""Version of these unions; checked on joining, for both sides must speak the same."""


# -- from clients ---------------------------------------------------------------------


class JoinClient(Struct, frozen=True, gc=False, array_like=True, tag=1):
    """A client asks to be let in; every other message of a stranger is refused."""

    protocol: int
    name: str


class DefineTask(Struct, frozen=True, gc=False, array_like=True, tag=2):
    """Make a task type known under a number (chosen by the sender, for its own link)."""

    type_id: int
    spec: TaskSpec


class SubmitTask(Struct, frozen=True, gc=False, array_like=True, tag=3):
    """Queue a task; ``created`` is in Unix seconds."""

    task_id: int
    type_id: int
    created: float
    body: bytes
    frames: int
    options: TaskOptions
    tags: dict[str, str] | None
    cause: str
    inputs: Inputs | None = None


class CancelTasks(Struct, frozen=True, gc=False, array_like=True, tag=4):
    """Cancel tasks, queued or running.

    With ``queued_only`` those that are in a worker's hands go on, but are not tried again.
    """

    tasks: list[int]
    reason: str
    queued_only: bool = False


class Reprioritise(Struct, frozen=True, gc=False, array_like=True, tag=5):
    """Give queued tasks new priorities."""

    changes: list[tuple[int, float]]


class Subscribe(Struct, frozen=True, gc=False, array_like=True, tag=6):
    """Send me events from now on (or after event ``since``); ``None`` filters nothing."""

    subscription: int
    types: list[str] | None
    task_type: str | None
    pool: str | None
    since: int | None


class Unsubscribe(Struct, frozen=True, gc=False, array_like=True, tag=7):
    """Send no more events of this subscription."""

    subscription: int


class Publish(Struct, frozen=True, gc=False, array_like=True, tag=8):
    """Publish a user's event; ``body`` is its encoded value."""

    topic: str
    body: bytes


class WatchPools(Struct, frozen=True, gc=False, array_like=True, tag=9):
    """Send me a `PoolStatus` now, and from now on as I want them.

    Every client gets one whenever the size of a pool changes, else now and then; with ``idle``
    also whenever the number of idle workers may have changed.
    """

    idle: bool


class AskStatus(Struct, frozen=True, gc=False, array_like=True, tag=10):
    """Ask once for the broker's whole status."""

    request: int


class GrantItems(Struct, frozen=True, gc=False, array_like=True, tag=11):
    """The submitter of a generator task has room for ``count`` more items."""

    task_id: int
    count: int


class AskMove(Struct, frozen=True, gc=False, array_like=True, tag=15):
    """Move ``count`` workers from pool to pool, for good or (``lease``) until `EndMove`.

    ``request`` is the client's own number for it.  ``how`` is ``drain`` (wait for what runs)
    or ``preempt`` (stop it and queue it again), drain becomes preempt after
    ``preempt_after_s``; ``together``: none moves before all can.
    """

    request: int
    source: str
    target: str
    count: int
    lease: bool
    together: bool
    how: str
    preempt_after_s: float | None


class EndMove(Struct, frozen=True, gc=False, array_like=True, tag=16):
    """Undo a move that is not granted yet, or give back what is leased."""

    request: int
    how: str


class AwaitMove(Struct, frozen=True, gc=False, array_like=True, tag=40):
    """I do nothing before this move has ``count`` workers, and ``holds`` these leases until then.

    ``cause`` is the agent that waits, if it is one.
    """

    request: int
    count: int
    holds: list[int]
    cause: str


class ReassignTasks(Struct, frozen=True, gc=False, array_like=True, tag=17):
    """Have queued tasks wait in another pool."""

    tasks: list[int]
    pool: str


class HoldObject(Struct, frozen=True, gc=False, array_like=True, tag=42):
    """I put this object into the store, and need it until I let it go."""

    stored: StoredObject


class LetGo(Struct, frozen=True, gc=False, array_like=True, tag=43):
    """I need these objects no more: once less for each time that one is named."""

    names: list[bytes]


class PublishVersion(Struct, frozen=True, gc=False, array_like=True, tag=44):
    """This object is the next version of a name; `VersionNews` says which number it got."""

    request: int
    name: str
    stored: StoredObject


class AskVersion(Struct, frozen=True, gc=False, array_like=True, tag=41):
    """Tell me of the newest version of a name, once there is one newer than ``after``.

    I then hold its object.
    """

    request: int
    name: str
    after: int


class DrainNode(Struct, frozen=True, gc=False, array_like=True, tag=18):
    """Give a node no more tasks; with ``retire`` it is to end when its workers have left.

    What still runs there after ``within_s`` is stopped and queued again.  ``request`` is the
    client's own number for it; `NodeNews` answers.
    """

    request: int
    node: str
    within_s: float | None = None
    retire: bool = False


class UndrainNode(Struct, frozen=True, gc=False, array_like=True, tag=19):
    """Let a node take tasks again; `NodeNews` answers."""

    request: int
    node: str


class Beat(Struct, frozen=True, gc=False, array_like=True, tag=12):
    """I am alive.  ``sent`` is the sender's clock, ``offset_s`` what it lags the broker's."""

    sent: float
    offset_s: float | None


class Leave(Struct, frozen=True, gc=False, array_like=True, tag=13):
    """I am leaving in good order; nodes say why."""

    reason: str = ""


class StopBroker(Struct, frozen=True, gc=False, array_like=True, tag=14):
    """End the broker with everything that joined it."""

    reason: str


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
    """A running generator task yields an item."""

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


ToBroker = (
    JoinClient
    | DefineTask
    | SubmitTask
    | CancelTasks
    | Reprioritise
    | Subscribe
    | Unsubscribe
    | Publish
    | WatchPools
    | AskStatus
    | GrantItems
    | AskMove
    | EndMove
    | AwaitMove
    | ReassignTasks
    | HoldObject
    | LetGo
    | PublishVersion
    | AskVersion
    | DrainNode
    | UndrainNode
    | Beat
    | Leave
    | StopBroker
    | JoinNode
    | WorkerExited
    | NotBegun
    | JoinWorker
    | Report
    | ReturnTask
    | YieldItem
    | ReportProgress
)
"""Everything a broker accepts."""


# -- from the broker, to anyone ---------------------------------------------------------


class Accepted(Struct, frozen=True, gc=False, array_like=True, tag=50):
    """You are in: under this number, among these pools."""

    number: int
    pools: dict[str, int]


class Refused(Struct, frozen=True, gc=False, array_like=True, tag=51):
    """You are not let in, or no longer; ``rejoin`` says whether trying again makes sense."""

    reason: str
    rejoin: bool


class BeatAnswer(Struct, frozen=True, gc=False, array_like=True, tag=52):
    """I am alive too; ``sent`` is the beat's own stamp, ``now`` the broker's clock."""

    sent: float
    now: float


class Closing(Struct, frozen=True, gc=False, array_like=True, tag=53):
    """The broker ends; so should you."""

    reason: str


# -- to clients -------------------------------------------------------------------------


class TaskSettled(Struct, frozen=True, gc=False, array_like=True, tag=60):
    """A task ended for good.  Times as in `Timings`."""

    task_id: int
    ended_as: str
    attempt: int
    worker: str | None
    queued: float
    sent: float | None
    started: float | None
    ended: float | None
    received: float | None
    args_bytes: int
    value_bytes: int
    body: bytes
    frames: int
    error: RemoteError | None
    reason: str
    stored: StoredObject | None = None
    versions: dict[str, int] | None = None

    @classmethod
    def unknown(cls, task_id: int, ended_as: str, now: float, reason: str) -> TaskSettled:
        """Return what a client tells itself of a task that no broker will tell it of."""
        nothing = (None, None, None, None)
        return cls(task_id, ended_as, 0, None, now, *nothing, 0, 0, b"", 0, None, reason)


class TaskItem(Struct, frozen=True, gc=False, array_like=True, tag=61):
    """A generator task of yours yielded."""

    task_id: int
    index: int
    body: bytes
    frames: int
    stored: StoredObject | None = None


class VersionNews(Struct, frozen=True, gc=False, array_like=True, tag=67):
    """The version that you published, or asked for and now hold."""

    request: int
    version: Version


class Events(Struct, frozen=True, gc=False, array_like=True, tag=62):
    """Events of one subscription, in order."""

    subscription: int
    events: list[AnyEvent]


class PoolLoad(Struct, frozen=True, gc=False, array_like=True):
    """One pool at a glance: workers, how many of them are idle, tasks queued and running.

    ``starting`` workers are not ready yet and not counted; ``promised`` are those that moves
    wait for; ``at_home`` those that belong to the pool, wherever they are; ``nodes`` says on
    which nodes the workers are, starting ones included; ``failure`` is why the pool was given
    up, if it was; ``draining`` are the workers that leave, for their nodes are drained;
    ``makes`` says what the workers have, and how many of them have it.
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

    @property
    def busy(self) -> int:
        """How many workers are not idle."""
        return self.workers - self.idle

    def fitting(self, needs: WorkerNeeds | None) -> dict[WorkerNeeds, int]:
        """Return the makes of the workers that fit a task, and how many there are of each."""
        return {
            make: count for make, count in self.makes if needs is None or make.suffices_for(needs)
        }


class PoolStatus(Struct, frozen=True, gc=False, array_like=True, tag=63):
    """The pools as they are now."""

    pools: dict[str, PoolLoad]


class MoveNews(Struct, frozen=True, gc=False, array_like=True, tag=65):
    """How far a move of yours is.

    ``state`` is ``waiting``, ``granted``, ``returning`` or ``ended``, and ``deadlocked`` before
    these where that is why it ends; ``workers`` are those that are at the target for it;
    ``reason`` says why it ended where you did not end it.
    """

    request: int
    state: str
    workers: list[str]
    reason: str


class NodeNews(Struct, frozen=True, gc=False, array_like=True, tag=66):
    """What became of a node that you wanted drained, or undrained; there is no other news of it.

    ``state`` is ``drained``, ``left`` (it is gone), ``undrained`` or ``refused``; ``reason`` says
    why.
    """

    request: int
    state: str
    reason: str


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


# -- to nodes ---------------------------------------------------------------------------


class StartWorker(Struct, frozen=True, gc=False, array_like=True, tag=70):
    """Start a worker of this name for this pool."""

    worker: str
    pool: str


class StopRunning(Struct, frozen=True, gc=False, array_like=True, tag=71):
    """Ask the running attempt to stop by itself (the cooperative signal)."""

    worker: str
    run: int


class SignalWorker(Struct, frozen=True, gc=False, array_like=True, tag=72):
    """Send the worker's process group ``term`` or ``kill``."""

    worker: str
    run: int
    signal: str


class TakeBack(Struct, frozen=True, gc=False, array_like=True, tag=73):
    """Have the worker not begin this attempt, and say `NotBegun` unless it has already."""

    worker: str
    run: int


class FetchAhead(Struct, frozen=True, gc=False, array_like=True, tag=74):
    """Tasks that are about to run on you need these objects."""

    objects: list[StoredObject]


class ForgetObjects(Struct, frozen=True, gc=False, array_like=True, tag=75):
    """These objects are gone: keep no copies."""

    names: list[bytes]


# -- to workers -------------------------------------------------------------------------


class RunTask(Struct, frozen=True, gc=False, array_like=True, tag=80):
    """Run this attempt, after what you hold already."""

    run: int
    task_id: int
    attempt: int
    type_id: int
    body: bytes
    frames: int
    stored: StoredObject | None = None
    versions: dict[str, Version] | None = None


class ReturnHeld(Struct, frozen=True, gc=False, array_like=True, tag=81):
    """Give this attempt back if you have not begun it.

    Its node is told as well, which helps while the worker is busy; what comes with the attempt
    itself is heard before that is begun.
    """

    run: int


class GrantRun(Struct, frozen=True, gc=False, array_like=True, tag=82):
    """The generator of this attempt may yield ``count`` more items."""

    run: int
    count: int


FromBroker = (
    Accepted
    | Refused
    | BeatAnswer
    | Closing
    | TaskSettled
    | TaskItem
    | Events
    | PoolStatus
    | Status
    | MoveNews
    | VersionNews
    | NodeNews
    | StartWorker
    | StopRunning
    | SignalWorker
    | TakeBack
    | FetchAhead
    | ForgetObjects
    | DefineTask
    | RunTask
    | ReturnHeld
    | GrantRun
)
"""Everything a broker says."""
