"""A campaign whose one worker moves between pools, and whose queues are changed.

`python -m bench.ours.moving CONTROL_FD [MODULE]`: the pool `there` preloads MODULE.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import steerio
from bench.contestant import Round, serve_async
from bench.floors import bodies
from steerio import Campaign, Task, agent, task

WAIT_S = 240.0
PER_TURN = 1_000
MODULES = [name for name in sys.argv[2:] if name]


@task(pool="here")
def noop_here(value: int) -> int:
    """Nothing."""
    return bodies.noop(value)


@task(pool="near")
def noop_near(value: int) -> int:
    """Nothing, in a pool that needs what the first one needs."""
    return bodies.noop(value)


@task(pool="there", preload=MODULES)
def noop_there(value: int) -> int:
    """Nothing, in a pool that needs more."""
    return bodies.noop(value)


class Moving(Campaign):
    """Obeys the rounds it is ordered."""

    workers: ClassVar = {"here": 1, "near": 0, "there": 0}

    def __init__(self, control_fd: int) -> None:
        self._control_fd = control_fd

    @agent
    async def obey(self) -> None:
        """Run the rounds until there are no more orders."""
        await self.run(noop_here, 0)
        rounds = {
            "trips": self.trips,
            "moves": self.moves,
            "warm": self.warm,
            "cancel": self.cancel_all,
            "rerank": self.rerank,
        }
        await serve_async(self._control_fd, rounds)

    async def trips(self, order: Round) -> dict[str, list[float]]:
        """One task at a time, each awaited before the next is submitted."""
        seconds: list[float] = []
        for number in range(order.tasks):
            began = time.perf_counter()
            await self.run(noop_here, number)
            seconds.append(time.perf_counter() - began)
        return {"seconds": seconds}

    async def moves(self, order: Round) -> dict[str, list[float]]:
        """The worker goes to and fro, and runs a task each time."""
        seconds: list[float] = []
        for _ in range(order.tasks):
            seconds.append(await self.move_and_run("here", "near", noop_near))
            seconds.append(await self.move_and_run("near", "here", noop_here))
        return {"seconds": seconds}

    async def warm(self, order: Round) -> dict[str, list[float]]:
        """The worker goes to the pool that needs more, and comes back."""
        seconds = await self.move_and_run("here", "there", noop_there)
        await self.move_and_run("there", "here", noop_here)
        return {"seconds": [seconds]}

    async def cancel_all(self, order: Round) -> dict[str, list[float]]:
        """Queue tasks where no worker is, cancel them, wait for the last one's result."""
        tasks = await self.queue(order.tasks)
        began = time.perf_counter()
        self.session.cancel(tasks)
        results = [await each.result() for each in tasks]
        seconds = time.perf_counter() - began
        if {result.ended_as for result in results} != {"cancelled"}:
            raise AssertionError("a task that was queued was not cancelled")
        return {"seconds": [seconds]}

    async def rerank(self, order: Round) -> dict[str, list[float]]:
        """Queue tasks where no worker is, rank all anew, wait until the broker has done so."""
        tasks = await self.queue(order.tasks)
        ranks: dict[Task[Any] | int, float] = {
            each: float(number * 7919 % order.tasks) for number, each in enumerate(tasks)
        }
        began = time.perf_counter()
        self.session.reprioritise(ranks)
        await self.session.status()  # orders are taken one after the other
        seconds = time.perf_counter() - began
        self.session.cancel(tasks)
        for each in tasks:
            await each.result()
        return {"seconds": [seconds]}

    async def queue(self, count: int) -> list[Task[int]]:
        """Submit tasks to a pool that has no worker, and let the broker take them in."""
        tasks: list[Task[int]] = []
        while len(tasks) < count:
            tasks += self.map(noop_near, range(min(PER_TURN, count - len(tasks))))
            await self.session.status()
        return tasks

    async def move_and_run(
        self, source: str, target: str, kind: steerio.TaskType[[int], int]
    ) -> float:
        """Ask for the move and submit a task there; seconds until its result is here."""
        async with asyncio.timeout(WAIT_S):
            began = time.perf_counter()
            move = self.pools.move(source, target, 1)
            await self.run(kind, 1)
            seconds = time.perf_counter() - began
            await move
        return seconds


def main() -> None:
    """Run it until the other side hangs up."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        folder = Path(directory) / "run"
        steerio.run(Moving(int(sys.argv[1])), run_dir=folder, progress="off")


if __name__ == "__main__":
    main()
