"""Steered by a model on workers, against the same on one worker and against the rules alone.

    python examples/instrument/compare.py --quick
    python examples/instrument/compare.py            ten seeds, some minutes
    python examples/instrument/compare.py --scale    on 8, 64 and 1,024 workers
    python examples/instrument/compare.py --kills    a worker is killed every three seconds

The policy is that of ``control.py``, and the beam line that of ``instrument.py``, with the lines of
its protocol; both are on the virtual clock. Shots have the same errors and noise in all ways. A fit
and a rating take as long as they did in a real run, give or take; ratings are computed with
fewer particles than it had.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from statistics import mean, stdev
from typing import Any

from analysis import fit, rate
from beamline import ERRORS
from control import Control
from instrument import BeamLine
from line import Instrument

from steerio.testing import Model, RandomKills, SimulatedRun, lognormal, simulate

FIT_S, RATE_S = 0.05, 0.11
"""Medians, about as measured with 150,000 particles a rating; shots are fired every second."""
PARTICLES = 500
WAYS: dict[str, tuple[int, dict[str, Any]]] = {
    "nothing (keep)": (1, {"by": "fallback", "fallback": "keep"}),
    "rule (safe step)": (1, {"by": "fallback"}),
    "model, 1 worker": (1, {}),
    "model, 8 workers": (8, {}),
}
SCALES = (8, 64, 1_024)


@contextlib.asynccontextmanager
async def in_memory(line: BeamLine) -> AsyncIterator[Instrument]:
    """Open a line to an instrument on this loop: the same lines, by two buffers."""
    here, there = asyncio.StreamReader(), asyncio.StreamReader()
    tasks = [
        asyncio.ensure_future(line.fire()),
        asyncio.ensure_future(line.serve(there, here.feed_data)),
    ]
    try:
        yield Instrument(here, there.feed_data, "memory")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class InMemory(Control):
    """The campaign with an instrument on its own loop, and without a word at its end."""

    def instrument(self) -> AbstractAsyncContextManager[Instrument]:
        """Return the line to an instrument on this loop."""
        return in_memory(BeamLine(self.period, self.fired, self.seed))

    async def finish(self) -> None:
        """Say nothing."""


def run(
    workers: int, options: dict[str, Any], times: float = 1.0, kills: float = 0.0, **given: Any
) -> SimulatedRun[InMemory]:
    """Simulate a campaign.

    Args:
        workers: for ratings; one more is for fits.
        options: parameters of the campaign.
        times: how many times longer periods, fits and ratings are than a second and those of it.
        kills: of workers, a second.
        given: arguments of the campaign.
    """
    control = InMemory(period=times, particles=PARTICLES, **given)
    for name, value in options.items():
        setattr(control, name, value)
    unused = None if control.by == "model" else lambda *_: [0.0] * len(ERRORS)
    return simulate(
        control,
        model={
            fit: Model(lognormal(FIT_S * times), value=unused),
            rate: Model(lognormal(RATE_S * times)),
        },
        workers={"fit": 1, "track": workers},
        seed=control.seed,
        start_s=1.0,
        faults=[RandomKills(rate_per_s=kills)] if kills else [],
        wall_limit_s=7_200.0,
    )


def main() -> None:
    """Run all ways with all seeds, and print the table."""
    parser = argparse.ArgumentParser(description="An instrument, steered in several ways.")
    parser.add_argument("--quick", action="store_true", help="one seed, 12 shots")
    parser.add_argument("--scale", action="store_true", help="more workers, slower shots")
    parser.add_argument("--kills", action="store_true", help="with workers that are killed")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--shots", type=int, default=40)
    asked = parser.parse_args()
    seeds, shots = (1, 12) if asked.quick else (asked.seeds, asked.shots)
    ways = WAYS
    if asked.scale:
        ways = {f"model, {workers:,} workers": (workers, {}) for workers in SCALES}
    elif asked.kills:
        ways = {name: way for name, way in WAYS.items() if name.startswith("model")}
    print(f"{seeds} seeds, {shots} shots each, on simulated workers")
    print(f"{'':22}{'on the target':>18}{'rated a shot':>16}{'late':>14}{'busy':>8}")
    for name, (workers, options) in ways.items():
        runs = [
            run(
                workers,
                options,
                times=10.0 if asked.scale else 1.0,
                kills=1 / 3 if asked.kills else 0.0,
                shots=shots,
                seed=seed,
            )
            for seed in range(1, seeds + 1)
        ]
        ended = [each.campaign for each in runs]
        shares = [100 * mean(shot.share for shot in each.shots) for each in ended]
        rated = [each.rated / shots for each in ended]
        late = f"{sum(each.late + each.refused for each in ended)} of {seeds * shots:,}"
        busy = mean(each.utilisation("track") for each in runs)
        found = f"{spread(shares):>16} %{spread(rated):>16}{late:>14}{busy:>8.0%}"
        print(f"{name:22}{found}", flush=True)


def spread(values: list[float]) -> str:
    """Return mean and standard deviation."""
    around = stdev(values) if len(values) > 1 else 0.0
    return f"{mean(values):.1f} +- {around:.1f}"


if __name__ == "__main__":
    main()
