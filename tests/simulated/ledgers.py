"""A journal of a campaign on a disk in memory, and all results that survived in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from steerio.campaign.past import read_past
from steerio.edge.record.entries import KEY_BYTES, EntryKind, decode_result, key_of
from steerio.edge.record.frame_finder import FrameFinder
from steerio.edge.record.opening_journals import open_journal, remove_below
from steerio.errors import JournalFull
from steerio.session.task_type import as_task_type
from tests.contract.crashing_disk import Crashed, CrashingDisk
from tests.contract.journal_histories import ME
from tests.simulated.random_tasks import draw

SEGMENT_BYTES = 4_000
RESULTS = frozenset({EntryKind.RESULT, EntryKind.MEMO, EntryKind.RECALLED})
"""The kinds of entries that tell of a result."""


@dataclass
class Ledger:
    """All results that were recorded and survived, by frame, in all incarnations."""

    results: dict[int, bytes] = field(default_factory=dict)
    memos: dict[int, bytes] = field(default_factory=dict)
    snapshots: int = 0
    replayed: int = 0

    @property
    def keys(self) -> Counter[bytes]:
        """How many results of each call there are."""
        return Counter(map(key_of, self.results.values()))

    @property
    def names(self) -> dict[bytes, str]:
        """The calls in words, by their keys."""
        entries = {key_of(body): decode_result(body) for body in self._whole}
        return {key: f"{entry.task_type}{entry.call!r}" for key, entry in entries.items()}

    @property
    def drawn(self) -> set[int]:
        """The values that `draw` had."""
        return {value for value in map(_drawn, self._whole) if value is not None}

    @property
    def computed(self) -> Counter[bytes]:
        """How often each call of a task type with a memo was computed, and its result survived."""
        return Counter(map(key_of, self.memos.values()))

    @property
    def _whole(self) -> list[bytes]:
        """The results that are no recalls."""
        return [body for body in self.results.values() if len(body) > KEY_BYTES]


def _drawn(body: bytes) -> int | None:
    entry, kind = decode_result(body), as_task_type(draw)
    if entry.task_type != kind.name:
        return None
    value: int = kind.codec.result.unpack(entry.settled.body, tuple(map(bytearray, entry.frames)))
    return value


class Journal:
    """The journal of one incarnation, on a disk in memory."""

    def __init__(self, disk: CrashingDisk, ledger: Ledger, sync_every: int) -> None:
        self._opened = open_journal(
            disk, ME, segment_bytes=SEGMENT_BYTES, gone=lambda owner, me: True
        )
        self._disk, self._writer = disk, self._opened.writer
        self._sync_every, self._batches = sync_every, 0
        finder = FrameFinder(disk, (EntryKind.MEMO, EntryKind.PART))
        self.past = read_past(finder.frames(self._opened.before), finder.find)
        self.ledger = ledger
        before = self._opened.before
        for number in [number for number in ledger.results if number > before]:
            del ledger.results[number]
            ledger.memos.pop(number, None)
        self.sync = self._writer.sync
        self.close = self._writer.close

    @property
    def written_to(self) -> int:
        return self._writer.written_to

    def append(self, entries: Sequence[tuple[int, bytes]]) -> int:
        """Append, and note results; those of a batch in which the disk stops may survive."""
        if self._disk.crashed:
            raise Crashed
        first = self.written_to + 1
        noted = {n: body for n, (kind, body) in enumerate(entries, first) if kind in RESULTS}
        self.ledger.results |= noted
        self.ledger.memos |= {
            n: body for n, (kind, body) in enumerate(entries, first) if kind == EntryKind.MEMO
        }
        try:
            number = self._writer.append(entries)
        except JournalFull:
            for each in noted:
                del self.ledger.results[each]
                self.ledger.memos.pop(each, None)
            raise
        self._batches += 1
        if self._batches % self._sync_every == 0:
            self._writer.sync()
        return number

    def remove_below(self, number: int, keeps: Callable[[int], bool] | None) -> None:
        remove_below(self._opened.disk, number, self._opened.owner, keeps)
