"""Events: facts that happened, typed and numbered in one sequence by the broker.

``number`` rises by one from event to event; ``at`` is in Unix seconds on the broker's clock. The
union is closed: user events travel inside `Published`.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from steerio.model.campaign_orders import GivenOrder, Plain
from steerio.model.tasks import EndedAs


class Event(Struct, frozen=True, gc=False, tag=True):
    """The fields of every event."""

    number: int
    at: float


class TaskQueued(Event, frozen=True, gc=False, tag=True):
    """A task entered its pool's queue."""

    task_id: int
    task_type: str
    pool: str


class TaskStarted(Event, frozen=True, gc=False, tag=True, omit_defaults=True):
    """A worker works on this attempt now (as far as the broker knows).

    ``others`` are the other workers of its gang, if several run the task together.
    """

    task_id: int
    task_type: str
    pool: str
    attempt: int
    worker: str
    others: tuple[str, ...] = ()


class TaskEnded(Event, frozen=True, gc=False, tag=True):
    """A task ended, once and for good.

    ``ended_as`` is one of ``succeeded failed cancelled timed_out lost``; ``run_s`` the
    seconds that the last attempt ran.
    """

    task_id: int
    task_type: str
    pool: str
    attempt: int
    worker: str | None
    ended_as: EndedAs
    run_s: float | None


class TaskRetried(Event, frozen=True, gc=False, tag=True):
    """An attempt ended badly and the task is queued again."""

    task_id: int
    task_type: str
    pool: str
    attempt: int
    reason: str


class TaskProgress(Event, frozen=True, gc=False, tag=True):
    """A running task reported: ``fraction`` done (0 to 1, or ``None``) and a message."""

    task_id: int
    task_type: str
    pool: str
    fraction: float | None
    message: str


class TaskYielded(Event, frozen=True, gc=False, tag=True):
    """A generator task yielded its ``index``-th item; the item itself goes to its submitter."""

    task_id: int
    task_type: str
    pool: str
    index: int


class WorkerJoined(Event, frozen=True, gc=False, tag=True):
    """A worker is ready for tasks."""

    worker: str
    pool: str
    node: str
    pid: int


class WorkerLost(Event, frozen=True, gc=False, tag=True):
    """A worker ended unasked; ``reason`` says how (signal, exit status, node lost)."""

    worker: str
    pool: str
    node: str
    reason: str
    task_id: int | None


class WorkerMoved(Event, frozen=True, gc=False, tag=True):
    """A worker came from the pool ``source`` into ``pool``; ``lent``: it will go home again."""

    worker: str
    pool: str
    source: str
    node: str
    lent: bool = False


class WorkerRetired(Event, frozen=True, gc=False, tag=True):
    """A ready worker ends in good order, and takes no more tasks; ``reason`` says why.

    Its node is drained; or it has moved to a pool for which another process is started there.
    """

    worker: str
    pool: str
    node: str
    reason: str


class NodeJoined(Event, frozen=True, gc=False, tag=True):
    """A node joined with room for these workers; ``ends`` is the end of its walltime, if any."""

    node: str
    host: str
    workers: dict[str, int]
    ends: float | None = None


class NodeLost(Event, frozen=True, gc=False, tag=True):
    """A node left, or has not been heard of within its lease."""

    node: str
    reason: str


class NodeEnding(Event, frozen=True, gc=False, tag=True):
    """The walltime of a node is over in ``left_s`` seconds, at ``ends`` (Unix seconds).

    A little before that it is drained, and tasks that still run there are queued again.
    """

    node: str
    left_s: float
    ends: float


class NodeDraining(Event, frozen=True, gc=False, tag=True):
    """A node gets no more tasks, and its workers leave when they have none."""

    node: str
    reason: str


class NodeDrained(Event, frozen=True, gc=False, tag=True):
    """The last worker of a draining node is gone; a node that retires is then told to end."""

    node: str


class NodeUndrained(Event, frozen=True, gc=False, tag=True):
    """A node that was draining or drained gets tasks again and starts its workers."""

    node: str


class PoolChanged(Event, frozen=True, gc=False, tag=True):
    """The number of workers of a pool changed."""

    pool: str
    workers: int


class PoolFailed(Event, frozen=True, gc=False, tag=True):
    """The workers of a pool die while starting; no more are started."""

    pool: str
    reason: str


class PoolStalled(Event, frozen=True, gc=False, tag=True):
    """Tasks wait in a pool, and no worker will take them unless an agent acts.

    ``queued`` is their number; the ``reason`` says why, and names a way out. It comes once, until
    one of them was taken.
    """

    pool: str
    queued: int
    reason: str


class PoolPaused(Event, frozen=True, gc=False, tag=True):
    """A pool's queued tasks are not handed out from now on; ``reason``: by whose order, and why."""

    pool: str
    reason: str


class PoolResumed(Event, frozen=True, gc=False, tag=True):
    """The tasks of a paused pool are handed out again; ``reason``: by whose order, and why."""

    pool: str
    reason: str


class ClientLost(Event, frozen=True, gc=False, tag=True):
    """A client left or fell silent; its tasks were cancelled, unless it is detached."""

    client: str
    reason: str


class BrokerReturned(Event, frozen=True, gc=False, tag=True):
    """A broker has begun again in the run directory of one that had ended without a word.

    ``incarnation`` counts the brokers that have begun there.
    """

    incarnation: int


class Published(Event, frozen=True, tag=True):
    """An agent published a value of its own; ``topic`` is the name of its class.

    With the topic ``note`` it is a note: the value has numbers by name.
    """

    topic: str
    value: Any
    client: str


