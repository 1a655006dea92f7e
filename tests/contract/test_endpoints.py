"""What every endpoint does, whatever carries its messages."""

from __future__ import annotations

import asyncio
import random
import select
import threading
import time
from typing import Any

import numpy as np
import pytest

from steerio.edge.wire import (
    batches,
    headers,
    stream_peer,
    unix,
    zeromq,
    zeromq_link,
    zeromq_peer,
    zeromq_sockets,
)
from steerio.edge.wire.headers import encode_headers
from steerio.edge.wire.unix import StreamRouter
from steerio.edge.wire.unix_links import LocalLink
from steerio.edge.wire.zeromq import ZmqRouter
from steerio.edge.wire.zeromq_link import ZmqLink
from steerio.edge.wire.zeromq_sockets import ZERO_COPY_BYTES
from steerio.model import messages as ms
from steerio.model.tasks import TaskOptions
from tests.contract.payloads import content
from tests.contract.wires import (
    IN_TIME_S,
    TRANSPORTS,
    Fool,
    LinkEar,
    RouterEar,
    Wire,
    from_broker,
    to_broker,
    wired,
)

FRAMES: dict[str, tuple[Any, ...]] = {
    "none": (),
    "an empty one": (b"",),
    "small ones": (b"a", b"", b"bc"),
    "a megabyte": (b"m" * (1 << 20),),
    "just not copied": (b"z" * ZERO_COPY_BYTES, b"z" * (ZERO_COPY_BYTES - 1)),
    "views": (
        memoryview(b"view"),
        memoryview(b"0123456789")[3:7],
        memoryview(bytearray(b"x" * (1 << 17))),
        np.arange(1 << 15, dtype="f8").data,
        np.arange(60, dtype="f8").reshape(5, 12).data.toreadonly(),
    ),
    "many": tuple(b"%d" % number for number in range(300)),
}

every_transport = pytest.mark.parametrize("transport", TRANSPORTS)
over_sockets = pytest.mark.parametrize("transport", ["unix", "tcp"])


# -- what is sent arrives -----------------------------------------------------------------


@every_transport
async def test_messages_arrive_in_the_order_in_which_they_were_sent(transport: str) -> None:
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        peers = [wire.ear() for _ in range(3)]
        for number in range(0, 300, 3):
            for peer in peers:
                peer.say(number)
                peer.say(number + 1, number + 2)
        await ear.until(lambda: len(ear.heard) == 900)

        names = list(dict.fromkeys(peer for peer, _, _ in ear.heard))
        assert [ear.numbers(name) for name in names] == [list(range(300))] * 3

        for number in range(300):
            for name in names:
                wire.router.send(name, from_broker(number))
            if number % 7 == 0:
                assert ear.flush() == []
        ear.flush()
        for peer in peers:
            await peer.until(lambda peer=peer: len(peer.heard) == 300)
            assert peer.numbers() == list(range(300))


@every_transport
@pytest.mark.parametrize("frames", FRAMES.values(), ids=FRAMES.keys())
async def test_frames_arrive_with_their_message(transport: str, frames: tuple[Any, ...]) -> None:
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        peer = wire.ear()
        sent = [content(frame) for frame in frames]
        peer.say(-1)  # long messages are taken from peers that were let in
        await ear.until(lambda: ear.heard)
        wire.router.admit(ear.heard.pop()[0])

        # in one batch, between messages of no frames and of others
        for number, its in enumerate([(), frames, (), frames, (b"last",)]):
            peer.link.send(to_broker(number, its), its)
        peer.flush()
        await ear.until(lambda: len(ear.heard) == 5)
        arrived = [[content(frame) for frame in its] for _, _, its in ear.heard]
        assert arrived == [[], sent, [], sent, [b"last"]]
        name = ear.heard[0][0]

        for number, its in enumerate([(), frames, (), frames, (b"last",)]):
            wire.router.send(name, from_broker(number, its), its)
        ear.flush()
        await peer.until(lambda: len(peer.heard) == 5)
        arrived = [[content(frame) for frame in its] for _, its in peer.heard]
        assert arrived == [[], sent, [], sent, [b"last"]]


