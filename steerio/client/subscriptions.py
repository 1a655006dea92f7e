"""A client's side of what it watches: events, as it has subscribed to them, and the pools."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from steerio.client.line import Line
from steerio.edge.record.journal import SHOWN_BYTES
from steerio.errors import BrokerLost
from steerio.model import messages as ms
from steerio.model.bounds import NAME_CHARACTERS, cut
from steerio.model.events import AnyEvent
from steerio.model.status import PoolLoad


class ClientWatch:
    """What one client is told without asking each time, and who wants to hear of it."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self.pools: dict[str, PoolLoad] = {}
        """The pools as last heard of."""
        self.subscribers: dict[int, Callable[[list[AnyEvent]], None]] = {}
        self._line = line
        self._loop = loop
        self._subscriptions = 0
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
        self._line.send(ms.Subscribe(number, types, task_type, pool, since))
        self._subscriptions = number
        self.subscribers[number] = callback
        return number

    def unsubscribe(self, subscription: int) -> None:
        """End a subscription."""
        if self.subscribers.pop(subscription, None) is not None and not self._line.lost:
            self._line.send(ms.Unsubscribe(subscription))

    def publish(self, topic: str, body: bytes) -> None:
        """Publish a user's event to everyone's event streams; what is long arrives as nothing."""
        if not self._line.lost:
            short = body if len(body) <= SHOWN_BYTES else b""
            self._line.send(ms.Publish(cut(topic, NAME_CHARACTERS), short))

    # -- pools --------------------------------------------------------------------------------

    def on_pools(self, callback: Callable[[], None], *, idle: bool) -> None:
        """Call back whenever `pools` is heard of: on changes of size, else now and then.

        With ``idle`` also whenever the number of idle workers may have changed.
        """
        self._watches_idle |= idle
        self._line.send(ms.WatchPools(self._watches_idle))
        self._on_pools.append(callback)

    def off_pools(self, callback: Callable[[], None]) -> None:
        """Call this back no more, if it would have been."""
        if callback in self._on_pools:
            self._on_pools.remove(callback)

    async def pools_changed(self, *, ask: bool = False) -> None:
        """Wait until `pools` is heard of; with ``ask``, ask the broker for it.

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
        """Have the sinks of tasks told, from now on, where these are."""
        if not self._watches_tasks and not self._line.lost:
            self._watches_tasks = True
            self._line.send(ms.WatchTasks())

    # -- from the client ----------------------------------------------------------------------

    def pools_told(self, message: ms.PoolStatus) -> None:
        """Take in how the pools are."""
        self.pools = message.pools
        for waiter in self._awaiting_pools:
            if not waiter.done():
                waiter.set_result(None)
        for callback in list(self._on_pools):
            callback()

    def lose(self, reason: str) -> None:
        """Hear no more: the broker has ended."""
        for waiter in self._awaiting_pools:
            if not waiter.done():
                waiter.set_exception(BrokerLost(reason))
