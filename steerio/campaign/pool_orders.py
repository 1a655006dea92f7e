"""The orders to the pools of a campaign's broker: pauses, and moves of workers.

Each is answered when it has taken effect, or when that takes long: no order waits for another, and
none for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from steerio.campaign.prepared_orders import Concludes, OrderedRun, PreparedOrder, order_by
from steerio.errors import SteerioError, UnknownPool, UsageError
from steerio.model import campaign_orders as co
from steerio.model.bounds import REASON_CHARACTERS, cut, named
from steerio.model.showing import counted
from steerio.model.status import PoolLoad
from steerio.session.moves import Move, check_count

EFFECT_S = 60.0
"""Longest wait of an order for its effect."""
LOOK_S = 10.0
"""Longest wait for the loads of pools, which its answer tells."""
ENDED = "the campaign has ended before it took effect"


class PoolOrders:
    """Carries out the orders to pools, by the session of one campaign.

    Args:
        run: its run.
    """

    def __init__(self, run: OrderedRun) -> None:
        self._run = run
        self._under_way: dict[asyncio.Task[None], Concludes] = {}

    def __repr__(self) -> str:
        return f"<PoolOrders: {len(self._under_way)} under way>"

    def close(self) -> None:
        """Wait for no effect any more."""
        under_way, self._under_way = self._under_way, {}
        for task, done in under_way.items():
            task.cancel()
            done(ENDED, refused=True)

    def pause(self, order: co.PausePools | co.ResumePools, given: co.GivenOrder) -> PreparedOrder:
        """Prepare to pause or resume pools.

        Raises:
            UsageError: there is no such pool.
        """
        pools = self._run.session.pools
        names = [named(pool, "the name of a pool") for pool in order.pools] or list(pools)
        names = list(dict.fromkeys(names))
        for pool in names:
            if pool not in pools:
                raise UnknownPool(pool, list(pools))
        reason = cut(order_by(given.by, given.reason), REASON_CHARACTERS)
        pauses = isinstance(order, co.PausePools)
        begin, verb = (pools.pause, "pause") if pauses else (pools.resume, "resume")

        async def carry_out(done: Concludes) -> None:
            try:
                async with asyncio.timeout(EFFECT_S):
                    await begin(*names, reason=reason)
            except TimeoutError:
                done(f"{_in_short(names)} did not {verb} within {EFFECT_S:g} s: the order stands, "
                     "and takes effect when busy workers have answered", refused=True)  # fmt: skip
                return
            await self._look()
            done(self._loads(names, _paused if pauses else _resumed))

        would = f"would {verb} {self._loads(names, _now)}" if names else "there is no pool"
        return PreparedOrder(would, self._later(carry_out), subjects=_subjects(names))

    def move(self, order: co.MoveWorkers) -> PreparedOrder:
        """Prepare to move workers.

        Raises:
            UsageError: there are no such pools, or not as many workers.
        """
        session, source, target = self._run.session, order.source, order.target
        pools = session.pools
        check_count(order.workers)
        if source not in pools:
            raise UnknownPool(named(source, "the pool that workers come from"), list(pools))
        session.check_pool(named(target, "the pool that workers go to"))
        load = pools[source]
        if source == target:
            raise UsageError(f"workers of {source} are there already: name another pool")
        if load.at_home < order.workers:
            there = counted(load.at_home, "worker")
            raise UsageError(f"{source} has {there} of its own, and {order.workers} cannot move")

        async def carry_out(done: Concludes) -> None:
            move = pools.move(source, target, order.workers)
            waiting = asyncio.ensure_future(_wait_for(move))
            try:
                ended, _ = await asyncio.wait({waiting}, timeout=EFFECT_S)
            except asyncio.CancelledError:
                waiting.cancel()
                raise
            if ended:
                names = waiting.result()
                done(f"{len(names)} moved from {source} to {target}: {', '.join(names)}")
                return
            done(
                f"{len(move.workers)} of {order.workers} moved from {source} to {target}; the "
                "others go when their running tasks have ended"
            )
            await waiting

        would = (
            f"would move {counted(order.workers, 'worker')} from {source} to {target}: {source} "
            f"has {load.at_home}, {load.idle} of them idle"
        )
        return PreparedOrder(would, self._later(carry_out), subjects=_subjects([source, target]))

    def _later(
        self, carry_out: Callable[[Concludes], Coroutine[Any, Any, None]]
    ) -> Callable[[Concludes], None]:
        """Return a function that begins to carry an order out, and does not wait for its end."""

        def begin(done: Concludes) -> None:
            over = False

            def once(words: str, **more: Any) -> None:
                nonlocal over
                if not over:
                    over = True
                    done(words, **more)

            async def run() -> None:
                try:
                    await carry_out(once)
                except SteerioError as error:
                    once(str(error), refused=True)
                finally:
                    self._under_way.pop(task, None)

            task = asyncio.get_running_loop().create_task(run(), name="steerio order")
            self._under_way[task] = once

        return begin

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(LOOK_S):
                await self._run.session.pools.look()
        except TimeoutError:
            pass  # the loads are those of a moment ago

    def _loads(self, names: Iterable[str], words: Callable[[str, PoolLoad], str]) -> str:
        pools = self._run.session.pools
        return "; ".join(words(name, pools[name]) for name in names if name in pools)


async def _wait_for(move: Move) -> list[str]:
    return await move


def _in_short(names: list[str]) -> str:
    return f"pool {names[0]}" if len(names) == 1 else counted(len(names), "pool")


def _subjects(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"pool {name}" for name in names)


def _paused(name: str, load: PoolLoad) -> str:
    return f"{name} is paused: {load.running} running, {load.queued} queued"


def _resumed(name: str, load: PoolLoad) -> str:
    return f"{name} goes on: {load.queued} queued"


def _now(name: str, load: PoolLoad) -> str:
    return f"{name} ({load.running} running, {load.queued} queued)"
