"""A run's state as text that Prometheus takes in: a pure function of its snapshot.

The number of series is bounded, whatever the numbers of tasks and workers: a snapshot lists at most
40 pools, 40 boards, 100 agents that held the event loop, and the 20 task types of which most tasks
ended; labels are never the names of workers, nodes or tasks. ``steerio_tasks_ended_total`` counts
the tasks of all types.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import isinf, isnan

from msgspec import Struct

from steerio.view.snapshot import RunSnapshot, Spread, TypeView

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of the text."""
LONGEST_LABEL = 200
"""Longer values of labels are cut, in characters."""
EXACT = 2**53
"""Whole numbers below it are written as such."""
NOTES = 50
"""Quantities that the campaign noted, at most, by their names."""
ENDS = ("succeeded", "failed", "cancelled", "timed_out", "lost")
QUANTILES = {"0.1": "p10", "0.5": "p50", "0.9": "p90", "0.99": "p99"}
PHASES = ("reaction", "decision", "queueing", "dispatch", "run", "report")
"""The parts of a task's way whose times a snapshot has."""
Labels = Mapping[str, str]
_ESCAPED = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class _Metrics:
    """Lines of metrics, each family with its help and type before its samples."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)

    def add(
        self, name: str, kind: str, about: str, samples: Iterable[tuple[Labels, float]]
    ) -> None:
        """Add a family whose samples have the name of it; none if there are no samples."""
        shown = {_labels(labels): value for labels, value in samples}
        if shown:
            self._head(name, kind, about)
            self._lines += [f"{name}{labels} {_number(v)}" for labels, v in shown.items()]

    def add_spreads(self, name: str, about: str, spreads: Iterable[tuple[Labels, Spread]]) -> None:
        """Add a family of summaries: the quantiles, the sum and the count of each."""
        shown = {_labels(labels): (labels, spread) for labels, spread in spreads}
        if shown:
            self._head(name, "summary", about)
        for labels, (named, spread) in shown.items():
            for quantile, field in QUANTILES.items() if spread.count else ():
                own = _labels({**named, "quantile": quantile})
                self._lines.append(f"{name}{own} {_number(_figure(spread, field))}")
            self._lines.append(f"{name}_sum{labels} {_number(spread.total)}")
            self._lines.append(f"{name}_count{labels} {_number(spread.count)}")

    def _head(self, name: str, kind: str, about: str) -> None:
        self._lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]


def metrics_text(snapshot: RunSnapshot) -> str:
    """Return the state of a run in Prometheus' text format, of version 0.0.4."""
    metrics = _Metrics()
    _add_run(metrics, snapshot)
    _add_tasks(metrics, snapshot)
    _add_pools(metrics, snapshot)
    _add_times(metrics, snapshot)
    _add_idle(metrics, snapshot)
    _add_campaigns(metrics, snapshot)
    notes = [({"note": note.name}, note.last) for note in snapshot.notes[:NOTES]]
    metrics.add("steerio_note", "gauge", "The last value of a quantity noted by agents.", notes)
    versions = [({"name": each.name}, each.newest) for each in snapshot.versions[:NOTES]]
    metrics.add("steerio_version_newest", "gauge", "The newest version of a name.", versions)
    return metrics.text()


def _add_run(metrics: _Metrics, snapshot: RunSnapshot) -> None:
    run = snapshot.header
    info = {"run": run.run, "campaign": run.campaign, "state": run.state}
    metrics.add("steerio_run_info", "gauge", "The run, in labels; always 1.", [(info, 1)])
    alone: dict[str, str] = {}
    for name, kind, about, value in (
        ("run_live", "gauge", "Whether the run may go on.", run.live),
        ("run_began_timestamp_seconds", "gauge", "When the record begins.", run.began),
        (
            "run_until_timestamp_seconds",
            "gauge",
            "How far the record goes.",
            run.until,
        ),
        ("run_incarnation", "gauge", "Processes that have written the record.", run.incarnation),
        ("events_total", "counter", "Events of the record.", run.events),
        ("unread_lines_total", "counter", "Unreadable lines of the record.", run.unread),
        ("pools_left_out", "gauge", "Pools beyond those listed here.", snapshot.more_pools),
        ("boards_left_out", "gauge", "Boards beyond those listed here.", snapshot.more_boards),
    ):
        metrics.add(f"steerio_{name}", kind, about, [(alone, value)])
    for field, about in (("used", "The use of a limit."), ("bound", "A limit of the run.")):
        limits = [({"limit": limit.name}, _figure(limit, field)) for limit in run.limits]
        metrics.add(f"steerio_limit_{field}", "gauge", about, limits)


def _add_tasks(metrics: _Metrics, snapshot: RunSnapshot) -> None:
    ends = [({"ended_as": end}, _figure(snapshot.ends, end)) for end in ENDS]
    metrics.add("steerio_tasks_ended_total", "counter", "Tasks that ended, by their end.", ends)
    metrics.add(
        "steerio_task_type_ended_total",
        "counter",
        "Tasks that ended, by type, pool and end.",
        (
            ({**_of(kind), "ended_as": end}, _figure(kind, end))
            for kind in snapshot.types
            for end in ENDS
        ),
    )
    retried = [(_of(kind), kind.retried) for kind in snapshot.types]
    metrics.add("steerio_attempts_retried_total", "counter", "Attempts before others.", retried)
    waiting = [(_of(kind), kind.open) for kind in snapshot.types]
    metrics.add("steerio_tasks_open", "gauge", "Tasks queued or running.", waiting)


