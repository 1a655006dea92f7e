"""The entries of a board as they are looked at, handed out, and kept in snapshots."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from random import Random
from typing import Any, Generic, TypeVar

from steerio.campaign.board_entries import TABLES, BoardState
from steerio.campaign.entry_calls import EntryCall, HandedOut, Lane, Ranked
from steerio.campaign.listing import Listing
from steerio.campaign.ranked_entries import RankedEntries
from steerio.model.cards import board_card
from steerio.model.objects import check_number
from steerio.model.tasks import TaskOptions
from steerio.session.task import Task
from steerio.session.task_type import TaskType, as_arguments

K = TypeVar("K", bound=Hashable)

SHOWN = 5
"""Entries that a notebook shows, of those that wait."""

WAITS = Callable[[Callable[[], object]], Awaitable[object]]


class FedBoard(Generic[K]):
    """A board without the ways to change it: agents look at it, and the campaign hands out."""

    task_type: TaskType[..., Any]
    options: TaskOptions
    tags: dict[str, str] | None
    ahead: int
    limit: int
    newest_first = False
    draw = False
    weight: float | None = None
    running: dict[K, Task[Any]]
    """The tasks that are handed out and have not ended, by key."""
    ended: set[K]
    """The keys of entries that have ended, whether or not they succeeded."""
    displaced: int
    """How many entries newer ones have displaced."""
    on_change: Callable[[], None] | None
    """Called when there may be more to hand out (the campaign sets it)."""
    waits_until: WAITS | None
    """Waits for a condition, in an agent of the campaign (which sets it)."""
    lags: dict[Lane, float]
    """The tasks of each lane that boards with a weight owe to this one; less than one, mostly."""
    _call: EntryCall
    _chance: Random
    _seeded: bool
    _entries: RankedEntries[K]
    _out: dict[K, Ranked]
    """The entries that are handed out and have not ended."""
    _again: dict[K, Lane]
    """Those that were handed out before a run was cut off, and not yet since, last first."""
    _again_in: dict[Lane, dict[K, None]]
    """The same, by their lanes."""
    _order: int
    _mark: object
    """Equal to nothing but itself: its listings have it."""
    _placed: dict[tuple[TaskType[..., Any], str | None], TaskType[..., Any]]
    """The task types of its entries, for the pools that these are for."""

    def _begin(self) -> None:
        """Begin as a board without entries."""
        self.running, self.ended = {}, set()
        self.on_change = self.waits_until = None
        self.displaced, self.lags = 0, {}
        self._call = EntryCall(self.task_type, None, self.options, self.tags)
        self._chance, self._seeded = Random(0), False
        self._out, self._again, self._again_in = {}, {}, {}
        self._order, self._placed = 0, {}
        self._mark = object()
        self._empty()

    def _empty(self) -> None:
        chance = self._chance if self.draw else None
        self._entries = RankedEntries(
            self._call.lane, newest_first=self.newest_first, chance=chance
        )

    def __len__(self) -> int:
        """Return how many entries wait."""
        return len(self._entries)

    def __repr__(self) -> str:
        displaced = f", {self.displaced} displaced" if self.displaced else ""
        return (
            f"<Board of {self.task_type.name}: {len(self)} waiting, {len(self.running)} running, "
            f"{len(self.ended)} ended{displaced}>"
        )

    def _repr_html_(self) -> str:
        best = [(key, self.score(key)) for key in self.best(SHOWN)]
        counts = len(self), len(self.running), len(self.ended)
        return str(board_card(self.task_type.name, *counts, best))

    def __contains__(self, key: K) -> bool:
        return key in self._entries.table.slots

    @property
    def waiting(self) -> list[K]:
        """The keys that wait, best first."""
        return self._entries.table.ordered_keys()

    @property
    def waiting_items(self) -> list[Any]:
        """The items that wait, best first, in the order of `waiting`."""
        return self._entries.table.ordered_items()

    def listing(self) -> Listing[K]:
        """Return all that wait as a value, the oldest first: nothing is sorted for it.

        Its ``keys`` and ``items`` may be ranked elsewhere, in a task for instance, and their scores
        given to `rescore_listing`, while entries are handed out and added.
        """
        table = self._entries.table
        return Listing(self._mark, *table.all_entries(), table.all_numbers())

    def best(self, most: int) -> list[K]:
        """Return so many of the keys that wait, best first: of a large board faster than all."""
        check_number("how many of the best", most, least=0)
        table = self._entries.table
        return [table.keys[slot] for slot in table.best(most)]

    def item(self, key: K) -> Any:
        """Return the item of a waiting entry.

        Raises:
            KeyError: no entry of this key waits.
        """
        table = self._entries.table
        return table.items[table.slots[key]]

    def score(self, key: K) -> float:
        """Return the score of a waiting entry.

        Raises:
            KeyError: no entry of this key waits.
        """
        table = self._entries.table
        return table.scores[table.slots[key]]

    # -- for the campaign ----------------------------------------------------------------------

    @property
    def left(self) -> int:
        """How many entries are still to be handed out: those that wait, and those of before."""
        return len(self._entries) + len(self._again)

    @property
    def newest(self) -> int:
        """The number of the entry that was added last; they are numbered from 1."""
        return self._order

    @property
    def oldest(self) -> int | None:
        """The number of the oldest entry that is still to be handed out."""
        slot = self._entries.table.oldest
        if slot is not None:
            return self._entries.table.numbers[slot]
        return min((self._out[key][1] for key in self._again), default=None)

    @property
    def task_types(self) -> list[TaskType[..., Any]]:
        """The task types of its entries: its own, and those that entries have brought."""
        return list(dict.fromkeys([self.task_type, *(kind for kind, _ in self._placed)]))

    @property
    def pools(self) -> set[str]:
        """The pools that entries were for."""
        return {lane.pool for lane in self._entries.lanes}

    @property
    def lanes(self) -> list[Lane]:
        """The lanes that have entries which are still to be handed out."""
        if not self._again and len(self._entries.lanes) == 1:
            return [self._call.lane] if len(self._entries) else []
        there = (lane for lane in self._entries.lanes if self._entries.count(lane))
        return list(dict.fromkeys([*self._again_in, *there]))

    def left_in(self, lane: Lane) -> int:
        """Return how many entries of a lane are still to be handed out."""
        return self._entries.count(lane) + len(self._again_in.get(lane, ()))

    def had_out(self, lane: Lane) -> bool:
        """Whether entries of a lane were handed out before the run was cut off, and not since."""
        return lane in self._again_in

    def take(self, lane: Lane | None = None) -> HandedOut | None:
        """Take out the entry that goes next, of one lane or of all, or ``None``."""
        if lane is None and self._again:
            lane = next(iter(self._again_in))
        if lane is not None and lane in self._again_in:
            key, _ = self._again_in[lane].popitem()
            self._not_again(key)
            return _handed_out(key, self._out[key])
        slot = self._entries.best(lane)
        if slot is None:
            return None
        taken: K = self._entries.table.keys[slot]
        self._out[taken] = self._entries.table.ranked(slot)
        self._entries.remove(slot)
        return _handed_out(taken, self._out[taken])

    def take_of(self, lanes: Sequence[Lane]) -> HandedOut | None:
        """Take out the entry that goes next of some lanes, which are for the same workers."""
        lane: Lane | None = lanes[0]
        if len(lanes) > 1:
            before = (each for each in lanes if self.had_out(each))
            lane = next(before, None) or self._entries.next_lane(lanes)
        return None if lane is None else self.take(lane)

    def placed(self, out: HandedOut) -> tuple[TaskType[..., Any], EntryCall]:
        """Return the task type of an entry, for the pool that it is for, and its call."""
        if out.call is None:
            return self.task_type, self._call
        return self._knows(out.call), out.call

    def runs(self, key: K, task: Task[Any]) -> None:
        """Take in that the entry which was taken out is a task now."""
        self.running[key] = task

    def ends(self, key: K) -> None:
        """Take in that an entry has ended."""
        self.running.pop(key, None)
        self._out.pop(key, None)
        self.ended.add(key)

    def seed(self, seed: int) -> None:
        """Seed its draws, if they were not seeded before."""
        if not self._seeded:
            self._seeded = True
            self._chance.seed(seed)

    def settings(self) -> dict[str, Any]:
        """Return the attributes that it was made with, and does not change itself."""
        return {name: value for name, value in vars(self).items() if name not in TABLES}

    def state(self) -> BoardState[K]:
        """Return all that the board knows: copies that do not change."""
        more: dict[str, Any] = {"displaced": self.displaced, "lags": dict(self.lags)}
        if self._seeded:
            more["chance"] = self._chance.getstate()
        waiting = self._entries.table.copy()
        return BoardState(waiting, dict(self._out), set(self.ended), self._order, more)

    def restore(self, state: BoardState[K]) -> None:
        """Take over the state of another board; entries that were out are handed out again."""
        self._begin()
        self.ended, self._out = set(state.ended), dict(state.out)
        for key in reversed(state.out):
            lane = self._again[key] = self._call_of(state.out[key]).lane
            self._again_in.setdefault(lane, {})[key] = None
        self._order = state.order
        self.displaced = state.more.get("displaced", 0)
        self.lags = dict(state.more.get("lags", {}))
        if "chance" in state.more:
            self._chance.setstate(state.more["chance"])
            self._seeded = True
        self._entries.load(state.pairs())

    def _not_again(self, key: K) -> None:
        """Take in that an entry which was out before is handed out now, or is not to be."""
        lane = self._again.pop(key)
        self._again_in[lane].pop(key, None)
        if not self._again_in[lane]:
            del self._again_in[lane]

    def _knows(self, call: EntryCall) -> TaskType[..., Any]:
        """Return the task type of a call, for its pool: one object for all such calls."""
        placed = self._placed.get((call.task_type, call.pool))
        if placed is None:
            placed = self._placed[call.task_type, call.pool] = call.placed_type()
        return placed

    def _call_of(self, entry: Ranked) -> EntryCall:
        return _own_call(entry) or self._call


def _own_call(entry: Ranked) -> EntryCall | None:
    return entry[5] if len(entry) > 5 else None


def _handed_out(key: Any, entry: Ranked) -> HandedOut:
    _, _, item, cause, *rest = entry
    return HandedOut(key, as_arguments(item), cause, rest[0] if rest else (), _own_call(entry))
