"""Steer an instrument between shots: the settings of the next one, with a deadline for each.

    steerio run examples/instrument/control.py --quick
    steerio run examples/instrument/control.py --address 127.0.0.1:7777

After each shot a model is fitted to the last ones, and settings near the best so far are rated on
the workers, until the deadline. The best of those that are rated by then is set. If none is, the
decision is late, and the fallback rule decides. A person or program takes over by orders:

    steerio steer RUN_DIR set by=person
    steerio steer RUN_DIR set h1=0.4
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from math import inf
from typing import ClassVar

import numpy as np
from analysis import fit, rate, safe_step
from beamline import LIMIT, NOMINAL, SETTINGS, USUAL
from instrument import Shot
from line import Instrument, reached, started

import steerio
from steerio import Campaign, FinishedChain, Succeeded, agent

RECENT = 4
"""Shots to which the model is fitted."""
FIT_SHARE = 0.5
"""Of the time to the deadline: no longer does a decision wait for the model of the newest shot."""


class Control(Campaign):
    """Keep the beam on the target, shot by shot.

    Args:
        address: of the instrument, as HOST:PORT; without one a stand-in is started.
        period: seconds from shot to shot of the stand-in.
        shots: shots of the stand-in.
        seed: of the stand-in's errors, and of the candidates.
        particles: tracked to rate a candidate.
        ask: ask before the model steers; the fallback rule does until then.
        quick: fire only 20 shots, and track a fifth of the particles.
    """

    workers: ClassVar = {"fit": 1, "track": 2}
    by = steerio.parameter("model", choices=("model", "fallback", "person"), help="Who steers.")
    fallback = steerio.parameter("step", choices=("step", "keep"), help="Rule without a model.")
    margin = steerio.parameter(0.1, ge=0, le=0.9, help="Share of a period kept for the way.")
    reach = steerio.parameter(0.3, ge=0.01, le=2, help="How far from the best to look.")
    h1 = steerio.parameter(NOMINAL[0], ge=-LIMIT, le=LIMIT, help="Corrector, mrad.")
    v1 = steerio.parameter(NOMINAL[1], ge=-LIMIT, le=LIMIT, help="Corrector, mrad.")
    h2 = steerio.parameter(NOMINAL[2], ge=-LIMIT, le=LIMIT, help="Corrector, mrad.")
    v2 = steerio.parameter(NOMINAL[3], ge=-LIMIT, le=LIMIT, help="Corrector, mrad.")
    k1 = steerio.parameter(NOMINAL[4], ge=-LIMIT, le=LIMIT, help="Quadrupole, 1/m.")
    k2 = steerio.parameter(NOMINAL[5], ge=-LIMIT, le=LIMIT, help="Quadrupole, 1/m.")

    def __init__(
        self,
        address: str = "",
        period: float = 1.0,
        shots: int = 100,
        seed: int = 1,
        particles: int = 150_000,
        ask: bool = False,
        quick: bool = False,
    ) -> None:
        self.address, self.period, self.seed, self.ask = address, period, seed, ask
        self.fired, self.particles = (20, particles // 5) if quick else (shots, particles)
        self.chance = np.random.default_rng(seed)
        self.shots: list[Shot] = []
        self.errors = [0.0] * len(USUAL)
        self.tried = self.fitted_to = -1
        self.rated = self.late = self.refused = 0
        if ask:
            self.by = "fallback"

    def instrument(self) -> AbstractAsyncContextManager[Instrument]:
        """Return the line to the instrument, to be opened."""
        if self.address:
            return reached(self.address)
        options = ("--period", self.period, "--shots", self.fired, "--seed", self.seed)
        return started(*map(str, options))

    async def setup(self) -> None:
        """Have workers ready before the first shot counts."""
        usual = list(NOMINAL)
        await self.gather(
            self.submit(fit, [usual], [[0.0] * 6], self.errors),
            self.submit(rate, usual, self.errors, 1_000),
        )

    @agent
    async def steer(self) -> None:
        """Decide after each shot on the settings of the next one."""
        async with self.instrument() as instrument:
            self.shots, self.tried, self.fitted_to = [], -1, -1  # it may be another one, if resumed
            async for shot, next_at in instrument.shots():
                self.shots.append(shot)
                self.note(share=shot.share, late=self.late, rated=self.rated)
                deadline = next_at - self.margin * shot.next_in_s
                for name, value in zip(SETTINGS, await self.decide(shot, deadline), strict=True):
                    setattr(self, name, value)
                instrument.set(shot.number + 1, [getattr(self, name) for name in SETTINGS])
                self.refused = len(instrument.refused)
                await self.checkpoint()
        self.stop(reason="the instrument has fired its last shot")

    async def decide(self, shot: Shot, deadline: float) -> list[float]:
        """Return settings by the deadline, whatever is there by then."""
        best = await self.best_by(deadline, shot) if self.by == "model" else None
        if self.by == "person":  # also if one has taken over meanwhile
            await asyncio.sleep(deadline - asyncio.get_running_loop().time())
            return [getattr(self, name) for name in SETTINGS]
        if best is not None:
            return best
        self.late += self.by == "model"
        return safe_step(shot.settings, shot.readings) if self.fallback == "step" else shot.settings

    async def best_by(self, deadline: float, shot: Shot) -> list[float] | None:
        """Rate settings by the newest model until the deadline; return the best."""
        left_s = max(0.0, deadline - asyncio.get_running_loop().time())
        await self.until(lambda: self.fitted_to >= shot.number, timeout_s=FIT_SHARE * left_s)
        if self.fitted_to < 0:
            return None
        best, errors = (-inf, shot.settings), self.errors

        def candidates() -> Iterator[list[float]]:
            yield shot.settings
            while True:
                step = self.reach * self.chance.uniform() * self.chance.normal(size=len(SETTINGS))
                yield np.clip(best[1] + step, -LIMIT, LIMIT).tolist()

        async def rated(settings: list[float]) -> float:
            return await self.run(rate, settings, errors, self.particles)

        at_once = max(1, self.pools["track"].workers)
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                async with aclosing(self.run_chains(candidates(), rated, limit=at_once)) as chains:
                    async for each in chains:
                        if isinstance(each, FinishedChain):
                            best = max(best, (each.value, each.item))
                            self.rated += 1
        return best[1] if best[0] > -inf else None

    @agent
    async def learn(self) -> None:
        """Fit the model to the last shots, again whenever there is a new one."""
        while True:
            await self.checkpoint(until=lambda: self.shots and self.shots[-1].number > self.tried)
            last = self.shots[-RECENT:]
            self.tried = last[-1].number
            settings, readings = [s.settings for s in last], [s.readings for s in last]
            fitting = self.options(timeout_s=max(1.0, 2 * last[-1].next_in_s))
            match await fitting.submit(fit, settings, readings, self.errors).result():
                case Succeeded(value=value):
                    self.errors, self.fitted_to = value, last[-1].number

    @agent
    async def hand_over(self) -> None:
        """Ask whether the model may steer."""
        if self.ask:
            self.by = await self.approve("let the model steer?", ("model", "fallback"))

    async def finish(self) -> None:
        """Say how it went."""
        if not self.shots:
            return
        shares = [shot.share for shot in self.shots]
        print(
            f"{len(shares)} shots, {np.mean(shares):.1%} on the target "
            f"({np.mean(shares[-10:]):.1%} in the last 10); {self.rated} settings rated, "
            f"{self.late} decisions late, {self.refused} refused"
        )
