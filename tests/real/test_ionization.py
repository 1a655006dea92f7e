"""Molecules at three levels by the real codes, while workers are killed: the same values."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.striking import run_beside

SCRIPT = """
import asyncio, os, random, signal
import steerio
from levels import space
from search import Ionization
from steerio import agent

KILLED = []


class Whole(Ionization):
    def __init__(self) -> None:
        super().__init__(quick=True, molecules=space(5)[:6])
        self.worker_s = 1e6


class Struck(Whole):
    @agent
    async def strike(self) -> None:
        chance = random.Random(1)
        while not self.through and len(KILLED) < 6:
            await asyncio.sleep(3.0)
            pids = [each.pid for each in (await self.session.status()).workers if each.pid]
            if pids:
                KILLED.append(chance.choice(pids))
                os.kill(KILLED[-1], signal.SIGKILL)


whole, struck = Whole(), Struck()
for campaign in (whole, struck):
    steerio.run(
        campaign,
        progress="off",
        run_dir=f"runs/{type(campaign).__name__}",
        settings=steerio.Settings(kills=1000),  # a molecule is none that kills its workers
    )
    assert campaign.through and not campaign.failures, campaign.failures
print(f"{len(KILLED)} workers were killed")
assert KILLED
for one, other in zip(whole.known, struck.known, strict=True):
    assert one.keys() == other.keys() and len(one) == 6
    assert all(abs(one[smiles] - other[smiles]) < 1e-6 for smiles in one)
assert sorted(os.listdir()) == ["runs", "script.py"], os.listdir()
"""


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_the_values_are_the_same_if_a_worker_is_killed_every_three_seconds(tmp_path: Path) -> None:
    for needed in ("rdkit", "tblite", "ase", "pyscf", "sklearn"):
        pytest.importorskip(needed, reason=f"{needed} is not installed: extra example-ionization")
    run_beside("ionization", SCRIPT, tmp_path, 800.0)
