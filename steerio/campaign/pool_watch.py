"""The pools, watched for a campaign: their use is counted, and idle workers get work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from steerio.campaign.feeding import Feeder
from steerio.campaign.idleness import Idleness
from steerio.campaign.lasting_agents import LastingAgents
from steerio.campaign.usage import UsedTime
from steerio.errors import PoolBroken
from steerio.model.events import PoolFailed, PoolPaused, PoolResumed, PoolStalled
from steerio.model.status import PoolLoad
from steerio.session.session import Session

log = logging.getLogger("steerio.campaign")


class PoolWatch:
    """Watches the pools for one run of a campaign.

    Args:
        session: tells the loads of the pools.
        feeder: hands out entries of boards when workers are idle.
        idleness: asks the ``on_idle`` methods for work then.
        agents: begins and ends loops that follow a pool.
        fail: called with the error if a pool is broken that the campaign uses.
        look_if_quiet: ends the campaign if nothing can happen any more.
        told: called with a pool that was paused or resumed, and the number of that event.
    """

    def __init__(
        self,
        session: Session,
        feeder: Feeder,
        idleness: Idleness,
        agents: LastingAgents,
        *,
        fail: Callable[[Exception], None],
        look_if_quiet: Callable[[], None],
        told: Callable[[str, int], None],
    ) -> None:
        self.used = UsedTime(asyncio.get_running_loop().time())
        """The time for which workers were there, and their busy share of it."""
        self._session = session
        self._feeder = feeder
        self._idleness = idleness
        self._agents = agents
        self._fail = fail
        self._look_if_quiet = look_if_quiet
        self._told = told
        self._seen: dict[str, PoolLoad] = {}

    def __repr__(self) -> str:
        return f"<PoolWatch of {self._session!r}>"

    def follow(self) -> None:
        """Follow the changes of the pools, until `close`."""
        self._session.client.watch.on_pools(self._changed, idle=bool(self._idleness))

    def close(self) -> None:
        """Stop following them."""
        self._session.client.watch.off_pools(self._changed)

    def look(self) -> None:
        """Count the time for which workers were there."""
        self.used.look(self._session.client.watch.pools, asyncio.get_running_loop().time())

    async def watch_failures(self) -> None:
        """Fail if a pool is broken that the campaign uses; warn if one can do nothing for now."""
        kinds = (PoolFailed, PoolStalled, PoolPaused, PoolResumed)
        async with self._session.events(*kinds) as events:
            async for event in events:
                if isinstance(event, PoolPaused | PoolResumed):
                    self._told(event.pool, event.number)
                    continue
                if not self._uses(event.pool):
                    continue
                if isinstance(event, PoolFailed):
                    self._fail(PoolBroken(event.pool, event.reason))
                elif self._session.client.is_remote:
                    log.warning("nothing can go on: %s", event.reason)

    def _uses(self, pool: str) -> bool:
        """Whether tasks, boards or agents of this campaign need workers of a pool."""
        return self._idleness.uses(pool) or self._feeder.uses(pool) or self._agents.uses(pool)

    def _changed(self) -> None:
        self.look()
        pools = dict(self._session.client.watch.pools)
        if pools != self._seen:  # they are told now and then although they are the same
            self._seen = pools
            self._feeder.changed()
            self._agents.follow_pools()
            self._look_if_quiet()  # the last worker of a pool may have left
        else:
            self._feeder.feed()
        if self._idleness:
            self._idleness.ask()
            self._look_if_quiet()
