"""The boards of a campaign, watched for its record: how many entries they have, and how old.

A look follows a change, and looks are so far apart that a run of any length has some thousand of
them; each tells the boards that are not as they were told last.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from steerio.campaign.board import Board
from steerio.model.events import BoardChanged
from steerio.model.showing import in_one_line

LOOK_S = 1.0
"""Least time between two looks;"""
FIRST_S, EARLY_SHARE = 0.1, 0.1
"""in the beginning less: so much, or this share of the time that the run has taken;"""
SHARE = 0.001
"""later this share of it."""
MOST_BOARDS = 100
"""Boards of a campaign that are told of."""
NAME_CHARACTERS = 100
"""Characters of the name of a board that are told."""


class BoardWatch:
    """Tells of the boards of one run of a campaign.

    Args:
        announce: takes the events.
    """

    def __init__(self, announce: Callable[[BoardChanged], object]) -> None:
        self._announce = announce
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._next_look = self._began
        self._timer: asyncio.TimerHandle | None = None
        self._watched: list[_Watched] = []

    def __repr__(self) -> str:
        return f"<BoardWatch of {len(self._watched)} boards>"

    def follow(self, boards: Mapping[str, Board[Any]]) -> None:
        """Watch these boards, by name, and no others; tell of those that are gone."""
        before = {each.name: each for each in self._watched}
        self._watched = []
        for full_name, board in islice(boards.items(), MOST_BOARDS):
            name = in_one_line(full_name, NAME_CHARACTERS)
            there = before.pop(name, None)
            if there is None or there.board is not board:
                there = _Watched(name, board)
            self._watched.append(there)
        for gone in before.values():
            self._announce(gone.event(0, 0, len(gone.board.ended)))

    def changed(self) -> None:
        """Take in that a board may have changed: look soon."""
        if self._timer is None and self._watched:
            self._timer = self._loop.call_at(self._next_look, self.look)

    def look(self) -> None:
        """Tell of the boards that have changed."""
        self._stop_timer()
        now = self._loop.time()
        self._next_look = now + pause_s(now - self._began)
        for watched in self._watched:
            event = watched.look(now)
            if event is not None:
                self._announce(event)

    def close(self) -> None:
        """Tell of them for the last time."""
        self.look()
        self._watched = []

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def pause_s(run_s: float) -> float:
    """Return the least time until the next look at so much of a run."""
    return max(FIRST_S, min(EARLY_SHARE * run_s, LOOK_S), SHARE * run_s)


class _Watched:
    """One board, and the times at which its entries were seen first."""

    def __init__(self, name: str, board: Board[Any]) -> None:
        self.name = name
        self.board = board
        self._told: tuple[int, int, int] | None = None
        self._newest = -1
        self._arrivals: deque[tuple[int, float]] = deque()
        """The number of the newest entry at a look, and the time of that; those that still wait."""

    def look(self, now: float) -> BoardChanged | None:
        """Return how the board stands, if it was not told so."""
        board = self.board
        self._see(now)
        counts = board.left, len(board.running), len(board.ended)
        if counts == self._told:
            return None
        self._told = counts
        return self.event(*counts, now - self._arrivals[0][1] if self._arrivals else 0.0)

    def event(self, waiting: int, out: int, ended: int, oldest_s: float = 0.0) -> BoardChanged:
        """Return the event of its having these entries."""
        pool = self.board.task_type.pool
        return BoardChanged(0, 0.0, self.name, pool, waiting, out, ended, round(oldest_s, 3))

    def _see(self, now: float) -> None:
        oldest, arrivals = self.board.oldest, self._arrivals
        if self.board.newest != self._newest:
            self._newest = self.board.newest
            arrivals.append((self._newest, now))
        while arrivals and arrivals[0][0] < (math.inf if oldest is None else oldest):
            arrivals.popleft()
