"""Who joins a broker goes by its settings, whatever it was started with."""

from __future__ import annotations

import asyncio

import pytest

from steerio.broker.broker import Broker
from steerio.broker.driver import Driver
from steerio.client.client import Client
from steerio.edge.wire.memory import MemoryRouter
from steerio.model import messages as ms
from steerio.model.settings import Settings
from steerio.node.node import Node
from steerio.worker.items_ahead import Ahead
from tests.contract.test_unreadable_broker import NoForker

JOINS = ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {})

pytestmark = pytest.mark.borders

OF_BROKER = Settings(beat_s=0.25, lease_s=2.0, items=5, items_bytes=500)


async def test_clients_and_nodes_go_by_the_settings_of_the_broker_that_they_join() -> None:
    router = MemoryRouter()
    driver = Driver(Broker([router], settings=OF_BROKER))
    driver.start(stand_in=False)
    client = Client(router.link(), watched=True)
    await client.join("client")
    assert client.settings == OF_BROKER
    node = Node(router.link(), NoForker(), JOINS, settings=Settings())
    joined = asyncio.Event()
    node.on_joined = joined.set
    node.start()
    await joined.wait()
    assert node._settings == OF_BROKER
    client.close()
    node.leave("the test is over")
    driver.close("the test is over")


def test_workers_are_told_how_far_their_generators_may_be_ahead() -> None:
    router = MemoryRouter()
    broker = Broker([router], settings=OF_BROKER)
    node, worker = router.link(), router.link()
    node.send(ms.JoinNode(ms.PROTOCOL, "node", "host", 1, {"default": 1}))
    broker.step()
    worker.send(ms.JoinWorker(ms.PROTOCOL, "default-1", 2))
    broker.step()
    ((accepted, _),) = worker.receive(1)
    assert isinstance(accepted, ms.Accepted)
    ahead = Ahead(16, 10**9, limit_bytes=300)
    ahead.bound(accepted.settings.items, accepted.settings.items_bytes)
    for nbytes in (100, 100):
        assert not ahead.full
        ahead.yielded(nbytes)
    assert not ahead.full
    ahead.yielded(100)
    assert ahead.full, "there is no room for more bytes"
    broker.close("the test is over")
