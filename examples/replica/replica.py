"""A digital replica of a plant: an ensemble that follows it, looks ahead, and asks for cooling.

    steerio run examples/replica/replica.py --quick
    steerio run examples/replica/replica.py --run-dir runs/replica     a minute; meanwhile:
    steerio steer runs/replica set what_if=290                         what if it were cooled so?
    steerio steer runs/replica set coolant=295                         cool it so

Each measurement corrects the ensemble as it comes.  After every few of them the members go on into
the future with several coolants, and the warmest is chosen with which few run away.  A person
may say no to that; after a moment without an answer it is ordered.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from link import Line, Measured, started
from model import RUNAWAY, Array, advance, analyse, batches, begin, look
from picture import Row, draw
from plant import COOLANT, INTERVAL, TRANSFER

from steerio import Campaign, agent, on_event, parameter

DELAY = 4
"""Measurements from a look ahead until its order holds: time to compute, and to say no."""
HORIZON = 16
"""Measurements to look ahead."""
COLDEST, WARMEST = 240.0, 320.0
"""Kelvin that the plant's coolant can have."""
CHANGES = (3.0, 0.0, -3.0, -6.0, -12.0)
"""Kelvin by which the coolant may change, warmest first: that makes most of the product."""
RISK = 0.01
"""Share of the members that may run away."""


class Arrival(NamedTuple):
    """A measurement, and the time at which it came."""

    measured: Measured
    at: float


class WhatIf(NamedTuple):
    """A look ahead: from a measurement on, with a coolant after the delay.

    Attributes:
        coolants: those ordered until then, and that one.
        kelvin: temperatures, by interval and member.
    """

    number: int
    coolants: list[float]
    kelvin: Array

    @property
    def coolant(self) -> float:
        """The coolant after the delay."""
        return self.coolants[-1]

    @property
    def risk(self) -> float:
        """The share of members that run away."""
        return float((self.kelvin.max(axis=0) > RUNAWAY).mean())


