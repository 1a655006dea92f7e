"""References to values in the store, as agents have them in hand."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Protocol

from steerio.edge.encoding import references
from steerio.errors import UsageError
from steerio.model.objects import StoredObject


class Keeper(Protocol):
    """The store of a session, as seen by the references to its values."""

    async def value_of(self, stored: StoredObject) -> Any:
        """Return the value of an object."""
        ...

    def let_go(self, stored: StoredObject) -> None:
        """Give up one hold of an object."""
        ...

    def digest_of(self, stored: StoredObject) -> bytes:
        """Return the digest of a value that was put lately; empty: it is not known."""
        ...


class StandsIn:
    """A stand-in for a value, whose errors say so to code that takes it for the value.

    It changes only errors that would come anyway: nothing is fetched, and ``hasattr`` stays false.
    """

    __slots__ = ()

    _what: ClassVar[str]
    """The advice of its errors: its nature, and the way to its value."""

    if not TYPE_CHECKING:  # to type checkers, any name would be an attribute then

        def __getattr__(self, name):
            """Raise with advice for an attribute; names that Python looks up are just missing.

            The error shows nothing of the instance, which may lack attributes that its repr needs.
            """
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("__"):
                text = f"{text}: {self._what}"
            raise AttributeError(text, name=name, obj=self)

    __iter__: ClassVar[None] = None
    """Without this, its items would make it a sequence."""

    def __getitem__(self, key: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__!r} object is not subscriptable: {self._what}")


class Reference(StandsIn, references.BareReference):
    """A value in the store; made by ``session.put`` and by versions.

    Give it to any number of tasks, alone or inside lists, dicts and the like: their functions
    are called with the value.  ``await`` it to have the value here.  The value stays in the
    store as long as a reference to it or a task that needs it is there.

    Attributes:
        version: its number, if it is a version of a name.
    """

    _what = (
        "it stands for a value in the store. Tasks that are given it get the value; "
        "to have that here: value = await reference"
    )

    def __init__(self, store: Keeper, stored: StoredObject, version: int | None) -> None:
        super().__init__(stored)
        self.store = store
        self.version = version
        self.digest = store.digest_of(stored)
        """The digest of the value, if that was made here and results are recorded; else empty."""

    def __await__(self) -> Generator[Any, None, Any]:
        """Return the value; arrays in it are read-only views of the store's memory.

        Raises:
            ObjectMissing: it is not in the store any more: the session has ended.
        """
        # by a generator, whose frame keeps this reference until it has the value
        value = yield from self.store.value_of(self.stored).__await__()
        return value

    def __del__(self) -> None:
        store: Keeper | None = getattr(self, "store", None)
        if store is not None:
            store.let_go(self.stored)


class Latest(StandsIn, references.BareLatest):
    """A stand-in for the newest version of a name at a task's start; ``versions.latest`` is one."""

    __slots__ = ()

    _what = (
        "the latest version stands for the one that is newest when a task starts. To have one "
        "here: reference = await versions.current(), or next(), and value = await reference"
    )

    def __await__(self) -> NoReturn:
        """Refuse.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{self!r} cannot be awaited: {self._what}")
