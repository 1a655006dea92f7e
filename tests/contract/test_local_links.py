"""A link over a Unix stream never blocks, and says that the broker is gone as soon as it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from steerio import BrokerLost
from steerio.client.client import Client
from steerio.edge.wire import stream_peer, unix, unix_links
from steerio.edge.wire.connection import listens
from steerio.edge.wire.headers import encode_headers
from steerio.edge.wire.unix_links import LocalLink
from steerio.model import messages as ms
from steerio.model.results import Lost
from steerio.model.settings import Settings
from steerio.node.node import Node
from steerio.session.session import Session
from tests.contract.test_unreadable_broker import JOINS, NoForker, listening
from tests.contract.wires import RouterEar, from_broker, to_broker, wired

MUCH = (b"m" * 10_000_000,)
"""More than a kernel keeps of a stream."""
SOME = (b"s" * 60_000,)


@contextmanager
def only_a_listener() -> Iterator[str]:
    """Listen, and accept nothing."""
    with tempfile.TemporaryDirectory(prefix="steerio-") as folder, socket.socket(1) as listener:
        listener.bind(f"{folder}/broker")
        listener.listen(1)
        yield f"unix://{folder}/broker"


# -- the broker's end ---------------------------------------------------------------------------


async def test_a_link_gives_all_that_the_broker_said_and_then_its_end() -> None:
    async with wired("unix") as wire:
        ear, peer = RouterEar(wire.router, asyncio.get_running_loop()), wire.ear()
        peer.say(1)
        await ear.until(lambda: ear.heard)
        peer.link.detach()
        for number in range(20):
            wire.router.send(ear.heard[0][0], from_broker(number))
            wire.router.flush()
        wire.router.close()
        assert len(peer.link.receive(7)) == 7
        assert peer.link.ready()
        assert len(peer.link.receive(100)) == 13
        for _ in range(2):
            with pytest.raises(ConnectionError, match="the broker's process has ended"):
                peer.link.receive(7)
            assert peer.link.ready()


async def test_a_broker_that_ends_with_something_unread_is_gone_as_well() -> None:
    async with wired("unix") as wire:
        loop = asyncio.get_running_loop()
        ear, peer = RouterEar(wire.router, loop), wire.ear()
        peer.say(1)
        await ear.until(lambda: ear.heard)
        wire.router.detach()
        peer.say(2)
        wire.router.close()
        await peer.until(lambda: peer.gone)


async def test_what_is_said_to_a_broker_that_is_gone_goes_nowhere_and_what_it_said_is_heard() -> (
    None
):
    async with wired("unix") as wire:
        ear, peer = RouterEar(wire.router, asyncio.get_running_loop()), wire.ear()
        peer.say(1)
        await ear.until(lambda: ear.heard)
        wire.router.send(ear.heard[0][0], from_broker(1))
        wire.router.flush()
        wire.router.close()
        peer.say(2)
        peer.say(3, frames=MUCH)
        await peer.until(lambda: peer.gone)
        assert peer.numbers() == [1]


async def test_all_that_wait_for_a_broker_hear_of_its_end_at_once() -> None:
    async with wired("unix") as wire:
        ear = listening(wire)
        client = Client(wire.link(), watched=True)
        await client.join("client")
        session = Session(client)
        node = Node(wire.link(), NoForker(), JOINS, settings=Settings())
        joined = asyncio.Event()
        node.on_joined = joined.set
        node.start()
        await joined.wait()
        task, status = session.submit(abs, -1), asyncio.ensure_future(session.status())
        await ear.until(lambda: any(isinstance(m, ms.AskStatus) for _, m, _ in ear.heard))
        wire.router.close()
        result = await task.result()
        assert isinstance(result, Lost)
        assert "the broker's process has ended" in result.reason
        with pytest.raises(BrokerLost, match="the broker's process has ended"):
            await status
        with pytest.raises(BrokerLost, match="the broker's process has ended"):
            session.submit(abs, -1)
        assert await node.ended == "the broker's process has ended"
        assert node.failed
        session.close()


async def test_a_client_hears_of_a_broker_that_ends_before_it_lets_it_in() -> None:
    async with wired("unix") as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        ear.on_heard = lambda *_: wire.router.close()
        client = Client(wire.link(), watched=True)
        with pytest.raises(BrokerLost, match="the broker's process has ended"):
            await client.join("client")
        client.close()


# -- a peer's end -------------------------------------------------------------------------------


async def test_a_router_hears_all_that_a_peer_said_before_it_closed() -> None:
    async with wired("unix") as wire:
        loop = asyncio.get_running_loop()
        ear, peer = RouterEar(wire.router, loop), wire.ear()
        peer.say(1)
        await ear.until(lambda: ear.heard)
        name = ear.heard[0][0]
        wire.router.detach()
        peer.say(*range(2, 40))
        peer.link.close()
        for number in range(3):  # it cannot be told any more, but heard
            wire.router.send(name, from_broker(number))
            assert wire.router.flush() == []
        assert not wire.router.congested(name)
        wire.router.attach(loop, ear.wake)
        await ear.until(lambda: ear.numbers() == list(range(1, 40)))
        gone: list[bytes] = []
        while not gone:
            wire.router.expect()
            ear.wake()
            gone = ear.flush()
        assert gone == [name]
        assert ear.flush() == []


async def test_the_end_of_a_peer_wakes_the_router(caplog: pytest.LogCaptureFixture) -> None:
    async with wired("unix") as wire:
        ear, peer = RouterEar(wire.router, asyncio.get_running_loop()), wire.ear()
        peer.say(1)
        await ear.until(lambda: ear.heard)
        peer.link.close()
        gone: list[bytes] = []
        await ear.until(lambda: gone.extend(ear.flush()) or gone)
        assert gone == [ear.heard[0][0]]
    assert not caplog.records


async def test_a_fork_of_a_peer_is_not_that_peer() -> None:
    async with wired("unix") as wire:
        ear, peer = RouterEar(wire.router, asyncio.get_running_loop()), wire.ear()
        peer.say(1)
        await ear.until(lambda: ear.heard)
        heard, said = os.pipe()
        fork = os.fork()
        if not fork:  # it closes whatever it has inherited
            peer.link.send(to_broker(2))
            peer.link.flush()
            peer.link.close()
            os.read(heard, 1)
            os._exit(0)
        try:
            link: Any = peer.link
            link.detach()
            os.close(link._socket.detach())  # as the end of its process would
            link._selector.close()
            gone: list[bytes] = []
            await ear.until(lambda: gone.extend(ear.flush()) or gone)
            assert ear.numbers() == [1]
            os.write(said, b"x")
            assert os.waitpid(fork, 0)[1] == 0  # noqa: ASYNC222 - it ends at once
            fork = 0
        finally:
            if fork:
                os.kill(fork, signal.SIGKILL)
                os.waitpid(fork, 0)  # noqa: ASYNC222 - it ends at once
            os.close(heard)
            os.close(said)


# -- peers that do not read ---------------------------------------------------------------------


async def test_a_link_keeps_what_the_broker_does_not_read_and_goes_on() -> None:
    async with wired("unix") as wire:
        loop = asyncio.get_running_loop()
        peer = wire.ear()
        for number in range(0, 40, 2):
            peer.say(number, frames=SOME)
            peer.say(number + 1)
        peer.say(40, frames=MUCH)
        ear = RouterEar(wire.router, loop)
        await ear.until(lambda: len(ear.heard) == 41)
        assert ear.numbers() == list(range(41))
        assert bytes(ear.heard[-1][2][0]) == MUCH[0]
        wire.router.send(ear.heard[0][0], from_broker(1))
        wire.router.flush()
        await peer.until(lambda: peer.numbers() == [1])


async def test_a_link_that_listens_no_more_writes_with_its_next_flush_or_as_it_closes() -> None:
    async with wired("unix") as wire:
        link = wire.link()
        link.send(to_broker(1, MUCH), MUCH)
        link.flush()
        ear = RouterEar(wire.router, asyncio.get_running_loop())

        def say_more() -> bool:
            link.send(to_broker(2))
            link.flush()
            return 1 in ear.numbers()

        await ear.until(say_more, quietly=True)
        link.send(to_broker(3, MUCH), MUCH)
        link.flush()
        closing_it = threading.Thread(target=link.close)
        closing_it.start()
        await ear.until(lambda: 3 in ear.numbers())
        closing_it.join()


async def test_a_close_waits_for_a_broker_that_does_not_read_but_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unix_links, "LINGER_S", 0.05)
    with only_a_listener() as address:
        link = LocalLink(address)
        link.attach(asyncio.get_running_loop(), lambda: None)
        link.send(to_broker(1, MUCH), MUCH)
        link.flush()
        link.close()
        link.close()


DEAF_TO_NOTHING = """
import signal, sys, tempfile
from steerio.edge.wire.unix import StreamRouter
from steerio.edge.wire.unix_links import LocalLink
from tests.contract.wires import to_broker

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
with tempfile.TemporaryDirectory(prefix="steerio-") as folder:
    router = StreamRouter(f"{folder}/broker")
    link = LocalLink(router.address)
    router.receive(1)
    router.close()
    for frames in ((), (b"x" * 100_000,)):
        link.send(to_broker(1, frames), frames)
        link.flush()
    link.close()
    print("here")
