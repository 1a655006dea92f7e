"""The rows of a Gantt: of workers while there are few, and of nodes, or several of them, always.

A worker that takes the place of one that is gone takes its row. The type that took most time
of a bin is found by a vote (R. S. Boyer, J S. Moore, MJRTY, 1981): right if it took more than half.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Literal, Protocol

from steerio.view.bins import MOST_BINS, BinAxis
from steerio.view.snapshot import NO_TYPE, GanttRow, GanttView, TimeAxis

MOST_ROWS = 200
"""Most rows; if there are more workers the rows are nodes, and if more nodes several of these."""
GONE_NAMES = 4_096
"""Names of workers that are gone which keep their rows, for lines that come late."""
_FULL = 255
_KINDS = NO_TYPE + 1
"""The numbers of types that can be told apart, and `NO_TYPE`."""


class Attempted(Protocol):
    """An attempt, as a line of a record tells of it."""

    worker: str | None
    node: str | None

    @property
    def ended_as(self) -> str:
        """How it ended."""
        ...


class _Row:
    """The bins of one row."""

    def __init__(self, name: str, node: str, axis: BinAxis) -> None:
        self.name = name
        self.node = node
        self.names = 1
        self.workers = self.most = 0
        self.busy = [0.0] * MOST_BINS
        self.failed = [0.0] * MOST_BINS
        self.types = bytearray([NO_TYPE]) * MOST_BINS
        self.votes = [0.0] * MOST_BINS
        self.fresh: defaultdict[int, float] = defaultdict(float)
        """Seconds that are not in their bins yet, by ``bin * _KINDS + type``."""
        axis.follow(self)

    def settle(self) -> None:
        """Add the seconds that came since to their bins, with one vote for each bin and type."""
        for key, seconds in self.fresh.items():
            index, kind = divmod(key, _KINDS)
            self.busy[index] += seconds
            self._vote(index, kind, seconds)
        self.fresh.clear()

    def take(self, other: _Row) -> None:
        """Add the bins of another row."""
        other.settle()
        self.busy = [a + b for a, b in zip(self.busy, other.busy, strict=True)]
        self.failed = [a + b for a, b in zip(self.failed, other.failed, strict=True)]
        for index, (kind, vote) in enumerate(zip(other.types, other.votes, strict=True)):
            self._vote(index, kind, vote)

    def halve(self) -> None:
        """Make one bin of each two neighbours."""
        self.settle()
        empty = [0.0] * (MOST_BINS - MOST_BINS // 2)
        types, votes = self.types, self.votes
        self.types = bytearray([NO_TYPE]) * MOST_BINS
        self.votes = [0.0] * MOST_BINS
        for index, (kind, vote) in enumerate(zip(types, votes, strict=True)):
            self._vote(index // 2, kind, vote)
        for name in ("busy", "failed"):
            values: list[float] = getattr(self, name)
            pairs = zip(values[::2], values[1::2], strict=True)
            setattr(self, name, [a + b for a, b in pairs] + empty)

    def _vote(self, index: int, kind: int, vote: float) -> None:
        if self.types[index] == kind:
            self.votes[index] += vote
        elif self.votes[index] >= vote:
            self.votes[index] -= vote
        else:
            self.types[index], self.votes[index] = kind, vote - self.votes[index]

    def shown(self, count: int, width_s: float) -> GanttRow:
        """Return the row as it is drawn."""
        whole = width_s * max(self.most, 1)
        busy, failed = self.busy[:count], self.failed[:count]
        return GanttRow(
            self.name if self.names == 1 else f"{self.name} and {self.names - 1} more",
            self.node,
            max(self.most, 1),
            bytes([min(_FULL, round(_FULL * seconds / whole)) for seconds in busy]),
            bytes(
                [
                    min(_FULL, round(_FULL * bad / all_of_it)) if all_of_it > 0 else 0
                    for bad, all_of_it in zip(failed, busy, strict=True)
                ]
            ),
            bytes(self.types[:count]),
        )


class GanttRows:
    """The rows of a run."""

    def __init__(self, axis: BinAxis) -> None:
        self.axis = axis
        self._nodes: dict[str, _Row] = {}
        """The row of each node; several nodes may have one."""
        self._workers: dict[str, _Row] | None = {}
        """The row of each worker; ``None``: there are too many."""
        self._rows_of_workers: list[_Row] = []
        self._free: dict[tuple[str, str], list[_Row]] = {}
        """Rows of workers that are gone, by node and pool."""
        self._gone: dict[str, None] = {}
        self._bin = 0
        """The bin in which the last attempt ended, for the next one is mostly in it."""
        self._begins = self._ends = 0.0
        axis.follow(self)

    def __repr__(self) -> str:
        return f"<GanttRows of {len(self._nodes)} nodes>"

    def joined(self, worker: str, node: str, pool: str) -> None:
        """Give a worker a row."""
        row = self._node(node)
        row.workers += 1
        row.most = max(row.most, row.workers)
        self._gone.pop(worker, None)  # the next process gives the same names
        if self._workers is None:
            return
        free = self._free.get((node, pool))
        if free:
            self._workers[worker] = mine = free.pop()
            mine.name = worker
            return
        if len(self._rows_of_workers) >= MOST_ROWS:
            for one in self._rows_of_workers:
                self._node(one.node).take(one)
                self.axis.leave(one)
            self._rows_of_workers.clear()
            self._workers = None
            return
        mine = self._workers[worker] = _Row(worker, node, self.axis)
        self._rows_of_workers.append(mine)

    def left(self, worker: str, node: str, pool: str) -> None:
        """Let another worker have the row of one that is gone."""
        row = self._node(node)
        row.workers = max(0, row.workers - 1)
        if self._workers is None or worker not in self._workers or worker in self._gone:
            return
        self._free.setdefault((node, pool), []).append(self._workers[worker])
        self._gone[worker] = None
        if len(self._gone) > GONE_NAMES:
            oldest = next(iter(self._gone))
            del self._gone[oldest], self._workers[oldest]

    def clear(self) -> None:
        """Note that all workers are gone: those of the next process have these rows again."""
        for row in self._nodes.values():
            row.workers = 0
        self._free.clear()
        for worker, row in (self._workers or {}).items():
            if worker not in self._gone:
                self._free.setdefault((row.node, worker.rpartition("-")[0]), []).append(row)
                self._gone[worker] = None

    def ran(self, attempt: Attempted, begin: float, end: float, kind: int) -> None:
        """Note an attempt, from ``begin`` to ``end``, at a task type of this number."""
        rows = self._workers
        if rows is None:
            node = attempt.node or ""
            row = self._nodes.get(node) or self._node(node)
        elif (mine := rows.get(attempt.worker or "")) is not None:
            row = mine
        else:
            return
        if end <= begin:
            return
        if kind >= NO_TYPE:
            kind = NO_TYPE - 1
        failed = attempt.ended_as != "succeeded"
        if begin >= self._begins and end < self._ends:
            row.fresh[self._bin * _KINDS + kind] += end - begin
            if failed:
                row.failed[self._bin] += end - begin
            return
        axis = self.axis
        first, shares = axis.shares(begin, end)
        for index, seconds in enumerate(shares, first):
            row.fresh[index * _KINDS + kind] += seconds
            if failed:
                row.failed[index] += seconds
        self._bin = first + len(shares) - 1
        self._begins = axis.began + self._bin * axis.width_s
        self._ends = self._begins + axis.width_s

    def halve(self) -> None:
        """Note that bins are others now."""
        self._begins = self._ends = 0.0

    def settle(self) -> None:
        """Add the attempts that came since to their bins."""
        rows = self._nodes.values() if self._workers is None else self._rows_of_workers
        for row in rows:
            if row.fresh:
                row.settle()

    def _node(self, name: str) -> _Row:
        row = self._nodes.get(name)
        if row is None:
            rows = list(dict.fromkeys(self._nodes.values()))
            if len(rows) >= MOST_ROWS:
                self._pair(rows)
            row = self._nodes[name] = _Row(name, "", self.axis)
        return row

    def _pair(self, rows: list[_Row]) -> None:
        """Make one row of each two."""
        into: dict[_Row, _Row] = {}
        for one, other in zip(rows[::2], rows[1::2], strict=False):
            one.take(other)
            one.workers += other.workers
            one.most += other.most
            one.names += other.names
            self.axis.leave(other)
            into[other] = one
        self._nodes = {name: into.get(row, row) for name, row in self._nodes.items()}

    def view(self, axis: TimeAxis, types: tuple[str, ...]) -> GanttView:
        """Return the rows as they are drawn."""
        self.settle()
        nodes = list(dict.fromkeys(self._nodes.values()))
        several = any(row.names > 1 for row in nodes)
        rows = self._rows_of_workers if self._workers is not None else nodes
        by: Literal["worker", "node", "nodes"] = "nodes" if several else "node"
        if self._workers is not None:
            by = "worker"
        shown = tuple(row.shown(axis.count, axis.width_s) for row in rows)
        return GanttView(axis, by, types, shown)
