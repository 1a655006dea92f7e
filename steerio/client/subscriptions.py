"""The news that a client has asked for: events that it subscribed to, and the pools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import structs

from steerio.client.line import Line
from steerio.edge.record.record_files import SHOWN_BYTES
from steerio.errors import BrokerLost
from steerio.model import messages as ms
from steerio.model.bounds import NAME_CHARACTERS, cut
from steerio.model.events import AnyEvent
from steerio.model.status import PoolLoad


class ClientWatch:
    """The news that one client gets without asking each time, and the callbacks that want them."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self.pools: dict[str, PoolLoad] = {}
        """The pools, by the last news."""
        self.subscribers: dict[int, Callable[[list[AnyEvent]], None]] = {}
        self._line = line
        self._loop = loop
        self._subscriptions = 0
        self._asked: dict[int, ms.Subscribe] = {}
        self._seen: dict[int, int] = {}
        """The number of the last event that came, by subscription."""
        self._on_pools: list[Callable[[], None]] = []
        self._awaiting_pools: set[asyncio.Future[None]] = set()
        self._watches_idle = False
        self._watches_tasks = False

    def __repr__(self) -> str:
        return f"<ClientWatch: {len(self.subscribers)} subscriptions, {len(self.pools)} pools>"

    # -- events -------------------------------------------------------------------------------

    def subscribe(
        self,
        callback: Callable[[list[AnyEvent]], None],
        types: list[str] | None,
        task_type: str | None,
        pool: str | None,
        since: int | None,
    ) -> int:
        """Have events delivered to ``callback``; returns the subscription's number."""
        number = self._subscriptions + 1
        message = ms.Subscribe(number, types, task_type, pool, since)
        self._line.send(message)
        self._subscriptions = number
        self._asked[number] = message
        self.subscribers[number] = callback
        return number

    def unsubscribe(self, subscription: int) -> None:
        """End a subscription."""
        if self.subscribers.pop(subscription, None) is not None:
            del self._asked[subscription]
            self._seen.pop(subscription, None)
            if not self._line.lost:
                self._line.send(ms.Unsubscribe(subscription))

    def publish(self, topic: str, body: bytes) -> None:
        """Publish a user's event to all event streams; a body that is too long arrives empty."""
        if not self._line.lost:
            short = body if len(body) <= SHOWN_BYTES else b""
            self._line.send(ms.Publish(cut(topic, NAME_CHARACTERS), short))

    # -- pools --------------------------------------------------------------------------------

    def on_pools(self, callback: Callable[[], None], *, idle: bool) -> None:
        """Call back with each news of `pools`: they come on changes of size, else now and then.

        With ``idle`` they come also when the number of idle workers may have changed.
        """
        self._watches_idle |= idle
        self._line.send(ms.WatchPools(self._watches_idle))
        self._on_pools.append(callback)

    def off_pools(self, callback: Callable[[], None]) -> None:
        """Drop this callback, if it is registered."""
        if callback in self._on_pools:
            self._on_pools.remove(callback)

    async def pools_changed(self, *, ask: bool = False) -> None:
        """Wait for news of `pools`; with ``ask``, ask the broker for them.

        Raises:
            BrokerLost: the broker has ended.
        """
        if self._line.lost:
            raise BrokerLost(self._line.lost)
        if ask:
            self._line.send(ms.WatchPools(self._watches_idle))
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._awaiting_pools.add(waiter)
        try:
            await waiter
        finally:
            self._awaiting_pools.discard(waiter)

    # -- tasks --------------------------------------------------------------------------------

    def watch_tasks(self) -> None:
        """Have the sinks of tasks told, from now on, when these are queued or running."""
        if not self._watches_tasks and not self._line.lost:
            self._watches_tasks = True
            self._line.send(ms.WatchTasks())

    # -- from the client ----------------------------------------------------------------------

    def restate(self, before: int | None) -> None:
        """Ask a broker again for all news.

        Args:
            before: the number of the last event before its own, if it is another than before: it
                may give out later numbers again, which an earlier one had not recorded yet.
        """
        for number, message in self._asked.items():
            since = self._seen.get(number, message.since if before is None else before)
            if since is not None and before is not None:
                since = min(since, before)
            self._line.send(structs.replace(message, since=since))
        if self._on_pools:
            self._line.send(ms.WatchPools(self._watches_idle))
        if self._watches_tasks:
            self._line.send(ms.WatchTasks())

    def happened(self, message: ms.Events) -> None:
        """Take in events of a subscription."""
        subscriber = self.subscribers.get(message.subscription)
        if subscriber is not None:
            if message.events:
                self._seen[message.subscription] = message.events[-1].number
            subscriber(message.events)

    def pools_told(self, message: ms.PoolStatus) -> None:
        """Take in the broker's news of the pools."""
        self.pools = message.pools
        self.wake()
        for callback in list(self._on_pools):
            callback()

    def wake(self) -> None:
        """Wake all that wait for news of the pools, also if something beside them has changed."""
        for waiter in self._awaiting_pools:
            if not waiter.done():
                waiter.set_result(None)

    def lose(self, reason: str) -> None:
        """End all waits: the broker has ended."""
        for waiter in self._awaiting_pools:
            if not waiter.done():
                waiter.set_exception(BrokerLost(reason))