@every_transport
async def test_frames_that_arrived_can_be_sent_on_and_sent_again(transport: str) -> None:
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        worker, client = wire.ear(), wire.ear()
        frames = (b"x" * 100, b"y" * (1 << 18), b"")
        client.say(0)
        await ear.until(lambda: ear.heard)
        worker.link.send(to_broker(1, frames), frames)
        worker.flush()
        await ear.until(lambda: len(ear.heard) == 2)
        (to, _, _), (_, _, arrived) = ear.heard

        for number in range(3):  # as when a task is tried again
            wire.router.send(to, from_broker(number, arrived), arrived)
            ear.flush()
        await client.until(lambda: len(client.heard) == 3)

        for _, its in client.heard:
            assert [content(frame) for frame in its] == list(frames)


@every_transport
async def test_a_batch_may_hold_very_many_messages(transport: str) -> None:
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        peer = wire.ear()
        for number in range(20_000):
            peer.link.send(to_broker(number))
        peer.flush()
        await ear.until(lambda: len(ear.heard) == 20_000)

        assert ear.numbers() == list(range(20_000))


@every_transport
async def test_text_that_is_no_unicode_arrives_escaped_or_as_it_was(transport: str) -> None:
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        peer = wire.ear()
        odd = b"run-\xff".decode(errors="surrogateescape")
        tags = {"file": odd, odd: "x"}
        options = TaskOptions(priority=2.0)

        peer.link.send(ms.SubmitTask(1, 2, 0.5, b"\xff\x00", 1, options, tags, odd), (b"f",))
        peer.say(2)
        await ear.until(lambda: len(ear.heard) == 2)
        wire.router.send(ear.heard[0][0], ms.Refused(odd, True))
        ear.flush()
        await peer.until(lambda: peer.heard)

        message = ear.heard[0][1]
        assert (message.body, message.options, ear.heard[0][2]) == (b"\xff\x00", options, (b"f",))
        escaped = "run-\\udcff"
        assert message.cause in (odd, escaped)
        assert message.tags in (tags, {"file": escaped, escaped: "x"})
        assert peer.heard[0][0].reason in (odd, escaped)


# -- nobody oversleeps --------------------------------------------------------------------


async def _until_there(end: Any) -> None:
    """Wait until something is there, and take the edge that says so."""
    if isinstance(end, ZmqRouter | ZmqLink):
        async with asyncio.timeout(IN_TIME_S):
            while not end._socket.poll(0):  # noqa: ASYNC110 - no event says it
                await asyncio.sleep(0)
    elif isinstance(end, StreamRouter | LocalLink):
        assert select.select([end.fileno()], [], [], IN_TIME_S)[0]
    else:
        assert end.ready()


def _block_until_there(router: Any) -> None:
    """Wait until something is there while the loop stands still; leave the edge.

    A send takes it only where the last look at what happened is some million ticks old.
    """
    readable, _, _ = select.select([router.fileno()], [], [], IN_TIME_S)
    assert readable
    looked = time.perf_counter()
    while time.perf_counter() < looked + 0.004:
        pass


@every_transport
async def test_a_wake_is_not_missed_in_a_thousand_rounds_of_question_and_answer(
    transport: str,
) -> None:
    rounds = 1000
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        peer = wire.ear()

        def answer(name: bytes, message: Any, _: Any) -> None:
            wire.router.send(name, from_broker(message.task_id))
            ear.flush()

        def ask(message: Any, _: Any) -> None:
            if message.task_id < rounds:
                peer.say(message.task_id + 1)

        ear.on_heard, peer.on_heard = answer, ask
        peer.say(1)
        await peer.until(lambda: len(peer.heard) == rounds)

        assert peer.numbers() == list(range(1, rounds + 1))


