"""Who cannot read what the broker says, or cannot say something to it, gives it up at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import pytest

from steerio import BrokerLost
from steerio.client.client import Client
from steerio.model import messages as ms
from steerio.model.results import Lost
from steerio.model.settings import Settings
from steerio.node.node import Node
from steerio.session.session import Session
from tests.contract.wires import RouterEar, Wire, wired

JOINS = ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {})

pytestmark = [pytest.mark.borders, pytest.mark.parametrize("transport", ["unix", "tcp"])]

NOISE = b"\xff this is no batch"


class NoForker:
    """Starts nothing."""

    workers: Collection[str] = ()

    def watch(self, on_exit: Callable[[str, int, str], None]) -> None: ...
    def fork(self, worker: str, pool: str) -> None: ...
    def ask_to_stop(self, worker: str, run: int) -> None: ...
    def recall(self, worker: str, run: int) -> None: ...
    def begun(self, worker: str) -> int | None: ...
    def works_on(self, worker: str) -> int: ...
    def reported(self, worker: str) -> int: ...
    def signal(self, worker: str, run: int, name: str) -> None: ...
    async def close(self) -> None: ...


def listening(wire: Wire) -> RouterEar:
    """Return an ear that lets in who joins."""
    ear = RouterEar(wire.router, asyncio.get_running_loop())

    def welcome(name: bytes, message: Any, _: Any) -> None:
        if isinstance(message, ms.JoinClient | ms.JoinNode):
            wire.router.send(name, ms.Accepted(1, {}, message.name))
            ear.flush()

    ear.on_heard = welcome
    return ear


async def test_a_client_loses_the_broker_and_every_await_ends(transport: str) -> None:
    async with wired(transport) as wire:
        ear = listening(wire)
        client = Client(wire.link(), watched=False)
        await client.join("client")
        session = Session(client)
        task, status = session.submit(abs, -1), asyncio.ensure_future(session.status())
        await ear.until(lambda: any(isinstance(m, ms.AskStatus) for _, m, _ in ear.heard))
        wire.babble(ear.heard[0][0], [NOISE])
        result = await asyncio.wait_for(task.result(), 10)
        assert isinstance(result, Lost)
        assert "a message of the broker could not be read" in result.reason
        with pytest.raises(BrokerLost, match="could not be read"):
            await status
        with pytest.raises(BrokerLost, match="could not be read"):
            session.submit(abs, -1)
        await ear.until(lambda: any(isinstance(m, ms.Leave) for _, m, _ in ear.heard))
        session.close()


async def test_a_client_that_cannot_say_something_loses_the_broker(transport: str) -> None:
    async with wired(transport) as wire:
        ear = listening(wire)
        client = Client(wire.link(), watched=False)
        await client.join("client")
        session = Session(client)
        task = session.submit(abs, -1)
        wrong: Any = ValueError("no number")
        client.say(ms.GrantItems(1, wrong))
        result = await asyncio.wait_for(task.result(), 10)
        assert isinstance(result, Lost)
        assert "a message to the broker could not be sent: GrantItems" in result.reason
        await ear.until(lambda: any(isinstance(m, ms.Leave) for _, m, _ in ear.heard))
        assert any(isinstance(m, ms.SubmitTask) for _, m, _ in ear.heard), "that came before"
        session.close()


async def test_a_node_leaves_and_has_failed(transport: str) -> None:
    async with wired(transport) as wire:
        ear = listening(wire)
        node = Node(wire.link(), NoForker(), JOINS, settings=Settings())
        joined = asyncio.Event()
        node.on_joined = joined.set
        node.start()
        await joined.wait()
        wire.babble(ear.heard[0][0], [NOISE])
        reason = await asyncio.wait_for(asyncio.shield(node.ended), 10)
        assert node.failed
        assert "a message of the broker could not be read" in reason
        await ear.until(lambda: any(isinstance(m, ms.Leave) for _, m, _ in ear.heard))
