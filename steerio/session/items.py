"""The items of generator tasks, on their way from the client to the code that reads them.

While a reader is there, each item that it takes lets the task yield one more, so the task is never
far ahead of it.  While none is there nothing holds the task back: a reader may never come, and no
worker should wait for it for ever. The first items are then kept for a late reader; if a task
yields more than that, all are dropped, and a reader that comes then is told.

Invariant: a reader gets the items of one attempt, in order and without a gap, or an error that
says why not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

from steerio.client.client import Client
from steerio.edge.encoding.values import ANY_VALUE, total_bytes
from steerio.edge.wire.endpoint import Frames
from steerio.errors import ItemsDropped, ItemsRestarted, SteerioError
from steerio.model import results as rs
from steerio.model.messages import TaskItem
from steerio.model.objects import StoredObject
from steerio.session.done import Done
from steerio.session.reading_results import as_failed, unreadable, value_of
from steerio.session.session_store import SessionStore
from steerio.session.task_type import TaskType

UNREAD_ITEMS = 1_000
"""Most items of a task that are kept while it has no reader."""
UNREAD_IN_ALL = 100_000
"""Most items of all tasks of a session; `Settings.items_bytes` bounds their bytes."""


class Item(NamedTuple):
    """An item as it came; a reader unpacks it, and fetches it if it is in the store."""

    number: int
    attempt: int
    body: bytes
    frames: Frames
    stored: StoredObject | None

    @property
    def nbytes(self) -> int:
        """Its length in bytes."""
        if self.stored is not None:
            return self.stored.nbytes
        return len(self.body) + total_bytes(self.frames)


class Kept:
    """The items, and their bytes, that are kept of all generator tasks of a session."""

    def __init__(self) -> None:
        self.items = self.nbytes = 0

    def add(self, items: int, nbytes: int) -> None:
        """Count more of them, or fewer."""
        self.items += items
        self.nbytes += nbytes


class Taken(NamedTuple):
    """A value that was taken, which may be ``None``."""

    value: Any


class Items:
    """The items of one task that no reader has taken yet.

    Args:
        client: tells the task that it may yield more items.
        store: keeps the items that are too long for a message.
        kept: counts the kept items of all tasks of the session.
        number: the id of the task.
    """

    def __init__(self, client: Client, store: SessionStore, kept: Kept, number: int) -> None:
        self.dropped = False
        """Whether items were dropped: none of this task can be read any more."""
        self.stopping = False
        """Whether its handle cancelled the task, which is then not to go on without a reader."""
        self.attempt = 0
        """The attempt whose items these are."""
        self.taken = 0
        """The attempt of which a reader took items last; 0: none, or it was told of another."""
        self.unreadable: rs.TaskError | None = None
        """Why its reader cannot go on, if one of them cannot be read here."""
        self.came: Callable[[], None] | None = None
        """Called with each that comes: a trigger reads them, and no other code may."""
        self._client = client
        self._store = store
        self._number = number
        self._waiting: deque[Item] = deque()
        self._kept = kept
        self._granted = 0
        """For how many of those that wait the task may yield others already."""
        self._readers = 0

    def __repr__(self) -> str:
        return f"<Items: {len(self._waiting)} wait for {self._readers} readers>"

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_read(self) -> bool:
        """Whether a reader is there."""
        return self._readers > 0

    @property
    def followed(self) -> bool:
        """Whether a trigger reads them."""
        return self.came is not None

    def follow(self, came: Callable[[], None]) -> None:
        """Let a trigger be the only reader, for which the task is held back."""
        self.came = came
        self.reader_came()

    def drop(self) -> None:
        """Drop these items and all that the task will yield: no reader will come."""
        if not self.dropped:
            self.dropped = True
            self.let_go()
            self._client.grant(self._number, 0)

    def add(self, message: TaskItem, frames: Frames) -> None:
        """Take in an item; that of a new attempt puts those of the last one out of date."""
        if message.attempt != self.attempt:
            self.let_go()
            self.attempt = message.attempt
        item = Item(message.index, message.attempt, message.body, frames, message.stored)
        if self.dropped:
            self._let_go_of(item)
            return
        self._waiting.append(item)
        self._kept.add(1, item.nbytes)
        if self.came is not None:
            self.came()
        elif not self._readers:
            self._grant_waiting()

    def take(self) -> tuple[Item, bool]:
        """Take the first; also returns whether the task may not yield another for it yet."""
        item = self._waiting.popleft()
        self._kept.add(-1, -item.nbytes)
        owed = not self._granted
        self._granted -= not owed
        return item, owed

    def put_back(self, item: Item, owed: bool) -> None:
        """Take back an item whose reader was cancelled before it had it."""
        if item.attempt != self.attempt or self.dropped:
            self._let_go_of(item)
            return
        self._waiting.appendleft(item)
        self._kept.add(1, item.nbytes)
        self._granted += not owed

    def reader_came(self) -> None:
        """A reader has come: the task is held back for it."""
        self._readers += 1

    def reader_left(self, owed: int, *, ended: bool) -> None:
        """Take in that a reader reads no more; `go_on_alone` follows, in a moment.

        ``owed`` is the attempt that may not yet yield another for an item that was taken; 0: none.
        """
        self._readers -= 1
        if owed and not self.stopping:
            self.grant_one(owed, ended=ended)

    def go_on_alone(self, *, ended: bool) -> None:
        """Let the task go on if no reader has come since the last one left."""
        if not self._readers and not ended:
            self._grant_waiting()

    def grant_one(self, attempt: int, *, ended: bool) -> None:
        """Let an attempt yield another item for one that was taken."""
        if attempt == self.attempt and not ended and not self.dropped:
            self._client.grant(self._number, 1)

    def _grant_waiting(self) -> None:
        """Let the task go on without a reader, as long as items can be kept for one."""
        if self.stopping:
            return
        if len(self._waiting) > UNREAD_ITEMS or self._full:
            self.drop()
        elif (count := len(self._waiting) - self._granted) > 0:
            self._granted += count
            self._client.grant(self._number, count)

    async def value_of(self, item: Item) -> Any:
        """Return the value of an item.  Raises any exception of unpickling.

        Raises:
            ObjectMissing: it is not in the store any more.
            BrokerLost: the session was closed before the store answered.
        """
        if item.stored is None:
            return ANY_VALUE.unpack(item.body, item.frames)
        return await self._store.item(item.body, item.stored)

    @property
    def _full(self) -> bool:
        """Whether no more may be kept for all tasks."""
        most = self._client.settings.items_bytes
        limit = self._store.setting.limit_bytes
        if limit is not None:
            most = min(most, limit // 2)
        return self._kept.nbytes > most or self._kept.items > UNREAD_IN_ALL

    def let_go(self) -> None:
        """Forget the items that wait."""
        for item in self._waiting:
            self._kept.add(-1, -item.nbytes)
            self._let_go_of(item)
        self._waiting.clear()
        self._granted = 0

    def _let_go_of(self, item: Item) -> None:
        if item.stored is not None:
            self._store.let_go(item.stored)


class Yielding(Protocol):
    """A generator task's handle, as seen by a reader of its items."""

    id: int
    type: TaskType[..., Any]

    @property
    def done(self) -> Done:
        """Whether the task has ended."""
        ...

    def result_nowait(self) -> rs.Result | None:
        """Return the task's result, or ``None`` if it has not ended."""
        ...

    def cancel(self, reason: str) -> None:
        """Ask the broker to cancel the task."""
        ...

    async def news(self) -> None:
        """Wait for an item, or the end of the task."""
        ...


