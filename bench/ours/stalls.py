"""How long an event loop stands still, as seen by a coroutine that wants to run all the time."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from types import TracebackType
from typing import Self

TICK_S = 0.0005
SETTLE_S = 0.005


class Ticker:
    """Sleeps for half a millisecond, again and again, for as long as its block lasts.

    Attributes:
        longest_s: by how much the worst of these sleeps was too long, without the time for
            which the loop's thread was ready and other threads or programs had the cores.
        with_others_s: the same with that time.
    """

    def __init__(self) -> None:
        self.longest_s = self.with_others_s = 0.0

    async def __aenter__(self) -> Self:
        path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
        self._schedstat = os.open(path, os.O_RDONLY)
        self._ticking = asyncio.create_task(self._tick())
        await asyncio.sleep(SETTLE_S)
        self.longest_s = self.with_others_s = 0.0
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.sleep(SETTLE_S)  # so that a stall that ends only now is seen
        self._ticking.cancel()
        await asyncio.wait([self._ticking])
        os.close(self._schedstat)

    async def _tick(self) -> None:
        before, waited = time.perf_counter(), self._waited_s()
        while True:
            await asyncio.sleep(TICK_S)
            now, ready = time.perf_counter(), self._waited_s()
            late = now - before - TICK_S
            self.with_others_s = max(self.with_others_s, late)
            self.longest_s = max(self.longest_s, late - (ready - waited))
            before, waited = now, ready

    def _waited_s(self) -> float:
        """For how long this thread has been ready and had no core, all in all."""
        return int(os.pread(self._schedstat, 64, 0).split()[1]) / 1e9
