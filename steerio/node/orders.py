"""The orders of a broker to a node about its workers' processes, and about copies of objects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_never

from steerio.model import messages as ms
from steerio.node.forker import Forker
from steerio.node.object_cache import Copies
from steerio.worker.slots import SEEN_S

AboutWorkers = ms.StartWorker | ms.StopRunning | ms.TakeBack | ms.SignalWorker
AboutCopies = ms.FetchAhead | ms.ForgetObjects


class Orders:
    """Carries out the orders to one node.

    Args:
        forker: starts and signals workers.
        copies: of objects, if the store is not on this host.
        not_begun: is called with a worker and a run that it was kept from beginning.
    """

    def __init__(
        self, forker: Forker, copies: Copies | None, not_begun: Callable[[str, int], None]
    ) -> None:
        self._forker = forker
        self._copies = copies
        self._not_begun = not_begun
        self._loop = asyncio.get_running_loop()

    def treat(self, order: AboutWorkers) -> None:
        """Carry out an order about a worker's process."""
        match order:
            case ms.StartWorker():
                self._forker.fork(order.worker, order.pool)
            case ms.StopRunning():
                self._forker.ask_to_stop(order.worker, order.run)
            case ms.TakeBack():
                self._forker.recall(order.worker, order.run)
                self._loop.call_later(SEEN_S, self._look_back, order.worker, order.run)
            case ms.SignalWorker():
                self._forker.signal(order.worker, order.run, order.signal)
            case _:
                assert_never(order)

    def copy(self, order: AboutCopies) -> None:
        """Carry out an order about copies, if there are any here."""
        if self._copies is None:
            return
        match order:
            case ms.FetchAhead():
                self._copies.fetch(order.objects)
            case ms.ForgetObjects():
                self._copies.forget(order.names)
            case _:
                assert_never(order)

    def _look_back(self, worker: str, run: int) -> None:
        """Look whether a run was recalled in time."""
        begun = self._forker.begun(worker)
        if begun is not None and run > begun:
            self._not_begun(worker, run)
