"""A store over any ProxyStore connector, with a cache for each node.

A connector keeps one byte string for each object, so frames are joined. It cannot list the objects
of a worker that was killed before it could tell of them. So each maker notes its objects in its
node's folder, before it puts one if the connector can make keys beforehand; `sweep` reads these
notes. The broker knows of all objects that a worker told of, so only the last notes are kept.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import sys
import threading
from collections.abc import Callable, Collection, Container, Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from steerio.edge.store import layout
from steerio.edge.store.do_each import do_each
from steerio.edge.store.node_cache import NodeCache
from steerio.edge.store.segments import is_marked, mark_of, marks_of
from steerio.edge.store.store import Cached
from steerio.errors import ObjectMissing, SteerioError, StoreFailed
from steerio.model.objects import CACHE_BYTES, StoredObject


class ConnectorStore:
    """Objects that a connector keeps.

    Args:
        connect: makes the connector; called when it is first used, once a process.
        folder: of this node, for copies and notes; it is made, but not its parent.
        maker: name of the process that puts objects here.
        cache_bytes: how many bytes of fetched objects the node keeps.
        where: names the store in errors.

    Any exception of the connector comes out as a `StoreFailed`.
    """

    local = False

    def __init__(
        self,
        connect: Callable[[], Any],
        folder: Path,
        maker: str = "",
        cache_bytes: int = CACHE_BYTES,
        where: str = "the store",
    ) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._where = where
        folder.mkdir(mode=0o700, exist_ok=True)
        self._copies = NodeCache(folder / "fetched", cache_bytes)
        self._mapped = Cached(cache_bytes)
        self._folder = folder / "notes"
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self.maker = maker

    @property
    def maker(self) -> str:
        """Name of the process that puts objects here."""
        return self._maker

    @maker.setter
    def maker(self, maker: str) -> None:
        self._maker = maker
        self._notes = Notes(self._folder, maker)
        self._connector: Any = None  # its open descriptors would be shared with the parent

    def put(self, frames: Sequence[Any], pool: str = "") -> StoredObject:
        """Put frames as one object.  See `Store`."""
        del pool
        pieces, nbytes = layout.pieces(frames)
        whole = b"".join(pieces)
        with self._asking("take an object") as connector:
            if hasattr(connector, "new_key"):
                key = connector.new_key()
                name = self._notes.write(pickle.dumps(key))
                connector.set(key, whole)
            else:
                name = self._notes.write(pickle.dumps(connector.put(whole)))
        return StoredObject(name, nbytes)

    def get(self, stored: StoredObject, *, private: bool = False) -> list[memoryview]:
        """Return the frames of an object.  See `Store`."""
        frames = None if private else self._mapped.find(stored.name)
        if frames is None:
            whole = self._copies.get(stored.name, self._fetch)
            if whole is None:
                raise ObjectMissing(stored.name, self._where)
            if private:
                return layout.split(bytearray(whole), writable=True)
            frames = layout.split(whole)
            self._mapped.keep(stored, frames)
        return list(frames)

    def prefetch(self, objects: Iterable[StoredObject]) -> None:
        """Have copies of objects on this node."""
        for stored in objects:
            self._copies.get(stored.name, self._fetch)

    def forget(self, names: Iterable[bytes]) -> None:
        """Remove this node's copies of objects."""
        for name in names:
            self._mapped.drop(name)
            self._copies.evict(name)

    def evict(self, names: Iterable[bytes]) -> None:
        """Remove objects, and this node's copies.

        Raises:
            StoreFailed: some could not be; the others are.
        """
        do_each(names, self._evict, self._where, "remove {} objects")

    def sweep(self, makers: Collection[str], keep: Container[bytes]) -> None:
        """Remove the objects that dead makers of this node have left.  See `Store`."""

        def sweep(file: Path) -> None:
            self.evict(name for name in noted(file) if name not in keep)
            # Not before: the file alone tells of objects that could not be removed.
            file.unlink(missing_ok=True)

        files = self._notes_of(makers)
        do_each(files, sweep, self._where, "remove the objects of dead workers, noted in {} files")

    def take_noted(self, maker: str) -> list[bytes]:
        """Return the objects that a dead maker of this node has noted.  See `Store`."""
        names: list[bytes] = []
        for file in self._notes_of([maker]):
            names += noted(file)
            file.unlink(missing_ok=True)
        return names

    def drop_freed(self) -> None:
        """Forget copies that the node has dropped."""
        for name in self._mapped.names():
            if not self._copies.holds(name):
                self._mapped.drop(name)
        self._copies.trim()

    def close(self) -> None:
        """Close the connector."""
        self._mapped.clear()
        with self._lock:
            connector, self._connector = self._connector, None
        if connector is not None:
            connector.close()

    def _notes_of(self, makers: Collection[str]) -> list[Path]:
        marks = marks_of(makers)
        return [file for file in self._folder.iterdir() if is_marked(file.name, marks)]

    def _fetch(self, name: bytes) -> Any:
        with self._asking("return an object") as connector:
            key = _key(name, connector)
            return None if key is None else connector.get(key)

    def _evict(self, name: bytes) -> None:
        self.forget([name])
        with self._asking("remove an object") as connector:
            key = _key(name, connector)
            if key is not None:
                connector.evict(key)

    @contextmanager
    def _asking(self, what: str) -> Generator[Any]:
        try:
            with self._lock:
                if self._connector is None:
                    self._connector = self._connect()
            yield self._connector
        except SteerioError:
            raise
        except Exception as error:
            raise StoreFailed(self._where, what, error) from error


