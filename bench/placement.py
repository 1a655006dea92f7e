"""Where should the broker of a local run live?  Embedded against a process of its own.

`python -m bench.placement [--rounds N]` measures both in turn, with two workers on this host:
the round trip of a no-op task, and how many of 10 ms tasks that were queued before end while
the policy computes for a second in pure Python (of those that could, at most).
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

import steerio
from bench.ours.tasks import nap, noop

WORKERS = 2
ROUND_TRIPS = 300
NAP_S, BUSY_S = 0.01, 1.0
START_S = 30.0


@asynccontextmanager
async def embedded() -> AsyncGenerator[steerio.Session, None]:
    """The broker on the policy's own loop."""
    async with steerio.open_session(workers={"default": WORKERS}) as session:
        yield session


@asynccontextmanager
async def separate(*, direct: bool = True) -> AsyncGenerator[steerio.Session, None]:
    """The broker in a process of its own, its workers in a third.

    They speak to the broker themselves if `direct`; else by way of their node.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        run_dir = Path(folder) / "run"
        command = [sys.executable, "-m", "steerio"]
        broker = subprocess.Popen(  # noqa: ASYNC220 - before anything is measured
            [*command, "broker", "--run-dir", str(run_dir)], stdout=subprocess.DEVNULL
        )
        worker = None
        try:
            until = time.monotonic() + START_S
            while not (run_dir / "connection.json").exists() and time.monotonic() < until:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            join = ["worker", "--join", str(run_dir), "--workers", f"default={WORKERS}"]
            if direct:
                join.append("--direct")
            worker = subprocess.Popen([*command, *join])  # noqa: ASYNC220
            async with steerio.connect(run_dir) as session:
                yield session
        finally:
            broker.terminate()
            broker.wait(START_S)
            if worker is not None:
                worker.wait(START_S)


async def measure(session: steerio.Session) -> tuple[float, float]:
    """Seconds of a round trip, and the share of naps done while the policy computed."""
    await session.run(noop, 0)
    seconds: list[float] = []
    for number in range(ROUND_TRIPS):
        began = time.perf_counter()
        await session.run(noop, number)
        seconds.append(time.perf_counter() - began)
    await session.run(nap, NAP_S)
    tasks = session.map(nap, [NAP_S] * int(4 * WORKERS * BUSY_S / NAP_S))
    await asyncio.sleep(0.1)
    began, until = time.time(), time.perf_counter() + BUSY_S
    while time.perf_counter() < until:
        pass
    ended = time.time()
    results = [await task.result() for task in tasks]
    done = sum(began < (result.timings.ended or 0.0) <= ended for result in results)
    return statistics.median(seconds), done * NAP_S / (WORKERS * (ended - began))


async def one_round() -> list[tuple[float, float]]:
    """Measure both, one after the other."""
    figures: list[tuple[float, float]] = []
    for place in (embedded, separate):
        async with place() as session:
            figures.append(await measure(session))
    return figures


def main() -> None:
    """Print the medians of all rounds, and of the ratios within each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (%(default)s)")
    rounds = [uvloop.run(one_round()) for _ in range(parser.parse_args().rounds)]
    trips = [(inside[0], outside[0]) for inside, outside in rounds]
    print(
        f"round trip: embedded {statistics.median(t[0] for t in trips) * 1e6:.0f} µs, "
        f"own process {statistics.median(t[1] for t in trips) * 1e6:.0f} µs, "
        f"ratio {statistics.median(t[0] / t[1] for t in trips):.2f}"
    )
    for index, name in enumerate(("embedded, with stand-in", "own process")):
        share = statistics.median(figures[index][1] for figures in rounds)
        print(f"workers busy while the policy computes: {name} {share:.0%}")


if __name__ == "__main__":
    main()
