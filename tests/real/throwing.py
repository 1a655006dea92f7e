"""Peers that throw what `tests.real.fuzzing` makes at a broker's ports, and at those of a node."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import zmq

from steerio.edge.wire.batches import Incoming
from steerio.edge.wire.headers import reader
from steerio.edge.wire.keys import ClientKeys
from steerio.edge.wire.receive_buffers import Spares
from steerio.model import messages as ms
from steerio.model.tasks import TaskOptions, TaskSpec, task_id
from tests.contract.wires import as_batch
from tests.real import fuzzing
from tests.real.fuzzing import POOL, ROLES, STOPS, Batch, Maker, Role

LINGER_MS = 500
WAIT_S = 10.0
CHUNK_BYTES = 1 << 16
BY_NAME = {role.name: role for role in ROLES}


class Thrower:
    """Throws at ports by chance, and counts the frames that it has thrown.

    Args:
        seed: of all of it.
    """

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.thrown: Counter[str] = Counter()
        """Frames, by the kind of the port."""
        self.maker = Maker(self.chance)
        self._sessions = itertools.count(1)

    # -- Unix streams ---------------------------------------------------------------------------

    def at_stream(self, path: str, roles: Iterable[Role] = ROLES) -> None:
        """Throw at a Unix stream, as one peer, which may be let in."""
        chance = self.chance
        role = chance.choice(tuple(roles))
        batches = fuzzing.introduction(chance, role) + fuzzing.saying(chance, self.maker, role)
        data = b"".join(map(as_batch, batches))
        if chance.random() < 0.2:
            data = fuzzing.mutated(chance, data, data)
            if STOPS.search(data):
                return
        with _stream(path) as stream:
            stream.sendall(data)
        self.thrown["stream"] += _frames(batches)

    def with_a_cast(self, clients: str, workers: str) -> None:
        """Have a client, a node and its worker come in and get a task; then each says odd things.

        Args:
            clients: the stream of clients and nodes.
            workers: that of workers.
        """
        chance, maker = self.chance, self.maker
        with ExitStack() as opened:
            client, node, direct = (
                _Speaker(opened.enter_context(_stream(path)))
                for path in (clients, clients, workers)
            )
            client.say(ms.JoinClient(ms.PROTOCOL, "fuzz"))
            number = client.hear(ms.Accepted).number
            node.say(ms.JoinNode(ms.PROTOCOL, "n", "h", 1, {POOL: 1}))
            worker = node.hear(ms.StartWorker).worker
            client.say(ms.DefineTask(1, TaskSpec("no.such:thing", POOL)))
            for count in range(1, 4):
                task = task_id(number, count)
                client.say(ms.SubmitTask(task, 1, 0.0, b"", 0, TaskOptions(), None, ""))
            joins = ms.JoinWorker(ms.PROTOCOL, worker, 1)
            behind = chance.random() < 0.5
            if behind:
                node.say(ms.WorkerSaid(worker, fuzzing.encoded([joins]), 0))
                told = node.hear(ms.TellWorker)
                while not told.runs:
                    told = node.hear(ms.TellWorker)
                run = told.runs[0]
            else:
                direct.say(joins)
                run = direct.hear(ms.RunTask).run
            known = maker.known
            known.client, known.workers, known.runs = number, [worker], [run, run + 1]
            speakers = [(client, "client"), (node, "node"), (node, "node")]
            for _ in range(6):
                speaker, role = chance.choice([*speakers, (direct, "worker")])
                for batch in fuzzing.saying(chance, maker, BY_NAME[role], 3):
                    if speaker.throw(batch):
                        self.thrown["cast"] += _frames([batch])

    # -- TCP ------------------------------------------------------------------------------------

    def at_zeromq(self, peer: Callable[[list[bytes]], None], rounds: int) -> None:
        """Throw packets over one ZeroMQ connection, each session as a peer of its own."""
        chance = self.chance
        for _ in range(rounds):
            role = chance.choice(ROLES)
            batches = fuzzing.introduction(chance, role)
            batches += fuzzing.saying(chance, self.maker, role)
            if chance.random() < 0.02:
                peer([chance.randbytes(chance.randrange(60))])
            for packet in fuzzing.packets(chance, next(self._sessions), batches):
                peer(packet)
                self.thrown["session"] += len(packet)

    def at_tcp(self, port: int, mechanism: bytes) -> None:
        """Throw mutated ZMTP at a TCP port, below all protocols of steerio."""
        chance = self.chance
        batches = fuzzing.saying(chance, self.maker, BY_NAME["stranger"])
        found = [_greeting(mechanism), _ready(b"fuzz")]
        for packet in fuzzing.packets(chance, next(self._sessions), batches):
            found += [_zmtp(part, more=part is not packet[-1]) for part in packet]
        at = chance.randrange(len(found))
        found[at] = fuzzing.mutated(chance, found[at], chance.choice(found))
        with contextlib.suppress(OSError), socket.socket() as stranger:
            stranger.settimeout(WAIT_S)
            stranger.connect(("127.0.0.1", port))
            stranger.sendall(b"".join(found))
            self.thrown["ZMTP"] += len(found)


_names = itertools.count(1)


@contextmanager
def zeromq(address: str, keys: ClientKeys | None) -> Iterator[Callable[..., None]]:
    """Open a ZeroMQ connection as one peer; its last packet ends whatever was let in there."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    peer = context.socket(zmq.DEALER)
    peer.set(zmq.IDENTITY, b"peer-%d" % next(_names))
    peer.set(zmq.LINGER, LINGER_MS)
    peer.set(zmq.SNDTIMEO, LINGER_MS)  # one that is turned away has no way to send
    if keys is not None:
        keys.secure(peer)
    peer.connect(address)

    def say(packet: list[bytes]) -> None:
        with contextlib.suppress(zmq.Again):
            peer.send_multipart(packet)
        with contextlib.suppress(zmq.Again):
            while True:
                peer.recv_multipart(zmq.NOBLOCK)

    try:
        yield say
        say(fuzzing.last_packet())
    finally:
        peer.close()
        context.term()


