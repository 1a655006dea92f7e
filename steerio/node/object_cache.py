"""A node's copies of objects: fetched ahead for its workers, and forgotten when they are freed.

Beside them it looks after the notes of its workers on the objects that they put.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from steerio.edge.store.store import Store
from steerio.edge.system.threads import DaemonThreads
from steerio.model.objects import StoredObject

log = logging.getLogger("steerio.node")


class Copies:
    """Fetches and forgets objects in a thread, since a store may keep its user waiting.

    Args:
        store: of the objects.
        own: whether they are in a folder of this node's own, not in the broker's.
    """

    def __init__(self, store: Store, *, own: bool) -> None:
        self._store = store
        self._own = own
        self._thread = DaemonThreads(1, "steerio-copies")

    def fetch(self, objects: list[StoredObject]) -> None:
        """Have these objects on this node, soon."""
        self._thread.submit(self._do, lambda: self._store.prefetch(objects))

    def forget(self, names: list[bytes]) -> None:
        """Keep no copies of these objects."""
        self._thread.submit(self._do, lambda: self._store.forget(names))

    def left_by(self, worker: str) -> list[bytes]:
        """Return, once, the objects of a dead worker that only this node can know of."""
        if not self._own:  # the broker sees the folder, and keeps the notes until all is removed
            return []
        try:
            return self._store.take_noted(worker)
        except OSError:
            log.exception("the objects that %s has put may stay in the store: not known", worker)
            return []

    def close(self) -> None:
        """Do no more."""
        self._thread.close(0.0)

    def _do(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception:  # a store may raise anything; workers fetch for themselves then
            log.exception("objects could not be fetched ahead")
