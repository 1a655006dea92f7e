"""The flow of items from generator tasks to the triggers that are called with them.

Theory.  A task yields at most a few items more than were taken (`Items`), and a flow takes one only
when each trigger that wants it has room for it.  So a slow handler holds the tasks back on their
workers, and the items that wait are bounded: by the room of the trigger, and a few of each task.

Flows that wait for room wait in line, and each gives on one item in turn, so that a task that
yields much does not keep others waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

from msgspec import Struct

from steerio.edge.encoding.values import ANY_VALUE
from steerio.session.items import Item, Items
from steerio.session.task import Task


class StreamedItem(Struct, frozen=True, eq=False):
    """An item of a generator task, as an ``@on_item`` handler is given it.

    Attributes:
        value: the value that the task yielded.
        task: the handle of the task: it has the arguments (``args``) and ``tags``, and may be
            cancelled.
        index: the place of the item in its attempt, from 0.  At 0 the task begins, anew perhaps.
        attempt: the attempt of the task, from 1.
    """

    value: Any
    task: Task[Any]
    index: int
    attempt: int


class Wanting(Protocol):
    """The calls of a trigger, as seen by the flows to it."""

    @property
    def is_full(self) -> bool:
        """Whether no other item is wanted, for now."""
        ...

    def line_up(self, flow: ItemFlow) -> None:
        """Have a flow go on once there is room."""
        ...

    def feed(self, item: Any) -> None:
        """Take in an item."""
        ...


class Flowing(Protocol):
    """A run of a campaign, as seen by the flows in it."""

    fetching: int
    """How many flows fetch an item from the store."""

    def start(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Start a coroutine, which ends with the run."""
        ...

    def fail(self, error: Exception) -> None:
        """End the campaign with an error."""
        ...


class ItemFlow:
    """The flow of one task's items.

    Args:
        run: the run of the campaign.
        task: yields the items.
        wanted_by: the calls of the triggers that want them.
    """

    def __init__(self, run: Flowing, task: Task[Any], wanted_by: Sequence[Wanting]) -> None:
        self._run = run
        self._task = task
        self._wanted_by = wanted_by
        self._in_line = self._fetches = False
        self._items: Items = task.follow_items(self.advance)

    def __repr__(self) -> str:
        return f"<ItemFlow of {self._task!r}: {len(self._items)} items wait>"

    @property
    def holds_last(self) -> bool:
        """Whether it still has items of a task that has ended."""
        return self._task.done() and (self._fetches or len(self._items) > 0)

    def has_room(self) -> None:
        """Go on: it is this flow's turn."""
        self._in_line = False
        self.advance()

    def advance(self) -> None:
        """Give on those items for which there is room."""
        while len(self._items) and not (self._in_line or self._fetches):
            if self._items.stopping:
                self._items.let_go()
                return
            for calls in self._wanted_by:
                if calls.is_full:
                    self._in_line = True
                    calls.line_up(self)
                    return
            item, owed = self._items.take()
            if item.stored is None:
                self._give(item, owed, self._unpacked)
            else:
                self._fetches = True
                self._run.fetching += 1
                self._run.start(partial(self._fetch, item, owed), repr(self))

    def _unpacked(self, item: Item) -> Any:
        return ANY_VALUE.unpack(item.body, item.frames)

    async def _fetch(self, item: Item, owed: bool) -> None:
        """Fetch an item from the store, and give it on."""
        try:
            value = await self._items.value_of(item)
        except Exception as error:  # noqa: BLE001 - unpickling may raise anything
            self._cannot_read(item, error)
        else:
            self._give(item, owed, lambda item: value)
        finally:
            self._fetches = False
            self._run.fetching -= 1
        self.advance()

    def _give(self, item: Item, owed: bool, read: Callable[[Item], Any]) -> None:
        """Give an item to all that want it, and let the task yield another."""
        try:
            value = read(item)
        except Exception as error:  # noqa: BLE001 - unpickling may raise anything
            self._cannot_read(item, error)
            return
        given = StreamedItem(value, self._task, item.number, item.attempt)
        for calls in self._wanted_by:
            calls.feed(given)
        if owed:
            self._items.grant_one(item.attempt, ended=self._task.done())

    def _cannot_read(self, item: Item, error: Exception) -> None:
        if item.attempt == self._items.attempt:  # else it is out of date
            error.add_note(f"item {item.number} of {self._task!r} cannot be read here")
            self._run.fail(error)
