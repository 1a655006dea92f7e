"""Boards: ranked, keyed, deduplicated work that is not yet handed out.

Theory.  Work that sits in a queue can no longer be thought over; work on a board can.  A
board hands an entry out only when a worker of its pool that fits it has nothing to do, so the
ranking of the last moment decides.  Entries are kept in a heap with lazy deletion, like the
broker's backlog: adding and handing out cost O(log n), rescoring all of them O(n).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import Any, Generic, TypeGuard, TypeVar, cast

from steerio.campaign.handle import Task
from steerio.campaign.submitting import current_agent
from steerio.campaign.task_type import TaskType, as_arguments, as_task_type
from steerio.errors import UsageError
from steerio.model.bounds import tagged
from steerio.model.objects import check_number

K = TypeVar("K", bound=Hashable)

LOOKED_INTO = 100
"""Entries of a list or dict in an attribute among which boards are looked for."""


class BoardFull(UsageError):
    """A board has as many entries waiting as its limit allows."""


class Board(Generic[K]):
    """Work for one task type, best first.

    Args:
        task_type: what is done with each entry.
        items: the first entries, all of score 0; a tuple is all arguments, anything else the
            only one.
        key: what makes the key of an item; by default the item itself.
        limit: most entries that may wait.
        ahead: entries handed out beyond one for each worker.
        tags: tags of the tasks it makes.

    Entries of equal score go in the order in which they were added.  A key that waits, or
    was handed out before, is not added again.
    """

    def __init__(
        self,
        task_type: Callable[..., Any],
        items: Iterable[Any] = (),
        *,
        key: Callable[[Any], K] | None = None,
        limit: int = 1_000_000,
        ahead: int = 0,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        check_number("the limit of a board", limit, least=1)
        check_number("ahead", ahead, least=0)
        self.task_type: TaskType[..., Any] = as_task_type(task_type)
        self.ahead = ahead
        self.limit = limit
        self.tags = tagged(tags)
        self.running: dict[K, Task[Any]] = {}
        """What is handed out and has not ended, by key."""
        self.ended: set[K] = set()
        """The keys of what has ended, however it did."""
        self.on_change: Callable[[], None] | None = None
        """Called when there may be more to hand out (the campaign sets it)."""
        self._key: Callable[[Any], Any] = key or _itself
        self._waiting: dict[K, tuple[float, int, Any, str]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = 0
        self.add_all(items)

    def __len__(self) -> int:
        """Return how many entries wait."""
        return len(self._waiting)

    def __contains__(self, key: K) -> bool:
        return key in self._waiting

    def __repr__(self) -> str:
        return (
            f"<Board of {self.task_type.name}: {len(self)} waiting, {len(self.running)} running, "
            f"{len(self.ended)} ended>"
        )

    @property
    def waiting(self) -> list[K]:
        """The keys that wait, best first."""
        return sorted(self._waiting, key=lambda k: (-self._waiting[k][0], self._waiting[k][1]))

    def score(self, key: K) -> float:
        """Return the score of a waiting entry.

        Raises:
            KeyError: it does not wait.
        """
        return self._waiting[key][0]

    def add(self, item: Any, score: float = 0.0) -> bool:
        """Add an entry; ``False`` where its key is known already.

        Raises:
            UsageError: the score is not a finite number.
            BoardFull: ``limit`` entries wait.
        """
        added = self._add(item, score)
        self._changed()
        return added

    def add_all(self, items: Iterable[Any], score: float = 0.0) -> int:
        """Add entries of one score; returns how many were new.

        Raises:
            UsageError: the score is not a finite number.
            BoardFull: ``limit`` entries wait; those before that are added.
        """
        try:
            return sum(self._add(item, score) for item in items)
        finally:
            self._changed()

    def discard(self, key: K) -> bool:
        """Take out a waiting entry; ``False`` where it does not wait (any more)."""
        return self._waiting.pop(key, None) is not None

    def rescore(self, scores: Mapping[K, float]) -> int:
        """Give waiting entries new scores, all at once.

        Keys that no longer wait are passed over; entries that are not named keep their score.

        Returns:
            How many entries were rescored.

        Raises:
            UsageError: a score is not a finite number; nothing is changed then.
        """
        cause = current_agent.get()
        new: dict[K, tuple[float, int, Any, str]] = {}
        for key, score in scores.items():
            checked = _score(score, key)
            entry = self._waiting.get(key)
            if entry is not None:
                new[key] = (checked, entry[1], entry[2], cause)
        self._waiting.update(new)
        self._heap = [(-entry[0], entry[1], key) for key, entry in self._waiting.items()]
        heapify(self._heap)
        return len(new)

    def take(self) -> tuple[K, tuple[Any, ...], str] | None:
        """Take out the best entry as (key, arguments, who ranked it last), or ``None``."""
        while self._heap:
            negative, order, key = heappop(self._heap)
            entry = self._waiting.get(key)
            if entry is not None and entry[0] == -negative and entry[1] == order:
                del self._waiting[key]
                return key, as_arguments(entry[2]), entry[3]
        return None

    def _add(self, item: Any, score: float) -> bool:
        if any(issubclass(type(part), Task) for part in as_arguments(item)):
            raise UsageError(
                f"{item!r} cannot be an entry of a board, which ranks what can be done at once: "
                "await the task and add its value, or give its handle to submit(...)"
            )
        key = self._key(item)
        score = _score(score, key)
        if key in self._waiting or key in self.running or key in self.ended:
            return False
        if len(self._waiting) >= self.limit:
            raise BoardFull(f"{self!r} is full: limit={self.limit}")
        self._order += 1
        self._waiting[key] = (score, self._order, item, current_agent.get())
        heappush(self._heap, (-score, self._order, key))
        return True

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()


HOLDERS = (Board, list, tuple, set, frozenset, dict)
"""What boards are looked for in, when it is an attribute of a campaign."""


def is_board(value: object) -> TypeGuard[Board[Any]]:
    """Whether a value is a board.  Not asked itself: a proxy would have to be fetched for that."""
    return issubclass(type(value), Board)


def boards_in(value: object) -> list[Board[Any]]:
    """Return the boards that a value is or has: those of a list, tuple, set or dict, too.

    Of these, the first ``LOOKED_INTO`` entries are looked at, and not into them.
    """
    if is_board(value):
        return [value]
    if issubclass(type(value), dict):
        entries: Iterable[object] = cast("dict[object, object]", value).values()
    elif issubclass(type(value), HOLDERS):
        entries = cast("Iterable[object]", value)
    else:
        return []
    return [entry for entry in islice(entries, LOOKED_INTO) if is_board(entry)]


def boards_of(campaign: object) -> list[Board[Any]]:
    """Return the boards in the attributes of a campaign, in order, each once."""
    found = [board for value in vars(campaign).values() for board in boards_in(value)]
    return list(dict.fromkeys(found))


def _score(score: float, key: object) -> float:
    """Return a score that can be ranked, which NaN cannot.

    Raises:
        UsageError: it is not a finite number.
    """
    score = float(score)
    if not math.isfinite(score):
        raise UsageError(
            f"the score of {key!r} is {score}, but a score must be finite: leave out what has none"
        )
    return score


def _itself(item: Any) -> Any:
    return item
