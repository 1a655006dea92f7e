"""Blocks: batch jobs that come and go with the tasks of a session.

`follow_blocks` looks at the pools, the nodes and the batch jobs, has `BlockSteps` decide, and acts:
it submits jobs, cancels those that wait, and lets the nodes of idle ones retire, whereupon their
jobs end by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from steerio.client.client import Client
from steerio.core.block_rule import BlockSeen, BlockSteps, Phase, wanted
from steerio.edge.system.threads import in_thread
from steerio.errors import BatchFailed, BrokerLost, UsageError
from steerio.launch.batch_jobs import Launched, cancel, launch, states_of
from steerio.launch.batch_script import Wish
from steerio.launch.batch_systems import BatchJob, batch_system
from steerio.launch.workers import check_workers, parse_workers
from steerio.model.status import NodeStatus, Status
from steerio.session.pools import Pools
from steerio.session.rules import demand

CANCEL_S = 10.0
"""Longest wait for the batch system when the last blocks are cancelled, which holds the loop."""
SUBMITTING_S = CANCEL_S / 2
"""The part of it for one that is just being submitted."""

log = logging.getLogger("steerio.session")


class Blocks(Wish, frozen=True, kw_only=True):
    """Batch jobs that are submitted and given up as tasks need their workers.

    Attributes:
        scheduler: the batch system: ``slurm``, ``pbs``, ``lsf`` or ``flux``.
        walltime_s: how long each block runs, in seconds.
        workers: of each node, as ``steerio launch --workers`` takes them: ``simulate=4,learn=1``.
        nodes: of each block.
        least, most: the fewest and the most blocks at a time.
        idle_s: seconds for which a block was not needed before it is given up.
        look_s: seconds between two looks at the jobs, each of which is one question for all.
        detach: whether blocks stay, to their walltime, when they are no longer followed.
        queue, account, cpus, options, setup, launcher: as of ``steerio launch``.
    """

    scheduler: str
    least: int = 0
    most: int = 1
    idle_s: float = 300.0
    look_s: float = 15.0
    detach: bool = False

    def check(self) -> None:
        """Check each of the attributes.

        Raises:
            UsageError: one cannot be.
        """
        batch_system(self.scheduler)
        super().check()
        if not (type(self.least) is type(self.most) is int and 0 <= self.least <= self.most):
            raise UsageError(
                f"least and most are whole numbers, 0 <= least <= most, not {self.least!r} and "
                f"{self.most!r}"
            )
        for name in ("idle_s", "look_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError(
                    f"{name} is a number of seconds above 0, not {getattr(self, name)!r}"
                )


class BatchDoor(Protocol):
    """The batch system, as the follower of blocks has it."""

    async def launch(self) -> Launched:
        """Submit a block.

        Raises:
            BatchFailed: it was not taken.
        """
        ...

    async def states(self, blocks: Sequence[Launched]) -> Mapping[str, BatchJob]:
        """Return the states of blocks, by their jobs.

        Raises:
            BatchFailed: there is no answer.
        """
        ...

    async def cancel(self, blocks: Sequence[Launched]) -> None:
        """Cancel blocks.

        Raises:
            BatchFailed: the order was not taken.
        """
        ...

    def cancel_at_once(self, blocks: Sequence[Launched]) -> None:
        """Cancel blocks, when nothing can be awaited any more.

        Raises:
            BatchFailed: the order was not taken.
        """
        ...


class RealBatch:
    """The batch system of this machine, for the broker of a run directory."""

    def __init__(self, blocks: Blocks, run_dir: Path) -> None:
        self._system = batch_system(blocks.scheduler)
        self._blocks = blocks
        self._run_dir = run_dir
        self._launching = threading.Lock()
        self._untold: list[Launched] = []
        """Those that a thread has submitted, and of which none has heard yet."""
        self._closed = threading.Event()
        """Set when the last ones are cancelled, so that no other may stay."""

    async def launch(self) -> Launched:
        """Submit a block."""
        launched = await in_thread(self._launch)
        self._untold.remove(launched)
        return launched

    def _launch(self) -> Launched:
        with self._launching:
            if self._closed.is_set():
                raise BatchFailed(self._system.name, "no more blocks are submitted to it")
            launched = launch(self._run_dir, self._system, self._blocks)
            self._untold.append(launched)
            if self._closed.is_set():  # which was set while the batch system was slow
                self._cancel_late(launched)
        return launched

    def _cancel_late(self, launched: Launched) -> None:
        try:
            cancel([launched])
        except BatchFailed as error:
            log.warning("%s; look for yourself after the job %s", error, launched.job)
        else:
            log.warning(
                "block %s (job %s) came late, and is cancelled", launched.name, launched.job
            )

    async def states(self, blocks: Sequence[Launched]) -> Mapping[str, BatchJob]:
        """Return the states of blocks, by their jobs."""
        return await in_thread(states_of, blocks)

    async def cancel(self, blocks: Sequence[Launched]) -> None:
        """Cancel blocks."""
        await in_thread(cancel, blocks)

    def cancel_at_once(self, blocks: Sequence[Launched]) -> None:
        """Cancel blocks, and one that is just being submitted, and hold the loop meanwhile."""
        until = time.monotonic() + CANCEL_S
        free = self._launching.acquire(timeout=SUBMITTING_S)
        self._closed.set()
        if free:
            self._launching.release()
        else:
            log.warning(
                "the batch system %s is slow to take the last block, which is cancelled once it "
                "has; if this process ends before, look for yourself after that job",
                self._system.name,
            )
        cancel([*blocks, *self._untold], until - time.monotonic())


class _Followed:
    """The blocks that one follower has submitted, and which have not ended."""

    def __init__(self, client: Client, pools: Pools, blocks: Blocks, door: BatchDoor) -> None:
        workers = check_workers(parse_workers(blocks.workers))
        self.alive: dict[str, Launched] = {}
        self._client = client
        self._pools = pools
        self._blocks = blocks
        self._door = door
        self._brings = {pool: n * blocks.nodes for pool, n in workers.items() if n}
        self._steps = BlockSteps(blocks.least, blocks.most, blocks.idle_s)
        self._come: set[str] = set()
        self._leaving: set[str] = set()
        self._retiring: set[asyncio.Task[None]] = set()

    async def step(self) -> None:
        """Look at all, and act.

        Raises:
            BatchFailed: the batch system has refused something, or does not answer.
            BrokerLost: the broker has ended.
        """
        states: Mapping[str, BatchJob] = {}
        if self.alive:
            states = await self._door.states(list(self.alive.values()))
        status = await self._client.requests.status(None)
        now = asyncio.get_running_loop().time()  # a broker that is away answers minutes later
        self._bury(states, now)
        nodes = {name: self._nodes_of(name, status.nodes) for name in self.alive}
        seen = [
            BlockSeen(name, self._phase(name, nodes[name]), _busy(nodes[name])) for name in nodes
        ]
        if any(block.phase == "up" for block in seen):
            self._steps.worked()
        change = self._steps.decide(seen, self._wanted(status, nodes), now)
        waiting = {block.name for block in seen if block.phase == "waiting"}
        for name in change.fewer:
            self._leaving.add(name)
            log.info("block %s (job %s) is given up", name, self.alive[name].job)
            if name in waiting:
                await self._door.cancel([self.alive[name]])
            else:
                self._retire(name, nodes[name])
        for _ in range(change.more):
            launched = await self._door.launch()
            self.alive[launched.name] = launched
            log.info("block %s (job %s) is submitted", launched.name, launched.job)

    def failed(self, error: BatchFailed, now: float) -> float:
        """Take in that the batch system has refused, and tell of it; returns the pause."""
        pause_s = self._steps.failed(now)
        log.warning("%s; it is asked again in %g s", error, pause_s)
        return pause_s

    def close(self) -> None:
        """Cancel the blocks that there are, unless they are to stay."""
        for task in self._retiring:
            task.cancel()
        if not self._blocks.detach:
            try:
                self._door.cancel_at_once(list(self.alive.values()))
            except BatchFailed as error:
                jobs = ", ".join(each.job for each in self.alive.values())
                log.warning("%s; look for yourself after the jobs %s", error, jobs)

    def _bury(self, states: Mapping[str, BatchJob], now: float) -> None:
        for name, launched in list(self.alive.items()):
            state = states.get(launched.job)
            if state is None or state.state != "ended":
                continue
            del self.alive[name]
            if name not in self._come | self._leaving:
                pause_s = self._steps.failed(now)
                log.warning(
                    "block %s (job %s) has ended before its nodes came%s: its output says more, "
                    "in the folder batch of the run directory; no other is submitted for %g s",
                    *(name, launched.job, f" ({state.reason})" if state.reason else "", pause_s),
                )

    def _nodes_of(self, name: str, nodes: Mapping[str, NodeStatus]) -> dict[str, NodeStatus]:
        """Return the nodes of a block: the broker has made their names unique."""
        own = re.compile(rf"{re.escape(name)}(~\d+)?")
        return {node: status for node, status in nodes.items() if own.fullmatch(node)}

    def _phase(self, name: str, nodes: Mapping[str, NodeStatus]) -> Phase:
        if nodes:
            self._come.add(name)
        if name in self._leaving:
            return "leaving"
        if not nodes:
            return "leaving" if name in self._come else "waiting"
        return "up" if any(node.state == "up" for node in nodes.values()) else "leaving"

    def _wanted(self, status: Status, nodes: Mapping[str, Mapping[str, NodeStatus]]) -> int:
        ours = {node for each in nodes.values() for node in each}
        others = dict.fromkeys(self._brings, 0)
        for worker in status.workers:
            if worker.pool in others and worker.node not in ours:
                others[worker.pool] += 1
        loads = self._pools.with_boards(status.pools)
        tasks = {pool: demand(load) for pool, load in loads.items()}
        return wanted(tasks, others, self._brings)

    def _retire(self, block: str, nodes: Mapping[str, NodeStatus]) -> None:
        for node in nodes:
            task = asyncio.create_task(self._retire_node(block, node), name=f"retire {node}")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def _retire_node(self, block: str, node: str) -> None:
        try:
            news = await self._client.requests.drain_node(node, None, retire=True)
        except BrokerLost as error:
            why = str(error)
        else:
            if news.state in ("drained", "left"):
                return
            why = news.reason or news.state
        log.warning("node %s of block %s does not retire: %s", node, block, why)
        self._leaving.discard(block)


def _busy(nodes: Mapping[str, NodeStatus]) -> int:
    return sum(node.busy for node in nodes.values())


async def follow_blocks(client: Client, pools: Pools, blocks: Blocks, door: BatchDoor) -> None:
    """Submit and give up blocks, until cancelled; see ``Nodes.follow``.

    Raises:
        BrokerLost: the broker has ended.
    """
    loop = asyncio.get_running_loop()
    followed = _Followed(client, pools, blocks, door)
    with contextlib.closing(followed):
        while True:
            pause_s = blocks.look_s
            try:
                await followed.step()
            except BatchFailed as error:
                pause_s = max(pause_s, followed.failed(error, loop.time()))
            await asyncio.sleep(pause_s)
