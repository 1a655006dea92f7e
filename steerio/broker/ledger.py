"""The ledger of one detached client: its tasks that have not ended, and the results of the others.

A detached client may leave, or die, and another session of its name comes back for its tasks. So
the broker keeps each result until such a session says that it may be forgotten. The results
themselves stay in a file, of which the ledger has the places: memory does not grow with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Any

import msgspec
from msgspec import Struct, structs

from steerio.edge.record.ledger_files import EntryPlace, LedgerFile
from steerio.edge.wire.endpoint import Frames
from steerio.errors import JournalDamaged
from steerio.model import messages as ms
from steerio.model.tasks import CLIENT_BITS, TaskSpec

WASTED_BYTES = 64 << 20
"""Bytes of entries that are not needed any more beyond which a file is written anew."""
SHOWN_BYTES = 2048
"""Longer arguments are not given back with a task's handle."""
Change = ms.CancelTasks | ms.Reprioritise | ms.ReassignTasks


class LedgerKind(IntEnum):
    """The kinds of entries."""

    BEGAN = 1
    TYPE = 2
    TASK = 3
    CHANGE = 4
    ENDED = 5
    FORGOTTEN = 6


class _Task(Struct, array_like=True, gc=False):
    """A task as it was submitted; ``kind`` counts the types before that in the ledger."""

    kind: int
    message: ms.SubmitTask
    frames: list[Any]


class _Ended(Struct, array_like=True, gc=False):
    settled: ms.TaskSettled
    frames: list[Any]


class LeftTask(Struct, gc=False):
    """A task that has not ended, to be submitted to the next broker.

    ``kind`` is the number of its type, and ``changes`` are the last messages about it.
    """

    kind: int
    spec: TaskSpec
    message: ms.SubmitTask
    frames: Frames
    changes: Iterable[Change]


class _NotedTask(Struct, gc=False):
    listed: ms.LedgerTask
    submitted: EntryPlace
    kind: int
    ended: EntryPlace | None = None
    changes: dict[type, Change] | None = None


_encode = msgspec.msgpack.Encoder().encode
_decoders: dict[Any, Any] = {
    kind: msgspec.msgpack.Decoder(kind)
    for kind in (int, TaskSpec, _Task, Change, _Ended, ms.ForgetTasks)
}


