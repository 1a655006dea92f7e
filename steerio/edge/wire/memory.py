"""Memory endpoints: they carry messages as objects, without encoding them.

They lie between a broker and a client in one process, and between everything in simulation.  They
may be used from two threads, one at each end.  With ``MemoryRouter.encodes``, which tests set, they
encode and decode each message: so a wire lets pass every message that they let pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from steerio.edge.wire.cutting import batches
from steerio.edge.wire.endpoint import Arrival, Frames
from steerio.edge.wire.headers import deal_frames, decode_from_broker, decode_to_broker
from steerio.model.messages import FromBroker, ToBroker


class Bell:
    """Calls ``wake`` on a loop, once for any number of rings until it is answered."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: Callable[[], None] | None = None
        self._thread = 0
        self._rung = False

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._loop, self._wake, self._thread = loop, wake, threading.get_ident()
        self._rung = False  # the last loop may have ended before it answered
        self.ring()  # something may have arrived already

    def detach(self) -> None:
        self._wake = None

    def ring(self) -> None:
        loop = self._loop
        if self._rung or loop is None or self._wake is None or loop.is_closed():
            return
        self._rung = True
        if threading.get_ident() == self._thread:
            loop.call_soon(self._answer)
        else:
            with contextlib.suppress(RuntimeError):  # the loop has just been closed
                loop.call_soon_threadsafe(self._answer)

    def ring_later(self) -> bool:
        """Ring without telling the loop, where its thread calls; ``True``: `answer` must follow."""
        if self._rung or self._wake is None or threading.get_ident() != self._thread:
            self.ring()
            return False
        self._rung = True
        return True

    def answer(self) -> None:
        """Answer a ring as the loop would: an error goes to its exception handler."""
        try:
            self._answer()
        except Exception as error:  # noqa: BLE001 - whatever the woken one's callbacks raise
            assert self._loop is not None
            context = {"message": f"waking {self._wake!r} failed", "exception": error}
            self._loop.call_exception_handler(context)

    def _answer(self) -> None:
        self._rung = False
        if self._wake is not None:
            self._wake()


class MemoryRouter:
    """The broker's end of any number of memory links."""

    local = True
    remote = False
    lasting = True
    first = False
    encodes: ClassVar[bool] = False
    """Whether messages are encoded and decoded on their way, as those over a wire are."""

    def __init__(self) -> None:
        self._arrived: deque[tuple[bytes, Any, Frames]] = deque()
        self._links: dict[bytes, MemoryLink] = {}
        self._outgoing: dict[bytes, list[tuple[FromBroker, Frames]]] = {}
        self._bell = Bell()
        self._held_bells: list[Bell] | None = None
        self._names = itertools.count(1)

    def hold_bells(self) -> None:
        """Wake no link on this thread's loop until `answer_bells` does so, not by way of the loop.

        So a driver that steps a broker on the loop of its clients spares them a turn of that loop,
        and itself another: it is not woken for their answers, and has to ask `ready`.
        """
        self._held_bells = []

    def answer_bells(self) -> None:
        """Wake the links that would have been woken meanwhile."""
        held = self._held_bells
        if held:
            for bell in held:
                bell.answer()
        self._held_bells = None

    def link(self) -> MemoryLink:
        """Return a new link to this router."""
        identity = b"memory-%d" % next(self._names)
        link = self._links[identity] = MemoryLink(self, identity)
        return link

    @property
    def has_links(self) -> bool:
        """Whether any link to it is open."""
        return bool(self._links)

    def deliver(self, peer: bytes, message: ToBroker, frames: Frames) -> None:
        """Take in a message of a link.

        Raises:
            EncodingError, ProtocolError: it could not cross a wire (with ``encodes``).
        """
        if self.encodes:
            for each, its in _as_over_a_wire(message, frames, decode_to_broker):
                self._arrived.append((peer, each, its))
        else:
            self._arrived.append((peer, message, frames))
        if self._held_bells is None:
            self._bell.ring()

    def unlink(self, peer: bytes) -> None:
        """Forget a link that was closed."""
        self._links.pop(peer, None)

    def send(self, peer: bytes, message: FromBroker, frames: Frames = ()) -> None:
        outgoing = self._outgoing.setdefault(peer, [])
        if self.encodes:
            outgoing.extend(_as_over_a_wire(message, frames, decode_from_broker))
        else:
            outgoing.append((message, frames))

    def flush(self) -> list[bytes]:
        if not self._outgoing:
            return []
        collected, self._outgoing = self._outgoing, {}
        gone: list[bytes] = []
        for peer, messages in collected.items():
            link = self._links.get(peer)
            if link is None:
                gone.append(peer)
            else:
                link.arrived.extend(messages)
                held = self._held_bells
                if held is None:
                    link.bell.ring()
                elif link.bell.ring_later():
                    held.append(link.bell)
        return gone

    def receive(self, limit: int) -> list[Arrival]:
        arrivals: list[Arrival] = []
        arrived = self._arrived
        while arrived and limit > 0:
            peer, message, frames = arrived.popleft()
            arrivals.append(Arrival(peer, ((message, frames),)))
            limit -= 1
        return arrivals

    def congested(self, peer: bytes) -> bool:
        del peer
        return False

    def connected(self, peer: bytes) -> bool:
        return peer in self._links

    def admit(self, peer: bytes) -> None:
        """Do nothing: there are no strangers in this process."""

    def forget(self, peer: bytes) -> None:
        """Do nothing: a link is there until it is closed."""

    def tick(self) -> None:
        """Do nothing: memory loses nothing."""

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self._bell.attach(loop, wake)

    def detach(self) -> None:
        self._bell.detach()

    def ready(self) -> bool:
        return bool(self._arrived)

    def expect(self) -> None:
        """Do nothing: arrivals are seen without a look."""

    def fileno(self) -> int | None:
        return None

    def close(self) -> None:
        self.detach()
        self._links.clear()


def _as_over_a_wire(
    message: Any, frames: Frames, decode: Callable[[bytes], list[Any]]
) -> list[tuple[Any, Frames]]:
    """Return a message as it would arrive over a wire, perhaps in parts."""
    arrived: list[tuple[Any, Frames]] = []
    for header, *its in batches([message], frames):
        arrived += deal_frames(decode(header), its)
    return arrived


class MemoryLink:
    """A peer's end of a `MemoryRouter`."""

    immediate = True
    packets = 0

    def __init__(self, router: MemoryRouter, identity: bytes) -> None:
        self._router = router
        self._identity = identity
        self.arrived: deque[tuple[FromBroker, Frames]] = deque()
        self.bell = Bell()

    def send(self, message: ToBroker, frames: Frames = ()) -> None:
        self._router.deliver(self._identity, message, frames)

    def flush(self) -> None:
        """Do nothing: messages have arrived already, even while this side's loop stands still."""

    def tick(self) -> None:
        """Do nothing: memory loses nothing."""

    def renew(self) -> None:
        self.arrived.clear()

    def receive(self, limit: int) -> Sequence[tuple[FromBroker, Frames]]:
        arrived = self.arrived
        return [arrived.popleft() for _ in range(min(limit, len(arrived)))]

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        self.bell.attach(loop, wake)

    def detach(self) -> None:
        self.bell.detach()

    def ready(self) -> bool:
        return bool(self.arrived)

    def close(self) -> None:
        self.detach()
        self._router.unlink(self._identity)
