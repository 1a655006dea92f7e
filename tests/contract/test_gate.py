"""The gate of a TCP address: peers come in, strangers stay few, and a flood moves none of them."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from steerio.edge.system.listeners import Grip
from steerio.edge.wire import gate as gates
from steerio.edge.wire import zeromq, zeromq_sockets
from steerio.edge.wire.contexts import Context
from steerio.edge.wire.gate import Gate
from steerio.edge.wire.keyring import Keyring
from steerio.edge.wire.keys import CLIENT, NODE, OBSERVER, ROLES, ServerKeys, make_keys
from steerio.edge.wire.zeromq import ZmqRouter
from steerio.edge.wire.zeromq_link import ZmqLink
from tests.contract.wires import (
    IN_TIME_S,
    LinkEar,
    RouterEar,
    from_broker,
    to_broker,
    zmq_context,
)


class Port:
    """A router behind a gate, and those that come to it."""

    def __init__(self, context: Context, keys: ServerKeys | None, most: int) -> None:
        self._context = context
        self.keys = keys
        self.keyring = None if keys is None else Keyring(keys)
        self.gate = Gate(context, self.keyring, most)
        self.router = ZmqRouter(context, "tcp://127.0.0.1:*", keys, self.gate)
        self._opened = ExitStack()
        self._names = 0
        self.number = int(self.router.address.rpartition(":")[2])

    def link(self, role: str = CLIENT, name: bytes = b"") -> ZmqLink:
        """Return a link of a peer with the key of this role."""
        self._names += 1
        keys = self.keys.peers[role] if self.keys is not None else None
        name = name or b"peer-%d" % self._names
        link = ZmqLink(self._context, self.router.address, name, keys)
        self._opened.callback(link.close)
        return link

    def stranger(self) -> socket.socket:
        """Return a connection of a process without a key, which says nothing."""
        stranger = socket.create_connection(("127.0.0.1", self.number), IN_TIME_S)
        self._opened.callback(stranger.close)
        return stranger

    def close(self) -> None:
        self._opened.close()
        self.router.close()
        self.gate.close()


@contextmanager
def guarded(most: int = 10_000, *, encrypted: bool = True) -> Iterator[Port]:
    with (
        zmq_context() as context,
        closing(Port(context, make_keys() if encrypted else None, most)) as port,
    ):
        yield port


def is_closed(connection: socket.socket) -> bool:
    """Say whether the other end has closed a connection by now (it may have said something)."""
    connection.setblocking(False)
    try:
        while connection.recv(1_000):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("encrypted", [True, False])
async def test_peers_come_in_and_stay_however_many_strangers_press(
    monkeypatch: pytest.MonkeyPatch, encrypted: bool
) -> None:
    monkeypatch.setattr(gates, "MOST_STRANGERS", 8)
    loop = asyncio.get_running_loop()
    with guarded(encrypted=encrypted) as port:
        ear = RouterEar(port.router, loop)
        first = LinkEar(port.link(), loop)
        first.say(1)
        await ear.until(lambda: ear.numbers() == [1])
        strangers = [port.stranger() for _ in range(50)]
        await ear.until(lambda: sum(map(is_closed, strangers)) >= 42, quietly=True)
        late = LinkEar(port.link(), loop)
        late.say(2)
        await ear.until(lambda: ear.numbers() == [1, 2])
        strangers += [port.stranger() for _ in range(50)]
        await ear.until(lambda: sum(map(is_closed, strangers)) >= 92, quietly=True)
        for number, peer in enumerate((first, late), 3):
            peer.say(number)
            await ear.until(lambda number=number: number in ear.numbers())
            port.router.send(ear.heard[-1][0], from_broker(number))
            assert ear.flush() == []
            await peer.until(lambda peer=peer, number=number: peer.numbers() == [number])

        assert port.gate.shed >= 92
        assert port.gate.strangers.known == 2
        assert len({peer for peer, _, _ in ear.heard}) == 2


async def test_the_gate_answers_while_no_loop_turns() -> None:
    with guarded() as port:
        link = port.link()
        link.send(to_broker(1))
        link.flush()
        arrivals: list[Any] = []
        async with asyncio.timeout(IN_TIME_S):
            while not arrivals:
                port.router.expect()
                arrivals = port.router.receive(10)
                await asyncio.sleep(0)
        assert arrivals[0].messages[0][0].task_id == 1


async def test_each_arrival_says_whose_key_its_sender_has() -> None:
    loop = asyncio.get_running_loop()
    with guarded() as port:
        heard: dict[int, str] = {}

        class Keen(RouterEar):
            def wake(self) -> None:
                for arrival in self.router.receive(10):
                    heard[arrival.messages[0][0].task_id] = arrival.key
                self.look_again()
                self.changed.set()

        ear = Keen(port.router, loop)
        for number, role in enumerate(ROLES):
            LinkEar(port.link(role), loop).say(number)
        await ear.until(lambda: len(heard) == 3)
        assert heard == {0: CLIENT, 1: NODE, 2: OBSERVER}


async def test_a_peer_goes_on_whose_name_was_taken_by_one_with_another_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(zeromq_sockets, "HEARTBEAT_MS", 200)  # by which it notices
    loop = asyncio.get_running_loop()
    with guarded() as port:
        foreign: list[Any] = []

        class Keen(RouterEar):
            def wake(self) -> None:
                for arrival in self.router.receive(10):
                    if arrival.key == OBSERVER:
                        foreign.append(arrival)
                    self.heard += [(arrival.peer, *each) for each in arrival.messages]
                self.flush()
                self.changed.set()

        ear = Keen(port.router, loop)
        peer = LinkEar(port.link(name=b"name"), loop)
        peer.say(1)
        await ear.until(lambda: ear.numbers() == [1])
        thief = LinkEar(port.link(OBSERVER, b"name"), loop)
        thief.say(2)
        await ear.until(lambda: foreign)
        port.router.send(b"name", from_broker(5))
        ear.flush()
        assert port.router.connected(b"name") is False, "it is sent nothing by that way"
        thief.link.close()
        peer.say(3)

        def heard_both() -> bool:
            peer.link.tick()
            peer.flush()
            return ear.numbers() == [1, 3] and peer.numbers() == [5]

        await ear.until(heard_both, quietly=True)
        assert all(arrival.messages == () and not arrival.fault for arrival in foreign)
        assert thief.heard == []


async def test_where_there_is_no_room_the_newcomer_goes() -> None:
    loop = asyncio.get_running_loop()
    with guarded(most=2) as port:
        ear = RouterEar(port.router, loop)
        peers: list[LinkEar] = []
        for number in range(2):  # one after the other, as there is room for one stranger
            peers.append(LinkEar(port.link(), loop))
            peers[-1].say(number)
            await ear.until(lambda number=number: number in ear.numbers())
        late = port.stranger()
        await ear.until(lambda: is_closed(late), quietly=True)
        for number, peer in enumerate(peers, 2):
            peer.say(number)
            await ear.until(lambda number=number: number in ear.numbers())
        peers[0].link.close()
        LinkEar(port.link(), loop).say(9)
        await ear.until(lambda: 9 in ear.numbers())


async def test_scarce_descriptors_count_as_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    with guarded() as port:
        ear = RouterEar(port.router, asyncio.get_running_loop())
        monkeypatch.setattr(gates, "is_scarce", lambda _: True)
        late = port.stranger()
        await ear.until(lambda: is_closed(late), quietly=True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux filters requests")
@pytest.mark.parametrize("by_itself", [False, True], ids=["have to go", "go by themselves"])
async def test_in_a_flood_new_connections_wait_and_others_do_not_notice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, by_itself: bool
) -> None:
    monkeypatch.setattr(gates, "MOST_STRANGERS", 100 if by_itself else 1)
    monkeypatch.setattr(gates, "FLOOD", 5)
    deaf: list[int] = []
    loop = asyncio.get_running_loop()
    with guarded() as port, caplog.at_level(logging.WARNING, "steerio.edge"):
        grip = port.gate._grip
        deafen, undeafen = grip.deafen, grip.undeafen
        monkeypatch.setattr(grip, "deafen", lambda d: deaf.append(1) or deafen(d))
        monkeypatch.setattr(grip, "undeafen", lambda d: deaf.append(0) or undeafen(d))
        ear = RouterEar(port.router, loop)
        peer = LinkEar(port.link(), loop)
        peer.say(1)
        await ear.until(lambda: ear.numbers() == [1])
        waiting = []
        number = 1
        while not deaf:
            waiting.append(port.stranger())
            if by_itself:
                waiting[-1].close()
            number += 1
            peer.say(number)
            await ear.until(lambda number=number: number in ear.numbers())
        LinkEar(port.link(), loop).say(0)
        await ear.until(lambda: 0 in ear.numbers())
        assert deaf[:2] == [1, 0], "it came in once that was over"
        assert len(deaf) < len(waiting)
    told = [message for message in caplog.messages if "had to go" in message]
    assert len(told) == (not by_itself)


async def test_one_that_never_ends_its_handshake_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zeromq, "HANDSHAKE_MS", 200)
    with guarded() as port:
        ear = RouterEar(port.router, asyncio.get_running_loop())
        greeting = iter(b"\xff" + bytes(8) + b"\x7f\x03\x00CURVE" + bytes(200))
        slow = port.stranger()

        def is_thrown_out() -> bool:
            try:
                slow.send(bytes([next(greeting)]))
            except ConnectionError:
                return True
            return is_closed(slow)

        await ear.until(is_thrown_out, quietly=True)
        assert next(greeting, None) is not None, "it had not said all"


async def test_a_fault_in_the_gate_leaves_it_open(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loop = asyncio.get_running_loop()
    with guarded() as port:
        ear = RouterEar(port.router, loop)
        monkeypatch.setattr(gates, "is_scarce", lambda number: number / 0)
        LinkEar(port.link(), loop).say(1)
        await ear.until(lambda: ear.numbers() == [1])
    assert "could not be taken in" in caplog.text


async def test_a_gate_closes_while_strangers_press() -> None:
    for _ in range(3):
        with guarded(most=4) as port:
            for _ in range(20):
                port.stranger()


async def test_a_gate_that_watched_nothing_closes() -> None:
    with zmq_context() as context:
        gate = Gate(context, Keyring(make_keys()))
        assert "0 had to go" in repr(gate)
        assert gate.shed == 0
        gate.close()
        gate = Gate(context, None)
        assert gate.shed == 0
        gate.close()


async def test_without_threads_or_descriptors_there_is_no_gate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with zmq_context() as context, closing(Gate(context, Keyring(make_keys()))) as gate:
        monkeypatch.setattr(gates.threading.Thread, "start", fail)
        with pytest.raises(OSError, match="no more threads"):
            ZmqRouter(context, "tcp://127.0.0.1:*", make_keys(), gate)


# -- the grip ---------------------------------------------------------------------------------


@contextmanager
def connected() -> Iterator[tuple[Grip, socket.socket, socket.socket]]:
    """Yield a grip, the accepted end of a connection of its port, and the other end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with closing(Grip(port)) as grip, socket.create_connection(("127.0.0.1", port)) as other:
            accepted, _ = server.accept()
            with accepted:
                yield grip, accepted, other


