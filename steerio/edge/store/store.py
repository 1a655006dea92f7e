"""Stores of large values: a process puts the frames of one, and any other gets them again.

A store is blocking and may be used by several threads.  It does not know which objects are still
needed: it keeps each until it is told to evict it, or, if its maker is dead, to sweep.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Collection, Container, Iterable, Sequence
from typing import Any, Protocol

from steerio.edge.store import layout
from steerio.edge.store.do_each import do_each
from steerio.edge.store.segments import SegmentKey, SharedMemoryConnector
from steerio.errors import ObjectMissing
from steerio.model.objects import CACHE_BYTES, StoredObject

MAPPED_OBJECTS = 256
"""Most objects that one process keeps mapped: each takes a descriptor."""


class Store(Protocol):
    """The methods of every store."""

    @property
    def maker(self) -> str:
        """Name of the process that puts objects here, for `sweep`; set it again after a fork."""
        ...

    @maker.setter
    def maker(self, maker: str) -> None: ...

    @property
    def local(self) -> bool:
        """Whether all is in this host's memory, so that no other host is waited for."""
        ...

    def put(self, frames: Sequence[Any], pool: str = "") -> StoredObject:
        """Put frames as one object; ``pool``: of the tasks it is for, if the store asks.

        Raises:
            StoreFull: it does not fit.
        """
        ...

    def get(self, stored: StoredObject, *, private: bool = False) -> list[memoryview]:
        """Return the frames of an object; they stay when it is evicted.

        They are read-only and may be kept for the next caller; or, if ``private``, the caller's
        own, which it may change.

        Raises:
            ObjectMissing: it is not there (any more).
            ObjectBroken: the entry is no whole object.
        """
        ...

    def prefetch(self, objects: Iterable[StoredObject]) -> None:
        """Have objects on this node; those that are missing are skipped."""
        ...

    def forget(self, names: Iterable[bytes]) -> None:
        """Keep no copies on this node of objects that are evicted."""
        ...

    def evict(self, names: Iterable[bytes]) -> None:
        """Remove objects; those that are not there are fine.

        Raises:
            StoreFailed: some could not be removed; the others are.
        """
        ...

    def sweep(self, makers: Collection[str], keep: Container[bytes]) -> None:
        """Remove the objects that dead makers have put here, or were about to, but for ``keep``.

        Raises:
            StoreFailed: some could not be removed; the others are.
        """
        ...

    def take_noted(self, maker: str) -> list[bytes]:
        """Return, once, the objects of a dead maker that only this host can know.

        It is for a process on another host, which can `evict` them but cannot `sweep`.
        """
        ...

    def drop_freed(self) -> None:
        """Let go of the memory of evicted objects; call it now and then."""
        ...

    def close(self) -> None:
        """Let go of all mappings and connections; the objects stay."""
        ...


class SegmentStore:
    """Objects as files that are mapped: in shared memory, or on a file system.

    Args:
        connector: to the folder of the files.
        cache_bytes: most bytes that stay mapped for the next task that asks for them.
    """

    def __init__(self, connector: SharedMemoryConnector, cache_bytes: int = CACHE_BYTES) -> None:
        self.connector = connector
        self._cached = Cached(cache_bytes)

    @property
    def local(self) -> bool:
        """Whether its folder is in memory."""
        return self.connector.in_memory

    @property
    def maker(self) -> str:
        """Name of the process that puts objects here."""
        return self.connector.maker

    @maker.setter
    def maker(self, maker: str) -> None:
        self.connector.maker = maker

    def put(self, frames: Sequence[Any], pool: str = "") -> StoredObject:
        """Put frames as one object.  See `Store`."""
        del pool
        key, nbytes = self.connector.put_frames(frames)
        return StoredObject(key.name.encode(), nbytes)

    def get(self, stored: StoredObject, *, private: bool = False) -> list[memoryview]:
        """Return the frames of an object.  See `Store`."""
        if private:
            own = self.connector.get_private(_key(stored.name))
            if own is None:
                raise ObjectMissing(stored.name, self._where)
            return layout.split(own, writable=True)
        frames = self._cached.find(stored.name)
        if frames is None:
            whole = self.connector.get(_key(stored.name))
            if whole is None:
                raise ObjectMissing(stored.name, self._where)
            frames = layout.split(whole)
            self._cached.keep(stored, frames)
        return list(frames)

    def prefetch(self, objects: Iterable[StoredObject]) -> None:
        """Do nothing: mapped objects are here."""

    def forget(self, names: Iterable[bytes]) -> None:
        """Do nothing: there are no copies."""

    def evict(self, names: Iterable[bytes]) -> None:
        """Remove objects."""
        do_each(names, self._evict, self._where, "remove {} objects")

    def sweep(self, makers: Collection[str], keep: Container[bytes]) -> None:
        """Remove the objects that dead makers have left.  See `Store`."""
        self.connector.sweep(makers, keep)

    def take_noted(self, maker: str) -> list[bytes]:
        """Return nothing: the names of the files tell their makers."""
        return []

    def drop_freed(self) -> None:
        """Forget mappings of objects that were evicted, so that their memory is given back."""
        for name in self._cached.names():
            if not self.connector.exists(_key(name)):
                self._cached.drop(name)
        self.connector.trim()

    def close(self) -> None:
        """Forget all mappings."""
        self._cached.clear()

    def _evict(self, name: bytes) -> None:
        self._cached.drop(name)
        self.connector.evict(_key(name))

    @property
    def _where(self) -> str:
        return f"the store in {self.connector.config()['folder']}"


