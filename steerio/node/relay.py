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

from steerio.edge.wire.cutting import batches
from steerio.edge.wire.endpoint import Arrival, Frames
from steerio.edge.wire.headers import reader
from steerio.edge.wire.relaying import arrival_of, joined, opened, said_by
from steerio.errors import ProtocolError
from steerio.model import messages as ms

_PEER = attrgetter("peer")
KEPT_BEATS = 3
"""Beats for which the last words of a worker are kept after a broker has had them."""
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

    __slots__ = ("joined", "last", "peer", "runs", "said", "tasks")

    def __init__(self, peer: bytes, joined: ms.JoinWorker) -> None:
        self.peer = peer
        self.joined = joined
        """The words by which it came."""
        self.runs: deque[int] = deque()
        """The attempts that it was passed, but for some that it has ended."""
        self.tasks: deque[int] = deque()
        """The tasks of these."""
        self.said = 0
        """How many of its batches were passed on."""
        self.last: tuple[int, Words] | None = None
        """The last of these, and the count of beats then, unless the broker has long had it."""


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
        self._beats = 0
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
                line.tasks.popleft()
            runs += message.runs
            line.tasks += message.tasks

    def task_of(self, worker: str, run: int) -> int | None:
        """Return the task of an attempt that a worker was passed, if that is known."""
        line = self._lines.get(worker)
        if line is None or run not in line.runs:
            return None
        return line.tasks[line.runs.index(run)]

    def beat_answered(self) -> None:
        """Take in that the broker has taken in all that was passed on before the last beat.

        The last words of workers are kept for some beats more: it has to tell its clients, too.
        """
        self._beats += 1
        for line in self._lines.values():
            if line.last is not None and line.last[0] + KEPT_BEATS < self._beats:
                line.last = None

    def last_end(self, worker: str) -> tuple[int, Words] | None:
        """Return the last run of a worker, and its report, if the broker may not have had that."""
        line, run = self._lines.get(worker), self._processes.reported(worker)
        if line is None or line.last is None:
            return None
        _, (envelope, frames) = line.last
        try:
            said = arrival_of(envelope, frames).messages
        except ProtocolError:
            return None
        told = any(isinstance(each, ms.Report) and each.run == run for each, _ in said)
        return (run, line.last[1]) if told else None

    def runs_after(self, worker: str, run: int) -> list[int]:
        """Return the later attempts that a worker was passed."""
        line = self._lines.get(worker)
        return [] if line is None else [later for later in line.runs if later > run]

    def introduce(self, worker: str) -> Words | None:
        """Return the words by which a worker came, to be said to another broker."""
        line = self._lines.get(worker)
        if line is None:
            return None
        line.said = 1
        ((header, *_),) = batches([line.joined], [])
        return said_by(worker, header, ())

    def again(self, words: Words) -> Words:
        """Return words of a worker that were kept, as they are said now."""
        line = self._lines.get(words[0].worker)
        if line is not None:
            line.said += 1
        return words

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
                joined_by = self._introduced(of_one[0])
                if joined_by is None:
                    self._streams.hang_up(peer)
                    continue
                name = self._names[peer] = joined_by.worker
                self._lines[name] = _WorkerStream(peer, joined_by)
            line = self._lines[name]
            found = [batch for arrival in of_one for batch in arrival.messages]
            for header, frames in joined(found) if len(found) > 1 else found:
                line.said += 1
                words = said_by(name, header, frames)
                line.last = self._beats, words
                yield words
            if of_one[-1].fault:  # nothing comes after it
                line.said += 1
                yield ms.WorkerSaid(name, b"", 0, of_one[-1].fault), ()

    def _introduced(self, arrival: Arrival) -> ms.JoinWorker | None:
        """Return the words by which a worker comes; ``None``: it is none of ours."""
        for header, frames in arrival.messages:
            try:
                first = reader("behind")(header, frames)[:1]
            except ProtocolError:
                return None
            for message, _ in first:
                if isinstance(message, ms.JoinWorker) and message.worker not in self._lines:
                    known = self._processes.begun(message.worker) is not None
                    return message if known else None
        return None
