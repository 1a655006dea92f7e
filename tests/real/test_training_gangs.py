"""The ensemble of examples/training: a gang trains as one process does, also if workers die."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from steerio import Gang, open_session
from tests.example_modules import example_module
from tests.real.striking import run_beside

ROWS = 101  # so that ranks have shares of different size

STRUCK = """
import asyncio, os, random, signal, sys
import numpy as np
import steerio
from compare import Rounds
from members import fit
from search import Training
from steerio import Gang, Succeeded, agent, on_success

KILLS = 8
KILLED, FITTED = [], []


class Killer:
    @agent
    async def strike(self) -> None:
        chance = random.Random(1)
        for _ in range(KILLS):  # an end of them, so that a busy machine gets on
            await asyncio.sleep(2.0)
            pids = [each.pid for each in (await self.session.status()).workers if each.pid]
            if pids:
                KILLED.append(chance.choice(pids))
                os.kill(KILLED[-1], signal.SIGKILL)


class StruckRounds(Killer, Rounds):
    pass


class Struck(Killer, Training):
    @on_success(fit)
    async def fitted(self, result: Succeeded) -> None:
        FITTED.append((result.args[1], result.value))


def ran(campaign):
    settings = steerio.Settings(kills=1000)  # no task of these kills its workers
    run_dir = type(campaign).__name__
    return steerio.run(campaign, progress="off", run_dir=run_dir, settings=settings)


def main() -> None:
    whole, struck = (ran(kind(64, first=48, ranks=2)) for kind in (Rounds, StruckRounds))
    assert (whole.points, whole.values) == (struck.points, struck.values)
    print(f"{len(KILLED)} workers were killed; same {len(whole.values)} points and values")
    assert len(KILLED) > 2

    meanwhile = ran(Struck(64, first=24))
    from network import trained

    assert len(meanwhile.values) >= 64 and FITTED
    alone = Gang(0, 1, "127.0.0.1", 0)
    points, values = np.array(meanwhile.points), np.array(meanwhile.values)
    for seed, member in FITTED:
        rows = member["rows"]
        for name, one in trained(points[:rows], values[:rows], seed, alone).items():
            assert np.allclose(one, member["state"][name], rtol=1e-5, atol=1e-7), (rows, name)
    print(f"{len(KILLED)} in all; {len(FITTED)} versions are those of one process")


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def members() -> Iterator[ModuleType]:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'torch>=2.4,<2.14'")
    with example_module("training", "members") as module:
        yield module


@pytest.mark.timeout(600)  # where ranks share cores, each of their sums waits for the scheduler
async def test_a_gang_trains_a_member_as_one_process_does(members: ModuleType) -> None:
    chance = np.random.default_rng(3)
    points = chance.random((ROWS, 6))
    known: Any = {"points": points, "values": np.sin(5 * points).sum(axis=1)}
    async with open_session(workers={"learn": 2}, pin=False) as session:
        one, both = [
            await session.options(gang=ranks).run(members.fit, known, 7) for ranks in (1, 2)
        ]
    assert both["rows"] == one["rows"] == ROWS
    assert both["state"].keys() == one["state"].keys()
    for name, weights in one["state"].items():
        assert np.allclose(weights, both["state"][name], rtol=1e-6, atol=1e-9), name
    network = importlib.import_module("network")
    here = network.trained(points, known["values"], 7, Gang(0, 1, "127.0.0.1", 0))
    for name, weights in here.items():
        assert np.array_equal(weights, one["state"][name])
    guesses = network.predicted(here, points)
    assert np.sqrt(np.mean((guesses - known["values"]) ** 2)) < 0.5 * known["values"].std()


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_a_search_finds_the_same_if_a_worker_is_killed_every_two_seconds(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install 'torch>=2.4,<2.14'")
    run_beside("training", STRUCK, tmp_path, 800.0)
