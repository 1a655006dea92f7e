"""The trouble of one connection is its own: memory or descriptors fail, and all others go on."""

from __future__ import annotations

import asyncio
import errno
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import Any

import pytest

from steerio.edge.wire import stream_peer, unix, unix_listener, zeromq
from steerio.edge.wire.blocking_link import StreamLink
from steerio.edge.wire.endpoint import NO_MEMORY
from steerio.edge.wire.receive_buffers import Spares
from steerio.edge.wire.spilling import Spilling
from steerio.edge.wire.unix import StreamRouter
from steerio.errors import ProtocolError
from tests.contract.wires import RouterEar, from_broker, to_broker, wired

LONG = bytes(1_000_000)
"""Goes into memory of its own."""


def no_memory(*_: object) -> Any:
    raise MemoryError


@contextmanager
def streams(count: int) -> Iterator[tuple[StreamRouter, list[StreamLink]]]:
    """Open a router and links to it, of which each has said its number."""
    with ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="steerio-"))
        router = opened.enter_context(closing(StreamRouter(f"{folder}/s")))
        links = [opened.enter_context(closing(StreamLink(router.address))) for _ in range(count)]
        for number, link in enumerate(links):
            link.send(to_broker(number))
            link.flush()
        yield router, links


def look(router: StreamRouter, until: Callable[[list[Any]], bool]) -> list[Any]:
    """Look for arrivals until they are as wanted, and return them."""
    found: list[Any] = []
    while not until(found):
        router.expect()
        found += router.receive(1_000)
    return found


def test_a_message_without_memory_for_it_ends_its_sender_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with streams(3) as (router, links):
        heard = look(router, lambda found: len(found) == 3)
        names = {arrival.messages[0][0].task_id: arrival.peer for arrival in heard}
        for number in (0, 2):
            links[number].send(to_broker(10 + number))
            links[number].flush()
        links[1].send(to_broker(11, (LONG,)), (LONG,))
        links[1].flush()
        monkeypatch.setattr(Spares, "take", no_memory)
        router.expect()
        arrivals = router.receive(1_000)
        monkeypatch.undo()
        ids = [a.messages[0][0].task_id for a in arrivals if a.messages]
        assert sorted(ids) == [10, 12], "in that same look"
        assert [(a.peer, a.fault) for a in arrivals if a.fault] == [(names[1], NO_MEMORY)]
        router.expect()
        assert router.receive(1_000) == [], "once"
        assert router.flush() == [names[1]]
        with pytest.raises(OSError, match=r"closed|reset"):
            links[1].receive_within(1.0)
        router.send(names[2], from_broker(2))
        assert router.flush() == []
        assert links[2].receive_within(1.0)[0][0] == from_broker(2)


def test_a_peer_for_which_there_is_no_memory_is_gone_and_the_others_get_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with streams(3) as (router, links):
        heard = look(router, lambda found: len(found) == 3)
        names = [arrival.peer for arrival in heard]
        batches = unix.batches

        def some(messages: Any, frames: Any) -> Any:
            return no_memory() if messages == [from_broker(1)] else batches(messages, frames)

        monkeypatch.setattr(unix, "batches", some)
        for number, name in enumerate(names):
            router.send(name, from_broker(number))
        gone = router.flush()
        while not gone:  # once it is found that nothing more came of it
            router.expect()
            assert router.receive(10) == []
            gone = router.flush()
        assert gone == [names[1]]
        for number in (0, 2):
            ((message, _),) = links[heard[number].messages[0][0].task_id].receive_within(1.0)
            assert message == from_broker(number)


