"""Histories of a journal: steps that use it, crashes in them, and all that must hold after each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from steerio.edge.record.disk import Disk
from steerio.edge.record.frames import FRAME_BYTES, Frame
from steerio.edge.record.journal_segments import JournalReader, find_segments, read_segment
from steerio.edge.record.opening_journals import OpenJournal, compact, open_journal, remove_below
from steerio.edge.record.owners import Identity
from steerio.errors import JournalFull
from tests.contract.crashing_disk import Crashed, CrashingDisk

ME = Identity("host", "", "boot", "space", 1, 1, "today")
SEGMENT_BYTES = 2_000
STEPS = ("append", "sync", "reopen", "compact", "remove", "full")


class Step(NamedTuple):
    """One use of the journal, with the lengths of the bodies that it appends."""

    what: str
    lengths: Sequence[int] = ()


class Crash(NamedTuple):
    """A moment at which the machine stops, and how much of all that was not synced survives."""

    at: int
    written: float
    keeping: str
    seed: int


def opened(disk: Disk, segment_bytes: int = SEGMENT_BYTES) -> OpenJournal:
    return open_journal(disk, ME, segment_bytes=segment_bytes, gone=lambda owner, me: True)


@dataclass
class History:
    """All that was done to a journal, and that it must have kept."""

    appended: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    attempted: dict[int, tuple[int, bytes]] = field(default_factory=dict)
    """The batch that is just being appended: it may be there or not, or its first part."""
    synced_to: int = 0
    removable: set[int] = field(default_factory=set)
    """Numbers that may be missing, as someone wanted them removed."""
    made: int = 0
    crashes: int = 0

    def run(self, disk: CrashingDisk, steps: Sequence[Step]) -> None:
        """Take the steps; stops with `Crashed` if the disk does."""
        journal = opened(disk)
        self.check(journal.read(), journal.before)
        for step in steps:
            journal = self._take(disk, journal, step)
        journal.writer.close()
        self.synced_to = journal.writer.synced_to

    def crash(self, disk: CrashingDisk, steps: Sequence[Step], crash: Crash) -> CrashingDisk:
        """Take the steps up to the crash, and return the disk after it."""
        disk.crash_at, disk.written = crash.at, crash.written
        try:
            self.run(disk, steps)
        except Crashed:
            self.crashes += 1
            return CrashingDisk(disk.survivors(crash.keeping, Random(crash.seed)))
        return CrashingDisk(disk.survivors("nothing", Random(0)))  # it was closed: all is synced

    def check(self, reader: JournalReader, before: int) -> None:
        """Compare a journal that was opened again with all that was done to it."""
        frames = list(reader.frames())
        found = {frame.number: (frame.kind, frame.body) for frame in frames}
        numbers = list(found)
        assert numbers == sorted(numbers)
        assert len(numbers) == len(frames)
        assert before >= self.synced_to, "a frame is lost that was said to be synced"
        known = self.appended | self.attempted
        assert before in known or before == 0
        for number in range(1, before + 1):
            if number in found:
                assert found[number] == known[number]
            else:
                assert number in self.removable, f"{number} of {before} is missing"
        assert all(number <= before for number in numbers)
        self.appended = {number: known[number] for number in range(1, before + 1)}
        self.attempted = {}
        self.synced_to = before

    def _take(self, disk: CrashingDisk, journal: OpenJournal, step: Step) -> OpenJournal:
        writer = journal.writer
        if step.what == "append":
            self._append(journal, step.lengths)
        elif step.what == "full":
            disk.room = sum(step.lengths[:-1]) + FRAME_BYTES * len(step.lengths) - 5
            self._append(journal, step.lengths)
            disk.room = None
        elif step.what == "sync":
            self.synced_to = writer.sync()
        elif step.what == "reopen":
            writer.close()
            self.synced_to = writer.synced_to
            journal = opened(disk)
            self.check(journal.read(), journal.before)
        elif step.what == "compact":
            self._compact(disk, journal)
        elif step.what == "remove":
            below = writer.written_to // 2
            self.removable.update(range(1, below))
            remove_below(disk, below, journal.owner)
        self.synced_to = max(self.synced_to, writer.synced_to)
        return journal

    def _append(self, journal: OpenJournal, lengths: Sequence[int]) -> None:
        entries = [(length % 7, self._body(length)) for length in lengths]
        first = journal.writer.written_to + 1
        self.attempted = dict(enumerate(entries, first))
        try:
            journal.writer.append(entries)
        except JournalFull:
            assert journal.writer.full
            assert journal.writer.written_to == first - 1
        else:
            self.appended |= self.attempted
        self.attempted = {}

    def _body(self, length: int) -> bytes:
        self.made += 1
        if length % 5 == 0:
            return bytes(length)  # as an array of zeros, which a lost block looks like
        return (b"%d " % self.made * length)[:length]

    def _compact(self, disk: CrashingDisk, journal: OpenJournal) -> None:
        for segment in find_segments(disk)[0][:-1]:
            reader = read_segment(disk, segment, last=False)
            frames = list(reader.frames())
            kept: list[Frame] = [frame for frame in frames if frame.number % 3]
            if len(kept) < len(frames):
                self.removable.update(frame.number for frame in frames if not frame.number % 3)
                assert compact(disk, segment, kept, journal.owner) > 0
                return


def check_afterwards(history: History, disk: CrashingDisk) -> None:
    """Use a journal that was recovered once more, and see that all is there."""
    history.run(disk, [Step("append", (10, 20)), Step("reopen"), Step("append", (5,))])
    history.run(disk, [])
    assert not disk.descriptors
