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

Series = tuple[float, ...]
"""A number for each bin of the axis."""
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
- ``policy_busy``: the results that its next task is because of were there, and the task was not.
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


class CauseView(Struct, frozen=True):
    """Tasks by the agent that submitted them: the ``cause`` that the record has.

    Attributes:
        cause: ``Class.method``; empty for sessions.
        task_types: of its tasks, most frequent first, at most 8.
        ended: how many have ended; ``failed``: how many of these not well.
        run_s: seconds inside them.
        reaction: as in `RunSnapshot`, of its tasks only.
    """

    cause: str
    task_types: tuple[str, ...]
    ended: int
    failed: int
    run_s: float
    reaction: Spread


class Spread(Struct, frozen=True):
    """The percentiles of many durations or sizes, each right within 2 %; zeros if ``count`` is 0.

    ``edges`` and ``counts`` are a coarse histogram to draw: ``counts[i]`` of them lie from
    ``edges[i]`` up to ``edges[i + 1]``; edges are spaced by a constant factor. ``total`` is the sum
    of the numbers as they are, and the others are rounded.
    """

    count: int
    mean: float
    least: float
    p10: float
    p50: float
    p90: float
    p99: float
    most: float
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    total: float = 0.0


class TypeView(Struct, frozen=True):
    """One task type; the last one of many is called ``others``.

    Attributes:
        task_type: ``module:function``; pool: its pool.
        succeeded, failed, cancelled, timed_out, lost: ends so far.
        retried: attempts after which there was another.
        open: queued or running.
        run_s: seconds that its attempts ran, in all.
        run, wait, args_bytes, value_bytes: run time, time in the queue, sizes.
        ended_bins: ends a second; ``failed_bins``: those not well.
    """

    task_type: str
    pool: str
    succeeded: int
    failed: int
    cancelled: int
    timed_out: int
    lost: int
    retried: int
    open: int
    run_s: float
    run: Spread
    wait: Spread
    args_bytes: Spread
    value_bytes: Spread
    ended_bins: Series
    failed_bins: Series


class FailureGroup(Struct, frozen=True):
    """Ends that are not good, alike in task type, kind and error (a line, without numbers)."""

    task_type: str
    ended_as: str
    error: str
    count: int
    first_at: float
    last_at: float
    last_task: int


class FailureView(Struct, frozen=True):
    """One task that did not end well, with all that the record has on it.

    Attributes:
        error: ``type: message``, or why it was cancelled, lost or timed out.
        error_type, message: the two parts of it; the type is empty if it raised nothing.
        traceback: as the worker had it; empty if the record has none.
        args: its arguments as JSON text, cut; empty if the record has none.
        attempts: how many were made.
        log: its lines in ``workers.log``, if asked for by `TaskStory`; else empty.
    """

    task_id: int
    task_type: str
    pool: str
    ended_as: str
    error: str
    error_type: str
    message: str
    traceback: str
    args: str
    worker: str
    node: str
    cause: str
    because: tuple[int, ...]
    tags: dict[str, str]
    attempts: int
    at: float
    run_s: float | None
    log: tuple[str, ...] = ()


class EndsView(Struct, frozen=True):
    """Ends by kind, in all and a second over time."""

    succeeded: int
    failed: int
    cancelled: int
    timed_out: int
    lost: int
    retried: int
    succeeded_bins: Series
    failed_bins: Series
    cancelled_bins: Series
    timed_out_bins: Series
    lost_bins: Series
    rate: float
    """Ends a second in the last whole bins, half a minute or so; 0 for a run that is over."""
    mean_rate: float
    """Ends a second over all the time."""


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


class VersionView(Struct, frozen=True):
    """The published versions of one name, and how far behind tasks were that used them.

    Attributes:
        name: the name; ``newest``: its newest version; ``nbytes``: the size of that.
        published: when the last versions were published, at most 64: pairs of version and time.
        uses: attempts that used any version.
        lag: versions by which they were behind the newest, when they were given out.
        lag_bins: mean lag of the tasks that ended in a bin.
        age_s: how old the versions were that they used, when they were given out.
    """

    name: str
    newest: int
    nbytes: int
    published: tuple[tuple[int, float], ...]
    uses: int
    lag: Spread
    lag_bins: Series
    age_s: Spread


class NoteSeries(Struct, frozen=True):
    """A quantity that the campaign noted, against time, tasks and worker-seconds.

    At most some 500 points: neighbours are merged when there are more. All tuples have the same
    length.

    Attributes:
        name: the quantity, as in ``self.note(best=...)``.
        client: not told apart: of several campaigns on one broker the last point counts.
        at: when; ``tasks``: tasks that had ended; ``worker_s``: seconds inside tasks by then.
        value: the last value of those merged; ``low``, ``high``: the least and the most of them.
        count: how often it was noted; ``least``, ``most``, ``last``: of all.
    """

    name: str
    count: int
    last: float
    least: float
    most: float
    at: Series
    tasks: tuple[int, ...]
    worker_s: Series
    value: Series
    low: Series
    high: Series


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


class Span(Struct, frozen=True, array_like=True):
    """One attempt on a worker: an array in JSON. ``row`` and ``task_type`` are indexes."""

    task_id: int
    row: int
    task_type: int
    started: float
    ended: float
    ended_as: str


class SpanWindow(Struct, frozen=True):
    """The attempts in a window of time, as they were: the zoom of a Gantt.

    Attributes:
        begin, end: the window.
        rows: the workers; types: the task types.
        spans: by their end; at most as many as were asked for; ``left_out`` counts the others.
    """

    begin: float
    end: float
    rows: tuple[str, ...]
    types: tuple[str, ...]
    spans: tuple[Span, ...]
    left_out: int


class TaskBrief(Struct, frozen=True):
    """One task in a line, as a cause or a consequence of another."""

    task_id: int
    task_type: str
    cause: str
    ended_as: str
    queued: float
    received: float
    args: str
    value: str


class AttemptView(Struct, frozen=True):
    """One attempt of a task; times are ``None`` if it did not get there."""

    attempt: int
    ended_as: str
    worker: str
    node: str
    sent: float | None
    started: float | None
    ended: float | None
    received: float
    versions: dict[str, int]


class TaskStory(Struct, frozen=True):
    """One task: the results before it, its agent, its attempts, its end, and the tasks after it.

    Attributes:
        state: ``ended``, ``running``, ``queued``, or ``unknown`` if the record has no such task.
        cause: the agent that submitted it.
        before: the results that it handled; ``after``: tasks that are because of this one, at most
            100, and ``more_after`` how many more.
        reaction_s: from the last of ``before`` to its queue; ``None`` without these.
        attempts: all, the last one last.
        value: as JSON text, cut; ``failure`` if it did not end well.
        events: its lines in ``events.jsonl``, as JSON text.
    """

    task_id: int
    state: Literal["ended", "running", "queued", "unknown"]
    task_type: str
    pool: str
    ended_as: str
    cause: str
    tags: dict[str, str]
    priority: float
    args: str
    value: str
    created: float | None
    queued: float | None
    received: float | None
    reaction_s: float | None
    attempts: tuple[AttemptView, ...]
    failure: FailureView | None
    before: tuple[TaskBrief, ...]
    after: tuple[TaskBrief, ...]
    more_after: int
    events: tuple[str, ...]
