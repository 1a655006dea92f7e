"""Memory into which long frames are received, used again when no object has it any more.

Having the system find new memory takes several times as long as copying as much into it, and freed
memory of this size goes back to the system at once.

The system gives longer memory than is kept page by page, as bytes come: so a length that a peer
announces costs nothing yet.

The number of references to a piece tells whether it is in use: by views, and by arrays, some of
which keep the memory of a view and not the view.
"""

from __future__ import annotations

import mmap
import sys
from collections import deque

LONG_BYTES = 1 << 16
"""Shorter frames get new memory, which is cheap."""
MOST_KEPT = 16
"""Most pieces that are kept: each is looked at, even one that is in use for ever."""
FITS = 2
"""Longest memory, in lengths of its frame: an array that keeps a part keeps all of it."""


class Spares:
    """Memory for frames.

    Args:
        most_bytes: most bytes that are kept for the next ones, beyond those in use.
    """

    def __init__(self, most_bytes: int = 1 << 24) -> None:
        self._most_bytes = most_bytes
        self._kept: deque[bytearray] = deque()
        self._nbytes = 0

    def take(self, length: int) -> memoryview:
        """Return memory of this length that no object has; its content is undefined.

        Raises:
            MemoryError: there is no more.
        """
        if length < LONG_BYTES:
            return memoryview(bytearray(length))
        if length > self._most_bytes:
            return _pages(length)
        kept = self._kept
        for at in range(len(kept)):
            if length <= len(kept[at]) <= FITS * length and _references(kept, at) == _ALONE:
                return memoryview(kept[at])[:length]
        memory = bytearray(length)
        kept.append(memory)
        self._nbytes += length
        while self._nbytes > self._most_bytes or len(kept) > MOST_KEPT:
            self._nbytes -= len(kept.popleft())
        return memoryview(memory)


def _pages(length: int) -> memoryview:
    """Return memory that takes none of the machine's before it is written to."""
    try:
        return memoryview(mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
    except OSError as error:
        raise MemoryError(str(error)) from error


def _references(kept: deque[bytearray], at: int) -> int:
    return sys.getrefcount(kept[at])


_ALONE = _references(deque([bytearray(1)]), 0)
"""References to a piece that is only kept.  Pythons count differently, so by the same steps."""
