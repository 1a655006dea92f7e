"""The results in a journal that equal calls may be given, by the digests of their calls.

Of each result its digest is kept, and the numbers of its frames: about 200 bytes. Its value stays
in the journal.
"""

from __future__ import annotations

from collections.abc import Callable

from steerio.edge.record.entries import (
    KEY_BYTES,
    EntryKind,
    PartsRead,
    ResultEntry,
    decode_result,
    key_of,
    part_id,
)
from steerio.edge.record.frames import Frame
from steerio.errors import JournalDamaged

MAY_HAVE_PARTS = 1 << 15
"""A frame of a result is looked into if it may name parts: none of these is longer."""


Find = Callable[[int], Frame]
"""Returns the frame of a number; raises a `KeyError` if it is gone."""


def nothing_found(number: int) -> Frame:
    """Find no frame.

    Raises:
        KeyError: always.
    """
    raise KeyError(number)


class KnownResults:
    """Known results of one journal.

    Args:
        find: finds its frames.
        all_kinds: whether all successes are known, also those of calls that were not declared to
            be equal for ever when they were recorded.
    """

    def __init__(self, find: Find = nothing_found, *, all_kinds: bool = False) -> None:
        self._find, self._all_kinds = find, all_kinds
        self._frames: dict[bytes, int | tuple[int, ...]] = {}
        self._kept: set[int] = set()
        self._parts: dict[int, list[int]] = {}
        """Numbers of the parts whose result has not been seen yet."""

    def __repr__(self) -> str:
        return f"<KnownResults of {len(self._frames)} calls>"

    def __len__(self) -> int:
        return len(self._frames)

    def __contains__(self, key: bytes) -> bool:
        return key in self._frames

    def keeps(self, number: int) -> bool:
        """Say whether a frame belongs to a known result (any thread)."""
        return number in self._kept

    def see(self, frame: Frame) -> None:
        """Take in a frame of the journal, in order.

        Raises:
            JournalDamaged: it is of a result, and cannot be read.
        """
        if frame.kind == EntryKind.PART:
            self._parts.setdefault(part_id(frame.body), []).append(frame.number)
        elif frame.kind == EntryKind.MEMO or (frame.kind == EntryKind.RESULT and self._all_kinds):
            parts = list[int]()
            if frame.kind == EntryKind.RESULT or len(frame.body) < MAY_HAVE_PARTS:
                entry = decode_result(frame.body)
                if entry.settled.ended_as != "succeeded":
                    return
                if entry.parts is not None:
                    parts = self._parts.pop(entry.parts.number, [])
            self.note(key_of(frame.body), [*parts, frame.number])

    def note(self, key: bytes, numbers: list[int]) -> None:
        """Take in the result of a call, of which these are the frames; the first one counts."""
        if key not in self._frames:
            self._frames[key] = numbers[0] if len(numbers) == 1 else tuple(numbers)
            self._kept.update(numbers)

    def forget(self, key: bytes) -> None:
        """Take in that the result of a call cannot be used."""
        self._frames.pop(key, None)

    def read(self, key: bytes) -> tuple[ResultEntry, list[bytes]]:
        """Return the entry of a result that is known, and the frames of its value.

        Raises:
            KeyError: it is gone.
            JournalDamaged, OSError: it cannot be read.
        """
        numbers = self._frames[key]
        *parts, last = (numbers,) if isinstance(numbers, int) else numbers
        frame = self._find(last)
        if frame.body[:KEY_BYTES] != key:  # the journal was cut there, and went on
            raise KeyError(key)
        entry = decode_result(frame.body)
        if entry.parts is None:
            return entry, entry.frames
        assembly = PartsRead()
        for number in parts:
            part = self._find(number)
            if part_id(part.body) != entry.parts.number:
                raise JournalDamaged("the journal", 0, f"frame {number} is a part of another value")
            assembly.add(part.body)
        return entry, assembly.take(entry.parts, "a result")
