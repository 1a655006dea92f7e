"""The snapshot of a run's view: frozen values that encode to JSON, for pages, terminals, reports.

Its size does not grow with the numbers of tasks and workers: times are counted in bins, whose
width doubles when there are too many; rows, failures, types and points have bounds, and whatever
is over a bound is counted. All times are Unix seconds on the broker's clock, durations seconds.
Series have one number for each bin of the `TimeAxis` they stand beside; those of workers are means
over a bin (worker-seconds by its width), so stacked they give the number of workers.
``bytes`` have one byte for each bin, and stand in base64 in JSON.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from steerio.view.task_views import CauseView as CauseView
from steerio.view.task_views import EndsView as EndsView
from steerio.view.task_views import FailureGroup as FailureGroup
from steerio.view.task_views import FailureView as FailureView
from steerio.view.task_views import NoteSeries as NoteSeries
from steerio.view.task_views import Series as Series
from steerio.view.task_views import Spread as Spread
from steerio.view.task_views import TypeView as TypeView
from steerio.view.task_views import VersionView as VersionView

IDLE_CAUSES = (
    "no_work",
    "policy_busy",
    "in_transit",
    "dispatch",
    "paused",
    "moving",
    "starting",
)
"""Why the seconds of workers passed in which they ran no task, in the order in which they stack.

- ``no_work``: its pool's queue was empty, and no result was being handled for its next task.
- ``policy_busy``: the results that a next task is because of were there, and the task was not, or
  the event loop was held, so that no agent could submit it; of the pool's idle workers it counts
  for the one that was idle for longest.
