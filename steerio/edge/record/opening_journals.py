"""Opening a journal to write to it: its right is taken, and its end made whole."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from pathlib import Path

from msgspec import Struct

from steerio.edge.record.disk import Disk, Folder
from steerio.edge.record.frames import Torn
from steerio.edge.record.journal_segments import (
    FRESH,
    JournalReader,
    Segment,
    compact,
    find_segments,
    read_segment,
    remove_below,
    write_segment,
)
from steerio.edge.record.owners import (
    TRIES,
    Identity,
    Owner,
    forget_earlier,
    is_gone,
    take,
    this_process,
)
from steerio.edge.record.writer import SEGMENT_BYTES, JournalWriter
from steerio.errors import UsageError

__all__ = ["OpenJournal", "compact", "open_folder", "open_journal", "remove_below"]


class OpenJournal(Struct, frozen=True):
    """A journal that this process owns.

    Attributes:
        disk, owner: its folder, and the right to write there.
        writer: appends behind all that was there.
        before: the last number that was there; `read` yields the frames up to it.
        torn: the part at its end that a crash had spoilt.
        stragglers: segments that were removed, of processes that had been taken over from.
    """

    disk: Disk
    owner: Owner
    writer: JournalWriter
    before: int
    torn: Torn
    stragglers: int

    def read(self) -> JournalReader:
        """Return a reader of the frames that were there."""
        return JournalReader(self.disk, self.before)


def open_folder(
    folder: Path, *, take_over: bool = False, segment_bytes: int = SEGMENT_BYTES
) -> OpenJournal:
    """Open the journal of a folder, which is there, for this process.

    Args:
        folder: of the journal, and of nothing else.
        take_over: also from an owner that may be alive: you know that it is not.
        segment_bytes: length of a segment.

    Raises:
        UsageError: the folder is none, or cannot be written to.
        JournalTaken: it has an owner that may be alive.
        JournalDamaged: it cannot be read to its end.
        JournalFull, JournalFailed, JournalFenced: as of a writer.
    """
    with _in_words(folder):
        if not folder.is_dir():
            raise UsageError(f"no journal can be in {folder}: it is not a folder")
        return open_journal(
            Folder(folder), this_process(), take_over=take_over, segment_bytes=segment_bytes
        )


def open_journal(
    disk: Disk,
    me: Identity,
    *,
    take_over: bool = False,
    segment_bytes: int = SEGMENT_BYTES,
    gone: Callable[[Identity, Identity], bool] = is_gone,
) -> OpenJournal:
    """Open the journal of a folder.

    Args:
        disk: the folder.
        me: this process.
        take_over: also from an owner that may be alive.
        segment_bytes: length of a segment.
        gone: says whether an earlier owner has ended.

    Raises:
        JournalTaken, JournalDamaged, JournalFull, JournalFailed, JournalFenced: as `open_folder`.
        OSError: the folder cannot be read or written to.
    """
    owner = take(disk, me, take_over=take_over, gone=gone)
    try:
        next_number, torn = _make_end_whole(disk, owner)
        writer = JournalWriter(disk, owner, next_number, segment_bytes)
        try:
            stragglers = _clear(disk, owner)
        except BaseException:
            writer.close()
            raise
    except BaseException:
        with contextlib.suppress(Exception):
            owner.release()
        raise
    return OpenJournal(disk, owner, writer, next_number - 1, torn, stragglers)


def _make_end_whole(disk: Disk, owner: Owner) -> tuple[int, Torn]:
    """Have all frames that can be read on the disk, without a torn end behind them.

    A last segment that was not closed is replaced by a copy, synced anew. The bytes that are
    read here may be in memory only, also if a sync of them failed before; and a process that was
    taken over from and lives writes into a file that is not read any more.
    """
    for _ in range(TRIES):
        try:
            return _copy_end(disk, owner)
        except FileNotFoundError:  # by its owner, which has just noticed us; or by a successor
            owner.check()
    return _copy_end(disk, owner)


def _copy_end(disk: Disk, owner: Owner) -> tuple[int, Torn]:
    segments, _ = find_segments(disk)
    if not segments:
        return 1, Torn(0, 0)
    last = segments[-1]
    reader = read_segment(disk, last, last=True)
    frames = list(reader.frames())
    if frames and not (reader.ended and not reader.torn.nbytes):
        write_segment(disk, Segment(last.first, owner.incarnation), frames, None, owner)
    return max(last.first, reader.next_number), reader.torn


def _clear(disk: Disk, owner: Owner) -> int:
    """Remove the files that are read no more, now that this process has a segment."""
    _, stragglers = find_segments(disk)
    for segment in stragglers:  # one without frames is among these, as ours begins with its number
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(segment.name)
    fresh = [name for name in disk.names() if name.endswith(FRESH)]
    owner.check()  # no successor's can be among these
    for name in fresh:
        with contextlib.suppress(FileNotFoundError):  # its maker may live, and remove it
            disk.unlink(name)
    disk.sync_folder()
    forget_earlier(disk, owner)
    return len(stragglers)


@contextlib.contextmanager
def _in_words(folder: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"no journal can be kept in {folder}: {error.strerror or error}"
        ) from error
