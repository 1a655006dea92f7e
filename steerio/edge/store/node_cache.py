"""Copies of objects from a store on other hosts: fetched once, for all workers of a node.

The copies are files in the node's shared memory.  A worker that wants an object which is
not there locks one of a few files, looks again, and fetches it; a second worker waits for
the lock and finds it there.  The lock of a worker that dies ends with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steerio.edge.store.segments import SegmentKey, SharedMemoryConnector
from steerio.errors import StoreFull

LOCKS = 64
"""Objects whose names have the same lock are fetched one after the other."""


class NodeCache:
    """Copies of objects, those used last, up to a bound for the whole node.

    Args:
        folder: of this node; it is made, but not its parent.
        most_bytes: most bytes that are kept.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._connector = SharedMemoryConnector(str(folder))
        self._folder = folder
        self._locks = folder / "locks"
        self._locks.mkdir(mode=0o700, exist_ok=True)
        self._most_bytes = most_bytes

    def get(self, name: bytes, fetch: Callable[[bytes], Any]) -> Any:
        """Return a copy of an object, made by ``fetch`` if there is none yet.

        A fetched object that does not fit here is returned as it came; ``None`` if ``fetch``
        returned that. Raises the exceptions of ``fetch``.
        """
        key = _key_of(name)
        found = self._find(key)
        if found is None:
            with self._lock(key):
                found = self._find(key)
                if found is None:
                    found = fetch(name)
                    if found is not None and self._keep(key, found):
                        found = self._connector.get(key)
        return found

    def evict(self, name: bytes) -> None:
        """Remove the copy of an object, if there is one."""
        self._connector.evict(_key_of(name))

    def holds(self, name: bytes) -> bool:
        """Say whether there is a copy."""
        return self._connector.exists(_key_of(name))

    def trim(self) -> None:
        """Give back memory that was freed a while ago."""
        self._connector.trim()

    def _find(self, key: SegmentKey) -> memoryview | None:
        found = self._connector.get(key)
        if found is not None:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._folder / key.name)  # the time of its last use
        return found

    def _keep(self, key: SegmentKey, content: Any) -> bool:
        nbytes = memoryview(content).nbytes
        if nbytes > self._most_bytes:
            return False
        self._make_room(nbytes)
        try:
            self._connector.set(key, content)
        except StoreFull:
            return False
        return True

    def _make_room(self, nbytes: int) -> None:
        copies: list[tuple[float, int, str]] = []
        for path in list(self._folder.iterdir()):
            with contextlib.suppress(FileNotFoundError):
                if not path.name.startswith(".") and path.is_file():
                    there = path.stat()
                    copies.append((there.st_mtime, there.st_size, path.name))
        left = self._most_bytes - nbytes - sum(size for _, size, _ in copies)
        for _, size, name in sorted(copies):
            if left >= 0:
                return
            self._connector.evict(SegmentKey(name))
            left += size

    @contextmanager
    def _lock(self, key: SegmentKey) -> Generator[None]:
        path = self._locks / str(int(key.name, 16) % LOCKS)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _key_of(name: bytes) -> SegmentKey:
    return SegmentKey(hashlib.blake2b(name, digest_size=16).hexdigest())
