"""A campaign that notes which pools it finds when it begins, and goes by them at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import steerio
from steerio import Campaign, PoolLoad, agent, task


@task(pool="batch")
def once(x: int) -> int:
    time.sleep(0.05)
    return x


@task(pool="service")
def again(x: int) -> int:
    return x


def by_night(pools: Mapping[str, PoolLoad]) -> dict[str, int]:
    """Share workers out as the rule of that name in docs/how-to/move-workers.md does."""
    total = pools["batch"].at_home + pools["service"].at_home
    batch = total - 2 if pools["service"].queued == 0 else total // 2
    return {"batch": batch, "service": total - batch}


class Beginning(Campaign):
    """Submits a task for each worker that it finds, follows a rule, and ends."""

    workers: ClassVar = {"batch": 3, "service": 1}

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self.values: list[int] = []

    def mark(self, when: str) -> None:
        self.found[when] = {name: [load.workers, load.at_home] for name, load in self.pools.items()}

    async def setup(self) -> None:
        self.mark("setup")
        loads = [load for load in self.pools.values() if load.workers]
        tasks = self.map(once, range(sum(load.workers for load in loads)))
        self.values = [await each for each in tasks]

    @agent
    async def share_out(self) -> None:
        self.mark("agent")
        following = asyncio.ensure_future(self.pools.follow(by_night, settle_s=0.0))
        while self.pools["service"].workers != 2:
            await self.pools.changed()
        following.cancel()

    async def finish(self) -> None:
        self.mark("finish")
        print("found", json.dumps([self.found, self.values]), flush=True)  # noqa: T201 - a test reads it


if __name__ == "__main__":
    steerio.run(Beginning())