class VersionPublished(Event, frozen=True, gc=False, tag=True):
    """A client published a version of a name; versions are numbered from 1."""

    name: str
    version: int
    nbytes: int
    client: str


class ParameterChanged(Event, frozen=True, gc=False, tag=True):
    """A parameter of a campaign has another value.

    ``by`` is the agent that assigned it, or the person or program by whose order it was set;
    ``order`` is the id of that order; ``client`` the campaign, as in all events of campaigns.
    """

    name: str
    old: Plain
    new: Plain
    by: str
    reason: str = ""
    order: str = ""
    client: str = ""


class Asked(Event, frozen=True, tag=True):
    """An agent asks a question, and waits for its answer; ``question`` is its number.

    After ``timeout_s`` the ``default`` is taken for the answer; ``None``: it waits. With an
    ``order`` it is a proposal: the order is carried out if that is approved.
    """

    question: int
    text: str
    options: tuple[str, ...]
    by: str
    timeout_s: float | None = None
    default: str | None = None
    client: str = ""
    order: GivenOrder | None = None


class Answered(Event, frozen=True, gc=False, tag=True):
    """A question has its answer, once and for good.

    ``by`` is empty if the default was taken; ``order`` is the id of the order that answered it.
    """

    question: int
    choice: str
    by: str
    reason: str = ""
    order: str = ""
    client: str = ""


class QuestionClosed(Event, frozen=True, gc=False, tag=True):
    """A question of an agent is open no more, and has no answer.

    Its agent has given it up, or the campaign ends, as ``reason`` says.  A campaign that is resumed
    may ask it again under its number.  The end of a proposal is told by `Ordered`.
    """

    question: int
    by: str
    reason: str
    client: str = ""


class Ordered(Event, frozen=True, gc=False, tag=True):
    """A campaign was given an order, and has carried it out, or refused it.

    ``order`` and ``outcome`` are in words; ``id`` is the order's; ``done`` says whether it was
    carried out, or could have been if it was a ``dry_run``. One that was proposed was put as
    ``question``, and ``approved_by`` names the person or program that approved it, if any did.
    """

    order: str
    outcome: str
    done: bool
    by: str
    reason: str = ""
    id: str = ""
    dry_run: bool = False
    client: str = ""
    question: int = 0
    approved_by: str = ""


class Advised(Event, frozen=True, tag=True):
    """An agent has consulted an advisor, and goes on with the answer, or with the fallback's.

    Attributes:
        advisor: its name.
        by: the agent that consulted it.
        choices: the name of the type of the answer.
        view: the view that the advisor was given, as JSON, cut.
        digest: of all of the view.
        answer: as JSON, within its limits.
        source: ``advisor``; or ``fallback``, and the ``reason`` for it.
        clipped: the numbers that were outside of their limits, each in words.
        seconds: how long it took.
    """

    advisor: str
    by: str
    choices: str
    view: str
    digest: str
    answer: str
    source: Literal["advisor", "fallback"]
    reason: str = ""
    clipped: tuple[str, ...] = ()
    seconds: float = 0.0
    client: str = ""


class BoardChanged(Event, frozen=True, gc=False, tag=True):
    """The entries of a board of a campaign, told when their numbers have changed.

    It is told once a second at most (in the first ten more often, in a run of hours once in a
    thousandth of its time), and as the campaign ends.  ``name`` is ``Class.attribute``; ``waiting``
    counts the entries that wait, ``out`` those that are handed out and have not ended, ``ended``
    those that have, and ``oldest_s`` is the age of the oldest that waits, as seen at these times.
    """

    name: str
    pool: str
    waiting: int
    out: int
    ended: int
    oldest_s: float
    client: str = ""


class LoopStalled(Event, frozen=True, gc=False, tag=True):
    """The event loop of a campaign stood still for ``seconds``, and goes on.

    ``agent`` is the name of the asyncio task that held it, which agents' tasks have from their
    agents; ``where`` the line at which that was after a second.  An embedded broker tells it, and
    beside a broker in another process the campaign itself, whose name is ``client`` then.
    """

    agent: str
    seconds: float
    where: str
    client: str = ""


Announcement = (
    ParameterChanged
    | Asked
    | Answered
    | QuestionClosed
    | Ordered
    | Advised
    | BoardChanged
    | LoopStalled
)
"""The events that a campaign tells of itself; its broker numbers and times them."""


class EventsMissed(Event, frozen=True, gc=False, tag=True):
    """This subscriber was too slow: ``count`` events, none after ``number``, were not delivered.

    They can be read again with ``session.events(..., since=first)`` while the log keeps them.
    """

    count: int
    first: int


AnyEvent = (
    TaskQueued
    | TaskStarted
    | TaskEnded
    | TaskRetried
    | TaskProgress
    | TaskYielded
    | WorkerJoined
    | WorkerLost
    | WorkerMoved
    | WorkerRetired
    | NodeJoined
    | NodeLost
    | NodeEnding
    | NodeDraining
    | NodeDrained
    | NodeUndrained
    | PoolChanged
    | PoolFailed
    | PoolStalled
    | PoolPaused
    | PoolResumed
    | ClientLost
    | BrokerReturned
    | Published
    | VersionPublished
    | Announcement
    | EventsMissed
)
"""The closed union of events."""

TASK_EVENTS = (TaskQueued, TaskStarted, TaskEnded, TaskRetried, TaskProgress, TaskYielded)
"""The events that have a task type and a pool."""
