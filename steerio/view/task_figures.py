"""Tasks as counted: by type, by the agent that submitted them, and by end.

The tasks that ended are kept for a moment, and counted many at a time: a sum over a list takes a
tenth of the time of as many steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import add, attrgetter, sub
from typing import Any

from steerio.view.bins import BinAxis, Sums
from steerio.view.pool_figures import PoolFigures
from steerio.view.seen_lines import SeenTask
from steerio.view.sketch import Sketch

ENDS = ("succeeded", "failed", "cancelled", "timed_out", "lost")
"""How tasks end."""
MOST_TYPES, MOST_CAUSES = 200, 200
"""Most types and causes that are told apart; the tasks of others are counted together."""
OTHERS = "others"
RATE_S = 32
"""Seconds over which the present rate is taken."""
NOT_WELL = frozenset(ENDS[1:])
_times = attrgetter("created", "queued", "sent", "started", "ended", "received")
_difference: Callable[[Any, Any], float] = sub


class TypeFigures:
    """The figures of one task type in one pool."""

    def __init__(self, name: str, pool: PoolFigures, number: int, axis: BinAxis) -> None:
        self.name = name
        self.pool = pool
        self.number = number
        self.ends: Counter[str] = Counter()
        self.retried = 0
        self.open = 0
        self.run_s = 0.0
        self.run, self.wait = Sketch(), Sketch()
        self.args_bytes, self.value_bytes = Sketch(), Sketch()
        self.ended, self.not_well = Sums(axis), Sums(axis)
        self.fresh: list[SeenTask] = []
        """Tasks that ended and are not counted yet."""

    def __repr__(self) -> str:
        return f"<TypeFigures of {self.name!r}: {self.ends.total()} ended>"


class CauseFigures:
    """The figures of the tasks of one agent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.types: Counter[str] = Counter()
        self.ended = self.not_well = 0
        self.run_s = 0.0
        self.reaction = Sketch()

    def __repr__(self) -> str:
        return f"<CauseFigures of {self.name!r}: {self.ended} ended>"


