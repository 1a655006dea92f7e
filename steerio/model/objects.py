"""Objects: large values in the store, and what a task needs of them.

Whatever is large does not travel through the broker.  Its frames are put into the store,
and a `StoredObject` is what is said of them in messages.
"""

from __future__ import annotations

from msgspec import Struct


class StoredObject(Struct, frozen=True, gc=False, array_like=True):
    """An object in the store: its name, which only the store reads, and its size in bytes."""

    name: bytes
    nbytes: int


class Version(Struct, frozen=True, gc=False, array_like=True):
    """One version of a name, numbered from 1, and the object that it is."""

    number: int
    stored: StoredObject


class Inputs(Struct, frozen=True, gc=False, array_like=True):
    """What a task needs of the store.

    Attributes:
        frames: the object that holds the frames of its arguments, where they do not travel.
        objects: what it is given references to.
        latest: names of which it is given the newest version there is when it starts.
    """

    frames: StoredObject | None = None
    objects: tuple[StoredObject, ...] = ()
    latest: tuple[str, ...] = ()

    @property
    def all(self) -> list[StoredObject]:
        """The objects that it needs from its submission on."""
        return [*self.objects, self.frames] if self.frames is not None else [*self.objects]


class StoreLoad(Struct, frozen=True, gc=False, array_like=True):
    """The store at a glance: objects and bytes in it, and what holds them.

    What several hold counts for each of them.  ``versions`` is the newest of each name.
    """

    objects: int = 0
    nbytes: int = 0
    by_tasks: int = 0
    by_clients: dict[str, int] = {}
    by_versions: dict[str, int] = {}
    versions: dict[str, int] = {}