def test_a_grip_cuts_a_connection_of_its_port() -> None:
    with connected() as (grip, accepted, other):
        assert grip.cut(accepted.fileno())
        assert other.recv(1) == b""


def test_a_grip_leaves_all_else_alone(tmp_path: Any) -> None:
    with connected() as (grip, accepted, other):
        assert not grip.cut(other.fileno()), "its port is another"
        pair = socket.socketpair()
        for one in pair:
            assert not grip.cut(one.fileno())
            one.close()
            assert not grip.cut(one.fileno())
        assert not grip.cut(-1)
        with (tmp_path / "file").open("w") as file:
            assert not grip.cut(file.fileno())
        other.sendall(b"x")
        assert accepted.recv(1) == b"x"


def test_a_grip_that_cannot_be_made_keeps_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int) -> int:
        raise OSError(errno.EMFILE, f"no copy of {number}")

    free = os.dup(0)
    os.close(free)
    with monkeypatch.context() as patched:
        patched.setattr(os, "dup", fail)
        with pytest.raises(OSError, match="no copy"):
            Grip(1)
    again = os.dup(0)
    os.close(again)
    assert again == free


def test_a_grip_needs_no_descriptor_and_closes_twice() -> None:
    def open_now() -> int:
        return sum(1 for _ in Path("/dev/fd").iterdir())

    before = open_now()
    with connected() as (grip, accepted, _):
        within = open_now()
        grip.cut(accepted.fileno())
        assert open_now() == within
    assert open_now() == before
    grip.close()
    assert open_now() == before


async def test_a_peer_of_an_old_zmtp_is_heard_as_any_and_stays_a_stranger() -> None:
    with guarded(encrypted=False) as port:
        ear = RouterEar(port.router, asyncio.get_running_loop())
        old = port.stranger()
        old.sendall(b"\x04\x00old" + b"\x04\x00odd")  # of version 1: its name, and a message
        link = LinkEar(port.link(), asyncio.get_running_loop())
        await ear.until(lambda: ear.faults)
        link.link.send(to_broker(1))
        link.flush()
        await ear.until(lambda: ear.heard)
        assert [text for _, text in ear.faults] == ["a packet of 3 bytes"]
        assert ear.numbers() == [1]
        strangers = port.gate.strangers  # which another thread follows
        await ear.until(lambda: (len(strangers), strangers.known) == (1, 1), quietly=True)