class TaskFigures:
    """All tasks of a run."""

    def __init__(self, axis: BinAxis) -> None:
        self.axis = axis
        self.types: dict[tuple[str, str], TypeFigures] = {}
        self.causes: dict[str, CauseFigures] = {}
        self.ends = {name: Sums(axis) for name in ENDS}
        self.retried = self.ended = 0
        self._recent: Counter[int] = Counter()
        """How many ended in each of the last seconds."""
        self.run_s = 0.0
        self.data = Sums(axis)
        self.decision, self.dispatch, self.report = Sketch(), Sketch(), Sketch()

    def __repr__(self) -> str:
        return f"<TaskFigures: {self.ended} ended>"

    def type(self, name: str, pool: PoolFigures) -> TypeFigures:
        """Return the figures of a task type in a pool."""
        found = self.types.get((name, pool.name))
        if found is None:
            if len(self.types) >= MOST_TYPES:
                name = OTHERS
                if (name, pool.name) in self.types:
                    return self.types[name, pool.name]
            found = TypeFigures(name, pool, len(self.types), self.axis)
            self.types[name, pool.name] = found
        return found

    def cause(self, name: str) -> CauseFigures:
        """Return the figures of an agent."""
        found = self.causes.get(name)
        if found is None:
            if len(self.causes) >= MOST_CAUSES:
                name = OTHERS
            found = self.causes.setdefault(name, CauseFigures(name))
        return found

    def ends_in_last(self, now: float, began: float) -> tuple[int, int]:
        """Return how many ended in the last whole seconds, and in how many of these."""
        second = int(now)
        first = max(second - RATE_S + 1, int(began) + 1)
        ends = sum(count for at, count in self._recent.items() if first <= at < second)
        return ends, max(1, second - first)

    def settle(self) -> None:
        """Count all tasks that ended since."""
        for kind in self.types.values():
            if kind.fresh:
                self._count(kind, kind.fresh)
                kind.fresh = []
        if len(self._recent) > 2 * RATE_S:
            for at in sorted(self._recent)[:-RATE_S]:
                del self._recent[at]
        for sketch in (self.decision, self.dispatch, self.report):
            sketch.settle()
        for cause in self.causes.values():
            cause.reaction.settle()

    def together(self, name: str) -> Sketch:
        """Return one of the distributions of all types together."""
        return _together(getattr(kind, name) for kind in self.types.values())

    def reaction(self) -> Sketch:
        """Return the distribution of the reaction times of all agents together."""
        return _together(cause.reaction for cause in self.causes.values())

    def _count(self, kind: TypeFigures, tasks: list[SeenTask]) -> None:
        created, queued, sent, started, ended, received = zip(*map(_times, tasks), strict=True)
        ran_s = _between(started, ended)
        kind.run.take_all(ran_s)
        kind.run_s += sum(ran_s)
        self.report.take_all(_between(ended, received))
        kind.wait.take_all(_between(queued, sent))
        self.decision.take_all(_between(created, queued))
        bad = [task for task in tasks if task.ended_as in NOT_WELL]
        self._count_causes(kind, tasks, ran_s, bad)
        self._count_times(kind, tasks, bad)
        kind.run.settle()
        kind.wait.settle()

    def _count_causes(
        self, kind: TypeFigures, tasks: list[SeenTask], ran_s: list[float], bad: list[SeenTask]
    ) -> None:
        counts = Counter([task.cause for task in tasks])
        seconds = dict.fromkeys(counts, sum(ran_s) if len(counts) == 1 else 0.0)
        if len(counts) > 1:
            for task in tasks:
                if task.started and task.ended:
                    seconds[task.cause] += task.ended - task.started
        for name, count in counts.items():
            cause = self.cause(name)
            cause.ended += count
            cause.types[kind.name] += count
            cause.run_s += seconds[name]
        for name, count in Counter([task.cause for task in bad]).items():
            self.cause(name).not_well += count

    def _count_times(self, kind: TypeFigures, tasks: list[SeenTask], bad: list[SeenTask]) -> None:
        axis = self.axis
        times = [task.received for task in tasks]
        axis.index(max(times))  # from here on nothing is halved
        began, per_s, data = axis.began, axis.per_s, self.data.values
        bins = [max(0, int((at - began) * per_s)) for at in (min(times), max(times))]
        args_bytes = [task.args_bytes for task in tasks]
        value_bytes = [task.value_bytes for task in tasks]
        kind.args_bytes.take_equal(args_bytes)
        kind.value_bytes.take_equal(value_bytes)
        if bins[0] == bins[1]:
            ended = Counter({bins[0]: len(tasks)})
            data[bins[0]] += sum(args_bytes) + sum(value_bytes)
        else:
            bins = [max(0, int((at - began) * per_s)) for at in times]
            ended = Counter(bins)
            for index, nbytes in zip(bins, map(add, args_bytes, value_bytes), strict=True):
                data[index] += nbytes
        self._recent.update(map(int, times))
        kind.ended.add_bins(ended)
        kind.pool.ended.add_bins(ended)
        ends = dict.fromkeys(ENDS, 0) | Counter([task.ended_as for task in bad])
        ends["succeeded"] = len(tasks) - len(bad)
        for task in bad:
            self.ends[task.ended_as].add(task.received)
            kind.not_well.add(task.received)
            ended[max(0, int((task.received - began) * per_s))] -= 1
        self.ends["succeeded"].add_bins(ended)
        kind.ends.update(ends)


def _together(sketches: Iterable[Sketch]) -> Sketch:
    whole = Sketch()
    for sketch in sketches:
        whole.take(sketch)
    return whole


def _between(begins: Sequence[float | None], ends: Sequence[float | None]) -> list[float]:
    """Return the times from each beginning to its end, if both are known."""
    if all(begins) and all(ends):  # as nearly always; then no loop of Python's is needed
        return list(map(_difference, ends, begins))
    return [end - begin for begin, end in zip(begins, ends, strict=True) if begin and end]
