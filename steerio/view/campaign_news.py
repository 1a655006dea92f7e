"""The news that a record has of campaigns: their boards, and the agents that held the loop.

Both have bounds: of more boards the rest is passed over, more agents are counted together.
"""

from __future__ import annotations

from collections.abc import Iterator

from steerio.view.bins import Ages, BinAxis, Level
from steerio.view.seen_lines import SeenEvent
from steerio.view.sketch import shown
from steerio.view.snapshot import StallView
from steerio.view.task_figures import OTHERS

MOST_BOARDS, MOST_AGENTS = 200, 100
MOST_ENTRIES = 10**12
"""More entries of a board are this many: any client may tell of boards."""


class BoardFigures:
    """The figures of one board."""

    def __init__(self, name: str, pool: str, axis: BinAxis, at: float) -> None:
        self.name = name
        self.pool = pool
        self.waiting = Level(axis, at)
        self.out = Level(axis, at)
        self.ages = Ages(axis, at)
        self.ended = 0
        self.since: float | None = None
        """When the oldest of the waiting entries was seen first."""

    def __repr__(self) -> str:
        return f"<BoardFigures of {self.name!r}: {self.waiting.value} waiting>"

    def changed(self, event: SeenEvent) -> None:
        """Take in how it stands."""
        at = event.at
        self.ages.to(at, self.since)
        self.waiting.set(at, min(event.waiting, MOST_ENTRIES))
        self.out.set(at, min(event.out, MOST_ENTRIES))
        self.ended = max(0, event.ended)
        self.since = at - max(0.0, event.oldest_s) if event.waiting > 0 else None

    def clear(self, at: float) -> None:
        """Note that its campaign is gone, with the process that had it."""
        self.ages.to(at, self.since)
        self.waiting.set(at, 0)
        self.out.set(at, 0)
        self.since = None

    def oldest_s(self, at: float) -> float:
        """Return the age of its oldest entry that waits."""
        return 0.0 if self.since is None else max(0.0, at - self.since)


class BoardsSeen:
    """The boards of all campaigns of a record."""

    def __init__(self, axis: BinAxis) -> None:
        self.axis = axis
        self.boards: dict[tuple[str, str], BoardFigures] = {}
        """By campaign and name."""

    def __repr__(self) -> str:
        return f"<BoardsSeen: {len(self.boards)}>"

    def changed(self, event: SeenEvent) -> None:
        """Take in how a board stands."""
        key = event.client, event.name
        board = self.boards.get(key)
        if board is None:
            if len(self.boards) >= MOST_BOARDS:
                return
            board = BoardFigures(event.name, event.pool, self.axis, event.at)
            self.boards[key] = board
        board.changed(event)

    def levels(self) -> Iterator[Level]:
        """Yield all levels."""
        for board in self.boards.values():
            yield board.waiting
            yield board.out

    def clear(self, at: float) -> None:
        """Note that all campaigns are gone, with the process that had them."""
        for board in self.boards.values():
            board.clear(at)


class StallsSeen:
    """The times at which agents held the event loop, by agent."""

    def __init__(self) -> None:
        self._agents: dict[str, StallView] = {}

    def __repr__(self) -> str:
        return f"<StallsSeen of {len(self._agents)} agents>"

    def add(self, event: SeenEvent) -> None:
        """Count one that is over."""
        agent, seconds = event.agent, max(0.0, event.seconds)
        if agent not in self._agents and len(self._agents) >= MOST_AGENTS:
            agent = OTHERS
        before = self._agents.get(agent, StallView(agent, 0, 0.0, 0.0, 0.0, ""))
        longest = seconds >= before.longest_s
        self._agents[agent] = StallView(
            agent=agent,
            count=before.count + 1,
            total_s=before.total_s + seconds,
            longest_s=max(before.longest_s, seconds),
            last_at=event.at,
            where=event.where if longest else before.where,
        )

    def view(self) -> tuple[StallView, ...]:
        """Return them, the agent with most time first."""
        by_time = sorted(self._agents.values(), key=lambda stall: (-stall.total_s, stall.agent))
        return tuple(
            StallView(
                each.agent,
                each.count,
                shown(each.total_s),
                shown(each.longest_s),
                each.last_at,
                each.where,
            )
            for each in by_time
        )
