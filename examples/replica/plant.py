"""The plant: a stirred tank with an exothermic reaction and a fouling cooling coil, in real time.

    python examples/replica/plant.py --speed 2

It is a process of its own that needs nothing but Python.  It writes each measurement as a line of
JSON, ``{"number": 3, "kelvin": 324.4, "coolant": 300.0}``, and takes orders as such lines,
``{"coolant": 294.0, "since": 12}``: this coolant from behind measurement 12 on, or from the next
one, if that is over.  Equations and constants are those of the tank of Seborg, Edgar and
Mellichamp, *Process Dynamics and Control*; fouling and the unsteady feed are ours.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import select
import sys
import time

INTERVAL = 0.5
"""Minutes from one measurement to the next."""
STEPS = 50
"""Of the integrator, in that time."""
FEED = 350.0
"""Kelvin; the feed has a mole in each litre, and fills the tank in a minute."""
HEAT = 5e4 / 239.0
"""Kelvin that a mole in each litre heats the tank by as it reacts."""
RATE, ACTIVATION = 7.2e10, 8750.0
"""Of the reaction: per minute, and kelvin."""
TRANSFER = 5e4 / 23900.0
"""Heat transfer of a clean coil, UA / (V rho c_p): per minute."""
COOLANT = 300.0
NOISE = 0.5
"""Of the thermometer: kelvin."""
FEED_SPREAD, FEED_MINUTES = 1.5, 2.0
"""Of the temperature of the feed: its standard deviation, and its memory."""


class Plant:
    """The tank, with chance of its own.

    Attributes:
        number: of the last measurement.
        kelvin, moles: temperature, and what is left of a mole in each litre.
        transfer: heat transfer of the coil, which fouls.
        feed: kelvin by which the feed is too warm.
        coolant: kelvin.
        orders: coolants to come, by the measurement behind which they begin.
    """

    def __init__(self, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.number = 0
        self.kelvin, self.moles, self.feed = 324.0, 0.885, 0.0
        self.transfer, self.coolant = TRANSFER, COOLANT
        self.fouling = self.chance.uniform(0.012, 0.022)
        """Share of the heat transfer that is lost in a minute."""
        self.orders: dict[int, float] = {}

    def order(self, coolant: float, since: int) -> None:
        """Take an order."""
        self.orders[max(since, self.number)] = coolant

    def advance(self) -> dict[str, float]:
        """Go on to the next measurement, and return it."""
        self.coolant = self.orders.pop(self.number, self.coolant)
        step = INTERVAL / STEPS
        keeps = math.exp(-step / FEED_MINUTES)
        jitter = FEED_SPREAD * math.sqrt(1 - keeps * keeps)
        for _ in range(STEPS):
            self.transfer *= 1 - self.fouling * step + self.chance.gauss(0, 0.01) * math.sqrt(step)
            self.feed = keeps * self.feed + self.chance.gauss(0, jitter)
            self.flow(step / 2)
            left = self.moles * math.exp(-RATE * math.exp(-ACTIVATION / self.kelvin) * step)
            self.kelvin += HEAT * (self.moles - left)
            self.moles = left
            self.flow(step / 2)
        self.number += 1
        kelvin = self.kelvin + self.chance.gauss(0, NOISE)
        return {"number": self.number, "kelvin": round(kelvin, 3), "coolant": self.coolant}

    def flow(self, minutes: float) -> None:
        """Exchange matter with the feed, and heat with the coolant: exact for a time."""
        pull = 1 + self.transfer
        goal = (FEED + self.feed + self.transfer * self.coolant) / pull
        self.kelvin = goal + (self.kelvin - goal) * math.exp(-pull * minutes)
        self.moles = 1 + (self.moles - 1) * math.exp(-minutes)


def read_orders(plant: Plant, begun: bytes, until: float) -> bytes | None:
    """Take orders until a time; return the begin of the next one, or ``None`` at their end."""
    while (left := until - time.monotonic()) > 0:
        if not select.select([0], [], [], left)[0]:
            break
        if not (more := os.read(0, 4096)):
            return None
        *lines, begun = (begun + more).split(b"\n")
        for line in lines:
            try:
                said = json.loads(line)
                plant.order(min(max(float(said["coolant"]), 240.0), 320.0), int(said["since"]))
            except (ValueError, TypeError, KeyError):
                sys.stderr.write(f"plant: no order: {line[:200]!r}\n")
    return begun


def main() -> None:
    """Run for some minutes of the plant, as fast as is asked."""
    parser = argparse.ArgumentParser(description="A stirred tank whose coil fouls.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--speed", type=float, default=0.5, help="minutes in each second")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    plant = Plant(asked.seed)
    begun: bytes | None = b""
    began = time.monotonic()
    for number in range(1, int(asked.minutes / INTERVAL) + 1):
        due = began + number * INTERVAL / asked.speed
        if begun is not None:
            begun = read_orders(plant, begun, due)
        time.sleep(max(0.0, due - time.monotonic()))
        print(json.dumps(plant.advance()), flush=True)


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads on
