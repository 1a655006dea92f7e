"""The sharing of events and of the sizes of pools with the clients that follow them."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from steerio.broker.peers import Peers, task_states
from steerio.core.core import Core
from steerio.model.events import AnyEvent
from steerio.model.messages import PoolStatus

SHARE_POOLS_S = 0.1
"""Least time between two messages on other changes to clients that watch the sizes of pools."""


class Sharing:
    """Tells clients of events that they subscribe to, of the states of their tasks, and of pools.

    Args:
        core: the core, whose pools they are.
        peers: the clients.
        now: the time, in seconds on the broker's clock.
    """

    def __init__(self, core: Core, peers: Peers, now: float) -> None:
        self.pools_at = inf
        """When to tell of pools again at the latest."""
        self._core = core
        self._peers = peers
        self._sizes: list[int] = []
        """The sizes of pools of which clients were told last."""
        self._next_pools = now

    def share_events(self, fresh: Sequence[AnyEvent]) -> None:
        """Tell clients of the events that they follow."""
        states: dict[int, dict[int, bool]] | None = None
        for peer in self._peers.following.values():
            for subscription in peer.subscriptions.values():
                subscription.share(peer, fresh)
            if peer.watches_tasks:
                states = task_states(fresh) if states is None else states
                peer.send_states(list(states.get(peer.client_number, {}).items()))

    def tell_of_missed(self, now: float) -> None:
        """Tell clients that missed events, if nothing came since that could have told them."""
        shared = self._core.events_taken
        for peer in self._peers.following.values():
            for subscription in peer.subscriptions.values():
                subscription.catch_up(peer, shared, now + self._core.epoch)

    def share_pools(self, now: float) -> None:
        """Tell clients that watch the pools: of sizes at once, of the rest now and then."""
        sizes = [pool.ready for pool in self._core.pools.values()]
        due = sizes != self._sizes or now >= self._next_pools
        told = self._peers.clients if due else self._peers.watching_idle
        if told:
            status = PoolStatus({n: p.load() for n, p in self._core.pools.items()})
            for peer in told.values():
                peer.send(status)
        if due:
            self._sizes, self._next_pools = sizes, now + SHARE_POOLS_S
        self.pools_at = inf if due else self._next_pools  # the last change is told, too