class Ledger:
    """The tasks of the detached clients of one name, of which one is there at a time.

    Args:
        file: its entries.
        peer: the number that each of these clients has as a peer.
        client_number: by which their tasks have their ids, if the file is new.

    Raises:
        JournalDamaged: the file cannot be read.
    """

    def __init__(self, file: LedgerFile, peer: int, client_number: int) -> None:
        self.peer = peer
        self.client_number = -1
        self.last_task = 0
        """The number of the last task, as its client counts."""
        self._file = file
        self._specs: list[TaskSpec] = []
        self._numbers: dict[TaskSpec, int] = {}
        self._tasks: dict[int, _NotedTask] = {}
        self._bytes = 0
        for kind, place, body in file.entries():
            self._read(kind, place, body)
        if self.client_number < 0:
            self.client_number = client_number
            self._add(LedgerKind.BEGAN, client_number)

    def begin_anew(self, file: LedgerFile) -> None:
        """Go on with an empty file: this ledger is empty."""
        self._file, self._bytes = file, 0
        self._specs.clear()
        self._numbers.clear()
        self._add(LedgerKind.BEGAN, self.client_number)

    def __repr__(self) -> str:
        return f"<Ledger of client {self.client_number}: {len(self._tasks)} tasks>"

    def __contains__(self, task_id: int) -> bool:
        return task_id in self._tasks

    @property
    def empty(self) -> bool:
        """Whether nothing would be lost if it was removed."""
        return not self._tasks

    @property
    def wasteful(self) -> bool:
        """Whether most of its file is not needed any more, and that is much."""
        needed = sum(
            known.submitted.length + (known.ended.length if known.ended else 0)
            for known in self._tasks.values()
        )
        return self._bytes - needed > max(needed, WASTED_BYTES)

    # -- taking in --------------------------------------------------------------------------------

    def submitted(self, spec: TaskSpec, message: ms.SubmitTask, frames: Frames) -> None:
        """Take in a task."""
        number = self._numbers.get(spec)
        if number is None:
            self._add(LedgerKind.TYPE, spec)
            number = self._define(spec)
        place = self._add(LedgerKind.TASK, _Task(number, message, [memoryview(f) for f in frames]))
        self._note(number, message, place)

    def changed(self, message: Change) -> None:
        """Take in what a client wants changed about tasks."""
        self._add(LedgerKind.CHANGE, message)
        self._change(message)

    def ended(self, settled: ms.TaskSettled, frames: Frames) -> None:
        """Take in the result of a task."""
        known = self._tasks.get(settled.task_id)
        if known is not None:
            entry = _Ended(settled, [memoryview(frame) for frame in frames])
            known.ended = self._add(LedgerKind.ENDED, entry)
            known.changes = None

    def forget(self, task_ids: Sequence[int]) -> list[int]:
        """Forget the results of tasks; returns those that had ended, and are forgotten."""
        known = [number for number in task_ids if number in self._tasks]
        ended = [number for number in known if self._tasks[number].ended is not None]
        if ended:
            self._add(LedgerKind.FORGOTTEN, ms.ForgetTasks(ended))
        for number in ended:
            del self._tasks[number]
        return ended

    def lose_stored(self, at: float) -> None:
        """Take in that the store was emptied, with all values and arguments that were there.

        Args:
            at: the time, in Unix seconds.
        """
        where = "in the store of a broker that was stopped"
        lost = {
            result.task_id: f"its value was {where}"
            for result in self.results()
            if result.stored is not None
        }
        for task in self.outstanding():
            if task.message.inputs is not None:
                lost[task.message.task_id] = f"arguments of it were {where}"
        for number, why in lost.items():
            self.ended(ms.TaskSettled.unknown(number, "lost", at, why), ())

    # -- giving out -------------------------------------------------------------------------------

    def listed(self) -> list[ms.LedgerTask]:
        """Return all tasks, in the order in which they were submitted."""
        return [known.listed for known in self._tasks.values()]

    def result(self, task_id: int) -> tuple[ms.TaskSettled, Frames] | None:
        """Return how a task ended; ``None``: it has not."""
        known = self._tasks[task_id]
        if known.ended is None:
            return None
        entry: _Ended = _decode(_Ended, self._file.read(known.ended))
        return entry.settled, tuple(entry.frames)

    def results(self) -> Iterator[ms.TaskSettled]:
        """Yield all results, without their frames."""
        for number in list(self._tasks):
            if (result := self.result(number)) is not None:
                yield result[0]

    def outstanding(self) -> Iterator[LeftTask]:
        """Yield the tasks that have not ended by then."""
        for known in list(self._tasks.values()):
            if known.ended is None:
                entry: _Task = _decode(_Task, self._file.read(known.submitted))
                changes = (known.changes or {}).values()
                again = structs.replace(entry.message, again=True)
                spec = self._specs[known.kind]
                yield LeftTask(known.kind, spec, again, tuple(entry.frames), list(changes))

    def needed(self) -> Iterator[tuple[int, bytes]]:
        """Yield the entries that are still needed, to replace all."""
        yield LedgerKind.BEGAN, _encode(self.client_number)
        for spec in self._specs:
            yield LedgerKind.TYPE, _encode(spec)
        for known in self._tasks.values():
            yield LedgerKind.TASK, self._file.read(known.submitted)
            for change in (known.changes or {}).values():
                yield LedgerKind.CHANGE, _encode(change)
            if known.ended is not None:
                yield LedgerKind.ENDED, self._file.read(known.ended)

    def flush(self) -> None:
        """Hand all entries to the system.

        Raises:
            OSError: they could not be written, and are kept for the next time.
        """
        self._file.flush()

    def close(self) -> None:
        """Close the file, and remove it if nothing of it is needed."""
        self._file.close(remove=self.empty)

    # -- entries ----------------------------------------------------------------------------------

    def _add(self, kind: LedgerKind, entry: Any) -> EntryPlace:
        place = self._file.add(kind, _encode(entry))
        self._bytes += place.length
        return place

    def _read(self, kind: int, place: EntryPlace, body: bytes) -> None:
        self._bytes += place.length
        match kind:
            case LedgerKind.BEGAN:
                self.client_number = _decode(int, body)
            case LedgerKind.TYPE:
                self._define(_decode(TaskSpec, body))
            case LedgerKind.TASK:
                task: _Task = _decode(_Task, body)
                self._note(task.kind, task.message, place)
            case LedgerKind.CHANGE:
                self._change(_decode(Change, body))
            case LedgerKind.ENDED:
                known = self._tasks.get(_decode(_Ended, body).settled.task_id)
                if known is not None:
                    known.ended, known.changes = place, None
            case LedgerKind.FORGOTTEN:
                for number in _decode(ms.ForgetTasks, body).tasks:
                    self._tasks.pop(number, None)
            case _:
                raise JournalDamaged("the ledger", place.at, f"an entry is of kind {kind}")

    def _define(self, spec: TaskSpec) -> int:
        number = self._numbers[spec] = len(self._specs)
        self._specs.append(spec)
        return number

    def _note(self, number: int, message: ms.SubmitTask, place: EntryPlace) -> None:
        spec, body = self._specs[number], message.body
        listed = ms.LedgerTask(
            message.task_id,
            spec.name,
            spec.pool,
            body if not message.frames and len(body) <= SHOWN_BYTES else b"",
            message.created,
            message.options,
            message.tags,
            message.cause,
            message.because,
        )
        self._tasks[message.task_id] = _NotedTask(listed, place, number)
        counted = message.task_id & ((1 << CLIENT_BITS) - 1)
        self.last_task = max(self.last_task, counted)

    def _change(self, message: Change) -> None:
        each: list[tuple[int, Change]]
        if isinstance(message, ms.Reprioritise):
            each = [(number, ms.Reprioritise([(number, p)])) for number, p in message.changes]
        else:
            each = [(n, structs.replace(message, tasks=[n])) for n in message.tasks]
        for number, change in each:
            known = self._tasks.get(number)
            if known is not None and known.ended is None:
                known.changes = {**(known.changes or {}), type(change): change}


def _decode(kind: Any, body: bytes) -> Any:
    try:
        return _decoders[kind].decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalDamaged("the ledger", 0, f"an entry cannot be read: {error}") from None