class _Speaker:
    """One end of a Unix stream of a broker."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._room = memoryview(bytearray(CHUNK_BYTES))
        self._incoming = Incoming(self._room, Spares())
        self._heard: list[Any] = []

    def say(self, message: Any) -> None:
        self._stream.sendall(as_batch([fuzzing.encoded([message])]))

    def throw(self, batch: Batch) -> bool:
        """Say what may be unreadable; ``False``: the broker has ended the stream."""
        try:
            self._stream.sendall(as_batch(batch))
        except OSError:
            return False
        return True

    def hear(self, kind: type) -> Any:
        """Wait for a message of a kind."""
        while True:
            while self._heard:
                message = self._heard.pop(0)
                if isinstance(message, kind):
                    return message
            count = self._stream.recv_into(self._room)
            if not count:
                raise ConnectionError("the broker has hung up")
            for header, frames in self._incoming.feed(count):
                self._heard += [message for message, _ in reader("any")(header, frames)]


@contextmanager
def _stream(path: str) -> Iterator[socket.socket]:
    """Connect to a Unix stream; its end by the broker is no failure."""
    with contextlib.suppress(ConnectionError), socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(WAIT_S)
        stream.connect(path)
        yield stream


def _frames(batches: Iterable[Batch]) -> int:
    return sum(map(len, batches))


def _greeting(mechanism: bytes) -> bytes:
    return b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32)


def _ready(identity: bytes) -> bytes:
    pairs = ((b"Socket-Type", b"DEALER"), (b"Identity", identity))
    body = b"\x05READY" + b"".join(
        bytes([len(name)]) + name + struct.pack(">I", len(value)) + value for name, value in pairs
    )
    return b"\x04" + bytes([len(body)]) + body


def _zmtp(part: bytes, *, more: bool) -> bytes:
    if len(part) < 256:
        return bytes([int(more), len(part)]) + part
    return bytes([int(more) | 2]) + struct.pack(">Q", len(part)) + part
