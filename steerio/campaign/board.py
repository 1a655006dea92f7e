"""Boards: ranked, keyed, deduplicated work that is not yet handed out.

Theory.  Work in a queue can no longer be reconsidered; work on a board can.  A board hands an entry
out only when a worker of its pool that fits it has nothing to do, so the ranking of the last moment
decides.  Entries are kept in a heap with lazy deletion, like the broker's backlog: adding and
handing out cost O(log n), rescoring all of them O(n).  When most of the heap is entries that wait
no longer, these are swept out.

An item is the argument of a task, and its key identifies it.  The item is its own key unless a
``key`` function is given, which items that cannot be keys (arrays, dicts) need.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush, nsmallest
from typing import Any, Generic, TypeVar, cast

from steerio.campaign.board_entries import TABLES, BoardState, Ranked, pairs_in, score_of
from steerio.errors import UsageError
from steerio.launch.needs import Needs
from steerio.model.bounds import tagged
from steerio.model.cards import board_card
from steerio.model.objects import check_number
from steerio.model.showing import counted
from steerio.session.arguments import as_it_is
from steerio.session.current_agent import current_agent, results_behind
from steerio.session.task import Task
from steerio.session.task_checks import make_options
from steerio.session.task_type import TaskType, as_arguments, as_task_type

K = TypeVar("K", bound=Hashable)

SLACK = 64
"""Entries that wait no longer which the heap may always keep, even if few wait."""


SHOWN = 5
"""Entries that a notebook shows, of those that wait."""


class BoardFull(UsageError):
    """A board has as many entries waiting as its limit allows."""


class Board(Generic[K]):
    """Work for one task type, best first.

    Args:
        task_type: the task to run with each entry.
        items: the first entries, all of score 0; a plain tuple is all arguments, anything else
            (a NamedTuple, too) the only one.
        key: a function that returns the key of an item; by default the item itself is its key.
        limit: most entries that may wait.
        ahead: entries handed out beyond one for each worker.
        tags: tags of the tasks it makes.
        priority, timeout_s, retries, cancel_grace_s, needs, gang: options of the tasks it makes, if
            they differ from those of the task type (see ``Session.options``).

    Entries of equal score go in the order in which they were added.  A key that waits, or
    was handed out before, is not added again.  An item keeps the value that it had when it was
    added: lists, arrays and records are copied.  Only an object that is equal to nothing but itself
    is not copied, and shows later changes.
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
        priority: float | None = None,
        timeout_s: float | None = None,
        retries: Mapping[str, int] | None = None,
        cancel_grace_s: float | None = None,
        needs: Needs | None = None,
        gang: int | None = None,
    ) -> None:
        check_number("the limit of a board", limit, least=1)
        check_number("ahead", ahead, least=0)
        if key is not None and not callable(key):
            raise UsageError(f"the key of a board is a function of an item, not {key!r}")
        self.task_type: TaskType[..., Any] = as_task_type(task_type)
        self.options = make_options(
            self.task_type.options,
            priority,
            timeout_s,
            retries,
            cancel_grace_s=cancel_grace_s,
            needs=needs,
            gang=gang,
        )
        self.ahead, self.limit = ahead, limit
        self.tags = tagged(tags)
        self.running: dict[K, Task[Any]] = {}
        """The tasks that are handed out and have not ended, by key."""
        self.ended: set[K] = set()
        """The keys of entries that have ended, whether or not they succeeded."""
        self.on_change: Callable[[], None] | None = None
        """Called when there may be more to hand out (the campaign sets it)."""
        self._key: Callable[[Any], Any] = key or _itself
        self._waiting: dict[K, Ranked] = {}
        self._out: dict[K, Ranked] = {}
        """The entries that are handed out and have not ended."""
        self._again: dict[K, None] = {}
        """Those that were handed out before a run was cut off, and not yet since, last first."""
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

    def _repr_html_(self) -> str:
        ranked = ((-entry[0], entry[1], key) for key, entry in self._waiting.items())
        best = [(key, -score) for score, _, key in nsmallest(SHOWN, ranked)]
        counts = len(self), len(self.running), len(self.ended)
        return str(board_card(self.task_type.name, *counts, best))

    @property
    def left(self) -> int:
        """How many entries are still to be handed out: those that wait, and those of before."""
        return len(self._waiting) + len(self._again)

    @property
    def newest(self) -> int:
        """The number of the entry that was added last; they are numbered from 1."""
        return self._order

    @property
    def oldest(self) -> int | None:
        """The number of the oldest entry that is still to be handed out."""
        for entry in self._waiting.values():  # in the order in which they were added
            return entry[1]
        return min((self._out[key][1] for key in self._again), default=None)

    @property
    def waiting(self) -> list[K]:
        """The keys that wait, best first."""
        return sorted(self._waiting, key=lambda k: (-self._waiting[k][0], self._waiting[k][1]))

    @property
    def waiting_items(self) -> list[Any]:
        """The items that wait, best first, in the order of `waiting`."""
        return [self._waiting[key][2] for key in self.waiting]

    def item(self, key: K) -> Any:
        """Return the item of a waiting entry.

        Raises:
            KeyError: no entry of this key waits.
        """
        return self._waiting[key][2]

    def score(self, key: K) -> float:
        """Return the score of a waiting entry.

        Raises:
            KeyError: no entry of this key waits.
        """
        return self._waiting[key][0]

    def add(self, item: Any, score: float = 0.0) -> bool:
        """Add an entry; returns ``False`` if its key is known already.

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
            BoardFull: ``limit`` entries wait; the items before that are added.
        """
        try:
            return sum(self._add(item, score) for item in items)
        finally:
            self._changed()

    def discard(self, key: K) -> bool:
        """Take out a waiting entry; returns ``False`` if it does not wait (any more)."""
        found = self._waiting.pop(key, None) is not None
        self._sweep()
        return found

    def rescore(
        self,
        scores: Mapping[K, float] | Callable[[Any], float | None] | Iterable[tuple[Any, float]],
    ) -> int:
        """Give waiting entries new scores, all at once.

        Keys that do not wait are ignored; entries that are not named keep their score.

        Args:
            scores: new scores by key; or pairs of an item and its score, as from
                ``zip(items, scores)``; or a function that returns the score of an item (``None``:
                as it is), called with each item that waits.

        Returns:
            How many entries were rescored.

        Raises:
            UsageError: a score is not a finite number, or ``scores`` is none of these; nothing is
                changed then.
        """
        by = current_agent.get(), results_behind.get()
        new: dict[K, Ranked] = {}
        for key, score in self._by_key(scores):
            checked = score_of(score, key)
            entry = self._waiting.get(key)
            if entry is not None:
                new[key] = (checked, entry[1], entry[2], *by)
        self._waiting.update(new)
        self._heapify()
        return len(new)

    def replace(self, items: Iterable[Any], scores: Iterable[float] | None = None) -> int:
        """Replace all waiting entries by these, at once.

        As with `add_all`, items whose keys run or have ended are left out.

        Args:
            items: the new entries, in the order in which equal scores go.
            scores: one for each item; by default all are 0.

        Returns:
            How many entries wait now.

        Raises:
            UsageError: a score is not a finite number, or there are not as many scores as items;
                nothing is changed then.
            BoardFull: more than ``limit`` entries would wait; nothing is changed then.
        """
        entries = list(items)
        ranked = [0.0] * len(entries) if scores is None else list(scores)
        if len(ranked) != len(entries):
            got = f"{counted(len(entries), 'item')} and {counted(len(ranked), 'score')}"
            raise UsageError(f"replace got {got}")
        by, order = (current_agent.get(), results_behind.get()), self._order
        new: dict[K, Ranked] = {}
        for item, score in zip(entries, ranked, strict=True):
            key = self._key_of(item)
            checked = score_of(score, key)
            if key not in new and not self._is_known(key):
                order += 1
                new[key] = (checked, order, as_it_is(item), *by)
        if len(new) > self.limit:
            raise BoardFull(f"{self!r} has room for limit={self.limit} entries, not {len(new)}")
        self._waiting, self._order = new, order
        self._heapify()
        self._changed()
        return len(new)

    def take(self) -> tuple[K, tuple[Any, ...], str, tuple[int, ...]] | None:
        """Take out the best entry, or ``None``.

        Returns:
            Its key, its arguments, the agent that ranked it last, and the results which that agent
            handled then; the last is missing in entries from snapshots of earlier versions.
        """
        if self._again:
            key, _ = self._again.popitem()
            out = self._out[key]
            return key, as_arguments(out[2]), *out[3:]
        while self._heap:
            negative, order, key = heappop(self._heap)
            entry = self._waiting.get(key)
            if entry is not None and entry[1] == order and negative == -entry[0]:
                del self._waiting[key]
                self._out[key] = entry
                self._sweep()
                return key, as_arguments(entry[2]), *entry[3:]
        return None

    def runs(self, key: K, task: Task[Any]) -> None:
        """Take in that the entry which was taken out is a task now."""
        self.running[key] = task

    def ends(self, key: K) -> None:
        """Take in that an entry has ended."""
        self.running.pop(key, None)
        self._out.pop(key, None)
        self.ended.add(key)

    def settings(self) -> dict[str, Any]:
        """Return the attributes that it was made with, and does not change itself."""
        return {name: value for name, value in vars(self).items() if name not in TABLES}

    def state(self) -> BoardState[K]:
        """Return all that the board knows: copies that do not change."""
        return BoardState(dict(self._waiting), dict(self._out), set(self.ended), self._order)

    def restore(self, state: BoardState[K]) -> None:
        """Take over the state of another board; entries that were out are handed out again."""
        self.running, self.on_change = {}, None
        self.ended = set(state.ended)
        self._waiting, self._out = dict(state.waiting), dict(state.out)
        self._again = dict.fromkeys(reversed(state.out))
        self._order = state.order
        self._heapify()

    def _add(self, item: Any, score: float) -> bool:
        if any(issubclass(type(part), Task) for part in as_arguments(item)):
            raise UsageError(
                f"{item!r} cannot be an entry of a board, which ranks work that can be done at "
                "once: await the task and add its value, or give its handle to submit(...)"
            )
        key = self._key_of(item)
        score = score_of(score, key)
        if key in self._waiting or self._is_known(key):
            return False
        if len(self._waiting) >= self.limit:
            raise BoardFull(f"{self!r} is full: limit={self.limit}")
        self._order += 1
        by = current_agent.get(), results_behind.get()
        self._waiting[key] = (score, self._order, as_it_is(item), *by)
        heappush(self._heap, (-score, self._order, key))
        return True

    def _is_known(self, key: K) -> bool:
        """Return whether an entry runs, is to be handed out again, or has ended."""
        return key in self.running or key in self._again or key in self.ended

    def _key_of(self, item: Any) -> K:
        """Return the key of an item.

        Raises:
            UsageError: its key is not hashable.
        """
        key: K = self._key(item)
        try:
            hash(key)
        except TypeError:
            made = "" if self._key is _itself else f"its key function returned a {_kind(key)}, and "
            raise UsageError(
                f"an item of {self!r} cannot be known by itself: {made}a {_kind(key)} cannot be a "
                "key; say what it is known by, as in Board(..., key=lambda item: item['name']) or "
                "key=bytes"
            ) from None
        return key

    def _by_key(self, scores: object) -> Iterator[tuple[K, Any]]:
        """Yield new scores by key, from any of the forms in which they may be given."""
        if isinstance(scores, Mapping):
            yield from cast("Mapping[K, Any]", scores).items()
        elif callable(scores):
            for key, entry in list(self._waiting.items()):
                score = scores(entry[2])
                if score is not None:
                    yield key, score
        else:
            for pair in pairs_in(scores):
                yield self._key_of(pair[0]), pair[1]

    def _sweep(self) -> None:
        if len(self._heap) > 2 * len(self._waiting) + SLACK:
            self._heapify()

    def _heapify(self) -> None:
        self._heap = [(-entry[0], entry[1], key) for key, entry in self._waiting.items()]
        heapify(self._heap)

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()


def _kind(value: object) -> str:
    return type(value).__name__


def _itself(item: Any) -> Any:
    return item
