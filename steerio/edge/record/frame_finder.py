"""Single frames of a journal, found by their numbers.

The journal may be written to, and compacted, meanwhile: if a file is gone, or has no frame of a
number yet, the names are listed again. Of each frame its place is kept, and its number: 20 bytes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator

from steerio.edge.record.disk import Disk
from steerio.edge.record.frames import FRAME_BYTES, HEAD_BYTES, Frame, frame_at
from steerio.edge.record.journal_segments import (
    JournalReader,
    Segment,
    find_segments,
    read_segment,
)
from steerio.errors import JournalDamaged


class FrameFinder:
    """Finds frames of one journal; it changes nothing.

    Args:
        disk: the folder.
        kinds: the kinds of frames that are looked for.
    """

    def __init__(self, disk: Disk, kinds: Collection[int]) -> None:
        self._disk, self._kinds = disk, frozenset(kinds)
        self._segments: list[Segment] = []
        self._places: dict[Segment, _Places] = {}

    def __repr__(self) -> str:
        return f"<FrameFinder in {self._disk.where}>"

    def frames(self, up_to: int | None = None) -> Iterator[Frame]:
        """Yield all frames, up to a number, and note their places.

        Raises:
            JournalDamaged: a frame cannot be read, or is missing.
            OSError: a file cannot be read.
        """
        reader, segment, places, at = JournalReader(self._disk, up_to), None, _Places(0), 0
        for frame in reader.frames():
            if reader.segment != segment:
                segment = reader.segment
                assert segment is not None
                self._segments.append(segment)
                self._places[segment] = places = _Places(reader.salt)
                at = HEAD_BYTES
            end = at + FRAME_BYTES + len(frame.body)
            if frame.kind in self._kinds:
                places.add(frame.number, at, end - at)
            at = end
            yield frame

    def find(self, number: int) -> Frame:
        """Return the frame of a number.

        Raises:
            KeyError: it is not there, or not any more.
            JournalDamaged: it cannot be read.
            OSError: a file cannot be read.
        """
        try:
            return self._find(number)
        except (KeyError, FileNotFoundError):
            self._list_again(number)
        try:
            return self._find(number)
        except FileNotFoundError:  # it was removed just now
            raise KeyError(number) from None

    def _segment_of(self, number: int) -> Segment:
        place = bisect_right(self._segments, number, key=lambda segment: segment.first) - 1
        if place < 0:
            raise KeyError(number)
        return self._segments[place]

    def _find(self, number: int) -> Frame:
        segment = self._segment_of(number)
        places = self._places.get(segment)
        if places is None:
            places = self._places[segment] = self._look_through(segment)
        at, length = places.of(number)
        data = self._disk.read_at(segment.name, at, length)
        found = frame_at(data, 0, places.salt)
        if found is None or found[0] != number:
            path = f"{self._disk.where}/{segment.name}"
            raise JournalDamaged(path, at, f"frame {number} is unreadable")
        return Frame(number, found[1], data[FRAME_BYTES:])

    def _list_again(self, number: int) -> None:
        self._segments = find_segments(self._disk)[0]
        there = {*self._segments}
        self._places = {s: places for s, places in self._places.items() if s in there}
        self._places.pop(self._segment_of(number), None)

    def _look_through(self, segment: Segment) -> _Places:
        reader = read_segment(self._disk, segment, last=segment == self._segments[-1])
        places, at = _Places(reader.salt), HEAD_BYTES
        for frame in reader.frames():
            length = FRAME_BYTES + len(frame.body)
            if frame.kind in self._kinds:
                places.add(frame.number, at, length)
            at += length
        return places


class _Places:
    """The places of frames in one segment.

    Args:
        salt: the checksum of its head.
    """

    def __init__(self, salt: int) -> None:
        self.salt = salt
        self._numbers, self._starts, self._lengths = array("Q"), array("Q"), array("I")

    def add(self, number: int, at: int, length: int) -> None:
        """Note a frame behind all others."""
        self._numbers.append(number)
        self._starts.append(at)
        self._lengths.append(length)

    def of(self, number: int) -> tuple[int, int]:
        """Return the place and length of a frame.

        Raises:
            KeyError: it is not there.
        """
        index = bisect_left(self._numbers, number)
        if index == len(self._numbers) or self._numbers[index] != number:
            raise KeyError(number)
        return self._starts[index], self._lengths[index]
