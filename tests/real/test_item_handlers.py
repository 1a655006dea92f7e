"""Handlers of items, loops and chains on real workers, some of which are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

import steerio
from steerio import Campaign, FailedChain, FinishedChain, StreamedItem, agent, on_item, task

pytestmark = pytest.mark.borders


@task(retries={"lost": 3})
def trajectory(steps: int, folder: str) -> Iterator[bytes]:
    for step in range(steps):
        if step == 40 and not (killed := Path(folder, "killed")).exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield bytes([step]) * (1 if step % 10 else 3_000_000)  # some by the store


@task
def double(x: int) -> int:
    if x % 5 == 4:
        raise ValueError(x)
    return 2 * x


class Replicas(Campaign):
    workers: ClassVar = {"default": 2}

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.frames: list[tuple[int, int, int]] = []
        self.loops: dict[int, int] = {}
        self.chains: list[Any] = []

    async def setup(self) -> None:
        self.submit(trajectory, 60, self.folder)

    @on_item(trajectory)
    async def follow(self, item: StreamedItem) -> None:
        if item.index == 0:
            self.frames.clear()
        self.frames.append((item.attempt, item.index, item.value[0]))
        await asyncio.sleep(0)

    @agent(per_worker="default")
    async def walk(self, index: int) -> None:
        for step in range(20):
            self.loops[index] = await self.run(double, 10 * step)

    @agent
    async def refine(self) -> None:
        async for outcome in self.run_chains(range(40), self.twice, limit=4):
            self.chains.append(outcome)

    async def twice(self, x: int) -> int:
        return int(await self.run(double, await self.run(double, x)))


def test_a_killed_worker_leaves_whole_items_loops_and_chains(tmp_path: Path) -> None:
    campaign = steerio.run(Replicas(str(tmp_path)), run_dir=tmp_path / "run", progress="off")
    assert campaign.frames == [(2, step, step) for step in range(60)]
    assert campaign.loops == {0: 380, 1: 380}
    outcomes = {each.item: each for each in campaign.chains}
    assert len(outcomes) == len(campaign.chains) == 40
    for x, outcome in outcomes.items():
        if x % 5 == 4 or 2 * x % 5 == 4:
            assert isinstance(outcome, FailedChain)
        else:
            assert outcome == FinishedChain(x, 4 * x)


class Finishing(Campaign):
    """Stops, and goes on with its chain after a decision in a thread."""

    workers: ClassVar = {"default": 1}
    found = 0

    @agent
    async def search(self) -> None:
        x = await self.run(double, 5)
        self.stop(finish_chains=True)
        self.found = await self.run(triple, await self.offload(chosen, x))


@task
def triple(x: int) -> int:
    return 3 * x


def chosen(x: int) -> int:
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        pass
    return x + 1


def test_a_chain_is_finished_although_nothing_but_a_thread_is_under_way() -> None:
    assert steerio.run(Finishing(), progress="off").found == 33
