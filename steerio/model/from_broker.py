"""The broker's messages: to any peer, to clients, to nodes and to workers.

Its status is in ``model.status``.
"""

from __future__ import annotations

from msgspec import Struct

from steerio.model.campaign_orders import GivenOrder, OrderAnswer
from steerio.model.events import AnyEvent
from steerio.model.from_nodes import RemoteError
from steerio.model.moving import DrainEnd, MoveProgress
from steerio.model.objects import StoredObject, Version
from steerio.model.settings import Settings
from steerio.model.tasks import EndedAs, GangPlace, SignalName, TaskOptions

# -- from the broker, to any peer -------------------------------------------------------


class Accepted(Struct, frozen=True, gc=False, array_like=True, tag=50):
    """You are in: under this number; a client among these pools, a node under this name.

    ``settings`` are those of the broker, and yours from now on. A client that ``observes`` may send
    `messages.FromObserver` only. ``incarnation`` is the broker's (0: no other will take its place),
    and ``events`` the number of the last event before its own. ``tasks`` is the number of the last
    task that a detached client has submitted, so far, and ``session`` your number among those of
    your name. ``allow`` has the functions that workers run, if these read no pickle.
    """

    number: int
    pools: dict[str, int]
    name: str = ""
    settings: Settings = Settings()
    observes: bool = False
    incarnation: int = 0
    events: int = 0
    tasks: int = 0
    session: int = 0
    allow: tuple[str, ...] | None = None


class Refused(Struct, frozen=True, gc=False, array_like=True, tag=51):
    """You are not let in, or no longer; ``rejoin`` says whether trying again makes sense."""

    reason: str
    rejoin: bool


class BeatAnswer(Struct, frozen=True, gc=False, array_like=True, tag=52):
    """I am alive too; ``sent`` is the beat's own stamp, ``now`` the broker's clock.

    ``told`` counts the messages to a node for its workers up to here, so that a lost one shows.
    """

    sent: float
    now: float
    told: int = 0


class Closing(Struct, frozen=True, gc=False, array_like=True, tag=53):
    """The broker ends; so should you."""

    reason: str


# -- to clients -------------------------------------------------------------------------


class TaskSettled(Struct, frozen=True, gc=False, array_like=True, tag=60):
    """A task ended for good.  Times as in `Timings`."""

    task_id: int
    ended_as: EndedAs
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
    def unknown(cls, task_id: int, ended_as: EndedAs, now: float, reason: str) -> TaskSettled:
        """Return the end that a client gives a task of which no broker will tell it."""
        nothing = (None, None, None, None)
        return cls(task_id, ended_as, 0, None, now, *nothing, 0, 0, b"", 0, None, reason)


class LedgerTask(Struct, frozen=True, gc=False, array_like=True):
    """A task of a detached client, as it was submitted; ``body`` are its arguments, if short."""

    task_id: int
    task_type: str
    pool: str
    body: bytes
    created: float
    options: TaskOptions
    tags: dict[str, str] | None
    cause: str
    because: tuple[int, ...]


class LedgerTasks(Struct, frozen=True, gc=False, array_like=True, tag=69):
    """Tasks of your ledger, as you asked; ``more``: there are others behind them.

    The results of those of them that have ended come behind this.
    """

    request: int
    tasks: list[LedgerTask]
    more: bool


class TaskItem(Struct, frozen=True, gc=False, array_like=True, tag=61):
    """A generator task of yours yielded an item; attempts are numbered from 1."""

    task_id: int
    index: int
    body: bytes
    frames: int
    stored: StoredObject | None = None
    attempt: int = 0


class TaskStates(Struct, frozen=True, gc=False, array_like=True, tag=68):
    """The states of tasks of yours that changed and have not ended, as you asked."""

    queued: list[int]
    running: list[int]


class VersionNews(Struct, frozen=True, gc=False, array_like=True, tag=67):
    """The version that you published, or asked for and now hold."""

    request: int
    version: Version


class Events(Struct, frozen=True, gc=False, array_like=True, tag=62):
    """Events of one subscription, in order."""

    subscription: int
    events: list[AnyEvent]


class MoveNews(Struct, frozen=True, gc=False, array_like=True, tag=65):
    """The progress of a move of yours.

    ``came`` and ``gone`` are the workers that are, or are no longer, at the target for it since the
    last news; of one that has ended all are gone.  ``reason`` says why it ended, if you did not end
    it.
    """

    request: int
    state: MoveProgress
    came: list[str]
    gone: list[str]
    reason: str


class NodeNews(Struct, frozen=True, gc=False, array_like=True, tag=66):
    """The end of your request to drain or undrain a node, and why; there is no other news of it."""

    request: int
    state: DrainEnd
    reason: str


class PauseNews(Struct, frozen=True, gc=False, array_like=True, tag=54):
    """Your pause has taken effect, or the pool is resumed; else ``refusal`` says why not."""

    request: int
    refusal: str


class TaskReason(Struct, frozen=True, gc=False, array_like=True, tag=79):
    """The answer to `AskWhy`: why the task runs or waits now; empty if it is not here."""

    request: int
    reason: str


class PassOrder(Struct, frozen=True, gc=False, array_like=True, tag=55):
    """An order for you, a campaign; answer it under this number.

    ``at_event`` is the number of the broker's last event.
    """

    number: int
    given: GivenOrder
    at_event: int


class OrderNews(Struct, frozen=True, gc=False, array_like=True, tag=56):
    """The campaign's answer to your order, or the broker's if it cannot be passed to one."""

    request: int
    answer: OrderAnswer


class Announced(Struct, frozen=True, gc=False, array_like=True, tag=57):
    """Your announcement is the event of this number."""

    request: int
    number: int


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
    signal: SignalName


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


class TellWorker(Struct, frozen=True, gc=False, array_like=True, tag=76):
    """Pass this on to a worker of yours: a batch of messages, as it is.

    ``header`` is the batch's; one that is long is the first of the frames, and ``header`` is empty.
    ``runs`` are the attempts that the worker is sent with it, and ``tasks`` the ids of these.
    """

    worker: str
    header: bytes
    frames: int
    runs: list[int] = []
    tasks: list[int] = []


class AskAccount(Struct, frozen=True, gc=False, array_like=True, tag=77):
    """Words of yours were lost: say what you know of your workers; ``now``: the broker's clock."""

    now: float


# -- to workers -------------------------------------------------------------------------


class RunTask(Struct, frozen=True, gc=False, array_like=True, tag=80):
    """Run this attempt, after those you hold already."""

    run: int
    task_id: int
    attempt: int
    type_id: int
    body: bytes
    frames: int
    stored: StoredObject | None = None
    versions: dict[str, Version] | None = None
    gang: GangPlace | None = None


class ReturnHeld(Struct, frozen=True, gc=False, array_like=True, tag=81):
    """Give this attempt back if you have not begun it.

    Its node is told as well, which helps while the worker is busy; a worker hears messages that
    come with the attempt itself before it begins it.
    """

    run: int


class GrantRun(Struct, frozen=True, gc=False, array_like=True, tag=82):
    """The generator of this attempt may yield ``count`` more items.

    0: there is no reader. The generator may yield as many as it likes, and sends none; now and then
    it says that it yields. An attempt that was not begun yet is told as well.
    """

    run: int
    count: int


class MeetAt(Struct, frozen=True, gc=False, array_like=True, tag=83):
    """The first worker of your gang has chosen this port, for this attempt of yours: begin it."""

    run: int
    port: int
    token: bytes = b""
