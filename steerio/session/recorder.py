"""The recorder of a session: it has results written to a journal before anyone hears of them.

Theory. The results of one batch of the broker's messages are appended together, and only then is
the batch dealt out. If the journal has no room, the batch waits, and all behind it. So whatever an
agent has decided by, the journal has. A long value is appended in parts, one in each turn of the
loop, and its task ends after the last.

Ends that a rerun would likely not repeat are not recorded: of tasks that were cancelled, or lost
with their workers. Neither are those of generators, as their items are not.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, cast

from msgspec import structs

from steerio.client.client import Client
from steerio.client.line import Received
from steerio.client.sinks import Sink
from steerio.edge.encoding.values import total_bytes
from steerio.edge.record.atom_calls import AtomCalls
from steerio.edge.record.entries import (
    PART_BYTES,
    Call,
    EntryKind,
    Parts,
    encode_result,
    parts_of,
)
from steerio.edge.record.known_results import KnownResults
from steerio.errors import JournalFailed, JournalFenced, JournalFull
from steerio.model import messages as ms
from steerio.model import results as rs
from steerio.session.entry_queue import EntryQueue
from steerio.session.recorded_calls import RecordedCalls, call_of
from steerio.session.recording import ReadFrames, Reading, Recall, RecordedTask
from steerio.session.replay import Replay
from steerio.session.task import Task

log = logging.getLogger("steerio.session")

RECORDED = frozenset({"succeeded", "failed", "timed_out"})
"""The ends that are recorded."""
RESULT, MEMO = EntryKind.RESULT, EntryKind.MEMO
UNRECORDED = "the result of task %d cannot be recorded: %s"
RETRY_S = 1.0
"""Seconds after which an append is tried again if there was no room."""


class Appends(Protocol):
    """A journal, as seen by a recorder."""

    def append(self, entries: Sequence[tuple[int, bytes]]) -> int:
        """Append a batch of kinds and bodies, and return its last number."""
        ...


class ResultRecorder:
    """Records the results of one session.

    Args:
        client: gets the broker's messages.
        journal: takes the entries.
        replay: the results that the journal had before.
        fail: called with the error if the journal cannot go on.
        known: is told of the results of task types with a memo.
    """

    def __init__(
        self,
        client: Client,
        journal: Appends,
        replay: Replay,
        fail: Callable[[Exception], None],
        known: KnownResults | None = None,
    ) -> None:
        self.replay = replay
        self._known = KnownResults() if known is None else known
        self._client = client
        self._journal = journal
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._held: dict[int, Sink] = {}
        """Those of the batches that wait for room, as the client may forget them meanwhile."""
        calls = RecordedCalls(replay)
        self.versions = calls.versions
        """The versions of task types that were submitted, by their names."""
        self.knows = calls.know
        self._queue = EntryQueue(self._append)
        """Long content, and recalls."""
        self._waiting: deque[Received] = deque()
        """Batches that wait for room in the journal."""
        self._retry: asyncio.TimerHandle | None = None
        self.dealing = False
        """Whether some results of a batch may be recorded, and not be dealt out yet."""
        self.failed = False
        self._closed = False
        for task in client.sinks.values():  # of another campaign, before this one
            if isinstance(task, Task):
                task.call = None
        self.full = False
        """Whether the journal has no room, so that no news is dealt out."""
        client.record_by(self)

    def __repr__(self) -> str:
        state = "full" if self.full else "failed" if self.failed else "recording"
        return f"<ResultRecorder: {state}, {len(self._client.sinks)} tasks under way>"

    @property
    def busy(self) -> bool:
        """Whether some content is only half written."""
        return bool(self._queue.busy or self._waiting)

    def close(self) -> None:
        """Record no more: later messages are dealt out at once."""
        self._closed = True
        self._client.record_by(None)
        if self._retry is not None:
            self._retry.cancel()
        self._queue.clear()
        self._waiting.clear()
        self._held.clear()

    # -- submitting ------------------------------------------------------------------------------

    def give(self, task: RecordedTask) -> None:
        """Give a task its recorded result, when it is its turn."""
        self.replay.give(task)
        task.call = None

    # -- results ---------------------------------------------------------------------------------

    def take_in(self, received: Received) -> Received:
        """Record the results in a batch; return the messages that may be dealt out now."""
        tasks = self._client.sinks
        if not self._waiting and not self.failed and self._record(received, tasks):
            self.dealing = True
            return received
        waits = [each for each in received if not _is_gone(each[0])]
        for message in _ends_in(waits):
            if message.task_id in tasks:
                self._held[message.task_id] = tasks[message.task_id]
        self._waiting.append(waits)
        self._client.hold_back(waits)
        return [each for each in received if _is_gone(each[0])]  # it joins again, room or not

    def dealt(self) -> None:
        """Take in that all that was recorded is dealt out."""
        self.dealing = False

    def _record(self, received: Received, tasks: Mapping[int, Sink]) -> bool:
        """Append the results of a batch, of these tasks; say whether there was room."""
        entries: list[tuple[int, bytes]] = []
        memos: list[tuple[bytes, int, int]] = []
        for message, frames in received:
            if type(message) is not ms.TaskSettled or message.stored is not None:
                continue
            task: Any = tasks.get(message.task_id)
            if type(task) is not Task or message.ended_as not in RECORDED:
                continue
            calls: Call | AtomCalls | None = task.call
            try:
                if isinstance(calls, AtomCalls) and not frames:
                    entries.append((RESULT, calls.encode_result(task.given[0], task.tags, message)))
                    continue
                call, start = call_of(cast("RecordedTask", task)), len(entries)
                if call is None:
                    continue
                entries += _entries(call, message, frames)
                if call.memo and message.ended_as == "succeeded":
                    memos.append((call.key, start, len(entries)))
            except Exception as error:  # noqa: BLE001 - the others must get through
                log.warning(UNRECORDED, message.task_id, error)
        last = self._append(entries) if entries else 0
        if entries and not last:
            return False
        first = last + 1 - len(entries)
        for key, start, end in memos:
            self._known.note(key, [*range(first + start, first + end)])
        return True

    def record_stored(
        self,
        task: RecordedTask,
        message: ms.TaskSettled,
        read: Reading,
        then: Callable[[rs.Result], None],
    ) -> tuple[Reading, Callable[[rs.Result], None]]:
        """Have a result whose value is in the store recorded between its reading and its end."""
        call = call_of(task)
        if call is None:
            return read, then
        kept: list[Any] = []

        def reading(frames: ReadFrames) -> rs.Result:
            def noted() -> Sequence[Any]:
                got = frames()
                kept.extend(got)
                return got

            return read(noted)

        def done(result: rs.Result) -> None:
            if isinstance(result, rs.Succeeded) and not self._closed:
                key = call.key if call.memo else b""
                self.write_long(_entries(call, message, kept), lambda: then(result), key)
            else:  # it was gone, or cannot be read: another try may go better
                then(result)

        return reading, done

    def record_recalled(self, recalls: Sequence[Recall]) -> None:
        """Record that calls are given known results, and then tell them.

        The results of earlier runs are copied into the journal. None is told if the journal fails
        before.
        """
        batch: list[tuple[int, bytes]] = []
        told: list[Recall] = []
        for each in recalls:
            if each.found.is_own:
                batch.append((EntryKind.RECALLED, each.call.key))
                told.append(each)
                continue
            copied = structs.replace(each.call, memo=True, recalled=each.found.origin)
            entries = [*_entries(copied, each.found.settled, each.found.frames)]
            if len(entries) == 1:
                batch += entries
                told.append(each)
            else:
                self.write_long(entries, each.tell, copied.key)
        if batch:
            self._queue.add([batch], partial(self._recalled, told))

    def _recalled(self, told: list[Recall], numbers: list[int]) -> None:
        for each, number in zip(told, numbers, strict=True):
            if not each.found.is_own:
                self._known.note(each.call.key, [number])
        self.dealing = True
        for each in told:
            each.tell()
        self.dealing = False

    def write_long(
        self, entries: Iterable[tuple[int, bytes]], then: Callable[[], None], key: bytes = b""
    ) -> None:
        """Append entries, one in each turn of the loop.

        Args:
            entries: as of `in_parts`; their content must not change until ``then`` is called.
            then: called when all are appended; never, if the journal fails before.
            key: of the call whose result is known by then; empty: it is none.
        """

        def done(numbers: list[int]) -> None:
            if key:
                self._known.note(key, numbers)
            then()

        self._queue.add(([entry] for entry in entries), done)

    # -- the journal -----------------------------------------------------------------------------

    def _append(self, entries: Sequence[tuple[int, bytes]]) -> int:
        """Append, and return the last number; 0 if there is no room: it is tried again later."""
        if self.failed:
            return 0
        try:
            last = self._journal.append(entries)
        except JournalFull as error:
            if not self.full:
                self.full = True
                log.warning("%s. No result is given out until then", error)
            if self._retry is None:
                self._retry = self._loop.call_later(RETRY_S, self._try_again)
            return 0
        except (JournalFailed, JournalFenced) as error:
            self.fail(error)
            return 0
        if self.full:
            self.full = False
            log.warning("the journal has room again: the campaign goes on")
        return last

    def fail(self, error: Exception) -> None:
        """Take in that the journal cannot go on: no result is given out any more."""
        if not self.failed:
            self.failed = True
            self._fail(error)

    def _try_again(self) -> None:
        """Append all that waits for room, and deal out the batches that waited."""
        self._retry = None
        while self._waiting:
            if not self._record(self._waiting[0], self._held):
                return
            batch = self._waiting.popleft()
            for message in _ends_in(batch):
                self._held.pop(message.task_id, None)
            self.dealing = True
            self._client.deal_late(batch)
            self.dealing = False
        self._queue.go_on()


def _ends_in(received: Received) -> list[ms.TaskSettled]:
    return [message for message, _ in received if isinstance(message, ms.TaskSettled)]


def _is_gone(message: ms.FromBroker) -> bool:
    return isinstance(message, ms.Refused) and message.rejoin


def _entries(
    call: Call, message: ms.TaskSettled, frames: Sequence[Any]
) -> Iterable[tuple[int, bytes]]:
    """Return the entries of a result, of whose value these are the frames."""
    kind = MEMO if call.memo and message.ended_as == "succeeded" else RESULT
    if not frames:
        return ((kind, encode_result(call, message, ())),)

    def entry(parts: Parts | None) -> tuple[int, bytes]:
        return kind, encode_result(call, message, () if parts else frames, parts)

    return in_parts(frames, entry)


def in_parts(
    pieces: Sequence[Any], entry: Callable[[Parts | None], tuple[int, bytes]]
) -> Iterator[tuple[int, bytes]]:
    """Yield the entries for some content: its parts, if it is long, and then its own.

    Args:
        pieces: the content.
        entry: makes its own entry, given the parts that were yielded before, if there were any.
    """
    if total_bytes(pieces) <= PART_BYTES:
        yield entry(None)
        return
    number = int.from_bytes(os.urandom(8), "little")  # no other incarnation's
    for body in parts_of(number, pieces):
        yield EntryKind.PART, body
    yield entry(Parts(number, [memoryview(piece).nbytes for piece in pieces]))
