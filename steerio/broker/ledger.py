"""The ledger of one detached client: its tasks that have not ended, and the results of the others.

A detached client may leave, or die, and another session of its name comes back for its tasks. So
the broker keeps each result until such a session says that it may be forgotten. The tasks and
results themselves stay in a file, of which the ledger has the places: memory grows by little.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from msgspec import Struct, structs

from steerio.broker.ledger_entries import (
    BeganEntry,
    Change,
    EndEntry,
    GivenTask,
    LedgerKind,
    NamedType,
    decode,
    encode,
)
from steerio.broker.noted_tasks import NotedTask, NotedTasks
from steerio.edge.record.ledger_files import EntryPlace, LedgerFile, damaged
from steerio.edge.wire.endpoint import Frames
from steerio.errors import UsageError
from steerio.model import messages as ms
from steerio.model.tasks import CLIENT_BITS, TaskSpec

WASTED_BYTES = 64 << 20
"""Bytes of entries that are not needed any more beyond which a file is written anew."""
SHOWN_BYTES = 2048
"""Longer arguments are not given back with a task's handle."""
PAGE_TASKS, PAGE_BYTES = 1_000, 16 << 20
"""Most tasks that are listed at once, and the bytes of them and their results behind which no
other is."""
TASKS_LOST = 1 << 24
"""The next broker counts tasks from a multiple of this on: a machine that stops may lose the last
entries, and no number may be given out again. A name has 65536 brokers, then."""

TASK_MASK = (1 << CLIENT_BITS) - 1
"""The part of a task's id that its client counts."""


class LeftTask(Struct, gc=False):
    """A task that has not ended, to be submitted to the next broker.

    ``kind`` is the number of its type, and ``changes`` are the last messages about it.
    """

    kind: int
    spec: TaskSpec
    message: ms.SubmitTask
    frames: Frames
    changes: Iterable[Change]


