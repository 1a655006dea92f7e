"""One pool as its record tells: levels of its workers and of its queue, and why workers were idle.

Theory.  At any time a worker of a pool is ready or expected. The pool's ready workers less those
that have a task, as the broker knows, idle at the broker; of the time with a task a part passes in
transit, for the task's function had not begun or had ended. So the idle seconds of all workers are

    ready - running + in transit + expected,

each of them an integral or a sum that is kept in constant time. Idle seconds at the broker are
``policy_busy``, ``dispatch``, ``paused`` or ``moving`` if a line says so, and the rest is
``no_work``: by construction the causes add up, in all and in each bin.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from steerio.view.bins import Ages, BinAxis, Level, Sums
from steerio.view.snapshot import IDLE_CAUSES

PAUSES = 64
"""Most pauses of a pool that are remembered, for the tasks that waited for their ends."""


class PoolFigures:
    """The figures of one pool.

    Args:
        name: the pool.
        axis: the bins of time.
        at: when it was first heard of.
    """

    def __init__(self, name: str, axis: BinAxis, at: float) -> None:
        self.name = name
        self.ready = Level(axis, at)
        self.running = Level(axis, at)
        self.queued = Level(axis, at)
        self.starting = Level(axis, at)
        """Workers that are expected, but for the next ones."""
        self.restarting = Level(axis, at)
        """Workers that have moved here, and begin again in another process."""
        self.lent = Level(axis, at)
        self.in_transit = Sums(axis)
        self.policy_busy = Sums(axis)
        self.dispatch = Sums(axis)
        self.paused_s = Sums(axis)
        self.held = Sums(axis)
        """Seconds in which workers waited for others of their move."""
        self.ages = Ages(axis, at)
        self.ended = Sums(axis)
        self.idle_since: deque[float] = deque()
        """Since when workers without a task have been idle, the longest first: see `begun`."""
        self.waiting: dict[int, float] = {}
        """The queued tasks, each with the time at which it was queued."""
        self.borrowed = 0
        self.lost = 0
        self.stalled = ""
        self.failure = ""
        self.paused = ""
        self._paused_at = 0.0
        self._pauses: deque[tuple[float, float]] = deque(maxlen=PAUSES)
        """Begin and end of each of its last pauses that are over."""

    def __repr__(self) -> str:
        return (
            f"<PoolFigures of {self.name!r}: {self.ready.value} ready, {self.queued.value} queued>"
        )

    @property
    def levels(self) -> tuple[Level, ...]:
        """All levels."""
        return (
            self.ready,
            self.running,
            self.queued,
            self.starting,
            self.restarting,
            self.lent,
        )

    def queue(self, task_id: int, at: float) -> None:
        """Note a task that is queued."""
        self.waiting[task_id] = at
        self.queued.step(at, 1)

    def dequeue(self, task_id: int, at: float) -> None:
        """Note that a task is queued no more."""
        if at >= self.ages.ends:
            self.ages.to(at, self.since)
        since = self.waiting.pop(task_id, None)
        if since is not None:
            self.queued.step(at, -1)
            self.ages.add(at, at - since)
            self.stalled = ""

    @property
    def since(self) -> float | None:
        """When the task was queued that has been for longest."""
        return next(iter(self.waiting.values()), None)

    def oldest_s(self, at: float) -> float:
        """Return the age of that task."""
        since = self.since
        return 0.0 if since is None else max(0.0, at - since)

    def clear(self, at: float) -> None:
        """Note that all workers are gone, with the process that had them, and all tasks."""
        for level in self.levels:
            level.set(at, 0)
        self.ages.to(at, self.since)
        self.waiting.clear()
        self.idle_since.clear()
        self.borrowed = 0
        self.stalled = self.failure = ""
        self.resume(at)

    def pause(self, at: float, why: str) -> None:
        """Note that no queued task is handed out any more."""
        if not self.paused:
            self.paused, self._paused_at = why, at

    def resume(self, at: float) -> None:
        """Note that they are handed out again."""
        if self.paused:
            self.paused = ""
            self._pauses.append((self._paused_at, at))

    def dispatched(self, begin: float, end: float) -> None:
        """Note that a worker idled while its next task was queued: for a pause, or for dispatch."""
        for paused, resumed in self._pauses:
            since, until = max(begin, paused), min(end, resumed)
            if since < until:
                self.paused_s.spread(since, until)
                self.dispatch.spread(begin, since)
                begin = until
        self.dispatch.spread(begin, end)

    def expect(self, at: float, count: int) -> None:
        """Note workers that are expected, or (less than 0) will not come any more."""
        self.starting.step(at, count)

    def joined(self, at: float) -> None:
        """Note that one of those which are expected is there."""
        level = self.restarting if self.restarting.value else self.starting
        level.step(at, -1)

    def begun(self) -> float | None:
        """Note that a worker has a task; return since when one of those that were idle was so.

        Which of them gets a task says nothing, for they are alike. So the gaps are told as if it
        were always the one that was idle for longest: with a policy that is too slow for many
        workers, the same few would have all tasks, and the others no next task to tell by.
        """
        return self.idle_since.popleft() if self.idle_since else None

    # -- sums of it -----------------------------------------------------------------------------

    @property
    def busy_s(self) -> float:
        """Seconds in which tasks ran on its workers."""
        return max(0.0, self.running.total - self.in_transit.total)

    def idle_s(self) -> dict[str, float]:
        """Return the seconds in which they ran none, by cause."""
        known = self.policy_busy.total + self.dispatch.total
        known += self.paused_s.total + self.held.total
        return dict(
            zip(
                IDLE_CAUSES,
                (
                    max(0.0, self.ready.total - self.running.total - known),
                    self.policy_busy.total,
                    self.in_transit.total,
                    self.dispatch.total,
                    self.paused_s.total,
                    self.held.total + self.restarting.total,
                    self.starting.total,
                ),
                strict=True,
            )
        )

    def idle_bins(self) -> dict[str, list[float]]:
        """Return the same by bin."""
        policy, dispatch, held = self.policy_busy.values, self.dispatch.values, self.held.values
        ready, running, paused = self.ready.values, self.running.values, self.paused_s.values
        rest = [
            max(0.0, there - sum(known))
            for there, *known in zip(ready, running, policy, dispatch, paused, held, strict=True)
        ]
        restarting = self.restarting.values
        moving = [a + b for a, b in zip(held, restarting, strict=True)]
        transit, starting = self.in_transit.values, self.starting.values
        bins = (rest, policy, transit, dispatch, paused, moving, starting)
        return dict(zip(IDLE_CAUSES, bins, strict=True))

    def busy_bins(self) -> list[float]:
        """Return the seconds in which tasks ran on its workers, by bin."""
        pairs = zip(self.running.values, self.in_transit.values, strict=True)
        return [max(0.0, running - transit) for running, transit in pairs]


def added_up(series: Iterable[list[float]], length: int) -> list[float]:
    """Return the sum of series, bin by bin."""
    total = [0.0] * length
    for one in series:
        total = [a + b for a, b in zip(total, one, strict=True)]
    return total
