"""Peptides by a language model and real OpenMM, while workers are killed: the same scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.striking import run_beside

SCRIPT = """
import asyncio, os, random, signal, sys
import steerio
from search import PeptideDesign
from steerio import agent

KILLED = []


class Struck(PeptideDesign):
    @agent
    async def strike(self) -> None:
        chance = random.Random(1)
        while len(self.scores) < 20 and len(KILLED) < 10:
            await asyncio.sleep(2.0)
            pids = [each.pid for each in (await self.session.status()).workers if each.pid]
            if pids:
                KILLED.append(chance.choice(pids))
                os.kill(KILLED[-1], signal.SIGKILL)


whole, struck = (
    steerio.run(
        kind(budget=25, first=8, template="A*AA*A"),
        progress="off",
        run_dir=kind.__name__,
        settings=steerio.Settings(kills=1000),  # a score is none that kills its workers
    )
    for kind in (PeptideDesign, Struck)
)
print(f"{len(KILLED)} workers were killed")
assert len(KILLED) > 1
assert whole.failed == struck.failed == 0
assert len(whole.scores) == 25
assert whole.scores == struck.scores
assert max(struck.proposed_by.values()) > 1
"""


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_all_sequences_score_the_same_if_a_worker_is_killed_every_few_seconds(
    tmp_path: Path,
) -> None:
    for package in ("openmm", "pdbfixer", "torch"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install {package}")
    run_beside("protein", SCRIPT, tmp_path, 800.0)