class Reader(AsyncIterator[Any]):
    """The reader of a task's items, from the first that was not taken; see ``Task.items``."""

    def __init__(self, task: Yielding, items: Items) -> None:
        self._task = task
        self._items = items
        self._attempt = items.taken
        self._owed = False
        self._loop = asyncio.get_running_loop()
        self._open = True
        items.reader_came()

    def __repr__(self) -> str:
        return f"<Reader of {self._task!r}>"

    async def __anext__(self) -> Any:
        """Return the next item; code that is cancelled meanwhile may ask for it again."""
        task, items = self._task, self._items
        while self._open:
            result = task.result_nowait()
            if items.dropped:
                self.close()
                raise ItemsDropped(task.id, task.type.name)
            if self._owed:
                self._owed = False
                items.grant_one(self._attempt, ended=task.done())
            self._look_for_another_attempt(result)
            if len(items) and items.unreadable is None:
                item, self._owed = items.take()
                if (taken := await self._read(item)) is not None:
                    return taken.value
            elif result is None:
                await task.news()
            else:
                self.close()
                value_of(result)
        raise StopAsyncIteration

    def _look_for_another_attempt(self, result: rs.Result | None) -> None:
        """Raise if the next items do not go on from those that were taken before."""
        items = self._items
        now = items.attempt
        if not len(items) and isinstance(result, rs.Succeeded):
            now = result.attempt  # that attempt may have yielded nothing
        if self._attempt and now != self._attempt:
            if items.taken == self._attempt:
                items.taken = 0  # the next reader has them from the first
            self.close()
            raise ItemsRestarted(self._task.id, self._task.type.name, self._attempt, now)

    async def _read(self, item: Item) -> Taken | None:
        """Unpack an item, and fetch it if it is in the store; ``None`` if it cannot be unpacked."""
        task, items = self._task, self._items
        try:
            value = await items.value_of(item)
        except asyncio.CancelledError:
            items.put_back(item, self._owed)
            self._owed = False
            raise
        except SteerioError:  # the store's, or of a session that was closed
            raise
        except Exception as error:  # noqa: BLE001 - unpickling may raise anything
            items.unreadable = unreadable(f"item {item.number}", error)
            result = task.result_nowait()
            if result is not None:
                self.close()
                value_of(as_failed(result, items.unreadable))
            task.cancel(items.unreadable.message)
            return None
        self._attempt = items.taken = item.attempt
        return Taken(value)

    async def aclose(self) -> None:
        """Read no more; the task is then no longer held back, and not cancelled."""
        self.close()

    def close(self) -> None:
        """Read no more, at once."""
        if self._open:
            self._open = False
            self._leave()

    def _leave(self) -> None:
        self._items.reader_left(self._owed_attempt, ended=self._task.done())
        # not at once: the next reader comes in this turn if `ItemsRestarted` is why this one leaves
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon(self._see_if_alone)

    def _see_if_alone(self) -> None:
        self._items.go_on_alone(ended=self._task.done())

    @property
    def _owed_attempt(self) -> int:
        return self._attempt if self._owed else 0

    def __del__(self) -> None:
        if getattr(self, "_open", False):  # any thread may be here
            left = partial(_left, self._items, self._owed_attempt, self._task)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(left)


def _left(items: Items, owed: int, task: Yielding) -> None:
    """Take in that a reader was forgotten before it had ended."""
    items.reader_left(owed, ended=task.done())
    items.go_on_alone(ended=task.done())
