"""Several stores as one, which chooses by an object's size, pool and host."""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterable, Sequence
from typing import Any

from msgspec import Struct

from steerio.edge.store import layout
from steerio.edge.store.do_each import do_each
from steerio.edge.store.store import Store
from steerio.errors import ObjectMissing, UsageError
from steerio.model.objects import StoredObject

_WHERE = "the multi store"


class Part(Struct, frozen=True, kw_only=True):
    """One of several stores, and the objects that it takes.

    Attributes:
        name: of this store among the others; part of its objects' names.
        store: itself.
        min_bytes, max_bytes: shortest and longest object.
        pools: the pools of the tasks; empty: any.
        hosts: a regular expression of the names of hosts that put objects there; others may
            get them.
    """

    name: str
    store: Store
    min_bytes: int = 0
    max_bytes: int | None = None
    pools: tuple[str, ...] = ()
    hosts: str = ".*"

    def takes(self, nbytes: int, pool: str, host: str) -> bool:
        """Say whether it takes such an object."""
        return (
            self.min_bytes <= nbytes
            and (self.max_bytes is None or nbytes <= self.max_bytes)
            and (not self.pools or pool in self.pools)
            and re.fullmatch(self.hosts, host) is not None
        )


class _Kept(Container[bytes]):
    """The names of the objects to be kept, as one of the stores knows them."""

    def __init__(self, store: bytes, keep: Container[bytes]) -> None:
        self._store = store
        self._keep = keep

    def __contains__(self, name: object) -> bool:
        return isinstance(name, bytes) and self._store + b":" + name in self._keep


class MultiStore:
    """Several stores as one; the first that takes an object gets it.

    Args:
        parts: the stores, first choice first.
        host: the name of this host.
    """

    def __init__(self, parts: Sequence[Part], host: str) -> None:
        self._parts = {part.name.encode(): part for part in parts}
        self._host = host

    @property
    def local(self) -> bool:
        """Whether all of them are local."""
        return all(part.store.local for part in self._parts.values())

    @property
    def maker(self) -> str:
        """Name of the process that puts objects here."""
        return next(iter(self._parts.values())).store.maker

    @maker.setter
    def maker(self, maker: str) -> None:
        for part in self._parts.values():
            part.store.maker = maker

    def put(self, frames: Sequence[Any], pool: str = "") -> StoredObject:
        """Put frames as one object.  See `Store`.

        Raises:
            UsageError: none of the stores takes it.
        """
        nbytes = sum(layout.flat(frame).nbytes for frame in frames)
        for name, part in self._parts.items():
            if part.takes(nbytes, pool, self._host):
                stored = part.store.put(frames, pool)
                return StoredObject(name + b":" + stored.name, stored.nbytes)
        names = ", ".join(part.name for part in self._parts.values())
        raise UsageError(
            f"none of the stores {names} takes an object of {nbytes} bytes for pool {pool!r} on "
            f"{self._host}: add one without bounds as the last"
        )

    def get(self, stored: StoredObject, *, private: bool = False) -> list[memoryview]:
        """Return the frames of an object.  See `Store`."""
        name, _, inner = stored.name.partition(b":")
        if name not in self._parts:
            raise ObjectMissing(stored.name, "any of the stores here")
        try:
            known_there = StoredObject(inner, stored.nbytes)
            return self._parts[name].store.get(known_there, private=private)
        except ObjectMissing as error:
            raise ObjectMissing(stored.name, error.where) from None

    def prefetch(self, objects: Iterable[StoredObject]) -> None:
        """Have objects on this node.  See `Store`."""
        for stored in objects:
            for part, (inner,) in self._dealt([stored.name]):
                part.store.prefetch([StoredObject(inner, stored.nbytes)])

    def forget(self, names: Iterable[bytes]) -> None:
        """Keep no copies of objects on this node."""
        for part, inner in self._dealt(names):
            part.store.forget(inner)

    def evict(self, names: Iterable[bytes]) -> None:
        """Remove objects."""
        dealt = self._dealt(names)
        do_each(dealt, lambda of: of[0].store.evict(of[1]), _WHERE, "remove objects from {} stores")

    def sweep(self, makers: Collection[str], keep: Container[bytes]) -> None:
        """Remove the objects that dead makers have left.  See `Store`."""
        do_each(
            self._parts.items(),
            lambda named: named[1].store.sweep(makers, _Kept(named[0], keep)),
            _WHERE,
            "remove the objects of dead makers from {} stores",
        )

    def take_noted(self, maker: str) -> list[bytes]:
        """Return the objects of a dead maker that only this host can know.  See `Store`."""
        return [
            which + b":" + name
            for which, part in self._parts.items()
            for name in part.store.take_noted(maker)
        ]

    def drop_freed(self) -> None:
        """Let go of the memory of evicted objects."""
        for part in self._parts.values():
            part.store.drop_freed()

    def close(self) -> None:
        """Close all."""
        do_each(self._parts.values(), lambda part: part.store.close(), _WHERE, "close {} stores")

    def _dealt(self, names: Iterable[bytes]) -> list[tuple[Part, list[bytes]]]:
        """Return the names of each store's objects, as that store knows them."""
        dealt: dict[bytes, list[bytes]] = {}
        for name in names:
            which, _, inner = name.partition(b":")
            if which in self._parts:
                dealt.setdefault(which, []).append(inner)
        return [(self._parts[which], inner) for which, inner in dealt.items()]
