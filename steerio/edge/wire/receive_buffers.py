"""Memory that long frames are received into, used again when nobody has it any more.

To have new memory found by the system takes several times as long as to copy as much into
it, and freed memory of this size is given back to the system at once.

Who has it is told by the number of references to it: of views, and of arrays, some of which
keep what a view is of and not the view.
"""

from __future__ import annotations

import sys
from collections import deque

LONG_BYTES = 1 << 16
"""Shorter frames get new memory, which is cheap."""
MOST_KEPT = 16
"""How many pieces are kept: each is looked at, also where whoever has it keeps it for ever."""
FITS = 2
"""How many times as long as a frame its memory may be: whoever keeps a part keeps all of it."""


class Spares:
    """Memory for frames.

    Args:
        most_bytes: how much is kept for the next ones, beyond what is in use.
    """

    def __init__(self, most_bytes: int = 1 << 24) -> None:
        self._most_bytes = most_bytes
        self._kept: deque[bytearray] = deque()
        self._nbytes = 0

    def take(self, length: int) -> memoryview:
        """Return so much memory that nobody else has; what is in it is undefined."""
        if not LONG_BYTES <= length <= self._most_bytes:
            return memoryview(bytearray(length))
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


def _references(kept: deque[bytearray], at: int) -> int:
    return sys.getrefcount(kept[at])


_ALONE = _references(deque([bytearray(1)]), 0)
"""How many there are to what is only kept.  Pythons count differently, so by the same steps."""
