"""A session that puts, reads and passes large arrays, on uvloop.

`python -m bench.ours.storing CONTROL_FD`
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

import steerio
from bench.contestant import MARK, Round, marked_processes, serve_async
from bench.ours import stored
from bench.ours.stalls import Ticker
from bench.ours.tasks import nap, noop
from bench.peak import Peak, used_bytes
from steerio.session.reference import Reference

WORKERS = 2
WAIT_S = 120.0
FREED_S = 3.0
"""Until a store gives back the memory that it kept of freed objects, and some more."""
NOTHING_S = 1.0
Figures = dict[str, list[float]]


class StoringSide:
    """The rounds; `order.tasks` is a number of bytes where nothing else is said."""

    def __init__(self, session: steerio.Session) -> None:
        self._session = session
        self._array = np.ones(0)
        self._kept: list[Reference] = []
        self._waiting: list[steerio.Task[Any]] = []

    def array(self, nbytes: int) -> np.ndarray[Any, Any]:
        """The array that is put; made once for each size."""
        if self._array.nbytes != nbytes:
            self._array = np.ones(nbytes // 8)
        return self._array

    async def copy(self, order: Round) -> Figures:
        """The floor of a put: one copy into memory that is fresh."""
        array = self.array(order.tasks)
        began = time.perf_counter()
        copied = np.copy(array)
        seconds = time.perf_counter() - began
        return {"seconds": [seconds if copied[0] else 0.0]}

    async def put(self, order: Round) -> Figures:
        """Put it, and drop what was put before: into memory that the store has freed."""
        array = self.array(order.tasks)
        began = time.perf_counter()
        reference = await self._session.put(array)
        seconds = time.perf_counter() - began
        del reference
        await self.freed()
        return {"seconds": [seconds]}

    async def put_fresh(self, order: Round) -> Figures:
        """Put it beside what was put before: into memory that the system has to find."""
        array = self.array(order.tasks)
        began = time.perf_counter()
        self._kept.append(await self._session.put(array))
        return {"seconds": [time.perf_counter() - began]}

    async def submit(self, order: Round) -> Figures:
        """Submit a task with it: into memory that the store has freed, if it goes there."""
        array = self.array(order.tasks)
        began = time.perf_counter()
        task = self._session.submit(stored.one_of, array)
        seconds = time.perf_counter() - began
        async with asyncio.timeout(WAIT_S):
            await task
        del task
        await self.freed()
        return {"seconds": [seconds]}

    async def submit_queued(self, order: Round) -> Figures:
        """Submit it behind others that wait: into memory that the system has to find."""
        array = self.array(order.tasks)
        if not self._waiting:  # keep the workers busy
            self._waiting += [self._session.submit(nap, WAIT_S) for _ in range(WORKERS)]
        began = time.perf_counter()
        self._waiting.append(self._session.submit(stored.one_of, array))
        return {"seconds": [time.perf_counter() - began]}

    async def drop(self, order: Round) -> Figures:
        """Need nothing any more of what was kept, and have its memory given back."""
        del order
        self._kept.clear()
        for task in self._waiting:
            task.cancel()
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*[task.result() for task in self._waiting])
        self._waiting.clear()
        await self.freed()
        await asyncio.sleep(FREED_S)
        return {}

    async def freed(self) -> None:
        """Wait until the broker has freed what is needed no more."""
        async with asyncio.timeout(WAIT_S):
            while (await self._session.store.statistics()).objects > len(self._kept):  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0.001)

    async def first_read(self, order: Round) -> Figures:
        """Put it, and have a worker read it that never did: until usable, until all was read."""
        reference = await self._session.put(self.array(order.tasks))
        what = reference.stored
        async with asyncio.timeout(WAIT_S):
            usable_s, read_s = await self._session.run(stored.first_read, what.name, what.nbytes)
        return {"usable_s": [usable_s], "read_s": [read_s]}

    async def made_twice(self, order: Round) -> Figures:
        """Have a worker make values of several kinds that are put once, and give them again."""
        del order
        figures: Figures = {}
        for name, value in (await asyncio.to_thread(values)).items():
            reference = await self._session.put(value)
            what = reference.stored
            async with asyncio.timeout(WAIT_S):
                figures[name] = await self._session.run(stored.made_twice, what.name, what.nbytes)
            del reference
        return figures

    async def used(self, order: Round) -> Figures:
        """Put it once and give it to 50 tasks at once; no-op tasks beside, and such as sum it."""
        reference = await self._session.put(self.array(order.tasks))
        number = int(order.task_s)
        figures: Figures = {}
        for name, function, given in (
            ("noop_s", noop, 1),
            ("one_s", stored.one_of, reference),
            ("sum_s", stored.sum_of, reference),
        ):
            async with asyncio.timeout(WAIT_S):
                began = time.perf_counter()
                tasks: list[steerio.Task[Any]] = self._session.map(function, [given] * number)
                await self._session.gather(*tasks)
                figures[name] = [(time.perf_counter() - began) / number]
            del tasks
        return figures

    async def stalls(self, order: Round) -> Figures:
        """The longest stalls of the loop: while nothing happens, and while each thing does."""
        session, array = self._session, self.array(order.tasks)
        figures: Figures = {}

        async def stall(name: str, doing: Any) -> Any:
            async with Ticker() as ticker:
                value = await doing
            figures[name] = [ticker.longest_s]
            figures[f"{name} with others"] = [ticker.with_others_s]
            return value

        async with asyncio.timeout(WAIT_S):
            await stall("nothing", asyncio.sleep(NOTHING_S))
            await stall("floor", asyncio.to_thread(np.copy, array))
            reference = await stall("put", session.put(array))
            value = await stall("await", awaited(reference))
            del value
            await stall("changeable", session.run(stored.one_of, array))
            array.flags.writeable = False
            await stall("argument", session.run(stored.one_of, array))
            array.flags.writeable = True
            value = await stall("value", session.run(stored.make, order.tasks))
            del value, reference
            await stall("free", self.freed_and_given_back())
        return figures

    async def freed_and_given_back(self) -> None:
        """Wait until nothing of what was put is there."""
        await self.freed()
        await asyncio.sleep(FREED_S)

    async def peak_argument(self, order: Round) -> Figures:
        """An array that was made here, given to a task."""
        figures = await self._peak_given(np.ones(order.tasks // 8))
        figures["peak_bytes"][0] += order.tasks  # it was there before
        await self.freed_and_given_back()
        return figures

    async def _peak_given(self, array: np.ndarray[Any, Any]) -> Figures:
        return await self._peak(lambda: self._session.run(stored.sum_of, array))

    async def peak_value(self, order: Round) -> Figures:
        """An array that a task makes, looked at here."""

        async def through() -> None:
            value = await self._session.run(stored.make, order.tasks)
            value.sum()

        figures = await self._peak(through)
        await self.freed_and_given_back()
        return figures

    async def peak_chain(self, order: Round) -> Figures:
        """An array that a task makes, given to another by way of here."""

        async def through() -> None:
            value = await self._session.run(stored.make, order.tasks)
            await self._session.run(stored.sum_of, value)

        figures = await self._peak(through)
        await self.freed_and_given_back()
        return figures

    async def _peak(self, through: Callable[[], Awaitable[Any]]) -> Figures:
        """The most memory of everybody while something is done, beyond what it was before."""
        pids = marked_processes(os.environ[MARK])
        folder = folder_of(self._session)
        before = used_bytes(pids, folder)
        with Peak(pids, folder) as peak:
            await through()
        return {"peak_bytes": [float(peak.nbytes - before)]}

    async def inline(self, order: Round) -> Figures:
        """Tasks with an argument of `order.task_s` bytes that travels with each, all at once."""
        payload = bytes(int(order.task_s))
        return await self._at_once(stored.take_inline, payload, order.tasks)

    async def inline_array(self, order: Round) -> Figures:
        """The same with arrays."""
        payload = np.zeros(int(order.task_s), "u1")
        return await self._at_once(stored.take_array_inline, payload, order.tasks)

    async def by_reference(self, order: Round) -> Figures:
        """The same with arrays that go by reference."""
        payload = np.zeros(int(order.task_s), "u1")
        return await self._at_once(stored.take_array_stored, payload, order.tasks)

    async def _at_once(self, function: Any, payload: Any, number: int) -> Figures:
        began = time.perf_counter()
        async with asyncio.timeout(WAIT_S):
            tasks = self._session.map(function, [payload] * number)
            lengths = await self._session.gather(*tasks)
        seconds = time.perf_counter() - began
        if set(lengths) != {len(payload)}:
            raise AssertionError("what arrived is not what was sent")
        return {"tasks_per_s": [number / seconds]}

    async def trips(self, order: Round) -> Figures:
        """Seconds of tasks one after the other: inline, and by reference."""
        payload = np.zeros(int(order.task_s), "u1")
        figures: Figures = {"inline_s": [], "reference_s": []}
        async with asyncio.timeout(WAIT_S):
            for _ in range(order.tasks):
                for name, function in (
                    ("inline_s", stored.take_array_inline),
                    ("reference_s", stored.take_array_stored),
                ):
                    began = time.perf_counter()
                    await self._session.run(function, payload)
                    figures[name].append(time.perf_counter() - began)
        return figures


def values() -> dict[str, Any]:
    """Make values that take long to unpickle, and some that do not."""
    import pandas as pd

    million = 1_000_000
    return {
        "a dict of a million numbers": dict.fromkeys(range(million), 0.5),
        "a list of a million numbers": [float(number) for number in range(million)],
        "100 MB of bytes": bytes(100_000_000),
        "a table of a million rows": pd.DataFrame({"x": np.arange(million), "y": np.ones(million)}),
        "an array of 100 MB": np.ones(100_000_000 // 8),
    }


def folder_of(session: steerio.Session) -> Path:
    """Where the session's store has its files."""
    store: Any = session.store._store
    return Path(store.connector.config()["folder"])


async def awaited(reference: Reference) -> Any:
    """Await a reference in a coroutine."""
    return await reference


async def steer(control_fd: int) -> None:
    """Open the session and obey orders until there are no more."""
    async with steerio.open_session(workers={"default": WORKERS}) as session:
        await session.gather(*session.map(noop, range(10 * WORKERS)))
        side = StoringSide(session)
        names = (
            "copy put put_fresh drop first_read used stalls peak_argument peak_value peak_chain "
            "inline inline_array by_reference trips made_twice submit submit_queued"
        )
        await serve_async(control_fd, {name: getattr(side, name) for name in names.split()})


def main() -> None:
    """Run it on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(steer(int(sys.argv[1])))


if __name__ == "__main__":
    main()