@every_transport
@pytest.mark.parametrize("limit", [1, 7, 1000])
async def test_no_wake_is_missed_when_both_ends_send_while_they_receive(
    transport: str, limit: int
) -> None:
    each, chance = 400, random.Random(limit)
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop(), limit)
        peers = [wire.ear() for _ in range(4)]

        def answer(name: bytes, message: Any, _: Any) -> None:
            wire.router.send(name, from_broker(message.task_id))
            if chance.random() < 0.5:
                ear.flush()  # in the middle of a drain
            else:
                ear.loop.call_soon(ear.flush)  # after it

        ear.on_heard = answer
        for peer in peers:
            said = iter(range(each))

            def go_on(*_news: Any, peer: LinkEar = peer, said: Any = said) -> None:
                for _ in range(chance.randrange(3)):
                    if (number := next(said, None)) is not None:
                        peer.say(number)

            peer.on_heard = go_on
            peer.say(*(next(said) for _ in range(8)))
            peer.loop.call_soon(_keep_going, peer, said)
        for peer in peers:
            await peer.until(lambda peer=peer: len(peer.heard) == each)

        assert all(peer.numbers() == list(range(each)) for peer in peers)


def _keep_going(peer: LinkEar, said: Any) -> None:
    """Say one more in each turn of the loop, whatever is heard meanwhile."""
    if (number := next(said, None)) is not None:
        peer.say(number)
        peer.loop.call_soon(_keep_going, peer, said)


@every_transport
async def test_what_arrived_before_anybody_listened_is_heard(transport: str) -> None:
    loop = asyncio.get_running_loop()
    async with wired(transport) as wire:
        link = wire.link()
        link.send(to_broker(1))
        link.flush()
        await _until_there(wire.router)
        ear = RouterEar(wire.router, loop)
        await ear.until(lambda: ear.numbers() == [1])
        wire.router.send(ear.heard[0][0], from_broker(2))
        wire.router.flush()
        await _until_there(link)
        peer = LinkEar(link, loop)
        await peer.until(lambda: peer.numbers() == [2])


@every_transport
async def test_who_stops_listening_hears_nothing_and_all_of_it_later(transport: str) -> None:
    loop = asyncio.get_running_loop()
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, loop)
        peer = wire.ear()
        peer.say(1)
        await ear.until(lambda: ear.heard)
        wire.router.detach()
        peer.link.detach()
        wakes = ear.wakes, peer.wakes

        wire.router.send(ear.heard[0][0], from_broker(5))
        wire.router.flush()
        peer.link.send(to_broker(2))
        peer.link.flush()
        await _until_there(wire.router)
        await _until_there(peer.link)
        await asyncio.sleep(0)

        assert (ear.wakes, peer.wakes) == wakes
        wire.router.attach(loop, ear.wake)
        peer.link.attach(loop, peer.wake)
        await ear.until(lambda: ear.numbers() == [1, 2])
        await peer.until(lambda: peer.numbers() == [5])


@every_transport
async def test_who_stops_listening_at_once_is_never_woken(transport: str) -> None:
    loop = asyncio.get_running_loop()
    async with wired(transport) as wire:
        wakes: list[str] = []
        link = wire.link()
        wire.router.attach(loop, lambda: wakes.append("router"))
        link.attach(loop, lambda: wakes.append("link"))
        wire.router.detach()
        link.detach()
        for _ in range(3):
            await asyncio.sleep(0)

        assert wakes == []
        wire.router.detach()
        link.detach()


@every_transport
async def test_a_link_outlives_the_loop_that_it_was_attached_to(transport: str) -> None:
    async with wired(transport) as wire:
        link = wire.link()

        def on_a_loop_that_ends() -> None:
            other = asyncio.new_event_loop()
            link.attach(other, lambda: None)
            other.close()

        thread = threading.Thread(target=on_a_loop_that_ends)
        thread.start()
        thread.join()
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        link.send(to_broker(1))
        link.flush()
        await ear.until(lambda: ear.heard)
        wire.router.send(ear.heard[0][0], from_broker(1))
        wire.router.flush()
        peer = wire.ear(link)
        await peer.until(lambda: peer.numbers() == [1])


