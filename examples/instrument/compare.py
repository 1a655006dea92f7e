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
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from statistics import mean, stdev
from typing import Any, NamedTuple

from analysis import fit, rate
from beamline import ERRORS
from control import Control
from instrument import BeamLine
from line import Instrument

from steerio.testing import Model, RandomKills, SimulatedRun, lognormal, simulate

FIT_S, RATE_S = 0.05, 0.11
"""Medians, about as measured with 150,000 particles a rating; shots are fired every second."""
PARTICLES = 500
SEEDS, SHOTS = 10, 40
QUICK_SHOTS, SCALE_SHOTS = 12, 4


class Way(NamedTuple):
    """A way of steering: workers for ratings, parameters, and whether the model is fitted."""

    workers: int
    options: dict[str, Any]
    fitted: bool = True


WAYS = {
    "nothing (keep)": Way(1, {"by": "fallback", "fallback": "keep"}, fitted=False),
    "rule (safe step)": Way(1, {"by": "fallback"}, fitted=False),
    "model, 1 worker": Way(1, {}),
    "model, 8 workers": Way(8, {}),
    "unfitted model, 8 workers": Way(8, {}, fitted=False),
}
STEERED = "model, 8 workers"
SCALES = (8, 64, 1_024)
POLICY = (
    *(f"control.py:Control.{name}" for name in ("workers", "by", "fallback", "margin", "reach")),
    *(f"control.py:Control.{name}" for name in ("h1", "v1", "h2", "v2", "k1", "k2")),
    *(f"control.py:Control.{name}" for name in ("__init__", "setup", "steer", "decide")),
    *(f"control.py:Control.{name}" for name in ("best_by", "learn")),
    "analysis.py:safe_step",
)


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
    workers: int,
    options: dict[str, Any],
    fitted: bool = True,
    times: float = 1.0,
    kills: float = 0.0,
    **given: Any,
) -> SimulatedRun[InMemory]:
    """Simulate a campaign.

    Args:
        workers: for ratings; one more is for fits.
        options: parameters of the campaign.
        fitted: whether fits are computed; if not, the model is that of a beam line without errors.
        times: how many times longer periods, fits and ratings are than a second and those of it.
        kills: of workers, a second.
        given: arguments of the campaign.
    """
    control = InMemory(period=times, particles=PARTICLES, **given)
    for name, value in options.items():
        setattr(control, name, value)
    unused = None if fitted else lambda *_: [0.0] * len(ERRORS)
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


class Found(NamedTuple):
    """The outcome of a run.

    Attributes:
        share: of the particles that hit the target, in percent.
        rated: settings, by shot.
        late: decisions that came late, or were refused.
        tracking: busy share of the workers for ratings.
        busy, worker_s: busy share of all workers, and their seconds in tasks.
    """

    share: float
    rated: float
    late: int
    tracking: float
    busy: float
    worker_s: float


def measured(
    ways: dict[str, Way], seeds: int, shots: int, **given: Any
) -> Iterator[tuple[str, list[Found]]]:
    """Yield each way, and what came of it with each seed."""
    for name, way in ways.items():
        found: list[Found] = []
        for seed in range(1, seeds + 1):
            simulated = run(*way, shots=shots, seed=seed, **given)
            ended = simulated.campaign
            found.append(
                Found(
                    share=100 * mean(shot.share for shot in ended.shots),
                    rated=ended.rated / shots,
                    late=ended.late + ended.refused,
                    tracking=simulated.utilisation("track"),
                    busy=simulated.utilisation(),
                    worker_s=simulated.worker_seconds()[0],
                )
            )
        yield name, found


def compare(quick: bool = False) -> dict[str, Any]:
    """Return the table for `python -m bench science`: see its README."""
    seeds, shots = (2, QUICK_SHOTS) if quick else (SEEDS, SHOTS)
    table = dict(measured(WAYS, seeds, shots))
    late = sum(each.late for each in table[STEERED])
    rated, one = (mean(each.rated for each in table[way]) for way in (STEERED, "model, 1 worker"))
    return {
        "setting": f"{shots} shots, one a second, to 8 workers that rate and one that fits",
        "cost": "worker seconds in tasks",
        "score": "particles on the target, %",
        "better": "higher",
        "ways": [
            {
                "way": name,
                "cost": [each.worker_s for each in table[name]],
                "score": [each.share for each in table[name]],
                "busy": [each.busy for each in table[name]],
            }
            for name in (STEERED, *(each for each in WAYS if each != STEERED))
        ],
        "does_not_pay": "if a feedback rule is enough: it needs no worker (its seconds are fits "
        "that it does not use); and with many more workers, as few of some fifty ratings a shot "
        f"are better than the rest (here {rated:.0f}, and {one:.0f} with one worker; "
        f"{late} of {seeds * shots} decisions were late)",
    }


def at_scale(workers: int) -> SimulatedRun[Any]:
    """Return the policy's run of a few shots with so many workers for ratings, simulated."""
    return run(workers, {}, shots=SCALE_SHOTS, seed=1)


def main() -> None:
    """Run all ways with all seeds, and print the table."""
    parser = argparse.ArgumentParser(description="An instrument, steered in several ways.")
    parser.add_argument("--quick", action="store_true", help="one seed, 12 shots")
    parser.add_argument("--scale", action="store_true", help="more workers, slower shots")
    parser.add_argument("--kills", action="store_true", help="with workers that are killed")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--shots", type=int, default=SHOTS)
    asked = parser.parse_args()
    seeds, shots = (1, QUICK_SHOTS) if asked.quick else (asked.seeds, asked.shots)
    ways = WAYS
    if asked.scale:
        ways = {f"model, {workers:,} workers": Way(workers, {}) for workers in SCALES}
    elif asked.kills:
        ways = {name: way for name, way in WAYS.items() if name.startswith("model")}
    print(f"{seeds} seed{'s' * (seeds != 1)}, {shots} shots each, on simulated workers")
    print(f"{'':26}{'on the target':>18}{'rated a shot':>16}{'late':>14}{'busy':>8}")
    given = {"times": 10.0 if asked.scale else 1.0, "kills": 1 / 3 if asked.kills else 0.0}
    for name, found in measured(ways, seeds, shots, **given):
        shares, rated = [each.share for each in found], [each.rated for each in found]
        late = f"{sum(each.late for each in found)} of {seeds * shots:,}"
        busy = mean(each.tracking for each in found)
        told = f"{spread(shares):>16} %{spread(rated):>16}{late:>14}{busy:>8.0%}"
        print(f"{name:26}{told}", flush=True)


def spread(values: list[float]) -> str:
    """Return mean and standard deviation."""
    around = stdev(values) if len(values) > 1 else 0.0
    return f"{mean(values):.1f} +- {around:.1f}"


if __name__ == "__main__":
    main()
