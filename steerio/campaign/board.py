"""Boards: ranked, keyed, deduplicated work that is not yet handed out.

Theory.  Work in a queue can no longer be reconsidered; work on a board can.  A board hands an entry
out only when a worker of its pool that fits it has nothing to do, so the ranking of the last moment
decides.  Entries are columns of a table, and only the best of them are kept in order: adding and
handing out cost O(log n), rescoring all of them O(n).

An item is the argument of a task, and its key identifies it.  The item is its own key unless a
``key`` function is given, which items that cannot be keys (arrays, dicts) need.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import AsyncIterable, Callable, Hashable, Iterable, Mapping
from itertools import compress
from typing import Any, TypeVar, Unpack, cast

from steerio.campaign.board_checks import (
    BoardFull,
    check_entry,
    check_key,
    check_listing,
    check_order,
    checked_weight,
    itself,
    no_key,
)
from steerio.campaign.board_scores import (
    checked_scores,
    score_of,
    scores_at_once,
    scores_by_key,
    scores_in_order,
    scores_one_by_one,
)
from steerio.campaign.entry_calls import EntryCall, EntrySettings, RankedBy, call_of
from steerio.campaign.fed_board import FedBoard
from steerio.campaign.filling import fill
from steerio.campaign.listing import Listing
from steerio.campaign.lottery import checked_chance
from steerio.errors import UsageError
from steerio.launch.needs import Needs
from steerio.model.bounds import tagged
from steerio.model.objects import check_number
from steerio.model.showing import counted
from steerio.session.arguments import as_it_is
from steerio.session.current_agent import current_agent, results_behind
from steerio.session.task import Task
from steerio.session.task_checks import check_gang, make_options
from steerio.session.task_type import TaskType, as_task_type

K = TypeVar("K", bound=Hashable)


class Board(FedBoard[K]):
    """Work that waits to be handed out, best first.

    Args:
        task_type: the task to run with each entry, unless it names another.
        items: the first entries, all of score 0; a plain tuple is all arguments, anything else
            (a NamedTuple, too) the only one.
        key: a function that returns the key of an item; by default the item itself is its key.
        limit: most entries that may wait.
        ahead: entries handed out beyond one for each worker.
        newest_first: whether the newest of equal score goes first, and a new entry displaces the
            oldest if ``limit`` entries wait.
        on_displaced: a function that is called with each item that was displaced.
        draw: whether the next entry is drawn, each with a probability in proportion to its score,
            which is not negative then; those of score 0 when no others wait.
        weight: its share of the tasks that go to its workers, against the other boards with a
            weight that feed these; boards without one go first, in the order of their attributes.
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
        newest_first: bool = False,
        on_displaced: Callable[[Any], object] | None = None,
        draw: bool = False,
        weight: float | None = None,
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
        check_key(key)
        check_order(newest_first=newest_first, draw=draw, on_displaced=on_displaced)
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
        check_gang(self.options, self.task_type.kind, self.task_type.name)
        self.ahead, self.limit = ahead, limit
        self.newest_first, self.draw = newest_first, draw
        self.weight = checked_weight(weight)
        self.tags = tagged(tags)
        self._on_displaced = on_displaced
        self._check = checked_chance if draw else None
        self._key: Callable[[Any], Any] = key or itself
        self._begin()
        self.add_all(items)

    def add(
        self,
        item: Any,
        score: float = 0.0,
        *,
        task_type: Callable[..., Any] | None = None,
        pool: str | None = None,
        **options: Unpack[EntrySettings],
    ) -> bool:
        """Add an entry; returns ``False`` if its key is known already.

        Args:
            item: the arguments of its task.
            score: highest goes first.
            task_type: the task to run with it, if it is another one than that of the board; the
                options are then those of this type.
            pool: the pool whose workers run it, if it is not that of the task type.
            options: ``tags``, ``priority``, ``timeout_s``, ``retries``, ``cancel_grace_s`` and
                ``needs``, if they differ from those of the board.

        Raises:
            UsageError: the score is not a finite number, or an option is wrong.
            BoardFull: ``limit`` entries wait, and the board is not ``newest_first``.
        """
        kind = None if task_type is None else as_task_type(task_type)
        added = self._add(item, score, call_of(self._call, kind, pool, options))
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

    async def fill_from(
        self,
        source: AsyncIterable[Any] | Iterable[Any] | Task[Any],
        *,
        keep: int,
        score: float | Callable[[Any], float] = 0.0,
    ) -> int:
        """Add the items of a source, pulling the next whenever fewer than ``keep`` entries wait.

        For the code of an ``@agent``. A snapshot may be taken while it waits for room; the agent is
        called again, from its start, when the campaign is resumed from there, and entries that the
        board knows are passed over. An error of the source is raised here, and the source is closed
        when this ends, in whatever way.

        Args:
            source: a generator, an async generator, another iterable, or a generator task.
            keep: most entries that wait while more are pulled.
            score: of each entry; or a function that returns the score of an item.

        Returns:
            How many entries were new.

        Raises:
            UsageError: it is no source, or the campaign does not hand out from this board.
            BoardFull: others have added so many entries meanwhile.
        """
        return await fill(self, source, keep, score)

    def discard(self, key: K) -> bool:
        """Take out a waiting entry; returns ``False`` if it does not wait (any more)."""
        slot = self._entries.table.slots.get(key)
        if slot is not None:
            self._entries.remove(slot)
        return slot is not None

    def cancel(self, key: K, reason: str = "its entry was cancelled") -> bool:
        """Take out a waiting entry, or cancel the task of one that was handed out.

        An entry that waited may be added again; one that was handed out ends as ``Cancelled``.

        Returns:
            ``False`` if the entry has ended, or is not known.
        """
        if self.discard(key):
            return True
        if key in self._again:
            self._not_again(key)
            self.ends(key)
            return True
        task = self.running.get(key)
        if task is not None:
            task.cancel(reason)
        return task is not None

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
        if callable(scores) and not isinstance(scores, Mapping):
            return self._rescore_each(scores)
        table = self._entries.table
        keys, values = scores_by_key(cast("object", scores), self._keys_of)
        numbers = checked_scores(values, lambda: keys, self._check)
        if len(keys) == len(table) and keys == table.all_keys():
            self._entries.rescore_all(numbers, self._by())
            return len(keys)
        slots: list[Any] = list(map(table.slots.get, keys))
        if None in slots:
            there = [place for place, slot in enumerate(slots) if slot is not None]
            slots = [slots[place] for place in there]
            numbers = array("d", [numbers[place] for place in there])
        self._entries.rescore(slots, numbers, self._by())
        return len(slots) if isinstance(scores, Mapping) else len(set(slots))

    def rescore_all(self, scores: Callable[[list[Any]], Iterable[float]]) -> int:
        """Give all waiting entries new scores, by a function that takes all items at once.

        It is given the list of the items that wait, and returns their scores in the same order,
        such as a NumPy array: a board of a million entries is ranked anew in a moment then.

        Returns:
            How many entries were rescored.

        Raises:
            UsageError: a score is not a finite number, or the function does not return one number
                for each item; nothing is changed then.
        """
        table, before = self._entries.table, (self._order, len(self))
        given = scores_at_once(scores, table.all_items())
        numbers = checked_scores(given, table.all_keys, self._check)
        if (self._order, len(self)) != before:
            raise UsageError("the function that ranked all items has changed the board meanwhile")
        self._entries.rescore_all(numbers, self._by())
        return len(numbers)

    def rescore_listing(self, listing: Listing[K], scores: Iterable[float]) -> int:
        """Give the entries of a listing new scores, all at once.

        Those that wait no longer are passed over; entries that were added since keep their score.
        A listing of a million entries is ranked anew in a moment by a NumPy array.

        Args:
            listing: of this board, as `listing` returned it.
            scores: one for each of its entries, in their order.

        Returns:
            How many entries were rescored.

        Raises:
            UsageError: a score is not a finite number, or there is not one for each entry, or the
                listing is none of this board; nothing is changed then.
        """
        check_listing(listing, self, self._mark)
        given = scores_in_order(scores, len(listing), "rescore_listing was given")
        numbers = checked_scores(given, lambda: listing.keys, self._check)
        return self._rescore_numbered(listing.numbers, numbers)

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
        new: dict[K, tuple[Any, float]] = {}
        for item, score in zip(entries, ranked, strict=True):
            key = self._key_of(item)
            checked = self._checked(score, key)
            if key not in new and not self._is_known(key):
                new[key] = as_it_is(item), checked
        if len(new) > self.limit:
            raise BoardFull(f"{self!r} has room for limit={self.limit} entries, not {len(new)}")
        self._empty()
        by = self._by()
        for key, (item, score) in new.items():
            self._order += 1
            self._entries.add(key, item, score, self._order, by, None)
        self._changed()
        return len(new)

    def _rescore_each(self, function: Callable[[Any], float | None]) -> int:
        table = self._entries.table
        items, numbers = table.all_items(), table.all_numbers()
        values, named = scores_one_by_one(function, items)
        if named is not None:
            items, numbers = list(compress(items, named)), array("q", compress(numbers, named))
        scores = checked_scores(values, lambda: self._keys_of(items), self._check)
        return self._rescore_numbered(numbers, scores)

    def _rescore_numbered(self, numbers: array[int], scores: array[float]) -> int:
        """Give new scores to those that still wait of entries with numbers, which ascend."""
        table = self._entries.table
        if table.all_numbers() == numbers:
            self._entries.rescore_all(scores, self._by())
            return len(scores)
        slots, scores = table.numbered(numbers, scores)
        self._entries.rescore(slots, scores, self._by())
        return len(slots)

    def _add(self, item: Any, score: float, call: EntryCall | None = None) -> bool:
        check_entry(item)
        key = self._key_of(item)
        score = self._checked(score, key)
        table = self._entries.table
        if key in table.slots or self._is_known(key):
            return False
        gone: list[Any] = []
        if len(table) >= self.limit:
            if not self.newest_first:
                raise BoardFull(f"{self!r} is full: limit={self.limit}")
            oldest = table.oldest
            assert oldest is not None
            gone.append(table.items[oldest])
            self._entries.remove(oldest)
            self.displaced += 1
        self._order += 1
        self._entries.add(key, as_it_is(item), score, self._order, self._by(), call)
        if call is not None:
            self._knows(call)
        if gone and self._on_displaced is not None:
            self._on_displaced(*gone)
        return True

    def _checked(self, score: float, key: K) -> float:
        number = score_of(score, key)
        return number if self._check is None else self._check(number, key)

    def _by(self) -> RankedBy:
        return current_agent.get(), results_behind.get()

    def _is_known(self, key: K) -> bool:
        """Return whether an entry runs, is to be handed out again, or has ended."""
        return key in self.running or key in self._again or key in self.ended

    def _keys_of(self, items: list[Any]) -> list[K]:
        """Return the keys of many items, at the speed of C but for the key function."""
        keys: list[K] = items if self._key is itself else list(map(self._key, items))
        try:
            deque(map(hash, keys), maxlen=0)
        except TypeError:
            for item in items:
                self._key_of(item)  # it says which is wrong
        return keys

    def _key_of(self, item: Any) -> K:
        key: K = self._key(item)
        try:
            hash(key)
        except TypeError:
            raise no_key(key, self, by_itself=self._key is itself) from None
        return key

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()
