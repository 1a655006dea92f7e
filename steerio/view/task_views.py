"""The parts of a snapshot that tell of tasks: their times and sizes, types, ends, failures, notes.

As in all of a snapshot, times are Unix seconds, durations seconds, and everything has a bound.
"""

from __future__ import annotations

from msgspec import Struct

Series = tuple[float, ...]
"""A number for each bin of the axis."""


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