@over_sockets
async def test_looking_after_a_flush_finds_what_arrived_before_it(transport: str) -> None:
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        peer, other = wire.ear(), wire.ear()
        other.say(0)
        peer.say(1)
        await ear.until(lambda: len(ear.heard) == 2)
        name = ear.heard[0][0]
        for number in range(2, 50):
            peer.say(number)
            _block_until_there(wire.router)
            wire.router.send(name, from_broker(number))
            ear.flush()  # takes the edge before the loop could see it
            await ear.until(lambda number=number: number in ear.numbers())


async def test_the_two_ends_of_a_memory_link_may_be_on_two_threads() -> None:
    rounds = 300
    async with wired("memory") as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        link = wire.link()
        heard: list[list[int]] = []

        async def ask() -> None:
            peer = wire.ear(link)

            def go_on(message: Any, _: Any) -> None:
                if message.task_id < rounds:
                    peer.say(message.task_id + 1)

            peer.on_heard = go_on
            peer.say(1)
            await peer.until(lambda: len(peer.heard) == rounds)
            heard.append(peer.numbers())
            link.detach()

        def answer(name: bytes, message: Any, _: Any) -> None:
            wire.router.send(name, from_broker(message.task_id))
            ear.flush()

        ear.on_heard = answer
        await asyncio.to_thread(asyncio.run, ask())

        assert heard == [list(range(1, rounds + 1))]
        await asyncio.get_running_loop().shutdown_default_executor()


# -- who cannot be reached ----------------------------------------------------------------


@every_transport
async def test_a_flush_names_peers_that_cannot_be_reached(transport: str) -> None:
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        leaver, stayer = wire.ear(), wire.ear()
        leaver.say(1)
        await ear.until(lambda: ear.numbers() == [1])
        stayer.say(2)
        await ear.until(lambda: ear.numbers() == [1, 2])
        gone, here = (peer for peer, _, _ in ear.heard)

        wire.router.send(b"never seen", from_broker(0))
        wire.router.send(here, from_broker(1))
        assert ear.flush() == [b"never seen"]
        assert ear.flush() == []

        assert wire.router.connected(gone)
        leaver.link.close()

        def is_noticed() -> bool:
            wire.router.send(gone, from_broker(0))
            wire.router.send(here, from_broker(2))
            ear.flush()
            return not wire.router.connected(gone)

        await ear.until(is_noticed, quietly=True)
        assert wire.router.connected(here)
        await stayer.until(lambda: stayer.numbers()[:2] == [1, 2])


@every_transport
async def test_a_peer_that_comes_back_is_another_peer_or_the_same_but_is_heard(
    transport: str,
) -> None:
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        for number in range(5):
            peer = wire.ear()
            peer.say(number)
            await ear.until(lambda number=number: number in ear.numbers())
            name = ear.heard[-1][0]
            wire.router.send(name, from_broker(number))
            assert name not in ear.flush(), "those before it may be"
            await peer.until(lambda peer=peer, number=number: peer.numbers() == [number])
            peer.link.close()


# -- who is slow --------------------------------------------------------------------------

CHUNK = b"c" * 65_000
"""Copied as it is sent, so that what waits is what counts, not what is shared."""


