"""The format of a segment: a head, and frames, each with its length, checksum and number.

All numbers are little-endian. A head is 48 bytes: magic, version, flags, incarnation of the writer,
number of the first frame; number of the last and count of frames if the segment was compacted;
8 random bytes; CRC32C over all that. A frame is 24 bytes and its body: CRC32C, mark, kind, length
of the body, the count of numbers up to its own that were not known to be synced then, its number.

The checksum of a frame goes on from that of its segment's head. So a frame of another segment,
which a disk may bring back in a block that it uses again, is not taken for one of this.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from mmap import mmap

from msgspec import Struct

from steerio.edge.record.checksums import crc32c
from steerio.errors import JournalDamaged, UsageError

MAGIC = b"STEERIOJ"
VERSION = 1
MARK = 0xE5A7
"""Two bytes of each frame, by which frames behind an unreadable one are looked for."""
END = 0xFFFF
"""The kind of the frame that closes a segment: all before it is synced. It takes no number."""
BODY_BYTES = 1 << 28
"""Longest body; a longer value belongs in the file store."""
COPIED_BYTES = 16 << 10
"""Shorter bodies are copied next to each other; longer ones are written from their own memory."""
BLOCK = 512
"""The least number of bytes that a disk writes as a whole."""

_HEAD = struct.Struct("<8sHHIQQI8s")
_CRC = struct.Struct("<I")
_REST = struct.Struct("<HHIIQ")
_FRAME = struct.Struct("<IHHIIQ")
HEAD_BYTES = _HEAD.size + _CRC.size
FRAME_BYTES = _FRAME.size
_MARK = MARK.to_bytes(2, "little")
_COMPACTED = 1
_MOST = (1 << 32) - 1


class Frame(Struct, frozen=True, gc=False):
    """An entry of a journal: its number, its kind (the caller's, below `END`), and its bytes."""

    number: int
    kind: int
    body: bytes


class Head(Struct, frozen=True):
    """The beginning of a segment.

    Attributes:
        incarnation: of the writer; ``first``: the number of the first frame.
        last, count: of a compacted segment, the last number that it stands for, and the frames
            that it has; else 0.
        token: random bytes, so that no two segments have the same checksums.
    """

    incarnation: int
    first: int
    last: int = 0
    count: int = 0
    compacted: bool = False
    token: bytes = b""


class Torn(Struct, frozen=True):
    """The part at the end of a journal that a crash spoilt, none of which was said to be synced."""

    nbytes: int
    frames: int
    """The frames in it that could be read, behind one that could not."""


def write_head(head: Head) -> tuple[bytes, int]:
    """Return a head as bytes, and the checksum that its frames go on from."""
    flags = _COMPACTED if head.compacted else 0
    token = head.token or os.urandom(8)
    fields = (head.incarnation, head.first, head.last, head.count)
    data = _HEAD.pack(MAGIC, VERSION, flags, *fields, token)
    salt = crc32c(data)
    return data + _CRC.pack(salt), salt


def write_frame(salt: int, number: int, kind: int, body: bytes, unsynced: int) -> bytes:
    """Return a frame.

    Args:
        salt: the checksum of the segment's head.
        number: of the frame.
        kind: the caller's, or `END`.
        body: its bytes, which are copied.
        unsynced: how many numbers, this one included, were not known to be synced.
    """
    frame = _REST.pack(MARK, kind, len(body), min(unsynced, _MOST), number) + body
    return _CRC.pack(crc32c(frame, salt)) + frame


def write_frames(
    salt: int, before: int, synced_to: int, entries: Sequence[tuple[int, bytes]]
) -> list[bytes]:
    """Return the frames of a batch as pieces, those with short bodies in one.

    This is `write_frame` for each, in half of the time.

    Args:
        salt: the checksum of the segment's head.
        before: the number before the first frame's.
        synced_to: the last number that is known to be synced.
        entries: a kind and a body for each frame.

    Raises:
        UsageError: a kind or body is out of bounds.
    """
    pieces: list[bytes] = []
    short: list[bytes] = []
    pack, checksum, packed_checksum = _REST.pack, crc32c, _CRC.pack
    unsynced = min(before - synced_to, _MOST - len(entries))
    for number, (kind, body) in enumerate(entries, before + 1):
        length = len(body)
        unsynced += 1
        if not 0 <= kind < END or length > BODY_BYTES:
            raise UsageError(
                f"a frame of kind {kind} with {length} bytes: kinds are 0 to {END - 1}, and "
                f"bodies longer than {BODY_BYTES} bytes belong in the store"
            )
        if length < COPIED_BYTES:
            frame = pack(MARK, kind, length, unsynced, number) + body
            short += (packed_checksum(checksum(frame, salt)), frame)
        else:
            short.append(write_frame_head(salt, number, kind, body, unsynced))
            pieces += (b"".join(short), body)
            short = []
    if short:
        pieces.append(b"".join(short))
    return pieces


def write_frame_head(salt: int, number: int, kind: int, body: bytes, unsynced: int) -> bytes:
    """Return a frame without its body, which follows it; arguments as of `write_frame`."""
    rest = _REST.pack(MARK, kind, len(body), min(unsynced, _MOST), number)
    return _CRC.pack(crc32c(body, crc32c(rest, salt))) + rest


class SegmentReader:
    """The frames of one segment, from its bytes.

    Args:
        data: the content of the file; ``path``: its path, for errors.
        last: it is the journal's last, and may be torn.
    """

    def __init__(self, data: bytes | mmap, path: str, *, last: bool) -> None:
        self.path = path
        self.torn = Torn(0, 0)
        """The part that was cut off; known once all frames were read."""
        self.ended = False
        """The writer closed it."""
        self.good_bytes = 0
        """The bytes up to the end of the last good frame."""
        self._data, self._last = data, last
        self.head, self._salt = self._read_head()
        self.next_number = 0 if self.head is None else self.head.first
        """The number behind the last that was read."""

    def frames(self) -> Iterator[Frame]:
        """Yield the frames in order.

        Raises:
            JournalDamaged: one cannot be read, and that is not the work of a crash.
        """
        if self.head is None:
            self.torn = Torn(len(self._data), 0)
            return
        if self.head.compacted:
            yield from self._compacted(self.head)
            return
        data, view, salt = self._data, memoryview(self._data), self._salt
        unpack, size = _FRAME.unpack_from, len(data)
        at, expected = HEAD_BYTES, self.head.first
        while size - at >= FRAME_BYTES:
            checksum, mark, kind, length, _, number = unpack(data, at)
            end = at + FRAME_BYTES + length
            if mark != MARK or end > size or crc32c(view[at + 4 : end], salt) != checksum:
                break
            if kind == END and number == expected - 1:
                self.ended, at = True, end
                break
            if number != expected:
                break
            yield Frame(number, kind, data[at + FRAME_BYTES : end])
            at, expected = end, expected + 1
            self.next_number = expected
        self.good_bytes = at
        if at < size:
            self._cut(at, expected)

    def _compacted(self, head: Head) -> Iterator[Frame]:
        at, before, count = HEAD_BYTES, head.first - 1, 0
        while at < len(self._data):
            found = self._frame_at(at)
            if found is None or not before < found[0] <= head.last:
                # at its beginning: a part of it would be no segment
                reason = f"it was compacted, and the frame at byte {at} is unreadable"
                raise JournalDamaged(self.path, 0, reason)
            number, kind, end, _ = found
            yield Frame(number, kind, self._data[at + FRAME_BYTES : end])
            at, before, count = end, number, count + 1
        if count != head.count:
            reason = f"it was compacted, and has {count} of its {head.count} frames"
            raise JournalDamaged(self.path, 0, reason)
        self.good_bytes, self.next_number, self.ended = at, head.last + 1, True

    def _read_head(self) -> tuple[Head | None, int]:
        data = self._data
        if len(data) < HEAD_BYTES and self._last:
            return None, 0  # a segment has frames only once its head is synced
        if len(data) < HEAD_BYTES:
            raise JournalDamaged(self.path, 0, f"it has only {len(data)} bytes")
        magic, version, flags, incarnation, first, last, count, token = _HEAD.unpack_from(data)
        (checksum,) = _CRC.unpack_from(data, _HEAD.size)
        salt = crc32c(data[: _HEAD.size])
        if checksum != salt or magic != MAGIC:
            if len(data) == HEAD_BYTES and self._last:
                return None, 0
            raise JournalDamaged(self.path, 0, "the head of the file is unreadable")
        if version != VERSION or flags & ~_COMPACTED:
            reason = f"its format is version {version}, and this steerio reads {VERSION}"
            raise JournalDamaged(self.path, 0, reason)
        return Head(incarnation, first, last, count, bool(flags & _COMPACTED), token), salt

    @property
    def salt(self) -> int:
        """The checksum of the head, which those of the frames go on from."""
        return self._salt

    def _frame_at(self, at: int) -> tuple[int, int, int, int] | None:
        return frame_at(self._data, at, self._salt)

    def _cut(self, at: int, expected: int) -> None:
        """Take the rest for torn, or refuse to: see docs/explanation/journal.md."""
        if not self._last:
            raise JournalDamaged(self.path, at, f"frame {expected} is unreadable")
        behind, first_good, synced_to = 0, len(self._data), expected - 1
        for start, number, unsynced in self._good_frames(at):
            behind, first_good = behind + 1, min(first_good, start)
            synced_to = max(synced_to, number - unsynced)
        if self.ended and behind:
            raise JournalDamaged(self.path, at, "frames follow the one that closes it")
        if synced_to >= expected:
            reason = f"frame {expected} is unreadable, and had been synced (up to {synced_to})"
            raise JournalDamaged(self.path, at, reason)
        if behind and not self._lost_block(at, first_good):
            reason = f"frame {expected} is unreadable, and there are good ones behind it"
            raise JournalDamaged(self.path, at, reason)
        self.torn = Torn(len(self._data) - at, behind)

    def _good_frames(self, at: int) -> Iterator[tuple[int, int, int]]:
        """Yield place, number and unsynced count of all good frames behind a place."""
        start = at
        while True:
            found = self._frame_at(start)
            if found is not None:
                number, _, start_of_next, unsynced = found
                yield start, number, unsynced
                start = start_of_next
                continue
            mark = self._data.find(_MARK, start + 5)
            if mark < 0:
                return
            start = mark - 4

    def _lost_block(self, at: int, to: int) -> bool:
        """Say whether a block, or its part in the range, is zero up to its end, inside the range.

        That is the trace of a block that had not been written when the machine stopped, while a
        later one had.
        """
        data = self._data
        for block in range(at - at % BLOCK, to, BLOCK):
            begin, end = max(at, block), block + BLOCK
            if end <= to and not data[begin:end].strip(b"\0"):
                return True
        return False


def frame_at(data: bytes | mmap, at: int, salt: int) -> tuple[int, int, int, int] | None:
    """Return number, kind, end and unsynced count of a good frame; ``None``: there is none.

    Args:
        data: of a segment, or of a part of it.
        at: the place in ``data`` at which the frame begins.
        salt: the checksum of the segment's head.
    """
    if len(data) - at < FRAME_BYTES:
        return None
    checksum, mark, kind, length, unsynced, number = _FRAME.unpack_from(data, at)
    end = at + FRAME_BYTES + length
    if mark != MARK or end > len(data):
        return None
    if crc32c(memoryview(data)[at + 4 : end], salt) != checksum:
        return None
    return number, kind, end, unsynced


def encode(salt: int, frames: Sequence[Frame]) -> list[bytes]:
    """Return frames as pieces, for a file that is synced before it gets its name."""
    pieces: list[bytes] = []
    for frame in frames:
        pieces += (write_frame_head(salt, frame.number, frame.kind, frame.body, 0), frame.body)
    return pieces
