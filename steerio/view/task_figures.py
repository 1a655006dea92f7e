"""Tasks as counted: by type, by the agent that submitted them, and by end."""

from __future__ import annotations

from collections import Counter

from steerio.view.bins import BinAxis, Sums
from steerio.view.seen_lines import SeenTask
from steerio.view.sketch import Sketch

ENDS = ("succeeded", "failed", "cancelled", "timed_out", "lost")
"""How tasks end."""
MOST_TYPES, MOST_CAUSES = 200, 200
"""Most types and causes that are told apart; the tasks of others are counted together."""
OTHERS = "others"
NOT_WELL = frozenset(ENDS[1:])


class TypeFigures:
    """What is counted of one task type."""

    def __init__(self, name: str, pool: str, number: int, axis: BinAxis) -> None:
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

    def __repr__(self) -> str:
        return f"<TypeFigures of {self.name!r}: {self.ends.total()} ended>"


class CauseFigures:
    """What is counted of the tasks of one agent."""

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
        self.types: dict[str, TypeFigures] = {}
        self.causes: dict[str, CauseFigures] = {}
        self.ends = {name: Sums(axis) for name in ENDS}
        self.retried = self.ended = 0
        self.run_s = 0.0
        self.data = Sums(axis)
        self.reaction, self.decision, self.queueing = Sketch(), Sketch(), Sketch()
        self.dispatch, self.run, self.report = Sketch(), Sketch(), Sketch()
        self.args_bytes, self.value_bytes = Sketch(), Sketch()
        self._touched: dict[TypeFigures, None] = {}

    def __repr__(self) -> str:
        return f"<TaskFigures: {self.ended} ended>"

    def type(self, name: str, pool: str) -> TypeFigures:
        """Return the figures of a task type."""
        found = self.types.get(name)
        if found is None:
            if len(self.types) >= MOST_TYPES:
                name, pool = OTHERS, ""
                if name in self.types:
                    return self.types[name]
            found = self.types[name] = TypeFigures(name, pool, len(self.types), self.axis)
        return found

    def cause(self, name: str) -> CauseFigures:
        """Return the figures of an agent."""
        found = self.causes.get(name)
        if found is None:
            if len(self.causes) >= MOST_CAUSES:
                name = OTHERS
            found = self.causes.setdefault(name, CauseFigures(name))
        return found

    def count(self, task: SeenTask, kind: TypeFigures, reaction_s: float | None) -> None:
        """Count a task that ended."""
        ended_as, at = task.ended_as, task.received
        self.ended += 1
        ends = self.ends.get(ended_as)
        if ends is not None:
            ends.add(at)
        kind.ends[ended_as] += 1
        kind.ended.add(at)
        cause = self.cause(task.cause)
        cause.ended += 1
        cause.types[task.task_type] += 1
        if ended_as in NOT_WELL:
            kind.not_well.add(at)
            cause.not_well += 1
        if reaction_s is not None:
            self.reaction.add(reaction_s)
            cause.reaction.add(reaction_s)
        queued, sent, started, ended = task.queued, task.sent, task.started, task.ended
        if queued is not None:
            if task.created is not None:
                self.decision.add(queued - task.created)
            if sent is not None:
                self.queueing.add(sent - queued)
                kind.wait.add(sent - queued)
        if started is not None and ended is not None:
            run_s = ended - started
            self.run_s += run_s
            kind.run_s += run_s
            cause.run_s += run_s
            self.run.add(run_s)
            kind.run.add(run_s)
            self.report.add(at - ended)
        nbytes = task.args_bytes + task.value_bytes
        if nbytes:
            self.data.add(at, nbytes)
        self.args_bytes.add(task.args_bytes)
        self.value_bytes.add(task.value_bytes)
        kind.args_bytes.add(task.args_bytes)
        kind.value_bytes.add(task.value_bytes)
        self._touched[kind] = None

    def settle(self) -> None:
        """Count in percentiles all tasks that came since."""
        for sketch in (
            *(self.reaction, self.decision, self.queueing, self.dispatch),
            *(self.run, self.report, self.args_bytes, self.value_bytes),
        ):
            sketch.settle()
        for kind in self._touched:
            for sketch in (kind.run, kind.wait, kind.args_bytes, kind.value_bytes):
                sketch.settle()
        self._touched.clear()
        for cause in self.causes.values():
            cause.reaction.settle()
