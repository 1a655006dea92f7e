"""A node's copies of objects: fetched ahead for its workers, and forgotten when they are freed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from steerio.edge.store import Store
from steerio.edge.threads import DaemonThreads
from steerio.model.objects import StoredObject

log = logging.getLogger("steerio.node")


class Copies:
    """Fetches and forgets in a thread, since a store may keep its user waiting.

    Args:
        open_store: opens the store, when it is first needed.
    """

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = open_store
        self._store: Store | None = None
        self._thread = DaemonThreads(1, "steerio-copies")

    def fetch(self, objects: list[StoredObject]) -> None:
        """Have these objects on this node, soon."""

        def fetch(store: Store) -> None:
            store.prefetch(objects)

        self._thread.submit(self._do, fetch)

    def forget(self, names: list[bytes]) -> None:
        """Keep no copies of these objects."""

        def forget(store: Store) -> None:
            store.forget(names)

        self._thread.submit(self._do, forget)

    def close(self) -> None:
        """Do no more."""
        self._thread.close(0.0)

    def _do(self, what: Callable[[Store], None]) -> None:
        try:
            if self._store is None:
                self._store = self._open_store()
            what(self._store)
        except Exception:  # a store may raise anything; workers fetch for themselves then
            log.exception("objects could not be fetched ahead")