"""


def test_a_process_in_which_broken_pipes_are_fatal_lives_on() -> None:
    command = [sys.executable, "-c", DEAF_TO_NOTHING]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert found.stdout == "here\n", found


# -- connecting ---------------------------------------------------------------------------------


def test_where_nobody_listens_no_link_is_opened(tmp_path: Any) -> None:
    (tmp_path / "file").touch()
    for name in ("none", "file", "x" * 200):
        with pytest.raises(OSError, match=r"No such file|refused|too long"):
            LocalLink(f"unix://{tmp_path}/{name}")


def test_a_broker_that_accepts_no_more_connections_is_waited_for_but_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unix_links, "CONNECT_S", 0.01)
    links: list[LocalLink] = []
    with only_a_listener() as address, contextlib.ExitStack() as opened:

        def connect_again_and_again() -> None:
            for _ in range(10):
                links.append(LocalLink(address))
                opened.callback(links[-1].close)

        with pytest.raises(BlockingIOError):
            connect_again_and_again()
        assert listens(address)
    assert links
    assert not listens(address)


# -- bounds -------------------------------------------------------------------------------------


async def test_a_link_receives_no_more_than_it_was_asked_for() -> None:
    async with wired("unix") as wire:
        ear, peer = RouterEar(wire.router, asyncio.get_running_loop()), wire.ear()
        peer.say(1)
        await ear.until(lambda: ear.heard)
        peer.link.detach()
        for number in range(50):
            wire.router.send(ear.heard[0][0], from_broker(number))
            wire.router.flush()
        heard: list[int] = []
        while len(heard) < 50:
            some = peer.link.receive(3)
            assert len(some) <= 3
            heard += [cast("ms.TaskItem", message).task_id for message, _ in some]
        assert heard == list(range(50))
        assert peer.link.receive(3) == []
        assert not peer.link.ready()
        wire.router.send(ear.heard[0][0], from_broker(50))
        wire.router.send(ear.heard[0][0], from_broker(51))
        wire.router.flush()
        assert len(peer.link.receive(1)) == 1
        came = asyncio.Event()
        peer.link.attach(asyncio.get_running_loop(), came.set)
        await came.wait()
        assert len(peer.link.receive(1)) == 1


async def test_messages_for_a_peer_that_is_slow_wait_in_a_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_peer, "KEPT_BYTES", 200_000)
    async with wired("unix") as wire:
        ear, peer = RouterEar(wire.router, asyncio.get_running_loop()), wire.ear()
        peer.say(1)
        await ear.until(lambda: ear.heard)
        name = ear.heard[0][0]
        peer.link.detach()
        for number in range(200):
            frames = SOME if number % 3 else ()
            wire.router.send(name, from_broker(number, frames), frames)
            assert ear.flush() == []
        assert wire.router.congested(name)
        assert wire.router._connections[name].outgoing.nbytes < 300_000
        peer.link.attach(peer.loop, peer.wake)
        await peer.until(lambda: len(peer.heard) == 200)
        assert peer.numbers() == list(range(200))
        assert {bytes(its[0]) for _, its in peer.heard if its} == {SOME[0]}
        await ear.until(lambda: not wire.router.congested(name), quietly=True)


async def test_a_peer_that_is_let_go_gets_its_last_messages_and_the_end() -> None:
    async with wired("unix") as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        quick, slow = wire.ear(), wire.ear()
        quick.say(1)
        await ear.until(lambda: ear.numbers() == [1])
        slow.say(2)
        await ear.until(lambda: ear.numbers() == [1, 2])
        (first, _, _), (second, _, _) = ear.heard
        slow.link.detach()
        for name in (first, second):
            wire.router.send(name, from_broker(1, MUCH), MUCH)
            wire.router.forget(name)
            wire.router.forget(name)
            wire.router.send(name, from_broker(2))
        quick.say(3)
        assert ear.flush() == []
        await quick.until(lambda: quick.gone)
        assert quick.numbers() == [1]
        assert wire.router.connected(second)
        for _ in range(unix.PARTING_TICKS):
            wire.router.tick()
        assert not wire.router.connected(second)
        assert ear.flush() == []
        assert ear.numbers() == [1, 2]


async def test_a_peer_that_was_let_go_begins_a_new_stream() -> None:
    async with wired("unix") as wire:
        ear, peer = RouterEar(wire.router, asyncio.get_running_loop()), wire.ear()
        peer.say(1)
        await ear.until(lambda: ear.heard)
        wire.router.forget(ear.heard[0][0])
        ear.flush()
        peer.link.detach()
        peer.link.send(to_broker(2))
        peer.link.renew()
        peer.link.attach(peer.loop, peer.wake)
        peer.say(3)
        await ear.until(lambda: ear.numbers() == [1, 3])
        wire.router.send(ear.heard[1][0], from_broker(4))
        ear.flush()
        await peer.until(lambda: peer.numbers() == [4])
        wire.router.close()
        peer.link.renew()
        with pytest.raises(ConnectionError):
            peer.link.receive(1)


async def test_a_router_whose_peers_are_judged_says_what_it_has_not_read() -> None:
    async with wired("unix") as wire:
        router, link = wire.router, wire.link()
        router.receive(10)
        assert not router.ready()
        link.send(to_broker(1))
        link.flush()
        assert not router.ready(), "nothing has called"
        router.expect()
        assert router.ready()
        ear = RouterEar(router, asyncio.get_running_loop())
        await ear.until(lambda: ear.numbers() == [1])
        router.expect()
        assert not router.ready()


@pytest.mark.parametrize("sent", ["messages", "a frame"])
async def test_a_header_that_cannot_be_read_ends_no_connection(sent: str) -> None:
    frames = [encode_headers([to_broker(5)])]
    if sent == "a frame":
        frames.append(b"too many")
    else:
        frames = [b"\xc1"]
    async with wired("unix") as wire:
        ear, fool = RouterEar(wire.router, asyncio.get_running_loop()), wire.fool()
        fool.send(frames)
        fool.send([encode_headers([to_broker(6)])])
        await ear.until(lambda: ear.heard)
        assert len(ear.faults) == 1
        assert ear.numbers() == [6]