@pytest.mark.parametrize("what", ["no watch", "no memory", "no listening"])
def test_a_peer_that_cannot_be_accepted_keeps_nobody_busy(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    with streams(3) as (router, _):
        register = router._selector.register
        monkeypatch.setattr(unix_listener, "PAUSE_S", 0.0 if what == "no listening" else 1e-3)
        failures = 3

        def fail(*given: Any) -> Any:
            nonlocal failures
            listens = len(given) == 2
            if failures and (what != "no listening" or listens):
                failures -= 1
                if what == "no memory":
                    raise MemoryError
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return register(*given)

        monkeypatch.setattr(router._selector, "register", fail)
        if what == "no listening":
            router._listener.pause(OSError(errno.EMFILE, "as if"), 0)
        look(router, lambda _: failures == 0)
        with closing(StreamLink(router.address)) as late:
            late.send(to_broker(7))
            late.flush()
            look(router, lambda found: any(a.messages[0][0].task_id == 7 for a in found))


@pytest.mark.parametrize("how", ["decoding", "its memory"])
async def test_over_zeromq_the_rest_of_such_a_message_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async with wired("tcp") as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        one, other = wire.ear(), wire.ear()
        one.say(1)
        await ear.until(lambda: ear.numbers() == [1])
        name = ear.heard[0][0]
        wire.router.admit(name)
        decode = zeromq.decode_to_broker

        def decode_some(header: Any) -> Any:
            return no_memory() if b"\xcd\x03\xe7" in bytes(header) else decode(header)

        monkeypatch.setattr(zeromq, "decode_to_broker", decode_some)
        frames = (b"a", LONG, b"b") if how == "decoding" else (LONG, LONG)
        if how == "its memory":
            monkeypatch.setattr(Spares, "take", no_memory)
        one.link.send(to_broker(999, frames), frames)
        one.flush()
        await ear.until(lambda: ear.faults)
        for number, peer in enumerate((one, other), 2):
            peer.say(number)
            await ear.until(lambda number=number: number in ear.numbers())
        assert ear.faults[0] == (name, NO_MEMORY)
        assert {peer for peer, _ in ear.faults} == {name}


@pytest.mark.parametrize("where", ["batches", "send_frames"])
async def test_over_zeromq_no_message_of_one_that_could_not_be_sent_runs_into_anothers(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    async with wired("tcp") as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        peers = [wire.ear() for _ in range(3)]
        for number, peer in enumerate(peers):
            peer.say(number)
        await ear.until(lambda: len(ear.heard) == 3)
        names = {message.task_id: name for name, message, _ in ear.heard}
        usual = getattr(zeromq, where)
        calls = 0

        def fail_once(*given: Any) -> Any:
            nonlocal calls
            calls += 1
            return no_memory() if calls == 2 else usual(*given)

        monkeypatch.setattr(zeromq, where, fail_once)
        for number in range(3):
            wire.router.send(names[number], from_broker(number))
        assert ear.flush() == ([names[1]] if where == "batches" else [])
        for number in (0, 2):
            await peers[number].until(lambda number=number: peers[number].heard)
            assert peers[number].numbers() == [number]


@pytest.mark.parametrize("closes", [False, True])
def test_a_stream_whose_waiting_messages_cannot_be_read_back_ends_alone(
    monkeypatch: pytest.MonkeyPatch, closes: bool
) -> None:
    def fail(spilled: Spilling) -> Any:
        raise ProtocolError(f"messages that waited for it are lost: {spilled}")

    with streams(2) as (router, links):
        heard = look(router, lambda found: len(found) == 2)
        names = {arrival.messages[0][0].task_id: arrival.peer for arrival in heard}
        monkeypatch.setattr(stream_peer, "KEPT_BYTES", 1)
        monkeypatch.setattr(Spilling, "pop", fail)
        for _ in range(10):  # more than the stream takes, and so the rest waits
            router.send(names[0], from_broker(0, (LONG,)), (LONG,))
            assert router.flush() == []
        router.send(names[1], from_broker(1))
        assert router.flush() == []
        assert links[1].receive_within(1.0) == [(from_broker(1), ())]
        reading = threading.Thread(target=read_all, args=[links[0]])
        reading.start()
        gone: list[bytes] = []
        while not (gone or closes):
            router.expect()
            assert router.receive(10) == []
            gone = router.flush()
        router.close()
        reading.join()
        assert gone == ([] if closes else [names[0]])


def read_all(link: StreamLink) -> None:
    """Read all that comes until the other end is gone."""
    with suppress(OSError):
        while True:
            link.receive_within(1.0)


@pytest.mark.parametrize("transport", ["unix", "tcp"])
async def test_a_peer_without_memory_for_a_message_hears_that_it_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        link = wire.link()
        link.send(to_broker(1))
        link.flush()
        await ear.until(lambda: ear.heard)
        wire.router.admit(ear.heard[0][0])
        wire.router.send(ear.heard[0][0], from_broker(1, (LONG * 2,)), (LONG * 2,))
        ear.flush()
        with monkeypatch.context() as patched:
            patched.setattr(Spares, "take", no_memory)
            with pytest.raises(ProtocolError, match="no memory"):
                await hear(link)


async def hear(link: Any) -> None:
    """Look for messages at a link until it says that they cannot be read."""
    while True:
        assert link.receive(10) == []
        await asyncio.sleep(0)


def test_a_worker_without_memory_for_a_message_hears_that_it_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with streams(1) as (router, (link,)):
        (heard,) = look(router, lambda found: len(found) == 1)
        router.send(heard.peer, from_broker(1, (LONG,)), (LONG,))
        router.flush()
        monkeypatch.setattr(Spares, "take", no_memory)
        with pytest.raises(ProtocolError, match="no memory"):
            link.receive_within(1.0)


async def test_a_peer_whose_waiting_messages_cannot_be_read_back_ends_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with wired("tcp") as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        peers = [wire.ear() for _ in range(2)]
        for number, peer in enumerate(peers):
            peer.say(number)
        await ear.until(lambda: len(ear.heard) == 2)
        names = {message.task_id: name for name, message, _ in ear.heard}
        session = wire.router._peers[names[0]].session

        def fail() -> Any:
            raise ProtocolError("messages that waited for it are lost")

        monkeypatch.setattr(session, "next", fail)
        for number, name in names.items():
            wire.router.send(name, from_broker(number))
        assert ear.flush() == []
        await ear.until(lambda: ear.faults)
        assert ear.faults == [(names[0], "messages that waited for it are lost")]
        await peers[1].until(lambda: peers[1].numbers() == [1])
        wire.router.send(names[0], from_broker(2))
        assert ear.flush() == [names[0]]
