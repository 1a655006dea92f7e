"""A router and links to it, over every transport, and ears that listen at each end.

An ear does what the endpoint's contract asks of whoever uses it, and no more: it receives
when it is woken, and once more where ``ready()`` says so after receiving or flushing.  What
an endpoint keeps to itself an ear will never hear.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import zmq

from steerio.edge.wire.addresses import socket_path
from steerio.edge.wire.contexts import Context
from steerio.edge.wire.endpoint import LinkEndpoint, RouterEndpoint
from steerio.edge.wire.gatekeeper import Gatekeeper
from steerio.edge.wire.keyring import Keyring
from steerio.edge.wire.keys import ClientKeys, ServerKeys, make_keys
from steerio.edge.wire.memory import MemoryRouter
from steerio.edge.wire.packets import Piece, encode
from steerio.edge.wire.unix import StreamRouter
from steerio.edge.wire.unix_links import LocalLink
from steerio.edge.wire.wire_session import Kind, Packet
from steerio.edge.wire.zeromq import ZmqRouter
from steerio.edge.wire.zeromq_link import ZmqLink
from steerio.model import messages as ms
from steerio.model.tasks import TaskOptions

TRANSPORTS = ("memory", "unix", "tcp")
IN_TIME_S = 20.0
"""How long a test waits for what must come; a loaded machine may take long over little."""
LOOK_S = 0.01
"""How often a condition is looked at that may come true without a wake here."""


class Ear:
    """Listens at one end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.changed = asyncio.Event()
        self.wakes = 0

    async def until(self, condition: Callable[[], Any], *, quietly: bool = False) -> None:
        """Wait for a condition, looked at after each wake (``quietly``: every now and then)."""
        async with asyncio.timeout(IN_TIME_S):
            while not condition():
                self.changed.clear()
                if not quietly:
                    await self.changed.wait()
                    continue
                waiting = asyncio.ensure_future(self.changed.wait())
                await asyncio.wait({waiting}, timeout=LOOK_S)
                waiting.cancel()


class RouterEar(Ear):
    """Listens at the broker's end."""

    def __init__(
        self, router: RouterEndpoint, loop: asyncio.AbstractEventLoop, limit: int = 1_000
    ) -> None:
        super().__init__(loop)
        self.router = router
        self.limit = limit
        self.heard: list[tuple[bytes, Any, tuple[Any, ...]]] = []
        self.faults: list[tuple[bytes, str]] = []
        self.on_heard: Callable[[bytes, Any, tuple[Any, ...]], None] | None = None
        router.attach(loop, self.wake)

    def wake(self) -> None:
        self.wakes += 1
        arrivals = self.router.receive(self.limit)
        assert len(arrivals) <= self.limit
        for arrival in arrivals:
            if arrival.fault:
                self.faults.append((arrival.peer, arrival.fault))
            for message, frames in arrival.messages:
                self.heard.append((arrival.peer, message, frames))
                if self.on_heard is not None:
                    self.on_heard(arrival.peer, message, frames)
        self.look_again()
        self.changed.set()

    def flush(self) -> list[bytes]:
        gone = self.router.flush()
        self.look_again()
        return gone

    def look_again(self) -> None:
        if self.router.ready():
            self.loop.call_soon(self.wake)

    def numbers(self, peer: bytes | None = None) -> list[int]:
        """Return the numbers of the messages from a peer, in order."""
        return [m.task_id for p, m, _ in self.heard if peer is None or p == peer]


