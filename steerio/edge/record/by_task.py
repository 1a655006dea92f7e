"""A number for each task, in a few bytes: for exports that look back at tasks that ended before."""

from __future__ import annotations

from array import array

CHUNK_BITS = 12
"""So many bits of a task's id count within one array; ids of one client are dense."""


class NumberByTask:
    """A number for each task id, 0 for those that were not set.

    Args:
        typecode: as of `array.array`: ``i``, ``q``.
    """

    def __init__(self, typecode: str) -> None:
        self._empty = array(typecode, [0]) * (1 << CHUNK_BITS)
        self._chunks: dict[int, array[int]] = {}

    def __getitem__(self, task_id: int) -> int:
        """Return the number of a task."""
        chunk = self._chunks.get(task_id >> CHUNK_BITS)
        return 0 if chunk is None else chunk[task_id & ((1 << CHUNK_BITS) - 1)]

    def __setitem__(self, task_id: int, number: int) -> None:
        """Set the number of a task."""
        chunk = self._chunks.get(task_id >> CHUNK_BITS)
        if chunk is None:
            chunk = self._chunks[task_id >> CHUNK_BITS] = self._empty[:]
        chunk[task_id & ((1 << CHUNK_BITS) - 1)] = number
