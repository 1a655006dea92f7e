"""The lines of a file, looked through by their text: a million of them in less than a second.

The file is mapped, so its text is not kept in memory. Lines that are not whole yet are left out.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from steerio.edge.record.record_lines import open_regular


class MappedLines:
    """The whole lines that a file has now, to be used in a ``with``.

    Args:
        path: the file; if there is none there are no lines.

    Raises:
        OSError: it is no file, or a link, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._map: mmap.mmap | None = None
        self.end = 0
        """The place behind the last line."""
        try:
            file = open_regular(path)
        except FileNotFoundError:
            return
        with file:
            if file.seek(0, 2):
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self.end = self._map.rfind(b"\n") + 1

    def __enter__(self) -> MappedLines:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forget the file."""
        if self._map is not None:
            self._map.close()
            self._map, self.end = None, 0

    def beginning(self, text: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that begin so, each with its place."""
        for place, line in self.containing(text):
            if line.startswith(text):
                yield place, line

    def containing(self, text: bytes, since: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield the lines, behind a place, that a text is in, each with its place."""
        place = since
        while self._map is not None and (place := self._map.find(text, place, self.end)) >= 0:
            begin, line = self._line_at(place)
            yield begin, line
            place = begin + len(line)

    def containing_before(self, text: bytes, place: int) -> Iterator[tuple[int, bytes]]:
        """Yield the lines before a place that a text is in, the last of them first."""
        while self._map is not None and (place := self._map.rfind(text, 0, place)) >= 0:
            place, line = self._line_at(place)
            yield place, line

    def matching(self, pattern: re.Pattern[bytes], since: int = 0) -> Iterator[tuple[int, bytes]]:
        """Yield the lines, behind a place, in which a pattern is found, each with its place."""
        while self._map is not None and (found := pattern.search(self._map, since, self.end)):
            begin, line = self._line_at(found.start())
            yield begin, line
            since = begin + len(line)

    def all(self) -> Iterator[bytes]:
        """Yield all lines."""
        place = 0
        while self._map is not None and place < self.end:
            _, line = self._line_at(place)
            yield line
            place += len(line)

    def _line_at(self, place: int) -> tuple[int, bytes]:
        assert self._map is not None
        begin = self._map.rfind(b"\n", 0, place) + 1
        return begin, self._map[begin : self._map.find(b"\n", place) + 1]