class Replica(Campaign):
    """Follow a plant, and keep it from running away.

    Args:
        members: of the ensemble.
        batch: members in a task.
        every: measurements from one look ahead to the next.
        minutes: how long the plant runs.
        speed: minutes of the plant in a second.
        seed: of the plant and the ensemble.
        plant: the command of another plant; otherwise plant.py.
        silence: seconds without a word after which a plant is given up.
        quick: 100 members, and 20 minutes in 20 seconds.
    """

    workers: ClassVar = {"assimilate": 1, "ahead": 1}
    coolant = parameter(COOLANT, ge=COLDEST, le=WARMEST, help="Coolant of the plant, in kelvin.")
    what_if = parameter(0.0, ge=0, le=WARMEST, help="Coolant to look ahead with; 0: none.")
    watch = parameter(True, help="Look ahead, and ask for cooling.")

    def __init__(
        self,
        members: int = 200,
        batch: int = 25,
        every: int = 5,
        minutes: float = 30.0,
        speed: float = 0.5,
        seed: int = 1,
        plant: str = "",
        silence: float = 10.0,
        quick: bool = False,
    ) -> None:
        if quick:
            members, minutes, speed = 100, 20.0, 1.0
        if min(members - 2, batch - 1, every - 1, seed) < 0 or min(minutes, speed, silence) <= 0:
            raise ValueError("take 2 or more members, and positive numbers for all else")
        own = [sys.executable, str(Path(__file__).with_name("plant.py"))]
        own += ["--minutes", f"{minutes}", "--speed", f"{speed}", "--seed", f"{seed}"]
        self.command, self.silence_s = shlex.split(plant) or own, silence
        self.batch, self.every, self.seed, self.minutes = batch, every, seed, minutes
        self.patience_s = DELAY / 2 * INTERVAL / speed
        self.ensemble = begin(members, seed)
        self.number = 0
        """Of the last measurement that the ensemble knows."""
        self.orders = [(0, COOLANT)]
        self.late = 0
        self.line: Line | None = None
        self.seen: list[WhatIf] = []
        self.history: list[Row] = []

    def open_line(self) -> AbstractAsyncContextManager[Line]:
        """Start the plant."""
        return started(self.command, self.silence_s)

    @agent
    async def follow(self) -> None:
        """Take in measurements until the plant ends."""
        async with self.open_line() as self.line:
            async for measured in self.line.measurements():
                self.publish(Arrival(measured, asyncio.get_running_loop().time()))

    @on_event(Arrival)
    async def assimilate(self, arrival: Arrival) -> None:
        """Take all members on to a measurement, and correct them by it."""
        measured = arrival.measured
        self.late += measured.coolant != self.planned(measured.number - 1)
        forecast = await self.gather(
            *(
                self.submit(advance, part, measured.coolant, (self.seed, measured.number, index))
                for index, part in enumerate(batches(self.ensemble, self.batch))
            )
        )
        self.ensemble = self.update(np.concatenate(forecast, axis=1), measured)
        self.number = measured.number
        self.tell(measured, asyncio.get_running_loop().time() - arrival.at)

    def update(self, forecast: Array, measured: Measured) -> Array:
        """Return the ensemble, corrected."""
        return analyse(forecast, measured.kelvin, (self.seed, measured.number, 0, 2))

    @agent
    async def look_ahead(self) -> None:
        """After every few measurements choose a coolant, and ask for it if it is another."""
        looked = 0
        while True:
            await self.until(lambda: self.watch and self.number >= looked + self.every)  # noqa: B023
            looked, now = self.number, self.planned(self.number + DELAY)
            near = [min(max(now + each, COLDEST), WARMEST) for each in CHANGES]
            self.seen = await self.forecast(list(dict.fromkeys(near)))
            safe = [each for each in self.seen if each.risk <= RISK]
            best = safe[0] if safe else self.seen[-1]
            self.note(risk=next(each.risk for each in self.seen if each.coolant == now))
            if best.coolant != now and await self.agreed(best) and self.coolant == now:
                self.order(best.coolant, looked + DELAY)

    async def agreed(self, best: WhatIf) -> bool:
        """Return whether no one says no to a coolant."""
        asked = f"coolant to {best.coolant:g} K? Then {best.risk:.0%} of the members run away"
        return await self.approve(asked, timeout_s=self.patience_s, default="yes") == "yes"

    async def forecast(self, coolants: Sequence[float]) -> list[WhatIf]:
        """Look ahead with each of some coolants, all with the same chance."""
        number, parts = self.number, batches(self.ensemble, self.batch)
        before = [self.planned(number + each) for each in range(DELAY)]
        paths = [before + (HORIZON - DELAY) * [each] for each in coolants]
        tasks = [
            self.submit(look, part, path, (self.seed, number, index, 1))
            for path in paths
            for index, part in enumerate(parts)
        ]
        kelvin = np.split(np.concatenate(await self.gather(*tasks), axis=1), len(paths), axis=1)
        return [WhatIf(number, *each) for each in zip(paths, kelvin, strict=True)]

    def planned(self, number: int) -> float:
        """Return the coolant that was ordered for behind a measurement."""
        return next(coolant for since, coolant in reversed(self.orders) if since <= number)

    def order(self, coolant: float, since: int) -> None:
        """Order a coolant from behind a measurement on."""
        assert self.line is not None
        self.coolant = coolant
        self.orders.append((since, coolant))
        self.line.order(coolant, since)

    @agent
    async def obey(self) -> None:
        """Order the coolant that a person has set."""
        while True:
            await self.until(lambda: self.line and self.coolant != self.orders[-1][1])
            self.order(self.coolant, self.number + DELAY)

    @agent
    async def answer(self) -> None:
        """Look ahead with the coolant that a person asks about, at once."""
        while True:
            await self.until(lambda: self.what_if)
            (seen,) = await self.forecast([self.what_if])
            self.note(what_if_risk=seen.risk, what_if_kelvin=float(np.median(seen.kelvin[-1])))
            self.what_if = 0.0

    def tell(self, measured: Measured, lag_s: float) -> None:
        """Note what is known now; the page of the run shows it."""
        kelvin, moles, transferred, *_ = self.ensemble
        clean = np.exp(transferred) / TRANSFER
        row = Row(
            minute=measured.number * INTERVAL,
            measured=measured.kelvin,
            kelvin=float(kelvin.mean()),
            kelvin_sd=float(kelvin.std()),
            converted=float(1 - moles.mean()),
            transfer=float(clean.mean()),
            transfer_sd=float(clean.std()),
            coolant=measured.coolant,
            lag_s=lag_s,
        )
        self.history.append(row)
        shown = ("kelvin", "converted", "transfer", "transfer_sd", "lag_s")
        self.note(cooled=row.coolant, **{name: getattr(row, name) for name in shown})

    @agent
    async def draw(self) -> None:
        """Draw all of it in the run directory after each look ahead; no worker waits for that."""
        drawn: list[WhatIf] = []
        while self.run_dir:
            await self.until(lambda: self.seen and self.seen is not drawn)  # noqa: B023
            drawn = self.seen
            ahead: dict[float, Any] = {
                each.coolant: np.quantile(each.kelvin, [0.05, 0.5, 0.95], axis=1) for each in drawn
            }
            file = str(self.run_dir / "replica.png")
            now = drawn[0].number * INTERVAL
            await self.offload(draw, file, list(self.history), now, ahead)

    async def finish(self) -> None:
        """Say how it ended."""
        if not self.history:
            return
        last = self.history[-1]
        most = max(row.measured for row in self.history)
        lags = np.array([row.lag_s for row in self.history])
        print(
            f"{len(self.history)} measurements, {most:.1f} K at most; heat transfer "
            f"{last.transfer:.0%} +- {last.transfer_sd:.0%} of a clean coil, coolant "
            f"{last.coolant:g} K, {last.converted:.0%} converted"
        )
        print(
            f"{len(self.orders) - 1} orders, {self.late} measurements behind a late one; from "
            f"measurement to state {1000 * np.median(lags):.0f} ms, {1000 * lags.max():.0f} at most"
        )