def _add_pools(metrics: _Metrics, snapshot: RunSnapshot) -> None:
    states = ("busy", "idle", "starting", "lent")
    metrics.add(
        "steerio_workers",
        "gauge",
        "Workers: busy and idle ones in the pool, starting ones, and ones lent to others.",
        (
            ({"pool": pool.name, "state": state}, _figure(pool, state))
            for pool in snapshot.pools
            for state in states
        ),
    )
    for name, kind, about, field in (
        ("workers_lost_total", "counter", "Workers lost.", "lost"),
        ("queue_depth", "gauge", "Tasks in the queue.", "queued"),
        ("queue_oldest_seconds", "gauge", "Age of the oldest task in the queue.", "oldest_s"),
        ("pool_paused", "gauge", "Whether no queued task is handed out.", "paused"),
        ("pool_stalled", "gauge", "Whether tasks wait in vain.", "stalled"),
        ("pool_failed", "gauge", "Whether no more workers are started.", "failed"),
    ):
        samples = [({"pool": pool.name}, _figure(pool, field)) for pool in snapshot.pools]
        metrics.add(f"steerio_{name}", kind, about, samples)


def _add_campaigns(metrics: _Metrics, snapshot: RunSnapshot) -> None:
    for name, kind, about, field in (
        ("board_waiting", "gauge", "Entries of a board that wait.", "waiting"),
        ("board_out", "gauge", "Entries of a board that are handed out.", "out"),
        ("board_ended_total", "counter", "Entries of a board that have ended.", "ended"),
        ("board_oldest_seconds", "gauge", "Age of the oldest that waits.", "oldest_s"),
    ):
        boards = [
            ({"board": each.name, "campaign": each.campaign, "pool": each.pool}, each)
            for each in snapshot.boards
        ]
        samples = [(labels, _figure(each, field)) for labels, each in boards]
        metrics.add(f"steerio_{name}", kind, about, samples)
    for name, about, field in (
        ("loop_stalls_total", "Times that an agent held the event loop.", "count"),
        ("loop_stalled_seconds_total", "For how long it did.", "total_s"),
    ):
        held = [({"agent": each.agent}, _figure(each, field)) for each in snapshot.stalls]
        metrics.add(f"steerio_{name}", "counter", about, held)


def _add_times(metrics: _Metrics, snapshot: RunSnapshot) -> None:
    for name, about, field in (
        ("steerio_task_run_seconds", "Run times of attempts.", "run"),
        ("steerio_task_wait_seconds", "Times in the queue.", "wait"),
        ("steerio_task_args_bytes", "Sizes of arguments.", "args_bytes"),
        ("steerio_task_value_bytes", "Sizes of values.", "value_bytes"),
    ):
        spreads = [(_of(kind), _spread(kind, field)) for kind in snapshot.types]
        metrics.add_spreads(name, about, spreads)
    phases = [({"phase": phase}, _spread(snapshot, phase)) for phase in PHASES]
    metrics.add_spreads("steerio_phase_seconds", "Times of the parts of tasks' ways.", phases)


def _add_idle(metrics: _Metrics, snapshot: RunSnapshot) -> None:
    idle = snapshot.idle
    metrics.add(
        "steerio_idle_worker_seconds",
        "gauge",
        "Worker-seconds without a task, by cause.",
        (({"cause": cause}, seconds) for cause, seconds in idle.by_cause.items()),
    )
    busy: list[tuple[Labels, float]] = [({}, idle.busy_s)]
    metrics.add("steerio_busy_worker_seconds", "gauge", "Worker-seconds inside tasks.", busy)


def _figure(of: Struct, field: str) -> float:
    """Return a field as a number: of a reason whether there is one."""
    value: float | str = getattr(of, field)
    return bool(value) if isinstance(value, str) else value


def _of(kind: TypeView) -> dict[str, str]:
    return {"task_type": kind.task_type, "pool": kind.pool}


def _spread(of: Struct, field: str) -> Spread:
    spread: Spread = getattr(of, field)
    return spread


def _labels(labels: Labels) -> str:
    """Return labels as they stand behind a name."""
    pairs = ",".join(f'{name}="{value}"' for name, value in _escaped(labels))
    return f"{{{pairs}}}" if pairs else ""


def _escaped(labels: Labels) -> Iterator[tuple[str, str]]:
    for name, value in labels.items():
        short = value if len(value) <= LONGEST_LABEL else value[:LONGEST_LABEL] + "..."
        yield name, short.encode(errors="backslashreplace").decode().translate(_ESCAPED)


def _number(value: float) -> str:
    if isnan(value):
        return "NaN"
    if isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < EXACT else repr(float(value))
