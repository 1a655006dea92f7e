"""Ten thousand workers fit into a test."""

from __future__ import annotations

import hashlib
import time

import pytest

from steerio import Campaign, Succeeded, on_success, task
from steerio.testing import Model, SimulatedRun, lognormal, simulate

WORKERS = 10_000
DAY_S = 86_400.0
LIMIT_S = 120.0
"""Seconds of processor time for a day: twice what it shall take, for cores may be shared."""


@task(pool="simulate")
def energy(molecule: int) -> float:
    return float(molecule % 1000)


class Busy(Campaign):
    """Keep every worker busy, one task for one that ends."""

    def __init__(self, first: int) -> None:
        self.submitted = 0
        self.best = 0.0
        self._first = first

    async def setup(self) -> None:
        for _ in range(self._first):
            self.another()

    def another(self) -> None:
        self.submitted += 1
        self.submit(energy, self.submitted)

    @on_success(energy)
    async def look(self, result: Succeeded) -> None:
        self.best = max(self.best, result.value)
        self.another()


def busy(until_s: float, seed: int = 0) -> SimulatedRun[Busy]:
    model = {energy: Model(lognormal(3600.0, sigma=0.3))}
    workers = {"simulate": WORKERS}
    return simulate(Busy(WORKERS), workers=workers, model=model, until_s=until_s, seed=seed)


@pytest.mark.timeout(300)
def test_ten_thousand_workers_are_kept_busy() -> None:
    run = busy(until_s=3600.0)
    assert run.utilisation("simulate") > 0.999
    assert run.ended["succeeded"] > WORKERS / 3
    assert run.ended["cancelled"] == WORKERS, "those under way at the end"


@pytest.mark.stress
@pytest.mark.timeout(600)
def test_ten_thousand_workers_live_through_a_day_in_a_minute_and_twice_alike() -> None:
    digests: list[str] = []
    for _ in range(2):
        began = time.process_time()
        run = busy(until_s=DAY_S, seed=1)
        assert time.process_time() - began < LIMIT_S
        assert run.ended["succeeded"] > 20 * WORKERS
        digests.append(hashlib.sha256(run.event_log).hexdigest())
    assert digests[0] == digests[1]
