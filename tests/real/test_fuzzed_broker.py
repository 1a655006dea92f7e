"""Whatever is thrown at a broker's ports, it goes on serving."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

import steerio
from steerio.edge.wire.addresses import socket_path
from steerio.edge.wire.connection import read_connection
from steerio.edge.wire.headers import encode_headers
from steerio.edge.wire.keys import ROLES, ClientKeys
from steerio.edge.wire.packets import Piece, encode
from steerio.edge.wire.wire_session import Kind, Packet
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.hosting import Hosting
from steerio.model import messages as ms
from steerio.model.objects import StoredObject
from steerio.session.session import Session
from steerio.session.session_store import SessionStore
from steerio.worker import forks
from tests.contract.wires import as_batch
from tests.real import deeds, fuzzing
from tests.real.test_standing_broker import broker_in
from tests.real.test_strangers import node_of, peak_bytes, seen_from_afar
from tests.real.throwing import BY_NAME, Thrower, zeromq

ROUNDS = 40
LINGER_MS = 200
VALUE = bytes(100_000)
"""Is in the store all the time."""


@steerio.task
def double(x: int) -> int:
    return 2 * x


def noise(chance: random.Random) -> Iterator[list[bytes]]:
    """Batches that no peer in good order sends."""
    report = ms.Report(chance.randrange(2**40), "succeeded", 0.0, 1.0, b"\xc0", 0, None)
    whole = encode_headers([ms.JoinClient(ms.PROTOCOL, "x"), report])
    yield [chance.randbytes(chance.randrange(200)) for _ in range(chance.randrange(1, 5))]
    yield [msgspec.msgpack.encode([[chance.randrange(256), *chance.randbytes(4)]])]
    yield [whole[: chance.randrange(len(whole))]]
    yield [whole, b"a frame that nothing asked for"]
    yield [encode_headers([ms.JoinClient(chance.randrange(2, 99), "from the future")])]
    yield [encode_headers([ms.JoinWorker(ms.PROTOCOL, f"default-{chance.randrange(9)}", 1)])]
    yield [encode_headers([ms.JoinNode(ms.PROTOCOL, "n", "h", 1, {"default": 10**9})])]
    yield [encode_headers([ms.WorkerExited("default-1", 1, "so they say"), report, report])]
    stored = StoredObject(chance.choice([b"../../etc", b"", chance.randbytes(30)]), -1)
    about_it = [ms.HoldObject(stored), ms.PublishVersion(1, "model", stored)]
    freeing = [ms.LetGo([stored.name] * 9), ms.AskVersion(1, "model", -1)]
    yield [encode_headers([*about_it, *freeing])]
    yield [encode_headers([ms.JoinClient(ms.PROTOCOL, "x"), *about_it, *freeing, *about_it])]
    nowhere = [ms.AskDrain(1, "nowhere", float("nan"), True), ms.AskUndrain(2, "\0")]
    yield [encode_headers([ms.JoinClient(ms.PROTOCOL, "x"), *nowhere, ms.Leave()])]
    walltime_s = chance.choice([float("nan"), float("inf"), -1.0, 0.0])
    yield [encode_headers([ms.JoinNode(ms.PROTOCOL, "n", "h", 1, {}, {}, {}, walltime_s)])]
    yield [encode_headers([ms.YieldItem(1, -1, b"", -5), ms.CancelTasks([2**63, -1, 7, 7], "?")])]
    yield [b"\x91" * chance.randrange(1, 5_000)]
    yield [b"\xdd\xff\xff\xff\xff", bytes(100_000)]


def throw(address: str, seed: int, keys: ClientKeys | None = None) -> None:
    """Throw noise at a ZeroMQ address, as one peer."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    peer = context.socket(zmq.DEALER)
    peer.set(zmq.IDENTITY, b"peer-%d" % seed)
    peer.set(zmq.LINGER, LINGER_MS)
    peer.set(zmq.SNDTIMEO, LINGER_MS)  # one that is turned away has no way to send
    if keys is not None:
        keys.secure(peer)
    peer.connect(address)
    with contextlib.suppress(zmq.Again):
        for session, batch in enumerate(noise(random.Random(seed)), 1):
            peer.send_multipart(batch)  # below sessions, and as the first packet of one
            piece = Piece(True, batch)
            peer.send_multipart(encode(Packet(Kind.DATA, session, 0, 0, 0, 0, True, piece)))
    peer.close()
    context.term()


def throw_at_stream(path: str, seed: int) -> None:
    """Throw noise at a Unix stream, each batch as a peer of its own."""
    for batch in noise(random.Random(seed)):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            peer.sendall(as_batch(batch))


def throw_bytes(path: str, seed: int) -> None:
    """Throw random bytes at a Unix stream or a TCP port, below any protocol."""
    chance = random.Random(seed)
    host, colon, port = path.rpartition(":")
    family = socket.AF_INET if colon else socket.AF_UNIX
    with socket.socket(family, socket.SOCK_STREAM) as peer:
        peer.connect((host, int(port)) if colon else path)
        peer.sendall(chance.choice([chance.randbytes(500), b"\x01\0\0\0" + b"\xff" * 60]))