- ``in_transit``: its next task was on the way to it, or the end of the last one to the broker.
- ``dispatch``: its next task was queued, and not yet given to it.
- ``paused``: so it was, and its pool was paused.
- ``moving``: it waited for others of its move, or ended to begin again in another pool.
- ``starting``: it was not ready yet.
"""
OTHER_POOLS = "other pools"
"""The name of the pools that are not shown one by one, together."""
NO_TYPE = 255
"""The byte of a bin of a Gantt row in which no task ran."""


class TimeAxis(Struct, frozen=True):
    """The bins of time that series count in: ``count`` of them, each ``width_s`` long."""

    began: float
    width_s: float
    count: int


class LimitUse(Struct, frozen=True):
    """One limit of a run, and how much of it is used: ``tasks``, ``worker_s``, ``wall_s``, ..."""

    name: str
    used: float
    bound: float


class RunHeader(Struct, frozen=True):
    """The run itself.

    Attributes:
        run: the name of the run directory.
        campaign: the campaign's class; empty for a session or a standing broker.
        state: ``running``, ``completed``, ``limited``, ``interrupted``, ``failed``, ``ended`` (a
            broker in order), ``cut off`` (its process is gone without an end) or ``unknown`` (its
            process may live, on another host, say): as in ``steerio record list``.
        live: whether it may go on: it is running, or that is unknown.
        because: why it ended, or failed.
        began, until: the first and the last time that the record tells of; while it runs,
            ``until`` is now.
        incarnation: the number of processes that have written the record.
        restarts: when each process after the first began to write.
        joined: the run directory of the standing broker whose record this is read from, or empty.
        tasks: tasks that ended; ``open_tasks``: those queued or running; ``events``: events read.
        worker_s: seconds that workers spent inside tasks.
        limits: the campaign's limits; ``left_s``: the estimate of the time left, by the one that is
            used most; ``None`` without limits, or too early to tell.
        facts: the other values of ``parameters.json``, as text: arguments, seed, host, command, ...
        unread: lines of the record that could not be read.
        workers, busy, queued: sums over all pools, also those that are not shown.
        questions: those that wait for an answer.
    """

    run: str
    campaign: str
    state: str
    live: bool
    because: str
    began: float
    until: float
    incarnation: int
    restarts: tuple[float, ...]
    joined: str
    tasks: int
    open_tasks: int
    events: int
    worker_s: float
    limits: tuple[LimitUse, ...]
    left_s: float | None
    facts: dict[str, str]
    unread: int
    workers: int = 0
    busy: int = 0
    queued: int = 0
    questions: int = 0


class Mark(Struct, frozen=True):
    """Something that happened at one time, or several alike within one bin.

    Attributes:
        at: when the first of them happened.
        kind: ``moved``, ``lost`` (worker), ``node_joined``, ``node_lost``, ``node_draining``,
            ``pool_failed``, ``pool_stalled``, ``pool_paused``, ``pool_resumed``, ``loop_stalled``,
            ``returned`` (broker), ``missed`` (events).
        pool: the pool, of moves the target; empty for nodes.
        source: of moves the pool that they left; else empty.
        count: how many.
        text: the reason of the first, or the name of the node.
    """

    at: float
    kind: str
    pool: str
    source: str
    count: int
    text: str


class PoolView(Struct, frozen=True):
    """One pool, now and over time.

    Attributes:
        name: its name.
        workers: ready workers in it now, borrowed ones too; ``busy`` of them run tasks.
        idle: ready ones that run none.
        starting: workers that are expected and not yet ready.
        lent: workers that belong to it and are in another pool.
        borrowed: workers in it that belong to another (they are in ``workers`` too).
        lost: workers lost so far.
        queued: tasks in its queue; ``oldest_s``: the age of the oldest of them.
        paused: by whose order none of its queued tasks is handed out, and why, or empty.
        stalled: why its tasks wait in vain, or empty; ``failed``: why it has failed, or empty.
        busy_share: the share of its ready workers' time that passed inside tasks, 0 to 1.
        busy_bins, idle_bins, starting_bins, lent_bins: workers over time; the first three stack.
        queued_bins: mean depth of the queue.
        age_bins: the greatest age of the oldest task in its queue.
        ended_bins: tasks that ended, a second.
    """

    name: str
    workers: int
    busy: int
    idle: int
    starting: int
    lent: int
    borrowed: int
    lost: int
    queued: int
    oldest_s: float
    paused: str
    stalled: str
    failed: str
    busy_share: float
    busy_bins: Series
    idle_bins: Series
    starting_bins: Series
    lent_bins: Series
    queued_bins: Series
    age_bins: Series
    ended_bins: Series


class BoardView(Struct, frozen=True):
    """One board of a campaign, now and over time: the work that is not handed out yet.

    Attributes:
        name: ``Class.attribute``; campaign: the name of the client that has it.
        pool: of its tasks.
        waiting: entries that wait; ``out``: those that are handed out and have not ended;
            ``ended``: those that have.
        oldest_s: the age of the oldest of them that waits.
        waiting_bins, out_bins: means over time.
        age_bins: the greatest age of the oldest that waited.
    """

    name: str
    campaign: str
    pool: str
    waiting: int
    out: int
    ended: int
    oldest_s: float
    waiting_bins: Series
    out_bins: Series
    age_bins: Series


class IdleView(Struct, frozen=True):
    """Worker-seconds without a task by cause: the keys are ``IDLE_CAUSES``.

    ``total_s`` is the sum of all causes, and equal to all time of workers, from the order to start
    them to their end, less ``busy_s``. Of many pools ``by_pool`` has those that are shown, and the
    sums of the others under ``OTHER_POOLS``.
    """

    busy_s: float
    total_s: float
    by_cause: dict[str, float]
    by_pool: dict[str, dict[str, float]]
    bins: dict[str, Series]


class StallView(Struct, frozen=True):
    """Times at which an agent held the event loop for a second or more.

    Attributes:
        agent: its name, or that of another asyncio task; ``where``: its line at the longest.
        count: how often; ``total_s``: in all; ``longest_s``: at most; ``last_at``: until when last.
    """

    agent: str
    count: int
    total_s: float
    longest_s: float
    last_at: float
    where: str


class GanttRow(Struct, frozen=True):
    """One worker, or all of one or several nodes.

    Attributes:
        name: the worker, node, or ``first .. last (N nodes)``.
        node: the node of a worker; else empty.
        workers: how many it stands for at most.
        busy: per bin, the busy share, 0 to 255.
        failed: per bin, the share of that which passed in attempts that did not end well.
        types: per bin, the index of the task type that took most time, or ``NO_TYPE``.
    """

    name: str
    node: str
    workers: int
    busy: bytes
    failed: bytes
    types: bytes


class GanttView(Struct, frozen=True):
    """The work of all workers over time, in at most 200 rows: ``by`` worker, node or nodes."""

    axis: TimeAxis
    by: Literal["worker", "node", "nodes"]
    types: tuple[str, ...]
    rows: tuple[GanttRow, ...]


class RunSnapshot(Struct, frozen=True):
    """All of a run's view at one time.

    Attributes:
        number: rises with each change, so that equal numbers are equal snapshots.
        made_at: when it was made.
        axis: the bins of all series but those of the Gantt and of notes.
        pools: by name. The first 40 of more; ``more_pools`` counts the rest.
        marks: moves, losses and the like, at most 200, merged by bin.
        boards: of campaigns, in the order in which they came, at most 40; ``more_boards`` counts
            the rest.
        causes: tasks by cause, most first, at most 40.
        types: by task type, most first, at most 20.
        failures: the last ones, newest first, at most 50; ``failure_groups``: all by kind, at most
            50, most frequent first.
        reaction: from the last result that a task is because of, to that task in its queue: how
            long agents take to react.
        decision: from ``created`` to ``queued``: from the submission to the broker.
        queueing: from ``queued`` to ``sent``.
        dispatch: from ``sent`` (or, if its worker was still busy, from the end of the task before)
            to ``started``; on the worker's side this includes decoding its arguments.
        run: from ``started`` to ``ended``.
        report: from ``ended`` to ``received``: encoding the value, and its way back.
        args_bytes, value_bytes: data that travelled with tasks.
        data_bins: bytes a second of both over time.
        stalls: by agent, those with most time first.
        gantt: ``None`` if it was not asked for.
    """

    number: int
    made_at: float
    header: RunHeader
    axis: TimeAxis
    pools: tuple[PoolView, ...]
    more_pools: int
    marks: tuple[Mark, ...]
    boards: tuple[BoardView, ...]
    more_boards: int
    causes: tuple[CauseView, ...]
    ends: EndsView
    types: tuple[TypeView, ...]
    failures: tuple[FailureView, ...]
    failure_groups: tuple[FailureGroup, ...]
    reaction: Spread
    decision: Spread
    queueing: Spread
    dispatch: Spread
    run: Spread
    report: Spread
    args_bytes: Spread
    value_bytes: Spread
    data_bins: Series
    idle: IdleView
    stalls: tuple[StallView, ...]
    versions: tuple[VersionView, ...]
    notes: tuple[NoteSeries, ...]
    gantt: GanttView | None = None
