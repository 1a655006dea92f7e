"""References: stand-ins among the arguments for values that are in the store.

A reference travels as the name of its object. Only the codec may carry it: it tells the submitter
which objects a task needs (``gather``), so that they are kept until the task has ended. No code
would know of a reference in another pickle, so there it is refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from steerio.model.objects import StoredObject

T = TypeVar("T")
Resolve = Callable[[StoredObject | str], Any]
"""Gives the value of a stored object, or of the latest version of a name."""


class BareReference:
    """A stand-in for a value in the store; a task that is given it sees the value.

    Equal to references to the same stored value.  Its repr tells the size, not the value.
    """

    __slots__ = ("__weakref__", "stored")

    def __init__(self, stored: StoredObject) -> None:
        _made_one()
        self.stored = stored

    def __eq__(self, other: Any) -> bool:
        return issubclass(type(other), BareReference) and other.stored.name == self.stored.name

    def __hash__(self) -> int:
        return hash(self.stored.name)

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} to {in_words(self.stored.nbytes)}>"

    def __copy__(self) -> BareReference:
        return self

    def __deepcopy__(self, memo: object) -> BareReference:
        return self

    def __reduce_ex__(self, protocol: object) -> Any:
        if not _here.packing:
            _refuse(self, "or await it and send its value")
        note(self)
        return _arrived, (self.stored.name, self.stored.nbytes)


class BareLatest:
    """A stand-in for the newest version of a name at the moment in which the task starts."""

    __slots__ = ("__weakref__", "name")

    def __init__(self, name: str) -> None:
        _made_one()
        self.name = name

    def __eq__(self, other: Any) -> bool:
        return issubclass(type(other), BareLatest) and other.name == self.name

    def __hash__(self) -> int:
        return hash((BareLatest, self.name))

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} {self.name!r}>"

    def __copy__(self) -> BareLatest:
        return self

    def __deepcopy__(self, memo: object) -> BareLatest:
        return self

    def __reduce_ex__(self, protocol: object) -> Any:
        if not _here.packing:
            _refuse(self, "or send the value of one version")
        note(self)
        return _latest_arrived, (self.name,)


class UsedReferences:
    """The references that packing has met, each once: ``objects`` and the names of ``latest``."""

    def __init__(self) -> None:
        self.references: dict[bytes, BareReference] = {}
        """The references to stored values, by the names of these."""
        self._latest: dict[str, None] = {}
        self._outer: UsedReferences | None = None

    @property
    def objects(self) -> list[StoredObject]:
        """The objects of the references."""
        return [reference.stored for reference in self.references.values()]

    @property
    def latest(self) -> list[str]:
        """The names whose latest version is wanted."""
        return list(self._latest)

    def __enter__(self) -> UsedReferences:
        self._outer, _here.used = _here.used, self
        return self

    def __exit__(self, *_: object) -> None:
        _here.used = self._outer


def gather() -> UsedReferences:
    """Collect the references that the codec meets in this thread during a ``with`` block."""
    return UsedReferences()


_exist = False


def references_exist() -> bool:
    """Say whether this process has ever made a reference; if not, none has to be looked for."""
    return _exist


def _made_one() -> None:
    global _exist  # noqa: PLW0603 - references are a matter of the whole process
    _exist = True


class _Here(threading.local):
    """The state of packing and reading in a thread."""

    packing = False
    used: UsedReferences | None = None
    resolve: Resolve | None = None


_here = _Here()


def is_reference(kind: Any) -> bool:
    """Say whether values of this type are references of either kind."""
    return _exist and issubclass(kind, (BareReference, BareLatest))


def note(reference: BareReference | BareLatest) -> None:
    """Let the gathering code of this thread know of a reference."""
    used = _here.used
    if used is None:
        return
    if isinstance(reference, BareLatest):
        used._latest[reference.name] = None  # pyright: ignore[reportPrivateUsage]
    else:
        used.references[reference.stored.name] = reference


def holds_references(data: bytes) -> bool:
    """Say whether references may be in a pickle: their makers are named in it."""
    return b"_arrived" in data and __name__.encode() in data


def packing(dump: Callable[[Any], T], value: Any) -> T:
    """Pickle a value that may hold references."""
    outer, _here.packing = _here.packing, True
    try:
        return dump(value)
    finally:
        _here.packing = outer


def reading(read: Callable[[], T], resolve: Resolve) -> T:
    """Read a body that may have references; ``resolve`` gives their values."""
    outer, _here.resolve = _here.resolve, resolve
    try:
        return read()
    finally:
        _here.resolve = outer


def arrived(what: StoredObject | str) -> Any:
    """Return the value of a reference that was read or, without a ``resolve``, the reference."""
    resolve = _here.resolve
    if resolve is None:
        return BareLatest(what) if isinstance(what, str) else BareReference(what)
    _here.resolve = None  # it may read another value meanwhile
    try:
        return resolve(what)
    finally:
        _here.resolve = resolve


def _arrived(name: bytes, nbytes: int) -> Any:
    return arrived(StoredObject(name, nbytes))


def _latest_arrived(name: str) -> Any:
    return arrived(name)


def _refuse(reference: object, otherwise: str) -> NoReturn:
    raise TypeError(
        f"{reference!r} cannot be pickled here, as steerio would not know that its value is still "
        f"needed: pass it as an argument of a task, also inside lists, dicts and objects, "
        f"{otherwise}"
    )


def in_words(nbytes: float) -> str:
    """Return a number of bytes as people write it: ``80.0 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "bytes" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} TB"


def resolve_all_with(resolve: Resolve) -> None:
    """Resolve all references that this thread reads from now on (a worker's thread does)."""
    _here.resolve = resolve
