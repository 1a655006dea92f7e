"""References: values in the store, as agents have them in hand."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from steerio.edge import references
from steerio.model.objects import StoredObject

if TYPE_CHECKING:
    from steerio.campaign.store import SessionStore


class Reference(references.Reference):
    """A value in the store; made by ``session.put`` and by versions.

    Give it to any number of tasks, alone or inside lists, dicts and the like: their functions
    are called with the value.  ``await`` it to have the value here.  The value stays in the
    store as long as a reference to it or a task that needs it is there.

    Attributes:
        version: its number, where it is a version of a name.
    """

    def __init__(self, store: SessionStore, stored: StoredObject, version: int | None) -> None:
        super().__init__(stored)
        self.store = store
        self.version = version

    def __await__(self) -> Generator[Any, None, Any]:
        """Give the value; arrays in it are read-only views of the store's memory.

        Raises:
            ObjectMissing: it is not in the store any more: the session has ended.
        """
        return self.store.value_of(self.stored).__await__()

    def __del__(self) -> None:
        store: SessionStore | None = getattr(self, "store", None)
        if store is not None:
            store.let_go(self.stored)
