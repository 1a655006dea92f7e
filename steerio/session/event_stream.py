"""Event streams: subscriptions as async iterators."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any

from steerio.core.eventlog import KEPT_EVENTS
from steerio.errors import BrokerLost, UsageError
from steerio.model import events as ev

if TYPE_CHECKING:
    from steerio.session.session import Session

EVENTS_AHEAD = 10_000
"""Events that wait for a slow subscriber before it begins to miss some."""


class EventStream:
    """A subscription: an async context manager, and an async iterator for one reader inside it.

    A subscriber that falls more than ``EVENTS_AHEAD`` events behind gets an
    ``EventsMissed`` in place of those that it missed.  One that asked for earlier events has
    room for all that the broker keeps beside that.
    """

    def __init__(
        self,
        session: Session,
        types: list[str] | None,
        task_type: str | None,
        pool: str | None,
        since: int | None,
    ) -> None:
        self._session = session
        self._filter = (types, task_type, pool, since)
        self._waiting: deque[Any] = deque()
        self._missed = 0
        self._first_missed = (0, 0.0)
        self._room = EVENTS_AHEAD + (KEPT_EVENTS if since is not None else 0)
        self._wanted: asyncio.Future[None] | None = None
        self._number = -1
        self._ended = False

    async def __aenter__(self) -> EventStream:
        client = self._session.client
        if client.lost:
            raise BrokerLost(client.lost)
        self._number = client.watch.subscribe(self._take, *self._filter)
        self._session.watch_stream(self, True)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session.client.watch.unsubscribe(self._number)
        self._session.watch_stream(self, False)
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
        """Let the iterator end after what has arrived."""
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
