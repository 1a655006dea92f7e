"""Over TCP, who has not read the connection file is not let in."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from steerio.edge.wire.gatekeeper import ZAP_ADDRESS
from steerio.edge.wire.keys import ClientKeys, ServerKeys, make_keys
from steerio.edge.wire.zeromq import ZmqRouter
from steerio.edge.wire.zeromq_link import ZmqLink
from tests.contract.wires import (
    IN_TIME_S,
    RouterEar,
    from_broker,
    gatekeeper,
    to_broker,
    wired,
    zmq_context,
)

FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


@dataclasses.dataclass
class Watched:
    """How often a router turned a connection away."""

    monitor: Any
    refusals: int = 0

    def count(self) -> int:
        while self.monitor.poll(0):
            event = parse_monitor_message(self.monitor.recv_multipart())["event"]
            self.refusals += bool(event & FAILED)
        return self.refusals


@contextmanager
def watched(router: ZmqRouter) -> Iterator[Watched]:
    """Count the connections that a router turns away."""
    monitor = router._socket.get_monitor_socket(FAILED)
    try:
        yield Watched(monitor)
    finally:
        router._socket.disable_monitor()
        monitor.close()


def a_stranger(keys: ServerKeys) -> ClientKeys:
    """Return keys of somebody who knows the broker's public key, but not its peers' pair."""
    return msgspec.structs.replace(make_keys().client, server_public=keys.client.server_public)


@pytest.mark.parametrize(
    "wrong",
    [
        a_stranger,
        lambda keys: msgspec.structs.replace(
            keys.client, server_public=make_keys().client.server_public
        ),
        lambda keys: msgspec.structs.replace(keys.client, secret=make_keys().client.secret),
        lambda keys: msgspec.structs.replace(keys.client, public=make_keys().client.public),
        lambda keys: None,
    ],
    ids=["another pair", "another broker", "another secret", "another public key", "no key"],
)
async def test_who_has_not_the_right_keys_is_not_let_in(wrong: Any) -> None:
    async with wired("tcp") as wire:
        assert wire.keys is not None
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        with watched(wire.router) as refused:
            keys = wrong(wire.keys)
            link = ZmqLink(wire.context, wire.router.address, b"stranger", keys)
            try:
                link.send(to_broker(13))
                link.flush()
                await ear.until(lambda: refused.count() >= 1, quietly=True)
                friend = wire.ear()
                friend.say(1)
                await ear.until(lambda: ear.heard)
                wire.router.send(b"stranger", from_broker(1))
                assert ear.flush() == [b"stranger"]
                wire.router.send(ear.heard[0][0], from_broker(2))
                ear.flush()
                await friend.until(lambda: friend.numbers() == [2])
            finally:
                link.close()

        assert ear.numbers() == [1]


async def test_the_gatekeeper_counts_whom_it_refused_and_lets_friends_in() -> None:
    loop = asyncio.get_running_loop()
    keys = make_keys()
    with zmq_context() as context, gatekeeper(context, keys, loop) as keyring:
        router = ZmqRouter(context, "tcp://127.0.0.1:*", keys)
        links: list[ZmqLink] = []
        try:
            ear = RouterEar(router, loop)
            for number in range(6):
                its = a_stranger(keys) if number % 2 else keys.client
                link = ZmqLink(context, router.address, b"peer-%d" % number, its)
                links.append(link)
                link.send(to_broker(number))
                link.flush()
            await ear.until(
                lambda: len(ear.heard) == 3 and keyring.refused["unknown key"] >= 3, quietly=True
            )

            assert sorted(ear.numbers()) == [0, 2, 4]
        finally:
            for link in links:
                link.close()
            router.close()


async def test_nobody_is_let_in_where_nobody_keeps_the_gate() -> None:
    keys = make_keys()
    with zmq_context() as context:
        router = ZmqRouter(context, "tcp://127.0.0.1:*", keys)
        link = ZmqLink(context, router.address, b"friend", keys.client)
        try:
            ear = RouterEar(router, asyncio.get_running_loop())
            with watched(router) as refused:
                link.send(to_broker(1))
                link.flush()
                await ear.until(lambda: refused.count() >= 1, quietly=True)

            assert ear.heard == []
        finally:
            link.close()
            router.close()


async def test_the_gatekeeper_refuses_questions_that_are_none() -> None:
    loop = asyncio.get_running_loop()
    keys = make_keys()
    right = z85.decode(keys.client.public.encode())
    questions = [
        [b""],
        [b"1.0"],
        [b"1.0", b"1", b"steerio", b"127.0.0.1", b"", b"CURVE"],
        [b"1.0", b"1", b"steerio", b"127.0.0.1", b"", b"NULL"],
        [b"1.0", b"1", b"steerio", b"127.0.0.1", b"", b"PLAIN", right],
        [b"1.0", b"1", b"steerio", b"127.0.0.1", b"", b"CURVE", right[:-1]],
        [b"1.0", b"1", b"steerio", b"127.0.0.1", b"", b"CURVE", b"\xff" * 32],
        [b"\xff"] * 20,
    ]
    with zmq_context() as context, gatekeeper(context, keys, loop) as keyring:
        asker = context.socket(zmq.REQ)
        try:
            asker.connect(ZAP_ADDRESS)
            for asked, question in enumerate(questions, 1):
                asker.send_multipart(question)
                answer = await _answer(asker)
                assert answer[2:4] == [b"400", b"unknown key"]
                assert keyring.refused == {"unknown key": asked}
            asker.send_multipart([b"1.0", b"9", b"steerio", b"::1", b"", b"CURVE", right])
            answer = await _answer(asker)
            assert answer[:4] == [b"1.0", b"9", b"200", b"OK"]
        finally:
            asker.close(linger=0)


async def _answer(asker: zmq.Socket[bytes]) -> list[bytes]:
    async with asyncio.timeout(IN_TIME_S):
        while not asker.poll(0):  # noqa: ASYNC110 - the gatekeeper is on this loop
            await asyncio.sleep(0)
    return asker.recv_multipart()


def test_keys_are_fresh_each_time() -> None:
    one, other = make_keys(), make_keys()

    texts = [
        k for keys in (one, other) for k in (keys.secret, *msgspec.structs.astuple(keys.client))
    ]
    assert len(set(texts)) == 8
    assert all(len(text) == 40 for text in texts)


def test_keys_that_are_none_are_refused_when_they_are_used() -> None:
    with zmq_context() as context:
        broken = ClientKeys("short", "x" * 40, "y" * 40)
        with pytest.raises((zmq.ZMQError, OSError)):
            ZmqLink(context, "tcp://127.0.0.1:1", b"name", broken)
