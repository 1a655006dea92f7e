"""Nodes as users see them: their state, and ways to drain them."""

from __future__ import annotations

from typing import assert_never

from steerio.client.client import Client
from steerio.errors import DrainFailed
from steerio.model.bounds import named, seconds
from steerio.model.status import NodeStatus


class Nodes:
    """The nodes of a broker: `look` at them, and drain some of them."""

    def __init__(self, client: Client) -> None:
        self._client = client

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
