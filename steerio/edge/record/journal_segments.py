"""The segments of a journal: their names and order, reading them all, replacing and removing some.

A segment is named after the number of its first frame and the incarnation of its writer:
``00000000000000000001-000001.frames``. The next begins with the number behind its last. The
incarnation of a process that compacted it comes behind: ``...01-000001-000003.frames``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from steerio.edge.record.disk import Disk, write_new
from steerio.edge.record.frames import Frame, Head, SegmentReader, Torn, encode, write_head
from steerio.errors import JournalDamaged, UsageError

_NAME = re.compile(r"(\d{20})-(\d{6,})(?:-(\d{6,}))?\.frames")
FRESH = ".fresh"
"""How the names of files end that are not whole yet; an opener removes those that are left."""


class Segment(Struct, frozen=True, order=True):
    """A segment by its name.

    Attributes:
        first: the number of its first frame.
        incarnation: its writer's.
        compacted_by: the incarnation of the process that did; 0: none has.
    """

    first: int
    incarnation: int
    compacted_by: int = 0

    @property
    def name(self) -> str:
        """Return the name of its file."""
        by = f"-{self.compacted_by:06d}" if self.compacted_by else ""
        return f"{self.first:020d}-{self.incarnation:06d}{by}.frames"


class Right(Protocol):
    """The right of a process to change a journal."""

    incarnation: int

    def check(self) -> None:
        """Raise if another process has the right now."""
        ...


def find_segments(disk: Disk) -> tuple[list[Segment], list[Segment]]:
    """Return the segments of a journal in order, and *stragglers*.

    A straggler has been replaced; or it was made by a process that did not know yet that another
    had taken over: a later incarnation has a segment that begins at its place or before. Nothing
    that only it has was said to be synced.
    """
    matches = map(_NAME.fullmatch, disk.names())
    found = sorted(Segment(int(m[1]), int(m[2]), int(m[3] or 0)) for m in matches if m is not None)
    kept: list[Segment] = []
    stragglers: list[Segment] = []
    newest = 0
    for segment, following in itertools.zip_longest(found, found[1:]):
        replaced = following is not None and following.first == segment.first
        if replaced or segment.incarnation < newest:
            stragglers.append(segment)
        else:
            newest = segment.incarnation
            kept.append(segment)
    return kept, stragglers


class JournalReader:
    """The frames of a journal, in order; a segment at a time is in memory.

    It changes nothing, and may read a journal that is being written: its end is then the part that
    was written.

    Args:
        disk: the folder.
        up_to: the last number to read; frames behind it are left out.
    """

    def __init__(self, disk: Disk, up_to: int | None = None) -> None:
        self._disk, self._up_to = disk, up_to
        self.torn = Torn(0, 0)
        """The part that a crash spoilt; known once all frames were read."""
        self.next_number: int = 1
        """The number behind the last that was read."""
        self.segment: Segment | None = None
        """The segment of the frame that was read last."""
        self.salt = 0
        """The checksum of its head."""

    def frames(self) -> Iterator[Frame]:
        """Yield all frames.

        Raises:
            JournalDamaged: a frame cannot be read, or is missing.
            OSError: a file cannot be read.
        """
        segments, _ = find_segments(self._disk)
        for place, segment in enumerate(segments):
            if place and segment.first != self.next_number:
                reason = f"frames {self.next_number} to {segment.first - 1} are missing before it"
                raise JournalDamaged(_path(self._disk, segment), 0, reason)
            if self._up_to is not None and segment.first > self._up_to:
                return
            self.next_number = segment.first
            reader = self._open(segment, last=place == len(segments) - 1)
            self.salt = reader.salt
            for frame in reader.frames():
                if self._up_to is not None and frame.number > self._up_to:
                    return
                yield frame
            self.torn = reader.torn
            self.next_number = max(segment.first, reader.next_number)

    def _open(self, segment: Segment, *, last: bool) -> SegmentReader:
        self.segment = segment
        try:
            return read_segment(self._disk, segment, last=last)
        except FileNotFoundError:  # it was replaced since the names were listed
            for other in find_segments(self._disk)[0]:
                if other.first == segment.first and other != segment:
                    self.segment = other
                    return read_segment(self._disk, other, last=last)
            raise


def read_segment(disk: Disk, segment: Segment, *, last: bool) -> SegmentReader:
    """Open a segment.

    Raises:
        JournalDamaged: its head is unreadable, or that of another segment.
        OSError: it cannot be read.
    """
    path = _path(disk, segment)
    reader = SegmentReader(disk.read(segment.name), path, last=last)
    head = reader.head
    if head is not None and (head.first, head.incarnation) != (segment.first, segment.incarnation):
        raise JournalDamaged(path, 0, f"it was {Segment(head.first, head.incarnation).name} once")
    return reader


@contextlib.contextmanager
def telling_of_a_successor(right: Right) -> Generator[None]:
    """Look for a successor if a file is gone, as that one has removed it then.

    Raises:
        JournalFenced: there is one.
        FileNotFoundError: there is none.
    """
    try:
        yield
    except FileNotFoundError:
        right.check()
        raise


def write_segment(
    disk: Disk, segment: Segment, frames: Sequence[Frame], last: int | None, right: Right
) -> None:
    """Write a segment as a whole; a crash leaves all of it or nothing.

    It takes the place of the one that begins with the same number. If this process was taken over
    from meanwhile, it does not count: its name has an earlier incarnation than the successor's.

    Args:
        disk: the folder.
        segment: its name.
        frames: its frames.
        last: the last number that it stands for, if some frames are left out; ``None``: they are
            all there.
        right: this process's.

    Raises:
        JournalFenced: this process has it no longer.
        OSError: it was not written, or not for certain.
    """
    head = Head(segment.incarnation, segment.first)
    if last is not None:
        head = Head(segment.incarnation, segment.first, last, len(frames), True)
    data, salt = write_head(head)
    fresh = f"{segment.name}.{os.urandom(4).hex()}{FRESH}"
    write_new(disk, fresh, [data, *encode(salt, frames)])
    try:
        right.check()
        with telling_of_a_successor(right):
            disk.rename(fresh, segment.name)
    except BaseException:
        with contextlib.suppress(OSError):
            disk.unlink(fresh)
        raise
    disk.sync_folder()


def compact(disk: Disk, segment: Segment, frames: Sequence[Frame], right: Right) -> int:
    """Replace a segment by a shorter one, and return the number of bytes that this saved.

    Args:
        disk: the folder.
        segment: one that is not written to any more, and not the journal's last.
        frames: the frames to keep, in order. Each has the number of one that is there; its kind
            and body may be others.
        right: this process's.

    Raises:
        JournalFenced: this process has it no longer.
        UsageError: a number is new, or out of order; or it is the last segment.
        JournalDamaged: the segment cannot be read.
        OSError: it was not replaced, or not for certain.
    """
    with telling_of_a_successor(right):
        return _compact(disk, segment, frames, right)


def _compact(disk: Disk, segment: Segment, frames: Sequence[Frame], right: Right) -> int:
    segments, _ = find_segments(disk)
    if segment not in segments[:-1]:
        right.check()
        raise UsageError(f"{segment.name} is still written to, or gone: only others are compacted")
    reader = read_segment(disk, segment, last=False)
    before = [frame.number for frame in reader.frames()]
    numbers = [frame.number for frame in frames]
    if sorted(set(numbers)) != numbers or not set(before).issuperset(numbers):
        raise UsageError(
            f"{segment.name} has no frames of some of these numbers, or they are out of order: a "
            "compacted segment has a part of the numbers that it had, in order"
        )
    length = len(disk.read(segment.name))
    new = Segment(segment.first, segment.incarnation, right.incarnation)
    write_segment(disk, new, frames, reader.next_number - 1, right)
    if new != segment:
        disk.unlink(segment.name)
        disk.sync_folder()
    return length - len(disk.read(new.name))


def remove_below(
    disk: Disk, number: int, right: Right, keeps: Callable[[int], bool] | None = None
) -> int:
    """Remove the segments all of whose frames are below a number, and return how many these were.

    The oldest goes first, for certain, before the next: a crash leaves no gap. The last one stays.
    From the first one on that has frames to keep, segments are compacted instead.

    Args:
        disk: the folder.
        number: the first that is needed.
        right: this process's.
        keeps: says whether the frame of a number is to be kept in any case.

    Raises:
        JournalFenced: this process has no right to any more.
        JournalDamaged: a segment that may have frames to keep cannot be read.
        OSError: not all were removed.
    """
    segments, stragglers = find_segments(disk)
    for segment in stragglers:  # they are known by earlier segments
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(segment.name)
    removed, any_kept = 0, False
    for segment, following in itertools.pairwise(segments):
        if following.first > number:
            break
        if keeps is not None:
            kept = _to_keep(disk, segment, keeps, right)
            any_kept = any_kept or kept is None or bool(kept)
            if any_kept:
                if kept is not None:
                    compact(disk, segment, kept, right)
                continue
        right.check()
        with telling_of_a_successor(right):
            disk.unlink(segment.name)
        disk.sync_folder()
        removed += 1
    return removed


def _to_keep(
    disk: Disk, segment: Segment, keeps: Callable[[int], bool], right: Right
) -> list[Frame] | None:
    """Return the frames of a segment that are to be kept; ``None``: all, as it was compacted."""
    if segment.compacted_by:
        return None
    with telling_of_a_successor(right):
        reader = read_segment(disk, segment, last=False)
    return [frame for frame in reader.frames() if keeps(frame.number)]


def _path(disk: Disk, segment: Segment) -> str:
    return f"{disk.where}/{segment.name}"