class LinkEar(Ear):
    """Listens at a peer's end."""

    def __init__(self, link: LinkEndpoint, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.link = link
        self.heard: list[tuple[Any, tuple[Any, ...]]] = []
        self.on_heard: Callable[[Any, tuple[Any, ...]], None] | None = None
        self.gone = ""
        """Why the broker is gone, once the link has said so."""
        link.attach(loop, self.wake)

    def wake(self) -> None:
        self.wakes += 1
        try:
            received = self.link.receive(1_000)
        except OSError as error:
            self.gone = str(error)
            self.link.detach()
            self.changed.set()
            return
        for message, frames in received:
            self.heard.append((message, frames))
            if self.on_heard is not None:
                self.on_heard(message, frames)
        self.look_again()
        self.changed.set()

    def flush(self) -> None:
        self.link.flush()
        self.look_again()

    def look_again(self) -> None:
        if self.link.ready():
            self.loop.call_soon(self.wake)

    def say(self, *numbers: int, frames: tuple[Any, ...] = ()) -> None:
        """Send numbered messages, the last with these frames, and flush."""
        for number in numbers:
            its = frames if number == numbers[-1] else ()
            self.link.send(to_broker(number, its), its)
        self.flush()

    def numbers(self) -> list[int]:
        return [message.task_id for message, _ in self.heard]


def to_broker(number: int, frames: tuple[Any, ...] = ()) -> Any:
    """Return a numbered message that a broker accepts."""
    if not frames:
        return ms.GrantItems(number, 1)
    options = TaskOptions()
    return ms.SubmitTask(number, 1, 0.0, b"", len(frames), options, None, "")


def from_broker(number: int, frames: tuple[Any, ...] = ()) -> Any:
    """Return a numbered message that a broker sends."""
    return ms.TaskItem(number, 0, b"", len(frames))


def as_batch(frames: Sequence[bytes]) -> bytes:
    """Return frames as a batch of a stream."""
    return struct.pack(f"=I{len(frames)}Q", len(frames), *map(len, frames)) + b"".join(frames)


def as_packet(number: int, parts: Sequence[bytes]) -> list[Any]:
    """Return the packet in which a batch of a peer goes that was never answered."""
    return encode(Packet(Kind.DATA, 1, number, 0, 0, 0, True, Piece(True, parts)))


class Fool(NamedTuple):
    """A peer that says what it likes."""

    close: Callable[[], None]
    send: Callable[[list[bytes]], Any]


class Wire:
    """A router of one transport, and the way to link to it."""

    def __init__(self, transport: str, context: Context, keys: ServerKeys | None) -> None:
        self.transport = transport
        self.context = context
        self.keys = keys
        self.router: Any
        self._links = ExitStack()
        self._names = 0

    def link(self, keys: ClientKeys | None = None) -> Any:
        """Return a new link, closed with the wire; ``keys`` other than the right ones."""
        if isinstance(self.router, MemoryRouter):
            link: Any = self.router.link()
        elif isinstance(self.router, StreamRouter):
            link = LocalLink(self.router.address)
        else:
            self._names += 1
            keys = keys or (self.keys.client if self.keys else None)
            name = b"peer-%d" % self._names
            link = ZmqLink(self.context, self.router.address, name, keys)
        self._links.callback(link.close)
        return link

    def ear(self, link: Any = None) -> LinkEar:
        """Return an ear at a new link."""
        return LinkEar(link or self.link(), asyncio.get_running_loop())

    def fool(self) -> Fool:
        """Return a new peer that says what it likes."""
        if isinstance(self.router, StreamRouter):
            stream = socket.socket(socket.AF_UNIX)
            stream.connect(str(socket_path(self.router.address)))
            fool = Fool(stream.close, lambda frames: stream.sendall(as_batch(frames)))
        else:
            dealer = self.context.socket(zmq.DEALER)
            dealer.set(zmq.LINGER, 0)
            self._names += 1
            dealer.set(zmq.IDENTITY, b"fool-%d" % self._names)
            if self.keys is not None:
                self.keys.client.secure(dealer)
            dealer.connect(self.router.address)
            numbers = itertools.count()
            fool = Fool(
                dealer.close,
                lambda frames: dealer.send_multipart(as_packet(next(numbers), frames)),
            )
        self._links.callback(fool.close)
        return fool

    def babble(self, peer: bytes, frames: list[bytes]) -> None:
        """Have the router send a peer what it likes."""
        if isinstance(self.router, StreamRouter):
            self.router._connections[peer].outgoing.add(frames)
            self.router._dirty.add(peer)
            self.router.flush()
        else:
            self.router._socket.send_multipart([peer, *frames])

    def close_links(self) -> None:
        self._links.close()


@asynccontextmanager
async def wired(transport: str) -> AsyncIterator[Wire]:
    """Open a router of a transport; everything is closed at the end."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        context = stack.enter_context(zmq_context())
        keys = make_keys() if transport == "tcp" else None
        wire = Wire(transport, context, keys)
        if transport == "memory":
            wire.router = MemoryRouter()
        elif keys is not None:
            stack.enter_context(gatekeeper(context, keys, loop))
            wire.router = ZmqRouter(context, "tcp://127.0.0.1:*", keys)
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            wire.router = StreamRouter(f"{folder}/broker")
        stack.callback(wire.router.close)
        stack.callback(wire.close_links)
        yield wire


@contextmanager
def gatekeeper(
    context: Context, keys: ServerKeys, loop: asyncio.AbstractEventLoop
) -> Iterator[Keyring]:
    """Have a gatekeeper answer for as long as the block lasts."""
    keyring = Keyring(keys)
    keeper = Gatekeeper(context, keyring)
    loop.add_reader(keeper.fileno(), keeper.serve)
    try:
        yield keyring
    finally:
        loop.remove_reader(keeper.fileno())
        keeper.close()


@contextmanager
def zmq_context() -> Iterator[Context]:
    """Open a ZeroMQ context; it ends with the block, and with it its threads."""
    context = Context()
    try:
        yield context
    finally:
        context.end()
