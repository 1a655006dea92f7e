"""Nodes as users see them: their state, and ways to drain them, and to have more by batch jobs."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from steerio.client.client import Client
from steerio.edge.system.threads import in_thread
from steerio.errors import DrainFailed, UsageError
from steerio.launch.batch_jobs import Launched, launch
from steerio.launch.batch_systems import batch_system
from steerio.model.bounds import named, seconds
from steerio.model.status import NodeStatus
from steerio.session.blocks import Blocks, RealBatch, follow_blocks
from steerio.session.pools import Pools


class Nodes:
    """The nodes of a broker: `look` at them, drain some of them, `launch` more.

    Args:
        client: of the broker.
        pools: of the broker, with the boards of a campaign, if one runs here.
        run_dir: of the broker, if it has one.
    """

    def __init__(self, client: Client, pools: Pools, run_dir: Path | None = None) -> None:
        self._client = client
        self._pools = pools
        self._run_dir = run_dir

    def __repr__(self) -> str:
        return f"<Nodes of {self._client!r}>"

    async def look(self) -> dict[str, NodeStatus]:
        """Ask the broker for its nodes and their state, by name.

        Raises:
            BrokerLost: it ended or does not answer.
        """
        return (await self._client.requests.status()).nodes

    async def drain(self, node: str, *, within_s: float | None = None) -> None:
        """Give a node no more tasks, and wait until its workers have ended their tasks.

        The workers leave their pools; the node itself stays, and `undrain` starts them again. If
        the node is lost before, the wait ends, too. Cancelling the wait, or giving it up, does not
        undo the draining.

        Args:
            node: its name.
            within_s: seconds after which tasks that still run there are stopped and queued again,
                which counts as no failure; ``None``: they are waited for.

        Raises:
            DrainFailed: there is no such node, or it was undrained meanwhile.
            UsageError: the number of seconds is out of bounds.
            BrokerLost: the broker has ended.
        """
        await self._drain(node, within_s, retire=False)

    async def retire(self, node: str, *, within_s: float | None = None) -> None:
        """Drain a node, and have it end then; see `drain`."""
        await self._drain(node, within_s, retire=True)

    async def undrain(self, node: str) -> None:
        """Let a node that is draining or drained take tasks again.

        Raises:
            DrainFailed: there is no such node, or it is not drained, or its walltime ends.
            BrokerLost: the broker has ended.
        """
        node = named(node, "the name of a node")
        news = await self._client.requests.undrain_node(node)
        if news.state == "refused":
            raise DrainFailed(node, news.reason)

    async def launch(self, blocks: Blocks) -> Launched:
        """Submit one batch job whose nodes join this broker, and leave it to itself.

        Args:
            blocks: the job; ``least`` and ``most``, ``idle_s``, ``look_s`` and ``detach`` are of
                no matter.

        Raises:
            UsageError: it cannot be, or this broker has no run directory by which nodes find it.
            BatchFailed: the batch system has not taken it.
        """
        blocks.check()
        return await in_thread(launch, self._home(), batch_system(blocks.scheduler), blocks)

    async def follow(self, blocks: Blocks) -> None:
        """Submit and give up batch jobs as tasks need their workers, as long as this is awaited.

        In a campaign, the entries that wait on its boards count as tasks that are queued.

        Await it in an ``@agent``. It does not end by itself, so a campaign that awaits it ends by
        ``stop``. When it is cancelled its jobs are, too, unless ``blocks`` are detached.

        A batch system that refuses or does not answer is tried again, after pauses from 10 s to
        10 minutes; the log tells of it.

        Args:
            blocks: the jobs, and the bounds of their number.

        Raises:
            UsageError: they cannot be, or this broker has no run directory by which nodes find it.
            BrokerLost: the broker has ended.
        """
        blocks.check()
        await follow_blocks(self._client, self._pools, blocks, RealBatch(blocks, self._home()))

    def _home(self) -> Path:
        if self._run_dir is None:
            raise UsageError(
                "nodes find a broker by its run directory, and this one has none: open the session "
                "with run_dir=, or connect to a standing broker"
            )
        return self._run_dir

    async def _drain(self, node: str, within_s: float | None, *, retire: bool) -> None:
        node = named(node, "the name of a node")
        if within_s is not None:
            within_s = seconds(within_s, "within_s", or_zero=True)
        news = await self._client.requests.drain_node(node, within_s, retire=retire)
        match news.state:
            case "undrained" | "refused":
                raise DrainFailed(node, news.reason)
            case "drained" | "left":
                pass
            case _:
                assert_never(news.state)


def describe_state(status: NodeStatus) -> str:
    """Return the state of a node, in a few words."""
    if status.left_s is None:
        return status.state
    minutes, seconds = divmod(max(0, round(status.left_s)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{status.state}, {hours}:{minutes:02}:{seconds:02} left"
