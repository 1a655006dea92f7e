"""Memory that long frames are received into, used again when nobody has it any more.

To have new memory found by the system takes several times as long as to copy as much into
it, and freed memory of this size is given back to the system at once.
"""

from __future__ import annotations

from collections import deque

LONG_BYTES = 1 << 16
"""Shorter frames get new memory, which is cheap."""
MOST_KEPT = 16
"""How many pieces are kept: each is looked at, also where whoever has it keeps it for ever."""


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
        """Return so much memory, of which nobody else has a view; what is in it is undefined."""
        if not LONG_BYTES <= length <= self._most_bytes:
            return memoryview(bytearray(length))
        for memory in self._kept:
            if len(memory) >= length and _is_free(memory):
                return memoryview(memory)[:length]
        memory = bytearray(length + 1)
        memory.pop()  # so that it has room for what `_is_free` does
        self._kept.append(memory)
        self._nbytes += length
        while self._nbytes > self._most_bytes or len(self._kept) > MOST_KEPT:
            self._nbytes -= len(self._kept.popleft())
        return memoryview(memory)


def _is_free(memory: bytearray) -> bool:
    """Whether nobody has a view of it: with one it cannot change its length."""
    try:
        memory.append(0)
    except BufferError:
        return False
    memory.pop()
    return True
