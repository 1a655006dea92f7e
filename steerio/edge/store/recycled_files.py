"""Freed files in shared memory, kept for a moment to be written into again.

Their pages are there already, so writing into them takes half the time. Moving a file here frees
it, and moving it away takes it: of several processes that try, one succeeds. The process that takes
one has to get its lock too, which readers share for as long as they map it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

LEAST_BYTES = 2**20
"""Smallest file that is kept: less is not worth the trouble."""
MOST_BYTES = 256 * 2**20
"""Most bytes that are kept."""
KEPT_S = 2.0
"""Longest time for which a file is kept; a store that is busy takes it sooner."""


class Freed:
    """The freed files of one store, in a folder that is made when it is needed.

    A file's name begins with its size, so that they need not be looked at one by one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, path: Path) -> bool:
        """Take a file out of use and keep it; ``False`` if it is not worth keeping.

        Raises:
            FileNotFoundError: there is no such file.
        """
        size = path.stat().st_size
        if size < LEAST_BYTES or size + self.nbytes() > MOST_BYTES:
            return False
        self._folder.mkdir(mode=0o700, exist_ok=True)
        os.utime(path)  # `trim` goes by this time
        path.rename(self._folder / f"{size:x}.{path.name}")
        return True

    def take(self, path: Path, size: int) -> int | None:
        """Move the file that suits a size best to ``path``, and return its descriptor, if any."""
        if size < LEAST_BYTES:
            return None
        suited = [(abs(size - kept), file) for kept, file in self._files() if size <= 2 * kept]
        for _, file in sorted(suited):
            with contextlib.suppress(FileNotFoundError):  # another process has taken it
                file.rename(path)
                if (descriptor := _lock(path)) is not None:
                    return descriptor
        return None

    def nbytes(self) -> int:
        """Return the number of bytes that are kept."""
        return sum(size for size, _ in self._files())

    def trim(self) -> None:
        """Remove the files that were not taken within ``KEPT_S``."""
        now = time.time()
        for _, file in self._files():
            with contextlib.suppress(FileNotFoundError):
                if now - file.stat().st_mtime > KEPT_S:
                    file.unlink()

    def clear(self) -> None:
        """Remove all."""
        for _, file in self._files():
            file.unlink(missing_ok=True)

    def _files(self) -> Iterator[tuple[int, Path]]:
        try:
            names = [file.name for file in self._folder.iterdir()]
        except FileNotFoundError:
            return
        for name in names:
            yield int(name.partition(".")[0], 16), self._folder / name


def same_file(descriptor: int, path: Path) -> bool:
    """Say whether an open file still has the name that it was opened by."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False


def _lock(path: Path) -> int | None:
    """Open a file that only this process can reach and lock it; remove one that is still read."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        path.unlink()
        return None
    return descriptor
