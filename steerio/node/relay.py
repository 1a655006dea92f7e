"""The relay of a node on another host: its workers speak to it, and it to the broker for them.

So a host has one connection to the broker, however many workers are on it.  The relay passes their
batches on unread; it notes which attempts each worker was sent, and the page that it shares with
the workers tells it which of those they have ended.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any, Protocol

from steerio.edge.wire.endpoint import Arrival, Frames
from steerio.edge.wire.headers import reader
from steerio.edge.wire.relaying import joined, opened, said_by
from steerio.errors import ProtocolError
from steerio.model import messages as ms

_PEER = attrgetter("peer")
Words = tuple[ms.WorkerSaid, Frames]
"""A batch of a worker, in its envelope."""


class RelayedStreams(Protocol):
    """The node's end of its workers' streams: batches as they come, headers not decoded."""

    def receive(self, limit: int) -> list[Arrival]:
        """Take up to ``limit`` arrivals, without waiting."""
        ...

    def pass_on(self, peer: bytes, batch: Sequence[Any]) -> bool:
        """Have a batch written with the next flush; ``False`` if the worker's stream has ended."""
        ...

    def take_rest(self, peer: bytes) -> list[Arrival]:
        """Take all that a worker has written by now."""
        ...

    def hang_up(self, peer: bytes) -> None:
        """End the stream of a process that is no worker of this node."""
        ...

    def flush(self) -> list[bytes]:
        """Write the batches; return the workers whose streams have ended."""
        ...

    def attach(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None]) -> None:
        """Call ``wake`` whenever something may have arrived."""
        ...

    def detach(self) -> None:
        """Call ``wake`` no more."""
        ...


class Processes(Protocol):
    """The workers of a node, as the code that forks them knows them."""

    def begun(self, worker: str) -> int | None:
        """Return the run that the worker began last or gave back, or ``None`` once it is gone."""
        ...

    def reported(self, worker: str) -> int:
        """Return the run of which the worker has written the end last; 0: none, or it is gone."""
        ...


class _WorkerStream:
    """The stream of one worker."""

    __slots__ = ("peer", "runs", "said")

    def __init__(self, peer: bytes) -> None:
        self.peer = peer
        self.runs: deque[int] = deque()
        """The attempts that it was passed, but for some that it has ended."""
        self.said = 0
        """How many of its batches were passed on."""


class Relay:
    """The workers' streams of a node.

    Args:
        streams: of the workers.
        processes: the workers, and how far each is.
    """

    def __init__(self, streams: RelayedStreams, processes: Processes) -> None:
        self._streams = streams
        self._processes = processes
        self._lines: dict[str, _WorkerStream] = {}
        self._names: dict[bytes, str] = {}
        self.attach = streams.attach
        self.detach = streams.detach
        self.flush = streams.flush

    def __repr__(self) -> str:
        return f"<Relay of {len(self._lines)} workers>"

    def heard(self) -> Iterator[Words]:
        """Return the words of workers that have arrived, to be passed on in this order."""
        return self._enveloped(self._streams.receive(sys.maxsize))

    def exited(self, worker: str) -> Iterator[Words]:
        """Return the last words of a worker whose process has ended, and forget it."""
        yield from self.words_of([worker])
        line = self._lines.pop(worker, None)
        if line is not None:
            del self._names[line.peer]

    def tell(self, message: ms.TellWorker, frames: Frames) -> None:
        """Pass a batch on to a worker with the next flush; its exit is told if it is gone."""
        line = self._lines.get(message.worker)
        if line is None or not self._streams.pass_on(line.peer, opened(message, frames)):
            return
        if message.runs:
            runs, reported = line.runs, self._processes.reported(message.worker)
            while runs and runs[0] <= reported:
                runs.popleft()
            runs += message.runs

    def accounts(self, workers: Sequence[str]) -> tuple[list[Words], list[ms.WorkerAccount]]:
        """Return the accounts of workers, and the words that go before them.

        How far each has reported is looked at first.  So the reports of all attempts that count as
        ended here are among the words, or went before.
        """
        reported = [self._processes.reported(worker) for worker in workers]
        words = list(self.words_of(workers))
        return words, list(map(self._account, workers, reported))

    def words_of(self, workers: Sequence[str]) -> Iterator[Words]:
        """Return all words of workers that are there, also those that the loop has not seen."""
        for worker in workers:
            line = self._lines.get(worker)
            if line is not None:
                yield from self._enveloped(self._streams.take_rest(line.peer))

    def _account(self, worker: str, ended: int) -> ms.WorkerAccount:
        line = self._lines.get(worker)
        if line is None:
            return ms.WorkerAccount(worker, [], ended, 0)
        return ms.WorkerAccount(worker, [r for r in line.runs if r > ended], ended, line.said)

    def _enveloped(self, arrivals: Iterable[Arrival]) -> Iterator[Words]:
        for peer, its in groupby(arrivals, _PEER):
            of_one = list(its)
            name = self._names.get(peer)
            if name is None:
                name = self._introduced(of_one[0])
                if name is None:
                    self._streams.hang_up(peer)
                    continue
                self._names[peer], self._lines[name] = name, _WorkerStream(peer)
            line = self._lines[name]
            found = [batch for arrival in of_one for batch in arrival.messages]
            for header, frames in joined(found) if len(found) > 1 else found:
                line.said += 1
                yield said_by(name, header, frames)
            if of_one[-1].fault:  # nothing comes after it
                line.said += 1
                yield ms.WorkerSaid(name, b"", 0, of_one[-1].fault), ()

    def _introduced(self, arrival: Arrival) -> str | None:
        """Return the name of the worker that says its first words; ``None``: it is none of ours."""
        for header, frames in arrival.messages:
            try:
                first = reader("behind")(header, frames)[:1]
            except ProtocolError:
                return None
            for message, _ in first:
                if isinstance(message, ms.JoinWorker) and message.worker not in self._lines:
                    known = self._processes.begun(message.worker) is not None
                    return message.worker if known else None
        return None
