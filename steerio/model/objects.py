"""Values that name the objects in a store, and the setting that says which store."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from steerio.errors import UsageError

SHARED_MEMORY = "shared-memory"
KINDS = (SHARED_MEMORY, "file", "redis", "endpoint", "globus", "multi")
"""The stores that have a short name."""
THRESHOLD_BYTES = 1024 * 1024
FROM_SETTING = -1
"""The threshold of task types that have none of their own."""
NO_WORD = 1 << 63
"""Messages have no word for whole numbers from here on."""
CACHE_BYTES = 2 * 2**30
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*")


class StoredObject(Struct, frozen=True, gc=False, array_like=True):
    """The name of an object in a store, the same for every process.

    Attributes:
        name: the key by which the store finds it; opaque to all other code.
        nbytes: its length in the store.
    """

    name: bytes
    nbytes: int


class Version(Struct, frozen=True, gc=False, array_like=True):
    """One version of a name, numbered from 1, and its object."""

    number: int
    stored: StoredObject


class Inputs(Struct, frozen=True, gc=False, array_like=True):
    """The objects and names that a task needs from the store.

    Attributes:
        frames: the object that holds the frames of its arguments, if they do not travel.
        objects: the objects that it is given references to.
        latest: names of which it is given the newest version at its start.
    """

    frames: StoredObject | None = None
    objects: tuple[StoredObject, ...] = ()
    latest: tuple[str, ...] = ()

    @property
    def all(self) -> list[StoredObject]:
        """The objects that it needs from its submission on."""
        return [*self.objects, self.frames] if self.frames is not None else [*self.objects]


class StoreLoad(Struct, frozen=True, gc=False, array_like=True):
    """The store at a glance: objects and bytes in it, and their holders.

    An object with several holders counts for each of them. ``versions`` is the newest version of
    each name.
    """

    objects: int = 0
    nbytes: int = 0
    by_tasks: int = 0
    by_clients: dict[str, int] = {}
    by_versions: dict[str, int] = {}
    versions: dict[str, int] = {}


class StoreSetting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The store that large values go to, and the size from which on.

    Attributes:
        kind: ``shared-memory``, ``file``, ``redis``, ``endpoint``, ``globus``, ``multi``, or the
            class of any ProxyStore connector as ``module:Class`` or ``module.Class``.
        options: arguments for making the connector; for ``file``, its ``folder``.
        threshold_bytes: longer values go by reference; ``None``: none does.
        cache_bytes: how many bytes of objects each worker (of a store on other hosts: each node)
            keeps that it has read; ``None``: 2 GiB, or 256 MiB of a ``file`` store.
        limit_bytes: most bytes in the store, if that is a folder, not counting those spilled to
            disk; ``None``: whatever is free.
        thresholds: other ``threshold_bytes``, by pool.
        check_shared: whether a task fails that has changed a value which it was given by reference
            and shares with others. Looking takes as long as pickling the value: for tests.

    Raises:
        UsageError: a setting is malformed or out of bounds.
    """

    kind: str = "shared-memory"
    options: dict[str, Any] = {}
    threshold_bytes: int | None = THRESHOLD_BYTES
    cache_bytes: int | None = None
    limit_bytes: int | None = None
    thresholds: dict[str, int | None] = {}
    check_shared: bool = False

    @property
    def remote(self) -> bool:
        """Whether a node copies objects, for it may be unable to map them in their place."""
        return self.kind not in (SHARED_MEMORY, "file")

    @property
    def cached_bytes(self) -> int:
        """How many bytes of read objects are kept: more if they are in shared memory anyway."""
        if self.cache_bytes is not None:
            return self.cache_bytes
        return CACHE_BYTES // 8 if self.kind == "file" else CACHE_BYTES

    def threshold(self, pool: str, of_task_type: int | None = FROM_SETTING) -> int | None:
        """Return above how many bytes values go by reference; ``None``: never.

        Args:
            pool: the pool of the task.
            of_task_type: the threshold of its type; below 0: it has none of its own.
        """
        if of_task_type is None or of_task_type >= 0:
            return of_task_type
        return self.thresholds.get(pool, self.threshold_bytes)

    def __post_init__(self) -> None:
        """Refuse settings that are malformed or out of bounds."""
        kind: Any = self.kind
        if kind not in KINDS and not (isinstance(kind, str) and _PATH.fullmatch(kind)):
            raise UsageError(
                f"no store is of kind {self.kind!r}: it is one of {', '.join(KINDS)}, or the class "
                "of a ProxyStore connector, as in 'package.module:Class'"
            )
        for named, given in (("options", self.options), ("thresholds", self.thresholds)):
            if not isinstance(given, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise UsageError(f"{named} go by name, as in {{'name': ...}}, not {given!r}")
        for name in self.options:
            if not str(name).isidentifier():
                raise UsageError(f"{name!r} cannot be the name of an option of a store")
        shared: Any = self.check_shared
        if not isinstance(shared, bool):
            raise UsageError(f"check_shared is True or False, not {shared!r}")
        check_number("threshold_bytes", self.threshold_bytes, least=0, or_none=True)
        for pool, threshold in self.thresholds.items():
            check_number(f"thresholds[{pool!r}]", threshold, least=0, or_none=True)
        check_number("cache_bytes", self.cache_bytes, least=0, or_none=True)
        check_number("limit_bytes", self.limit_bytes, least=1, or_none=True)


def check_number(name: str, value: object, least: int, *, or_none: bool = False) -> None:
    """Refuse a value that is no whole number, or too small a one.

    Raises:
        UsageError: the value is one; the message names it.
    """
    if value is None and or_none:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < NO_WORD:
        also = ", or None" if or_none else ""
        raise UsageError(f"{name} must be a whole number from {least} on{also}, not {value!r}")


def client_maker(number: int) -> str:
    """Return the maker's name of the objects that the client of this number puts."""
    return f"client:{number}"