def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give peers little credit, and sockets short queues."""
    monkeypatch.setattr(zeromq, "QUEUED_PACKETS", 4)
    for end in (zeromq_peer, zeromq_link):
        monkeypatch.setattr(end, "WINDOW_BYTES", 20 * len(CHUNK))
    monkeypatch.setattr(stream_peer, "KEPT_BYTES", 20 * len(CHUNK))


async def _stuff(ear: RouterEar, name: bytes, most: int = 20_000) -> int:
    """Send to a peer that does not read until it is congested; return how many batches."""
    for number in range(most):
        ear.router.send(name, from_broker(number, (CHUNK,)), (CHUNK,))
        assert ear.flush() == []
        if ear.router.congested(name):
            return number + 1
        await asyncio.sleep(0)
    raise AssertionError(f"not congested after {most} batches")


@over_sockets
async def test_a_slow_peer_is_congested_holds_up_nobody_and_gets_everything_in_order(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _narrow(monkeypatch)
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        slow, quick = wire.ear(), wire.ear()
        slow.say(1)
        await ear.until(lambda: ear.numbers() == [1])
        quick.say(2)
        await ear.until(lambda: ear.numbers() == [1, 2])
        slow_name, quick_name = (peer for peer, _, _ in ear.heard)
        slow.link.detach()
        sent = await _stuff(ear, slow_name)
        assert not wire.router.congested(quick_name)

        for number in range(sent, sent + 50):  # waits behind what is stuck
            wire.router.send(slow_name, from_broker(number, (CHUNK,)), (CHUNK,))
            wire.router.send(quick_name, from_broker(number))
            assert ear.flush() == []
            await quick.until(lambda number=number: number in quick.numbers())
            slow.link.send(to_broker(number))  # and can be heard all the while
            slow.link.flush()
            await ear.until(lambda number=number: number in ear.numbers(slow_name))

        slow.link.attach(slow.loop, slow.wake)
        await slow.until(lambda: ear.flush() or len(slow.heard) == sent + 50, quietly=True)

        assert slow.numbers() == list(range(sent + 50))
        assert all(frames[0] == CHUNK for _, frames in slow.heard)
        await ear.until(lambda: ear.flush() or not wire.router.congested(slow_name), quietly=True)
        wire.router.send(slow_name, from_broker(-1))
        assert ear.flush() == []
        await slow.until(lambda: slow.numbers()[-1] == -1)


@over_sockets
async def test_a_congested_peer_that_vanishes_is_forgotten(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _narrow(monkeypatch)
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        slow = wire.ear()
        slow.say(1)
        await ear.until(lambda: ear.heard)
        name = ear.heard[0][0]
        slow.link.detach()
        sent = await _stuff(ear, name)
        for number in range(sent, sent + 5):
            wire.router.send(name, from_broker(number))
            ear.flush()

        slow.link.close()

        def is_noticed() -> bool:
            wire.router.tick()  # asks for what is not acknowledged
            gone = ear.flush()
            assert gone == ([] if transport == "tcp" or wire.router.connected(name) else [name])
            return not wire.router.connected(name)

        await ear.until(is_noticed, quietly=True)

        wire.router.forget(name)
        for _ in range(zeromq_peer.PASSING_TICKS):
            wire.router.tick()
        assert not wire.router.congested(name)
        wire.router.send(name, from_broker(-1))
        assert ear.flush() == [name]


@over_sockets
async def test_what_arrives_while_a_slow_peer_is_tried_again_is_not_overslept(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _narrow(monkeypatch)
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        slow, quick = wire.ear(), wire.ear()
        slow.say(0)
        await ear.until(lambda: ear.heard)
        slow.link.detach()
        name = ear.heard[0][0]
        await _stuff(ear, name)
        for number in range(400):  # more than any buffer on the way takes in meanwhile
            wire.router.send(name, from_broker(number, (CHUNK,)), (CHUNK,))
            wire.router.flush()
        for number in range(1, 50):
            assert wire.router.congested(name)
            quick.say(number)
            _block_until_there(wire.router)
            ear.flush()  # hands over nothing new, but tries
            await ear.until(lambda number=number: number in ear.numbers())


async def test_strangers_are_forgotten_and_the_last_words_to_a_peer_are_not() -> None:
    async with wired("tcp") as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        stays, refused = wire.ear(), wire.ear()
        stays.say(1)
        refused.say(2)
        await ear.until(lambda: len(ear.heard) == 2)
        by_number = {message.task_id: peer for peer, message, _ in ear.heard}
        wire.router.admit(by_number[1])

        wire.router.send(by_number[2], from_broker(7))
        wire.router.forget(by_number[2])
        wire.router.tick()  # a beat may come before the flush
        ear.flush()
        await refused.until(lambda: refused.numbers() == [7])

        for _ in range(zeromq_peer.PASSING_TICKS):
            wire.router.tick()
        wire.router.send(by_number[2], from_broker(8))
        assert ear.flush() == [by_number[2]]
        wire.router.send(by_number[1], from_broker(9))
        assert ear.flush() == []
        await stays.until(lambda: stays.numbers() == [9])


async def test_long_messages_are_taken_from_peers_that_were_let_in_only() -> None:
    async with wired("tcp") as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        peer, frames = wire.ear(), (bytes(3 << 20),)
        peer.say(1, frames=frames)
        await ear.until(lambda: ear.faults)
        assert "a stranger" in ear.faults[0][1]
        assert ear.heard == []


async def test_nobody_is_congested_in_memory() -> None:
    async with wired("memory") as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        peer = wire.ear()
        peer.say(1)
        await ear.until(lambda: ear.heard)
        name = ear.heard[0][0]
        for number in range(10_000):
            wire.router.send(name, from_broker(number))
            wire.router.flush()

        assert not wire.router.congested(name)
        await peer.until(lambda: len(peer.heard) == 10_000)


# -- bounds and faults --------------------------------------------------------------------


@every_transport
async def test_no_more_is_received_than_was_asked_for(transport: str) -> None:
    async with wired(transport) as wire:
        link = wire.link()
        for number in range(50):
            link.send(to_broker(number))
            link.flush()
        await _until_there(wire.router)
        arrived: list[int] = []
        async with asyncio.timeout(IN_TIME_S):
            while len(arrived) < 50:
                wire.router.expect()
                arrivals = wire.router.receive(3)
                assert len(arrivals) <= 3
                arrived += [message.task_id for one in arrivals for message, _ in one.messages]
                await asyncio.sleep(0)

        assert arrived == list(range(50))
        assert wire.router.receive(3) == []
        assert not wire.router.ready()


GARBAGE: dict[str, list[bytes]] = {
    "nothing": [b""],
    "no msgpack": [b"\xc1"],
    "no list": [b"\x01"],
    "half a message": [encode_headers([to_broker(1)])[:-1]],
    "a message and more": [encode_headers([to_broker(1)]) + b"\x00"],
    "an unknown message": [b"\x91\x92\xcc\xc8\x01"],
    "what only brokers say": [encode_headers([ms.Closing("")])],
    "no text": [encode_headers([ms.CancelTasks([1], "ab")]).replace(b"ab", b"\xff\xff")],
    "too few frames": [encode_headers([to_broker(1, (b"", b""))]), b""],
    "too many frames": [encode_headers([to_broker(1)]), b"extra"],
    "fewer than no frames": [encode_headers([ms.YieldItem(1, 0, b"", -1)]), b""],
    "fewer than no frames, and none": [encode_headers([ms.YieldItem(1, 0, b"", -1)])],
    "very many frames": [encode_headers([ms.YieldItem(1, 0, b"", 2**63 - 1)])],
    "a deep nest": [b"\x91" * 100_000],
    "a long list": [b"\xdd\xff\xff\xff\xff"],
}


@over_sockets
async def test_what_cannot_be_read_is_a_fault_of_its_sender_and_of_nobody_else(
    transport: str,
) -> None:
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        fool, its_name = await _fool(wire, ear)
        peer = wire.ear()
        for number, (name, frames) in enumerate(GARBAGE.items()):
            fool.send(frames)
            peer.say(number)
            await ear.until(lambda number=number: number in ear.numbers())
            await ear.until(lambda number=number: len(ear.faults) == number + 1)
            sender, fault = ear.faults[-1]
            assert (sender, bool(fault)) == (its_name, True), name
            assert len(fault) < 1_000, name
        fool.send([encode_headers([to_broker(99)])])
        await ear.until(lambda: 99 in ear.numbers(its_name))


@over_sockets
async def test_a_frame_beyond_the_limit_costs_its_sender_the_connection(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zeromq_sockets, "LIMIT_PART_BYTES", 10_000)
    monkeypatch.setattr(batches, "LIMIT_BATCH_BYTES", 10_000)
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        fool, its_name = await _fool(wire, ear)
        peer = wire.ear()
        frames = (b"x" * 10_001,)
        fool.send([encode_headers([to_broker(2, frames)]), *frames])

        def is_gone() -> bool:
            wire.router.send(its_name, from_broker(0))
            ear.flush()
            return not wire.router.connected(its_name)

        await ear.until(is_gone, quietly=True)
        peer.say(3)
        await ear.until(lambda: 3 in ear.numbers())
        assert 2 not in ear.numbers()


async def _fool(wire: Wire, ear: RouterEar) -> tuple[Fool, bytes]:
    """Return a peer that says what it likes, and its name at the router."""
    fool = wire.fool()
    fool.send([encode_headers([to_broker(-1)])])
    await ear.until(lambda: ear.numbers() == [-1])
    return fool, ear.heard[0][0]


@over_sockets
async def test_a_header_beyond_the_limit_is_a_fault(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headers, "LIMIT_HEADER_BYTES", 100)
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        peer = wire.ear()
        for number in range(100):
            peer.link.send(to_broker(number))
        peer.flush()
        await ear.until(lambda: ear.faults)

        assert "limit 100" in ear.faults[0][1]
        assert not ear.heard
        peer.say(7)
        await ear.until(lambda: ear.numbers() == [7])


# -- the end ------------------------------------------------------------------------------


@every_transport
async def test_what_was_flushed_before_a_close_still_arrives(transport: str) -> None:
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        stayer, leaver = wire.ear(), wire.ear()
        stayer.say(1)
        await ear.until(lambda: ear.heard)
        name = ear.heard[0][0]
        leaver.say(2, 3)
        leaver.link.close()
        await ear.until(lambda: ear.numbers() == [1, 2, 3])

        wire.router.send(name, from_broker(4))
        wire.router.flush()
        wire.router.close()
        await stayer.until(lambda: stayer.numbers() == [4])


@every_transport
async def test_closing_twice_and_in_any_order_is_clean(transport: str) -> None:
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        peers = [wire.ear() for _ in range(3)]
        for peer in peers:
            peer.say(1)
        await ear.until(lambda: len(ear.heard) == 3)
        peers[0].link.close()
        peers[0].link.close()
        wire.router.close()
        wire.router.close()
        peers[1].link.send(to_broker(2))
        peers[1].flush()
        peers[1].link.close()


@over_sockets
async def test_a_close_does_not_wait_for_those_who_do_not_read(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _narrow(monkeypatch)
    monkeypatch.setattr(zeromq_sockets, "LINGER_MS", 50)
    monkeypatch.setattr(unix, "LINGER_S", 0.05)
    async with wired(transport) as wire:
        ear = RouterEar(wire.router, asyncio.get_running_loop())
        peer = wire.ear()
        peer.say(1)
        await ear.until(lambda: ear.heard)
        peer.link.detach()
        await _stuff(ear, ear.heard[0][0])
        started = time.monotonic()
        wire.router.close()
    # leaving the block ends the context, which waits for all that lingers

    assert time.monotonic() - started < IN_TIME_S


async def test_an_address_that_cannot_be_bound_leaves_nothing_open() -> None:
    async with wired("tcp") as wire:
        for address in ("tcp://no.such.host.invalid:1", wire.router.address + "/not/there"):
            with pytest.raises(OSError, match=r"No such device|in use"):
                ZmqRouter(wire.context, address, wire.keys)
        with pytest.raises(OSError, match="Invalid argument"):
            ZmqLink(wire.context, "nonsense", b"name", None)
    async with wired("unix") as wire:
        with pytest.raises(OSError, match="in use"):
            StreamRouter(wire.router.address.removeprefix("unix://"))
        with pytest.raises(OSError, match="No such file"):
            StreamRouter("/no/such/folder/broker")
        with pytest.raises(OSError, match="Not a directory"):
            LocalLink(wire.router.address + "/not/there")