class Ledger:
    """The tasks of the detached clients of one name, of which one is there at a time.

    Args:
        file: its entries.
        peer: the number that each of these clients has as a peer.
        client_number: by which their tasks have their ids, if the file is new.

    Raises:
        JournalDamaged: the file cannot be read, or is of another version of steerio.
    """

    def __init__(self, file: LedgerFile, peer: int, client_number: int) -> None:
        self.peer = peer
        self.client_number = -1
        self.last_task = 0
        """The number of the last task, as its clients count."""
        self._load(file)
        if self.client_number < 0:
            self.client_number = client_number
            self._begin()
        else:
            self.last_task |= TASKS_LOST - 1

    def _load(self, file: LedgerFile) -> None:
        """Read a file; its content comes in the place of all else."""
        self._file = file
        self.sessions = 0
        self._noted = NotedTasks()
        self._bytes = 0
        for kind, place, body in file.entries():
            try:
                self._read(kind, place, body)
            except (ValueError, KeyError) as error:  # of msgspec, too
                raise damaged(file.where, place.at, f"this entry is wrong: {error}") from None

    def __repr__(self) -> str:
        return f"<Ledger of client {self.client_number}: {len(self)} tasks>"

    def __contains__(self, task_id: int) -> bool:
        return task_id in self._noted.tasks

    def __len__(self) -> int:
        return len(self._noted.tasks)

    @property
    def outstanding_count(self) -> int:
        """The number of its tasks that have not ended."""
        return sum(known.ended is None for known in self._noted.tasks.values())

    @property
    def empty(self) -> bool:
        """Whether nothing would be lost if it was removed."""
        return not self._noted.tasks

    @property
    def wasteful(self) -> bool:
        """Whether most of its file is not needed any more, and that is much."""
        needed = self._noted.nbytes
        return self._bytes - needed > max(needed, WASTED_BYTES)

    @property
    def short(self) -> bool:
        """Whether the needed entries can be copied without keeping others waiting."""
        return self._noted.nbytes <= WASTED_BYTES

    # -- sessions --------------------------------------------------------------------------------

    def begin_session(self) -> None:
        """Take in that another session of the name begins."""
        self.sessions += 1
        self._begin()

    def check_returns(self, client_number: int, sessions: int) -> None:
        """Take in that the client of the last session returns.

        Raises:
            UsageError: it is the one of an earlier session.
        """
        if client_number != self.client_number or sessions < self.sessions:
            raise UsageError("another session has taken its name meanwhile")
        if not self.sessions:  # a ledger of it was empty, or lost, and so are the numbers in it
            self.last_task |= TASKS_LOST - 1
        self.sessions = sessions

    def _begin(self) -> None:
        began = BeganEntry(ms.PROTOCOL, self.client_number, self.sessions, self.last_task)
        self._add(LedgerKind.BEGAN, began)

    # -- taking in --------------------------------------------------------------------------------

    def submitted(self, spec: TaskSpec, message: ms.SubmitTask, frames: Frames) -> None:
        """Take in a task."""
        number = self._noted.numbers.get(spec)
        if number is None:
            number = self._noted.next_type
            self._add(LedgerKind.TYPE, NamedType(number, spec))
            self._noted.define(number, spec)
        place = self._add(
            LedgerKind.TASK, GivenTask(number, message, [memoryview(f) for f in frames])
        )
        self._noted.note(number, message.task_id, place)
        self.last_task = max(self.last_task, message.task_id & TASK_MASK)

    def changed(self, message: Change) -> None:
        """Take in changes of tasks that a client asks for, as far as they have not ended."""
        some = self._noted.still(message)
        if some is not None:
            self._add(LedgerKind.CHANGE, some)
            self._noted.change(some)

    def ended(self, settled: ms.TaskSettled, frames: Frames) -> None:
        """Take in the result of a task, in the place of one that it had."""
        if settled.task_id in self._noted.tasks:
            entry = EndEntry(settled, [memoryview(frame) for frame in frames])
            self._noted.end(settled.task_id, self._add(LedgerKind.ENDED, entry))

    def forget(self, task_ids: Sequence[int]) -> list[int]:
        """Forget the results of tasks; returns those that had ended, and are forgotten."""
        tasks = self._noted.tasks
        known = [number for number in dict.fromkeys(task_ids) if number in tasks]
        ended = [number for number in known if tasks[number].ended is not None]
        if ended:
            self._add(LedgerKind.FORGOTTEN, ms.ForgetTasks(ended))
        for number in ended:
            self._noted.forget(number)
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

    def page(self, start: int) -> list[ms.LedgerTask]:
        """Return some tasks in the order in which they were submitted, from the ``start``-th on."""
        listed: list[ms.LedgerTask] = []
        nbytes = 0
        for known in islice(self._noted.tasks.values(), start, start + PAGE_TASKS):
            listed.append(self._listed(known))
            nbytes += known.nbytes
            if nbytes >= PAGE_BYTES:
                break
        return listed

    def _listed(self, known: NotedTask) -> ms.LedgerTask:
        entry: GivenTask = decode(GivenTask, self._file.read(known.submitted))
        message, spec = entry.message, self._noted.types[known.kind]
        return ms.LedgerTask(
            message.task_id,
            spec.name,
            spec.pool,
            message.body if not entry.frames and len(message.body) <= SHOWN_BYTES else b"",
            message.created,
            message.options,
            message.tags,
            message.cause,
            message.because,
        )

    def result(self, task_id: int) -> tuple[ms.TaskSettled, Frames] | None:
        """Return how a task ended; ``None``: it has not, or is not known."""
        known = self._noted.tasks.get(task_id)
        if known is None or known.ended is None:
            return None
        entry: EndEntry = decode(EndEntry, self._file.read(known.ended))
        return entry.settled, tuple(entry.frames)

    def results(self) -> Iterator[ms.TaskSettled]:
        """Yield all results, without their frames."""
        for number in list(self._noted.tasks):
            if (result := self.result(number)) is not None:
                yield result[0]

    def outstanding(self) -> Iterator[LeftTask]:
        """Yield the tasks that have not ended by then."""
        for known in list(self._noted.tasks.values()):
            if known.ended is None:
                entry: GivenTask = decode(GivenTask, self._file.read(known.submitted))
                changes = list((known.changes or {}).values())
                again = structs.replace(entry.message, again=True)
                spec = self._noted.types[known.kind]
                yield LeftTask(known.kind, spec, again, tuple(entry.frames), changes)

    # -- its file --------------------------------------------------------------------------------

    def needed(self) -> Iterator[tuple[int, bytes]]:
        """Yield the entries that are still needed, to replace all."""
        began = BeganEntry(ms.PROTOCOL, self.client_number, self.sessions, self.last_task)
        yield LedgerKind.BEGAN, encode(began)
        for number in sorted({known.kind for known in self._noted.tasks.values()}):
            yield LedgerKind.TYPE, encode(NamedType(number, self._noted.types[number]))
        for known in self._noted.tasks.values():
            yield LedgerKind.TASK, self._file.read(known.submitted)
            for change in (known.changes or {}).values():
                yield LedgerKind.CHANGE, encode(change)
            if known.ended is not None:
                yield LedgerKind.ENDED, self._file.read(known.ended)

    def go_on_in(self, file: LedgerFile) -> None:
        """Go on in another file, which has all entries that are needed."""
        self._file.close()
        self._load(file)

    def bear_waste(self) -> None:
        """Take in that the file gets no shorter now: that is tried after much more waste."""
        self._bytes = self._noted.nbytes

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
        place = self._file.add(kind, encode(entry))
        self._bytes += place.length
        return place

    def _read(self, kind: int, place: EntryPlace, body: bytes) -> None:
        self._bytes += place.length
        match kind:
            case LedgerKind.BEGAN:
                self._began(decode(BeganEntry, body))
            case LedgerKind.TYPE:
                named: NamedType = decode(NamedType, body)
                self._noted.define(named.number, named.spec)
            case LedgerKind.TASK:
                task: GivenTask = decode(GivenTask, body)
                if task.kind not in self._noted.types:
                    raise ValueError(f"no type has the number {task.kind}")
                self._noted.note(task.kind, task.message.task_id, place)
                self.last_task = max(self.last_task, task.message.task_id & TASK_MASK)
            case LedgerKind.CHANGE:
                self._noted.change(decode(Change, body))
            case LedgerKind.ENDED:
                self._noted.end(decode(EndEntry, body).settled.task_id, place)
            case LedgerKind.FORGOTTEN:
                for number in decode(ms.ForgetTasks, body).tasks:
                    self._noted.forget(number)
            case _:
                raise ValueError(f"no kind has the number {kind}")

    def _began(self, began: BeganEntry) -> None:
        if began.protocol != ms.PROTOCOL:
            raise ValueError(f"another version of steerio wrote it, of protocol {began.protocol}")
        self.client_number, self.sessions = began.client_number, began.sessions
        self.last_task = max(self.last_task, began.last_task)
