"""The streams between a node and workers in its own process, simulated or engines' slots.

They lose nothing, and carry the batches that those between processes carry, encoded: the node
passes these on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from steerio.edge.wire.cutting import batches
from steerio.edge.wire.endpoint import Arrival, Frames
from steerio.edge.wire.headers import deal_frames, decode_from_broker
from steerio.model import messages as ms


class MemoryStreams:
    """The node's end, in place of `WorkerStreams`."""

    def __init__(self) -> None:
        self._arrived: deque[Arrival] = deque()
        self._ends: dict[bytes, StreamEnd] = {}
        self._named = 0
        self._wake: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<MemoryStreams of {len(self._ends)} workers>"

    def connect(self) -> StreamEnd:
        """Return a worker's end of a new stream."""
        self._named += 1
        peer = b"stream-%d" % self._named
        end = self._ends[peer] = StreamEnd(self, peer)
        return end

    def arrive(self, arrival: Arrival) -> None:
        """Take in a batch of a worker."""
        self._arrived.append(arrival)
        if self._wake is not None:
            self._wake()

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        """Call ``wake`` as soon as a batch is there: this saves a turn of the loop for each."""
        del loop
        self._wake = wake

    def detach(self) -> None:
        """Call ``wake`` no more."""
        self._wake = None

    def receive(self, limit: int) -> list[Arrival]:
        """Take up to ``limit`` arrivals."""
        arrived = self._arrived
        return [arrived.popleft() for _ in range(min(limit, len(arrived)))]

    def pass_on(self, peer: bytes, batch: Sequence[Any]) -> bool:
        """Give a batch to a worker at once; ``False`` if its stream has ended."""
        end = self._ends.get(peer)
        if end is None:
            return False
        end.take(batch)
        return True

    def take_rest(self, peer: bytes) -> list[Arrival]:
        """Take all that a worker has said by now."""
        rest = [arrival for arrival in self._arrived if arrival.peer == peer]
        self._arrived = deque(arrival for arrival in self._arrived if arrival.peer != peer)
        return rest

    def hang_up(self, peer: bytes) -> None:
        """End a stream."""
        self._ends.pop(peer, None)

    def flush(self) -> list[bytes]:
        """Do nothing: batches are given at once."""
        return []


class StreamEnd:
    """A worker's end of a stream."""

    def __init__(self, streams: MemoryStreams, peer: bytes) -> None:
        self.arrived: deque[tuple[ms.FromBroker, Frames]] = deque()
        self._streams = streams
        self._peer = peer
        self._wake: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<StreamEnd {self._peer.decode()}>"

    def attach(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` as soon as a batch is there."""
        self._wake = wake

    def send(self, message: ms.ToBroker, frames: Frames = ()) -> None:
        """Say something to the broker, by way of the node."""
        self.send_all([message], frames)

    def send_all(self, messages: Sequence[ms.ToBroker], frames: Sequence[Any]) -> None:
        """Say several things together; ``frames`` are those of all of them, in order."""
        for header, *its in batches(messages, frames):
            self._streams.arrive(Arrival(self._peer, ((header, tuple(its)),)))

    def take(self, batch: Sequence[Any]) -> None:
        """Take in a batch of the broker."""
        header, *frames = batch
        self.arrived.extend(deal_frames(decode_from_broker(header, "worker"), frames))
        if self._wake is not None:
            self._wake()

    def close(self) -> None:
        """End the stream."""
        self._streams.hang_up(self._peer)