class MemoryStore:
    """Objects in this process's memory, for simulated clusters.

    Args:
        maker: name of the process that puts objects here.
        beside: another that has the same objects, and another maker.
    """

    local = True

    def __init__(self, maker: str = "", beside: MemoryStore | None = None) -> None:
        self.maker = maker
        self.objects: dict[bytes, tuple[str, bytes]] = {} if beside is None else beside.objects
        """Maker and content of each."""
        self._numbers: Iterable[int] = itertools.count(1) if beside is None else beside._numbers

    def put(self, frames: Sequence[Any], pool: str = "") -> StoredObject:
        """Put frames as one object.  See `Store`."""
        del pool
        pieces, nbytes = layout.pieces(frames)
        name = b"memory-%d" % next(iter(self._numbers))
        self.objects[name] = self.maker, b"".join(pieces)
        return StoredObject(name, nbytes)

    def get(self, stored: StoredObject, *, private: bool = False) -> list[memoryview]:
        """Return the frames of an object.  See `Store`."""
        try:
            _, whole = self.objects[stored.name]
        except KeyError:
            raise ObjectMissing(stored.name, "this process's store") from None
        return layout.split(bytearray(whole) if private else whole, writable=private)

    def prefetch(self, objects: Iterable[StoredObject]) -> None:
        """Do nothing: all is here."""

    def forget(self, names: Iterable[bytes]) -> None:
        """Do nothing: there are no copies."""

    def evict(self, names: Iterable[bytes]) -> None:
        """Remove objects."""
        for name in names:
            self.objects.pop(name, None)

    def sweep(self, makers: Collection[str], keep: Container[bytes]) -> None:
        """Remove the objects that dead makers have left.  See `Store`."""
        dead = frozenset(makers)
        left = [name for name, (who, _) in list(self.objects.items()) if who in dead]
        self.evict(name for name in left if name not in keep)

    def take_noted(self, maker: str) -> list[bytes]:
        """Return nothing: all is here."""
        return []

    def drop_freed(self) -> None:
        """Do nothing: evicted objects are gone."""

    def close(self) -> None:
        """Do nothing: the objects stay."""


class Cached:
    """Frames that were read, by the name of their object: those used last, up to a bound."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._frames: OrderedDict[bytes, tuple[int, list[memoryview]]] = OrderedDict()
        self._nbytes = 0

    def find(self, name: bytes) -> list[memoryview] | None:
        """Return the frames of an object, if they are kept."""
        with self._lock:
            found = self._frames.get(name)
            if found is None:
                return None
            self._frames.move_to_end(name)
            return found[1]

    def keep(self, stored: StoredObject, frames: list[memoryview]) -> None:
        """Keep frames, and drop others for them."""
        with self._lock:
            if stored.name in self._frames:  # another thread was faster
                return
            self._frames[stored.name] = stored.nbytes, frames
            self._nbytes += stored.nbytes
            while self._nbytes > self._most_bytes or len(self._frames) > MAPPED_OBJECTS:
                _, (nbytes, _) = self._frames.popitem(last=False)
                self._nbytes -= nbytes

    def drop(self, name: bytes) -> None:
        """Forget frames."""
        with self._lock:
            nbytes, _ = self._frames.pop(name, (0, []))
            self._nbytes -= nbytes

    def names(self) -> list[bytes]:
        """Return the names of the objects whose frames are kept."""
        with self._lock:
            return list(self._frames)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._frames.clear()
            self._nbytes = 0


def _key(name: bytes) -> SegmentKey:
    return SegmentKey(name.decode(errors="replace"))
