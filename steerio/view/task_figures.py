"""Tasks as counted: by type, by the agent that submitted them, and by end.

The tasks that ended are kept for a moment, and counted many at a time: a sum over a list takes a
tenth of the time of as many steps.
"""

from __future__ import annotations

from collections import Counter
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
        self.reaction, self.decision, self.dispatch = Sketch(), Sketch(), Sketch()
        self.report = Sketch()

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
        for sketch in (self.reaction, self.decision, self.dispatch, self.report):
            sketch.settle()
        for cause in self.causes.values():
            cause.reaction.settle()

    def together(self, name: str) -> Sketch:
        """Return one of the distributions of all types together."""
        whole = Sketch()
        for kind in self.types.values():
            whole.take(getattr(kind, name))
        return whole

    def _count(self, kind: TypeFigures, tasks: list[SeenTask]) -> None:
        ran: list[Any] = [task for task in tasks if task.started and task.ended]
        ran_s = [task.ended - task.started for task in ran]
        kind.run.take_all(ran_s)
        kind.run_s += sum(ran_s)
        self.report.take_all([task.received - task.ended for task in ran])
        kind.wait.take_all([t.sent - t.queued for t in tasks if t.sent and t.queued])
        self.decision.take_all([t.queued - t.created for t in tasks if t.created and t.queued])
        kind.args_bytes.take_all([task.args_bytes for task in tasks])
        kind.value_bytes.take_all([task.value_bytes for task in tasks])
        bad = [task for task in tasks if task.ended_as in NOT_WELL]
        self._count_causes(kind, tasks, ran, bad)
        self._count_times(kind, tasks, bad)
        kind.run.settle()
        kind.wait.settle()
        kind.args_bytes.settle()
        kind.value_bytes.settle()

    def _count_causes(
        self, kind: TypeFigures, tasks: list[SeenTask], ran: list[Any], bad: list[SeenTask]
    ) -> None:
        counts = Counter([task.cause for task in tasks])
        for name, count in counts.items():
            cause = self.cause(name)
            cause.ended += count
            cause.types[kind.name] += count
            cause.run_s += sum(
                [task.ended - task.started for task in ran if task.cause == name]
                if len(counts) > 1
                else [task.ended - task.started for task in ran]
            )
        for name, count in Counter([task.cause for task in bad]).items():
            self.cause(name).not_well += count

    def _count_times(self, kind: TypeFigures, tasks: list[SeenTask], bad: list[SeenTask]) -> None:
        axis = self.axis
        axis.index(max([task.received for task in tasks]))  # from here on nothing is halved
        began, per_s, data = axis.began, axis.per_s, self.data.values
        bins = [int((task.received - began) * per_s) for task in tasks]
        if min(bins) < 0:
            bins = [max(0, index) for index in bins]
        for index, task in zip(bins, tasks, strict=True):
            data[index] += task.args_bytes + task.value_bytes
        self._recent.update([int(task.received) for task in tasks])
        ended = Counter(bins)
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
