"""The facts on pools: the workers that they get, lend and lose, and orders about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from steerio.core import deadlock, draining, empty_pools, looks, move_requests, pausing
from steerio.core.assigning import assign
from steerio.core.shown_state import ShownState
from steerio.model.moving import How


class PoolFacts(ShownState):
    """The part of `Core` that takes in which workers pools are to have."""

    def expect_workers(self, pools: Mapping[str, int], now: float) -> None:
        """Take in how many workers pools are to have, of nodes that are about to join."""
        empty_pools.expect_workers(self.cluster, pools, now)

    def fail_pool(self, pool: str, reason: str, now: float) -> None:
        """Give up a pool: all tasks that are queued for it are lost, and so are later ones."""
        empty_pools.fail(self.cluster, self.cluster.roster.pools[pool], reason, now)

    def fail_pools(self, reason: str, now: float) -> None:
        """Give up the pools that have no worker: none will come any more."""
        empty_pools.fail_without_workers(self.cluster, reason, now)

    def pause(
        self, client: int, request: int, pool: str, why: str, now: float, *, again: bool = False
    ) -> str:
        """Hand out no queued task of a pool; returns why that cannot be, or nothing."""
        refusal = pausing.pause(self.cluster, client, request, pool, why, now, again=again)
        assign(self.cluster, now)
        return refusal

    def resume(self, pool: str, why: str, now: float) -> str:
        """Hand out the tasks of a paused pool again; returns why that cannot be, or nothing."""
        refusal = pausing.resume(self.cluster, pool, why, now)
        assign(self.cluster, now)
        return refusal

    # -- moves ------------------------------------------------------------------------------------

    def ask_move(
        self,
        client: int,
        request: int,
        source: str,
        target: str,
        count: int,
        now: float,
        *,
        lease: bool = False,
        together: bool = False,
        how: How = "drain",
        preempt_after_s: float | None = None,
    ) -> str:
        """Begin to move workers; returns why that can never be, or nothing.

        Args:
            client: the peer that asks.
            request: its own number for the move.
            source: the pool that the workers leave.
            target: the pool that they join.
            count: how many workers.
            now: the time, in seconds on the broker's clock.
            lease: whether they return at `end_move`.
            together: whether none moves before all can.
            how: ``drain`` (wait for running tasks) or ``preempt`` (queue them again).
            preempt_after_s: seconds after which ``drain`` becomes ``preempt``.
        """
        move = move_requests.ask(
            self.cluster,
            client,
            request,
            source,
            target,
            count,
            lease=lease,
            together=together,
            how=how,
            preempt_after_s=preempt_after_s,
        )
        if isinstance(move, str):
            return move
        assign(self.cluster, now)
        move_requests.insist(self.cluster, move, preempt_after_s, now)
        return ""

    def await_move(
        self, client: int, request: int, count: int, holds: Iterable[int], by: str, now: float
    ) -> None:
        """An agent waits until a move has so many workers, and keeps leases until then."""
        if deadlock.await_move(self.cluster, client, request, count, holds, by):
            looks.end_deadlocks(self.cluster, now)

    def end_move(self, client: int, request: int, how: How, now: float) -> None:
        """Undo a move that is not granted yet, or take back leased workers."""
        move_requests.end(self.cluster, client, request, how, now)
        assign(self.cluster, now)

    # -- nodes that are left ----------------------------------------------------------------------

    def drain(
        self,
        client: int,
        request: int,
        node: str,
        now: float,
        *,
        within_s: float | None = None,
        retire: bool = False,
    ) -> str:
        """Begin to drain a node, or go on; returns why that cannot be, or nothing."""
        refusal = draining.ask(
            self.cluster, client, request, node, now, within_s=within_s, retire=retire
        )
        assign(self.cluster, now)
        return refusal

    def undrain(self, node: str, now: float) -> str:
        """Let a node take tasks again; returns why that cannot be, or nothing."""
        return draining.undo(self.cluster, node, now)
