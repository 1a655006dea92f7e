"""Arrays of which each reader can tell whether they are what they must be.

Run as a program it sends them to and fro, by every way through the store, until there is a file
``enough`` in its run directory.  Where one of them is wrong it ends with status 3.
"""

# A task's handle stands for its value among another's arguments.
# pyright: reportArgumentType=false

from __future__ import annotations

import asyncio
import random
import sys
import zlib
from collections.abc import Generator
from pathlib import Path

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

import steerio
from steerio import ItemsRestarted, Session, Settings, StoreSetting, Succeeded
from steerio.launch.stores import read_setting

Words = NDArray[np.uint64]

THRESHOLD_BYTES = 256 * 1024
SHORT, LONG = 40_000, 1_500_000
"""How many words: above the threshold, and where private copies are mapped (8 MB)."""
ENOUGH = "enough"
LIMIT_BYTES = 20_000_000
"""So little room that some of them are spilled to disk."""
LANES = 3
ITEMS = 3
WRONG = 3
"""Exit status."""
LOST = {"lost": 1_000}


class Wrong(Exception):
    """An array is not what it must be."""


def made(number: int) -> Words:
    """Return the array of a number: the number, a checksum, and what both are about."""
    drawn = np.random.default_rng(number)
    length = int(drawn.integers(SHORT, LONG if number % 4 == 0 else 2 * SHORT))
    array = np.empty(length, np.uint64)
    array[2:] = drawn.integers(0, 2**63, length - 2, np.uint64)
    array[:2] = number, zlib.crc32(array[2:].data)
    return array


def check(array: Words, number: int) -> None:
    """Compare an array with its own checksum, and with that of its number."""
    if int(array[1]) != zlib.crc32(array[2:].data):
        raise Wrong(f"the array of {array[0]} (for {number}) has not its own checksum")
    if not np.array_equal(array, made(number)):
        raise Wrong(f"the array of {array[0]} is not that of {number}")


def passed_on(own: Words, number: int, shared: Words, its: int, latest: Words) -> Words:
    """Check what was sent, write into what is this task's own, and return the next."""
    check(own, number)
    check(shared, its)
    check(latest, int(latest[0]))
    own[:] = 0
    check(shared, its)
    return made(number + 1)


def following(first: int) -> Generator[Words, None, int]:
    """Yield some of them; return how many."""
    for number in range(first, first + ITEMS):
        yield made(number)
    return ITEMS


class Lane:
    """One coroutine that puts, publishes, submits and reads."""

    count = 0
    """What all lanes have read."""

    def __init__(self, session: Session, seed: int) -> None:
        self.session = session
        self.chance = random.Random(seed)
        self.versions = session.versions("array")

    def any_number(self) -> int:
        """Return the number of some array."""
        return self.chance.randrange(1_000_000)

    async def go_on(self) -> None:
        """Send arrays to and fro until it is enough."""
        assert self.session.run_dir is not None
        while not (self.session.run_dir / ENOUGH).exists():
            its = self.any_number()
            shared = await self.session.put(made(its))
            await self.versions.publish(made(self.any_number()))
            numbers = [self.any_number() for _ in range(4)]
            options = self.session.options(retries=LOST)
            tasks = [
                options.submit(passed_on, made(n), n, shared, its, self.versions.latest)
                for n in numbers
            ]
            for number, task in zip(numbers, tasks, strict=True):
                self.take(await task.result(), number + 1)
            check(await shared, its)
            stream = options.submit(following, its)
            while (count := await self.read(stream, its)) is None:
                pass  # an attempt was lost
            if (count, await stream) != (ITEMS, ITEMS):
                raise Wrong(f"{count} items arrived")

    @staticmethod
    async def read(stream: steerio.Task[int], its: int) -> int | None:
        """Read and check the items of an attempt; return how many, or ``None`` if it was lost."""
        count = 0
        try:
            async for item in stream.items():
                check(item, its + count)
                count += 1
        except ItemsRestarted:
            return None
        return count

    @classmethod
    def take(cls, result: steerio.Result, number: int) -> None:
        """Check the value of a task, and say so."""
        if not isinstance(result, Succeeded):
            raise Wrong(f"{result.ended_as}: {getattr(result, 'reason', result)}")
        check(result.value, number)
        cls.count += 1
        print(f"read {cls.count}." + " again" * (result.attempt > 1), flush=True)  # noqa: T201


async def go_on(place: Path, seed: int, store: StoreSetting) -> None:
    """Run lanes."""
    workers = {"default": 3}
    async with steerio.open_session(
        workers=workers, run_dir=place, settings=Settings(kills=1_000), store=store, pin=False
    ) as session:
        async with asyncio.TaskGroup() as lanes:
            for number in range(LANES):
                lanes.create_task(Lane(session, seed + number).go_on())


def main() -> int:
    """Run in this directory, with this seed, over the store of this file; return the status."""
    place, seed, *file = sys.argv[1:]
    asked = read_setting(file[0]) if file else StoreSetting(limit_bytes=LIMIT_BYTES)
    store = structs.replace(asked, threshold_bytes=THRESHOLD_BYTES)
    wrong = 0
    try:
        asyncio.run(go_on(Path(place), int(seed), store))
    except* Wrong as error:
        print("WRONG", error.exceptions, flush=True)  # noqa: T201
        wrong = WRONG
    return wrong


if __name__ == "__main__":
    sys.exit(main())
