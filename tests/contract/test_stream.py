"""What goes over a Unix stream arrives as it was sent, wherever the kernel cuts it."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import Any

import pytest

from steerio.edge.wire.addresses import socket_path
from steerio.edge.wire.batches import JOINED_BYTES
from steerio.edge.wire.blocking_link import StreamLink
from steerio.edge.wire.endpoint import Arrival
from steerio.edge.wire.headers import encode_headers
from steerio.edge.wire.unix import StreamRouter
from tests.contract.payloads import content
from tests.contract.wires import IN_TIME_S, from_broker, to_broker

LENGTHS = (0, 1, 100, JOINED_BYTES - 1, JOINED_BYTES, JOINED_BYTES + 1, 3_000_000)


@contextmanager
def listening() -> Iterator[StreamRouter]:
    with (
        tempfile.TemporaryDirectory(prefix="steerio-") as folder,
        closing(StreamRouter(f"{folder}/workers")) as router,
    ):
        yield router


def arrivals(router: StreamRouter) -> list[Arrival]:
    """Return what arrives next."""
    found: list[Arrival] = []
    while not found:
        assert select.select([router], [], [], IN_TIME_S)[0], "nothing came"
        router.expect()
        found = router.receive(1_000)
    return found


def some_frames(dice: random.Random) -> tuple[bytes, ...]:
    return tuple(dice.randbytes(dice.choice(LENGTHS)) for _ in range(dice.randrange(4)))


def batch(number: int, frames: tuple[bytes, ...]) -> bytes:
    parts = [encode_headers([to_broker(number, frames)]), *frames]
    return struct.pack(f"=I{len(parts)}Q", len(parts), *map(len, parts)) + b"".join(parts)


@pytest.mark.parametrize("seed", range(8))
def test_a_router_hears_the_same_wherever_what_was_said_is_cut(seed: int) -> None:
    dice = random.Random(seed)
    said = [some_frames(dice) for _ in range(12)]
    whole = b"".join(batch(number, frames) for number, frames in enumerate(said))
    cuts = sorted({0, len(whole), *(dice.randrange(len(whole)) for _ in range(40))})
    heard: list[tuple[int, list[bytes]]] = []
    with listening() as router, closing(socket.socket(socket.AF_UNIX)) as peer:
        peer.connect(str(socket_path(router.address)))

        def say() -> None:
            for at, end in pairwise(cuts):
                peer.sendall(whole[at:end])

        saying = threading.Thread(target=say)
        saying.start()
        while len(heard) < len(said):
            for arrival in arrivals(router):
                assert not arrival.fault
                heard += [(m.task_id, list(map(content, its))) for m, its in arrival.messages]
        saying.join()
    assert heard == list(enumerate(map(list, said)))


@pytest.mark.parametrize("seed", range(4))
def test_router_and_link_hear_what_the_other_says(seed: int) -> None:
    dice = random.Random(seed)
    said = [some_frames(dice) for _ in range(12)]
    answered: list[list[bytes]] = []
    with listening() as router, closing(StreamLink(router.address)) as link:

        def answer() -> None:
            """Say everything back, as it came."""
            while len(answered) < len(said):
                for _, its in link.receive_within(IN_TIME_S):
                    answered.append(list(map(content, its)))
                    link.send(to_broker(len(answered), its), its)
                    link.flush()

        link.send(to_broker(0))
        link.flush()
        (hello,) = arrivals(router)
        answering = threading.Thread(target=answer)
        answering.start()
        heard: list[list[bytes]] = []
        for number, frames in enumerate(said):
            router.send(hello.peer, from_broker(number, frames), frames)
            assert router.flush() == []
        while len(heard) < len(said):
            heard += _frames(arrivals(router))
        answering.join()
    assert answered == heard == list(map(list, said))


def _frames(found: list[Arrival]) -> list[list[bytes]]:
    return [list(map(content, its)) for arrival in found for _, its in arrival.messages]


def test_a_frame_that_arrived_is_its_readers_own_if_it_was_long() -> None:
    frames: tuple[Any, ...] = (bytes(1_000_000),)
    with listening() as router, closing(StreamLink(router.address)) as link:
        link.send(to_broker(0))
        link.flush()
        (hello,) = arrivals(router)
        router.send(hello.peer, from_broker(1, frames), frames)
        received: list[Any] = []
        while not received:
            router.flush()
            router.receive(1)
            received = link.receive_within(0)
        ((_, (frame,)),) = received
        view = memoryview(frame)
        view[0] = 1
        assert frames[0][0] == 0
        view.release()


def test_a_frame_may_be_changed_as_soon_as_a_worker_has_flushed_it() -> None:
    frame = bytearray(10_000_000)
    with listening() as router, closing(StreamLink(router.address)) as link:

        def say() -> None:
            link.send(to_broker(1, (frame,)), (frame,))
            link.flush()
            frame[:] = b"x" * len(frame)

        saying = threading.Thread(target=say)
        saying.start()
        (arrival,) = arrivals(router)
        ((_, (heard,)),) = arrival.messages
        saying.join()
        assert content(heard) == bytes(len(frame))


@pytest.mark.parametrize("count", [0, (1 << 16) + 1])
def test_who_does_not_send_batches_is_disconnected(count: int) -> None:
    with listening() as router, closing(socket.socket(socket.AF_UNIX)) as peer:
        peer.settimeout(IN_TIME_S)
        peer.connect(str(socket_path(router.address)))
        peer.sendall(struct.pack("=I", count) + bytes(100))
        (arrival,) = arrivals(router)
        assert f"{count} frames" in arrival.fault
        with contextlib.suppress(ConnectionError):
            assert peer.recv(1) == b""