def keys_of(hosting: Hosting, seed: int) -> ClientKeys | None:
    """Return the keys of one role after the other, if there are any."""
    keys = hosting.connection.keys
    return None if keys is None else keys[ROLES[seed % len(ROLES)]]


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_broker_goes_on_serving_whatever_is_thrown_at_its_ports(
    tmp_path: Path, encrypted: bool
) -> None:
    hosting = Hosting(
        BrokerSetup(workers={"default": 1}, run_dir=tmp_path, host="127.0.0.1", encrypted=encrypted)
    )
    await hosting.start()
    try:
        client = await hosting.join("in good order")
        session = Session(client, None, SessionStore(client, *hosting.store))
        try:
            kept = await session.put(VALUE)
            at = hosting.connection
            streams = [str(socket_path(address)) for address in (at.local, at.workers)]
            for seed in range(ROUNDS):
                for stream in streams:
                    throw_at_stream(stream, seed)
                    throw_bytes(stream, seed)
                throw(hosting.connection.remote, seed + ROUNDS, keys_of(hosting, seed))
                if encrypted:
                    throw(hosting.connection.remote, seed)
                throw_bytes(hosting.connection.remote.removeprefix("tcp://"), seed)
                assert await session.run(double, seed) == 2 * seed
            assert await kept == VALUE
            status = await session.status()
        finally:
            session.close()
            await session.store.close()
    finally:
        await hosting.close()
    assert {"malformed", "stranger", "protocol", "refused"} <= set(status.dropped)
    assert ("wrong key" in status.dropped) is encrypted
    assert status.ended == {"succeeded": ROUNDS}
    assert [worker.worker for worker in status.workers] == ["default-1"]


# -- mutated traffic ----------------------------------------------------------------------------

BLOCKS, STRESS_FRAMES = 6, 1_000_000
PACKETS_OF_ONE = 40
"""Sessions of one ZeroMQ connection."""
MORE_BYTES = 160 << 20
"""Most memory that the broker may have taken for all that was thrown at it: it keeps its last
events, and ledgers of those that call themselves detached."""
IN_TIME_S = 120.0
"""Longer than it takes to lose a client over TCP that is gone without a word."""


def babble(seed: int) -> None:
    """Write what no worker says into the stream of this worker, and wait for the end."""
    worker: Any = forks._worker
    thrower = Thrower(seed)
    for _ in range(20):
        for batch in fuzzing.saying(thrower.chance, thrower.maker, BY_NAME["worker"]):
            with contextlib.suppress(OSError):
                worker._broker._link._socket.sendall(as_batch(batch))
    worker._broker._link._socket.sendall(b"\xff" * 100)
    time.sleep(1_000)


def throw_block(thrower: Thrower, at: Path, rounds: int) -> None:
    """Throw at every port of a broker, and at that of its remote node."""
    found = read_connection(at)
    streams = [str(socket_path(address)) for address in (found.local, found.workers)]
    nodes = [str(path) for path in Path(tempfile.gettempdir()).glob("steerio-*/workers")]
    nodes = [path for path in nodes if path not in streams]
    assert nodes
    keys: list[ClientKeys | None] = [None]
    if found.keys is not None:
        keys = [found.keys[role] for role in ROLES]
    port = int(found.remote.rpartition(":")[2])
    mechanism = b"NULL" if found.keys is None else b"CURVE"
    for number in range(rounds):
        for stream in streams:
            thrower.at_stream(stream)
        if number % 4 == 0:
            thrower.with_a_cast(*streams)
            thrower.at_stream(nodes[0], (BY_NAME["worker"], BY_NAME["stranger"]))
        if number % 20 == 0:
            thrower.at_tcp(port, mechanism)
        if number % PACKETS_OF_ONE == 0:
            with zeromq(found.remote, thrower.chance.choice(keys)) as peer:
                thrower.at_zeromq(peer, 3 * PACKETS_OF_ONE)


async def harass(folder: Path, *, encrypted: bool, rounds: int, frames: int, seed: int) -> str:
    """Throw at a standing broker and its node until so many frames are thrown; see how it is."""
    afar, place = folder / "afar", folder / "broker"
    options = ("--host", "127.0.0.1") if encrypted else ("--host", "127.0.0.1", "--no-encryption")
    thrower = Thrower(seed)
    with broker_in(folder, *options) as broker:
        seen_from_afar(place, afar)
        with node_of(folder, afar):
            async with steerio.connect(place, name="in good order") as session:
                before = 0
                block = 0
                while block < BLOCKS or thrower.thrown.total() < frames:
                    await asyncio.to_thread(throw_block, thrower, place, rounds)
                    task = session.options(retries={"lost": 0}).submit(babble, seed + block)
                    assert (await task.result()).ended_as == "lost"
                    assert await session.run(deeds.double, block) == 2 * block
                    block += 1
                    before = before or peak_bytes(broker.pid)
                after = peak_bytes(broker.pid)
                async with asyncio.timeout(IN_TIME_S):
                    while True:
                        status = await session.status()
                        there = [name for name in status.clients if not name.endswith("(away)")]
                        if len(there) == len(status.nodes) == 1:
                            break
                assert there == ["in good order"]
                assert len(status.nodes) == 1
                assert status.pools["default"].workers == 1
                assert {"malformed", "stranger", "out of place"} <= set(status.dropped)
                assert "error" not in status.dropped, status.dropped
        broker.signal(signal.SIGTERM)
        assert broker.status() == 0, broker
    log = (place / "campaign.log").read_text() + broker.output
    assert "Traceback" not in log, log
    assert after < before + MORE_BYTES
    return f"{dict(thrower.thrown)}, {before >> 20} MiB, then {after >> 20} MiB; {status.dropped}"


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.timeout(240)
async def test_mutated_traffic_of_every_kind_harms_nobody_else(
    tmp_path: Path, encrypted: bool
) -> None:
    await harass(tmp_path, encrypted=encrypted, rounds=40, frames=0, seed=7)


@pytest.mark.stress
@pytest.mark.timeout(3_000)
@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_million_mutated_frames_harm_nobody_else(tmp_path: Path, encrypted: bool) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    half = STRESS_FRAMES // 2
    told = await harass(tmp_path, encrypted=encrypted, rounds=500, frames=half, seed=seed)
    sys.stdout.write(f"{told}\n")