class Notes:
    """The objects that one maker has put, as far as it alone may know of them.

    They are in two files, of which the older is written anew when the other is full.
    """

    FULL = 256
    """Fewest names that are noted: more than a worker puts before it tells of them."""

    def __init__(self, folder: Path, maker: str) -> None:
        start = f"{mark_of(maker)}{os.getpid():x}.{os.urandom(4).hex()}."
        self._files = [folder / f"{start}{number}" for number in (0, 1)]
        self._count = 0
        self._lock = threading.Lock()

    def write(self, name: bytes) -> bytes:
        """Note a name, and return it."""
        with self._lock:
            which, at = divmod(self._count, self.FULL)
            with self._files[which % 2].open("ab" if at else "wb", buffering=0) as file:
                file.write(len(name).to_bytes(4) + name)
            self._count += 1
        return name


def noted(file: Path) -> list[bytes]:
    """Return the names in a file of notes."""
    names: list[bytes] = []
    with contextlib.suppress(FileNotFoundError):
        left = file.read_bytes()
        while len(left) >= 4:
            end = 4 + int.from_bytes(left[:4])
            if end <= len(left):  # else its maker was killed while it wrote
                names.append(left[4:end])
            left = left[end:]
    return names


class _KeyUnpickler(pickle.Unpickler):
    """Makes named tuples of a connector's package or module, and nothing else.

    A process that evicts reads names that others have sent. Nothing is imported for them: the
    classes of a connector's keys were imported with it.
    """

    def __init__(self, pickled: bytes, connector: Any) -> None:
        super().__init__(io.BytesIO(pickled))
        self._module = type(connector).__module__
        self._packages = {_package(kind.__module__) for kind in type(connector).__mro__[:-1]}

    def find_class(self, module: str, name: str) -> Any:
        found = self._look_up(module, name)
        if isinstance(found, type) and tuple in found.__mro__ and hasattr(found, "_fields"):
            known_there = self._look_up(self._module, found.__name__) is found
            if known_there or _package(module) in self._packages:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no key of this connector")

    def _look_up(self, module: str, name: str) -> Any:
        found: Any = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, "__dict__", {}).get(part)  # a module's __getattr__ may import
        return found


def _package(module: str) -> str:
    return module.partition(".")[0]


def _key(name: bytes, connector: Any) -> Any:
    """Return the connector's key in a name, or ``None`` if there is none in it."""
    try:
        return _KeyUnpickler(name, connector).load()
    except Exception:  # noqa: BLE001 - unpickling anything may raise anything
        return None
