"""Removing objects from the store, in a thread of its own: a store may keep its user waiting."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from steerio.edge.store import Store

TIDY_S = 3.0
"""How long after the last objects were freed the store gives memory back that it kept for more."""
CLOSE_S = 5.0
"""Longest wait, at the end, for what is still to be removed."""

log = logging.getLogger("steerio.store")


class StraightSweeper:
    """Removes objects at once, from a store that keeps nobody waiting."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def free(self, names: list[bytes]) -> None:
        """Remove these objects."""
        self._store.evict(names)

    def sweep(self, maker: str, keep: frozenset[bytes]) -> None:
        """Remove all that a maker has put there, but for these objects."""
        self._store.sweep(maker, keep)


class StoreSweeper:
    """Removes objects that are freed, and what makers have left that are gone.

    Its thread is started when there is something to do.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def free(self, names: list[bytes]) -> None:
        """Remove these objects, soon."""
        self._order(lambda: self._store.evict(names))

    def sweep(self, maker: str, keep: frozenset[bytes]) -> None:
        """Remove all that a maker has put there, but for these objects, soon."""
        self._order(lambda: self._store.sweep(maker, keep))

    def close(self) -> None:
        """Do what is still to be done, though not for ever."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join(CLOSE_S)
            if self._thread.is_alive():
                log.warning("the store did not answer within %g s; objects stay in it", CLOSE_S)

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.put(order)
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="steerio-sweeper", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        idle = self._store.drop_freed  # once, when nothing more is to be removed for a while
        tidied = True
        while True:
            try:
                order = self._orders.get(timeout=None if tidied else TIDY_S)
            except Empty:
                order = idle
            if order is None:
                return
            tidied = order is idle
            try:
                order()
            except Exception:  # a store may raise anything; the next one may still be removed
                log.exception("objects could not be removed from the store")
