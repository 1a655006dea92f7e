"""One seed, one run: byte for byte, in this process and in others."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from steerio import Campaign, Limits, Succeeded, agent, on_success, random_seed, task
from steerio.testing import (
    FailStarts,
    Fault,
    HangWorker,
    KillNode,
    Model,
    PartitionNode,
    RandomKills,
    SimulatedRun,
    SlowNode,
    lognormal,
    recorded,
    simulate,
)
from tests.simulated.test_policies import MODEL, OneForOne, Ranked, energy, rank

FAULTS: list[Fault] = [
    RandomKills(0.01, until_s=2_000.0),
    HangWorker(100.0, pool="simulate"),
    KillNode(200.0, "node-2", back_after_s=300.0),
    SlowNode(50.0, "node-1", factor=3.0, for_s=500.0),
    PartitionNode(700.0, "node-1", for_s=8.0),
    FailStarts("learn", at_s=1_000.0, for_s=0.1),
]
ROOT = Path(__file__).parents[2]


def troubled(seed: int) -> SimulatedRun[Ranked]:
    """Return a run in which everything goes wrong that can, and tasks go on all the same."""
    model = {
        energy: Model(lognormal(60.0), fails=0.02, crashes=0.01),
        rank: Model(lognormal(30.0)),
    }
    return simulate(
        Patient(300),
        model=model,
        seed=seed,
        nodes=3,
        faults=FAULTS,
        latency_s=0.001,
        limits=Limits(failures=300),
    )


class Patient(Ranked):
    """A ranked queue whose tasks may be tried as often as it takes."""

    @on_success(energy, every=8)
    async def relearn(self, results: list[Succeeded]) -> None:
        often = self.options(retries={"lost": 100, "failed": 100, "timed_out": 100}, timeout_s=600)
        self.trained_on.append([result.args[0] for result in results])
        self.todo.rescore(await often.run(rank, self.known, self.todo.waiting))


def digest(run: SimulatedRun[Any]) -> str:
    records = msgspec.json.Encoder(enc_hook=repr).encode(run.records)
    return hashlib.sha256(run.event_log + records).hexdigest()


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert digest(troubled(seed=7)) == digest(troubled(seed=7))


def test_another_seed_gives_others() -> None:
    assert digest(troubled(seed=7)) != digest(troubled(seed=8))


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_gives_the_same_bytes(hash_seed: str) -> None:
    script = (
        "from tests.simulated.test_determinism import digest, troubled; "
        "print(digest(troubled(seed=7)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == digest(troubled(seed=7))


def test_a_run_leaves_a_record_that_others_can_take_their_durations_from(tmp_path: Path) -> None:
    run = simulate(OneForOne(60), model=MODEL, run_dir=tmp_path / "measured")
    assert (tmp_path / "measured" / "events.jsonl").read_bytes() == run.event_log
    measured = sorted((r.ended or 0) - (r.started or 0) for r in run.records)
    again = simulate(OneForOne(60), model=recorded(tmp_path / "measured"))
    drawn = {(r.ended or 0) - (r.started or 0) for r in again.records}
    assert all(min(abs(m - took) for m in measured) < 1e-6 for took in drawn)
    assert len(drawn) > 10


class Seeded(Campaign):
    """Ask each task for the number that it was given to seed with."""

    def __init__(self) -> None:
        self.given: list[int] = []

    @agent
    async def main(self) -> None:
        tasks = self.map(given_seed, range(3))
        self.given = await self.gather(*tasks)


@task(pool="simulate")
def given_seed(_: int) -> int:
    """Return it."""
    return random_seed()


@pytest.mark.borders
def test_what_tasks_seed_with_follows_from_the_seed_of_the_simulation() -> None:
    first, again, other = (
        simulate(Seeded(), model={given_seed: Model(1.0)}, seed=seed, workers={"simulate": 2})
        for seed in (1, 1, 2)
    )
    assert first.campaign.given == again.campaign.given
    assert len({*first.campaign.given, *other.campaign.given}) == 6
