"""The layout of an object in a store: the frames of a value, one after the other.

First a head: a mark, the number of frames, and the length of each (little-endian, 8 bytes
each).  Then the frames, each at a multiple of 64 bytes, so that an array in mapped memory
begins where a cache line does.  The length of the whole follows from the head, so that a
part of an object is never taken for one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pickle import PickleBuffer
from typing import Any

from steerio.errors import ObjectBroken

ALIGNMENT = 64
MARK = b"steerio\x01"
"""Its last byte is the version of this layout."""
_COUNT = struct.Struct("<8sQ")
_PADDING = memoryview(bytes(ALIGNMENT))


def plan(frames: Sequence[Any]) -> tuple[bytes, list[int], int]:
    """Return the head of an object, the offset of each frame, and the length of the whole.

    Args:
        frames: of any type with a contiguous buffer, or a ``.buffer`` that has (as ZeroMQ's).
    """
    lengths = [flat(frame).nbytes for frame in frames]
    head = _COUNT.pack(MARK, len(lengths)) + struct.pack(f"<{len(lengths)}Q", *lengths)
    offsets, total = _place(lengths)
    return head, offsets, total


def pieces(frames: Sequence[Any]) -> tuple[list[memoryview], int]:
    """Return the pieces of an object, in order, and its length; nothing is copied."""
    views = [flat(frame) for frame in frames]
    head, offsets, total = plan(views)
    found, at = [memoryview(head)], len(head)
    for view, offset in zip(views, offsets, strict=True):
        if offset > at:
            found.append(_PADDING[: offset - at])
        if view.nbytes:
            found.append(view)
        at = offset + view.nbytes
    return found, total


def split(buffer: Any, *, writable: bool = False) -> list[memoryview]:
    """Return the frames of an object, as views of it; read-only ones unless ``writable``.

    Raises:
        ObjectBroken: it is a part of an object, or something else.
    """
    whole = memoryview(buffer).cast("B")
    if not writable:
        whole = whole.toreadonly()
    if whole.nbytes < _COUNT.size:
        raise ObjectBroken(f"{whole.nbytes} bytes are less than the head of an object")
    mark, count = _COUNT.unpack_from(whole)
    if mark != MARK:
        raise ObjectBroken(
            f"an object begins with {MARK!r}, and this with {mark!r}: it was not written by this "
            "version of steerio"
        )
    if count > (whole.nbytes - _COUNT.size) // 8:
        raise ObjectBroken(f"an object of {count} frames does not end after {whole.nbytes} bytes")
    lengths: tuple[int, ...] = struct.unpack_from(f"<{count}Q", whole, _COUNT.size)
    offsets, total = _place(lengths)
    if total != whole.nbytes:
        raise ObjectBroken(f"the object has {total} bytes, and here are {whole.nbytes}")
    return [whole[at : at + size] for at, size in zip(offsets, lengths, strict=True)]


def flat(frame: Any) -> memoryview:
    """Return the bytes of a frame, which lie one after the other in memory.

    Raises:
        BufferError: they do not.
    """
    return PickleBuffer(getattr(frame, "buffer", frame)).raw()


def _place(lengths: Sequence[int]) -> tuple[list[int], int]:
    end = _COUNT.size + 8 * len(lengths)
    offsets: list[int] = []
    for length in lengths:
        start = -(-end // ALIGNMENT) * ALIGNMENT
        offsets.append(start)
        end = start + length
    return offsets, end
