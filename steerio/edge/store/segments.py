"""Objects as files in a folder: in shared memory for one node, or on a shared file system.

`steerio.edge.store.atomic_files` writes and reads them.

The connector has the methods of ProxyStore's ``Connector`` and ``DeferrableConnector``, and
imports nothing of it, which would take a second.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
from collections.abc import Collection, Container, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from steerio.edge.store import layout
from steerio.edge.store.atomic_files import read_whole, write_whole
from steerio.edge.store.do_each import do_each
from steerio.edge.store.free_space import Free, Space
from steerio.edge.store.recycled_files import Freed
from steerio.errors import StoreFull, UsageError

LOOK_BYTES = 16 * 2**20
"""Most bytes that are written before the free space is looked at again."""
LONGEST_MAKER = 100
"""Longest maker's name in an object's; a longer one is cut and has a digest: files have 255."""
_NAME = re.compile(r"[\w%~-][\w%~.-]{0,250}", re.ASCII)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EFBIG})


class SegmentKey(NamedTuple):
    """The name of an object in a folder."""

    name: str


class SharedMemoryConnector:
    """A connector whose objects are files in one folder.

    Args:
        folder: of the files; it is made, but not its parent.
        spill: a folder on disk for objects that do not fit there.
        limit_bytes: most bytes of its files (files that other processes are just writing do not
            count); by default all that is free.
        maker: name of the process that puts objects here; their names begin with it, see `sweep`.

    Raises:
        UsageError: the folder cannot be made.
    """

    def __init__(
        self, folder: str, *, spill: str = "", limit_bytes: int | None = None, maker: str = ""
    ) -> None:
        self._folder = _made(folder)
        self._spill = _made(spill) if spill else None
        self._limit_bytes = limit_bytes
        self._space = Space(self._folder)
        self._freed = Freed(self._folder / "freed") if self._space.in_memory else None
        self._unlooked = 0
        """The bytes that may be written before the free space is looked at again."""
        self.maker = maker

    @property
    def in_memory(self) -> bool:
        """Whether its folder is in shared memory."""
        return self._space.in_memory

    @property
    def maker(self) -> str:
        """Name of the process that puts objects here; set it again after a fork."""
        return self._maker

    @maker.setter
    def maker(self, maker: str) -> None:
        self._maker = maker
        self._pid = os.getpid()
        # Process ids are used again, so they alone do not make a name unique for ever.
        self._begin = f"{mark_of(maker)}{self._pid:x}.{os.urandom(4).hex()}."
        self._numbers = itertools.count(1)

    # -- ProxyStore's protocol --------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """Return the arguments from which another process makes the same connector."""
        return {
            "folder": str(self._folder),
            "spill": str(self._spill or ""),
            "limit_bytes": self._limit_bytes,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SharedMemoryConnector:
        """Make a connector from the arguments that ``config`` returned."""
        return cls(**config)

    def close(self) -> None:
        """Do nothing: there is nothing open, and the objects stay."""

    def new_key(self, obj: bytes | None = None) -> SegmentKey:
        """Return a key that no object has yet."""
        del obj
        if self._pid != os.getpid():  # a fork: it must not use the names of its parent
            self.maker = self._maker
        return SegmentKey(f"{self._begin}{next(self._numbers):x}")

    def set(self, key: SegmentKey, obj: Any) -> None:
        """Put an object under a key of ``new_key``.

        Raises:
            StoreFull: it does not fit.
        """
        view = layout.flat(obj)
        self._put(key.name, [view], view.nbytes)

    def put(self, obj: Any) -> SegmentKey:
        """Put an object.

        Raises:
            StoreFull: it does not fit.
        """
        key = self.new_key()
        self.set(key, obj)
        return key

    def put_batch(self, objs: Sequence[Any]) -> list[SegmentKey]:
        """Put several objects."""
        return [self.put(obj) for obj in objs]

    def get(self, key: SegmentKey) -> memoryview | None:
        """Return an object, read-only, or ``None`` if there is none.

        A long one in memory is mapped: it costs nothing until it is looked at, and stays unchanged
        for as long as it is held, even if it is evicted. One on a file system is read, for a file
        that another host removes from a shared one cannot be held.
        """
        return self._find(key, private=False)

    def get_private(self, key: SegmentKey) -> memoryview | None:
        """Return an object that the caller may change; no other process sees the changes.

        A long one in memory is mapped copy-on-write: only the changed pages are copied.

        Raises:
            MemoryError: it does not fit into the memory that this process may have.
        """
        return self._find(key, private=True)

    def _find(self, key: SegmentKey, *, private: bool) -> memoryview | None:
        if _is_name(key.name):
            for folder, freed in self._folders():
                found = read_whole(
                    folder / key.name,
                    mapped=self.in_memory,  # the spill folder is this host's, too
                    reused=freed is not None,
                    private=private,
                )
                if found is not None:
                    return found
        return None

    def get_batch(self, keys: Sequence[SegmentKey]) -> list[memoryview | None]:
        """Return several objects."""
        return [self.get(key) for key in keys]

    def exists(self, key: SegmentKey) -> bool:
        """Say whether there is an object of that key."""
        return _is_name(key.name) and any((f / key.name).exists() for f, _ in self._folders())

    def evict(self, key: SegmentKey) -> None:
        """Remove an object, if there is one."""
        if not _is_name(key.name):
            return
        for folder, freed in self._folders():
            path = folder / key.name
            with contextlib.suppress(FileNotFoundError):
                if freed is None or not freed.keep(path):
                    path.unlink()
                return

    # -- beyond it --------------------------------------------------------------------------

    def put_frames(self, frames: Sequence[Any]) -> tuple[SegmentKey, int]:
        """Put frames as one object, laid out by `steerio.edge.store.layout`; return its length too.

        Raises:
            StoreFull: it does not fit.
        """
        pieces, total = layout.pieces(frames)
        key = self.new_key()
        self._put(key.name, pieces, total)
        return key, total

    def sweep(self, makers: Collection[str], keep: Container[bytes] = ()) -> None:
        """Remove the objects that dead makers have put here, or were about to, but for ``keep``.

        ``keep`` has the names of objects as bytes.

        Raises:
            StoreFailed: some could not be removed; the others are.
        """
        marks = marks_of(makers)
        left = [
            path
            for folder, _ in self._folders()
            for path in folder.iterdir()
            if is_marked(path.name.removeprefix("."), marks) and os.fsencode(path.name) not in keep
        ]
        where = f"the store in {self._folder}"
        do_each(left, lambda path: path.unlink(missing_ok=True), where, "remove {} files")

    def trim(self) -> None:
        """Give memory back that was freed a while ago and has not been used again."""
        if self._freed is not None:
            self._freed.trim()

    def _folders(self) -> Iterator[tuple[Path, Freed | None]]:
        yield self._folder, self._freed
        if self._spill is not None:
            yield self._spill, None

    # -- writing ----------------------------------------------------------------------------

    def _put(self, name: str, pieces: list[memoryview], total: int) -> None:
        free = self._make_room(total)
        try:
            if free.nbytes >= total:
                return write_whole(self._folder, name, pieces, total, self._freed)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            free = self._free()
        if self._spill is None:
            raise StoreFull(total, free.nbytes, free.where)
        try:
            return write_whole(self._spill, name, pieces, total, None)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise StoreFull(
                total, free.nbytes, f"{free.where}, and {self._spill} is full"
            ) from error

    def _make_room(self, total: int) -> Free:
        """Return the free space, after removing freed files if it is too little."""
        if total <= self._unlooked:
            self._unlooked -= total
            return Free(total, "")
        free = self._free()
        if free.nbytes < total and self._freed is not None:
            self._freed.clear()
            free = self._free()
        self._unlooked = max(0, min(LOOK_BYTES, (free.nbytes - total) // 16))
        return free

    def _free(self) -> Free:
        free = self._space.free()
        if self._limit_bytes is not None:
            held = sum(_size(path) for path in list(self._folder.iterdir()))
            held += 0 if self._freed is None else self._freed.nbytes()
            left = max(0, self._limit_bytes - held)
            free = min(free, Free(left, f"{self._folder} (its limit_bytes)"))
        return free


def _made(folder: str) -> Path:
    path = Path(folder)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"the store's folder {folder} cannot be made: {error.strerror}; its parent folder "
            "must be there, and yours to write to"
        ) from None
    return path.absolute()


def mark_of(maker: str) -> str:
    """Return the beginning of the names of all objects of a maker, and of no other's."""
    quoted = quote(maker, safe="").replace(".", "%2E")
    if len(quoted) > LONGEST_MAKER:
        quoted = f"{quoted[:LONGEST_MAKER]}~{blake2b(maker.encode(), digest_size=8).hexdigest()}"
    return f"_{quoted}."


def marks_of(makers: Collection[str]) -> frozenset[str]:
    """Return the beginnings of the names of all objects of these makers."""
    return frozenset(map(mark_of, makers))


def is_marked(name: str, marks: Container[str]) -> bool:
    """Say whether a name has one of these beginnings."""
    return name[: name.find(".") + 1] in marks


def _is_name(name: str) -> bool:
    """Say whether it can be the name of an object, and leads nowhere else."""
    return _NAME.fullmatch(name) is not None and name != "freed"


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.lstat().st_size
    return 0
