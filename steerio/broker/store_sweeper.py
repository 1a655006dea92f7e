"""The removal of objects from the store, in a thread, as a store may keep its user waiting."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Container
from queue import Empty, SimpleQueue

import msgspec

from steerio.edge.store.store import Store
from steerio.model.bounds import cut
from steerio.model.showing import counted

TIDY_S = 3.0
"""Time from the last freed objects to giving back the memory that the store kept for more."""
CLOSE_S = 5.0
"""Longest wait, at the end, for removals that are still to be made."""
TRIES = 4
"""Most times that a store is told to remove something, while it fails."""
MOST_FAILED = 1000
"""Most failed orders that are kept, to be tried again."""
SHOWN_CHARACTERS = 200
"""Most characters of the names of makers that are logged."""

log = logging.getLogger("steerio.broker")


class StraightSweeper:
    """Removes objects at once, from a store that does not keep its user waiting."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def free(self, names: list[bytes]) -> None:
        """Remove these objects."""
        self._store.evict(names)

    def sweep(self, makers: Collection[str], keep: Container[bytes]) -> None:
        """Remove all that makers have put there, but for the objects that are kept."""
        self._store.sweep(makers, keep)


class _Order(msgspec.Struct):
    what: str
    carry_out: Callable[[], None]
    tries: int = 0


class StoreSweeper:
    """Removes freed objects, and those that makers which are gone have left.

    Its thread is started when there is something to do. An order that the store fails to carry out
    is tried again, up to ``TRIES`` times: when another has succeeded, or the store has been left
    alone for ``TIDY_S``, and at the end.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._orders: SimpleQueue[_Order | None] = SimpleQueue()
        self._failed: deque[_Order] = deque()
        self._thread: threading.Thread | None = None

    def free(self, names: list[bytes]) -> None:
        """Remove these objects, soon."""
        what = counted(len(names), "object")
        self._order(_Order(what, lambda: self._store.evict(names)))

    def sweep(self, makers: Collection[str], keep: Container[bytes]) -> None:
        """Remove all that makers have put there, but for the objects that are kept then, soon."""
        what = f"the objects that {cut(', '.join(makers), SHOWN_CHARACTERS)} has left"
        self._order(_Order(what, lambda: self._store.sweep(makers, keep)))

    def close(self) -> None:
        """Carry out the orders that are left, though not for ever."""
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join(CLOSE_S)
            if self._thread.is_alive():
                log.warning("the store did not answer within %g s; objects stay in it", CLOSE_S)

    def _order(self, order: _Order) -> None:
        self._orders.put(order)
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="steerio-sweeper", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        tidied = True  # nothing was removed since the store gave memory back
        while True:
            try:
                order = self._orders.get(timeout=None if tidied and not self._failed else TIDY_S)
            except Empty:
                self._carry_out(_Order("memory that was freed", self._store.drop_freed, TRIES))
                self._try_again()
                tidied = True
                continue
            if order is None:
                self._try_again(last=True)
                return
            tidied = False
            if self._carry_out(order):
                self._try_again()

    def _try_again(self, *, last: bool = False) -> None:
        for _ in range(len(self._failed)):
            order = self._failed.popleft()
            if last:
                order.tries = TRIES
            self._carry_out(order)

    def _carry_out(self, order: _Order) -> bool:
        order.tries += 1
        try:
            order.carry_out()
        except Exception as error:  # noqa: BLE001 - a store may raise anything
            if order.tries >= TRIES or len(self._failed) >= MOST_FAILED:
                log.warning("%s could not be removed from the store: %s", order.what, error)
            else:
                self._failed.append(order)
            return False
        return True
