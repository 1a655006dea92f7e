"""Event streams: subscriptions as async iterators."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, cast

from steerio.client.client import Client
from steerio.core.eventlog import KEPT_EVENTS
from steerio.errors import BrokerLost, UsageError
from steerio.model import events as ev
from steerio.model.bounds import named
from steerio.model.objects import check_number
from steerio.session.task_type import as_task_type

EVENTS_AHEAD = 10_000
"""Events that wait for a slow subscriber before it begins to miss some."""


class EventFilter(NamedTuple):
    """The filter that selects the events of a stream."""

    types: list[str] | None
    """The names of the events' types; ``None``: all."""
    task_type: str | None
    """The type of the events' tasks; ``None``: any."""
    pool: str | None
    """The events' pool; ``None``: any."""
    since: int | None
    """The number of the event after which the stream begins; ``None``: from now on."""


def event_filter(
    types: tuple[object, ...],
    task_type: Callable[..., Any] | str | None,
    pool: str | None,
    since: int | None,
) -> EventFilter:
    """Return the filter for a user's arguments; see `Session.events`.

    Raises:
        UsageError: an argument is invalid.
    """
    for kind in types:
        if not (isinstance(kind, type) and issubclass(kind, ev.Event)):
            raise UsageError(f"events are of types like steerio.TaskEnded, not {kind!r}")
    name = task_type if isinstance(task_type, str) or task_type is None else None
    if name is None and task_type is not None:
        name = as_task_type(cast("Callable[..., Any]", task_type)).name
    if pool is not None:
        pool = named(pool, "the pool of events")
    check_number("since", since, least=0, or_none=True)
    names = [kind.__name__ for kind in cast("tuple[type[ev.Event], ...]", types)]
    return EventFilter(names or None, name, pool, since)


class EventStream:
    """A subscription: an async context manager, and an async iterator for one reader inside it.

    A subscriber that falls more than ``EVENTS_AHEAD`` events behind gets an
    ``EventsMissed`` in place of those that it missed.  One that asked for earlier events has
    room for all that the broker keeps beside that.

    Args:
        client: subscribes to the events.
        streams: the open streams of its session; it is among them while it is open.
        wanted: selects its events.
    """

    def __init__(
        self,
        client: Client,
        streams: set[EventStream],
        wanted: EventFilter,
    ) -> None:
        self._client = client
        self._streams = streams
        self._filter = wanted
        self._waiting: deque[Any] = deque()
        self._missed = 0
        self._first_missed = (0, 0.0)
        self._room = EVENTS_AHEAD + (KEPT_EVENTS if wanted.since is not None else 0)
        self._wanted: asyncio.Future[None] | None = None
        self._number = -1
        self._ended = False

    async def __aenter__(self) -> EventStream:
        client = self._client
        if client.lost:
            raise BrokerLost(client.lost)
        self._number = client.watch.subscribe(self._take, *self._filter)
        self._streams.add(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.watch.unsubscribe(self._number)
        self._streams.discard(self)
        self.end()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Any:
        if self._number < 0:
            raise UsageError("open the events first: async with session.events(...) as events")
        while not self._waiting:
            if self._missed:
                return self._tell_missed()
            if self._ended:
                raise StopAsyncIteration
            self._wanted = asyncio.get_running_loop().create_future()
            await self._wanted
        return self._waiting.popleft()

    def end(self) -> None:
        """Let the iterator end after the events that have arrived."""
        self._ended = True
        self._wake()

    def _tell_missed(self) -> ev.EventsMissed:
        count, (first, at) = self._missed, self._first_missed
        self._missed = 0
        return ev.EventsMissed(first, at, count, first)

    def _take(self, events: list[ev.AnyEvent]) -> None:
        room = self._room - len(self._waiting) if not self._missed else 0
        self._waiting.extend(events[:room])
        if len(events) > room:
            if not self._missed:
                self._first_missed = (events[room].number, events[room].at)
            self._missed += len(events) - room
        self._wake()

    def _wake(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None and not wanted.done():
            wanted.set_result(None)
