"""Adaptive sampling by real OpenMM, while workers are killed: teams learn the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "adaptive"
SCRIPT = """
import asyncio, os, random, signal, sys
import numpy as np
import steerio
from search import Adaptive
from steerio import agent

KILLED = []


class Struck(Adaptive):
    @agent
    async def strike(self) -> None:
        chance = random.Random(1)
        while not all(team.done for team in self.teams):
            await asyncio.sleep(2.0)
            pids = [each.pid for each in (await self.session.status()).workers if each.pid]
            if pids:
                KILLED.append(chance.choice(pids))
                os.kill(KILLED[-1], signal.SIGKILL)


whole, struck = (
    steerio.run(
        kind(nanoseconds=1.0, within=0.0),
        progress="off",
        run_dir=kind.__name__,
        settings=steerio.Settings(kills=1000),  # a replica is none that kills its workers
    )
    for kind in (Adaptive, Struck)
)
print(f"{len(KILLED)} workers were killed")
assert len(KILLED) > 2
for one, other in zip(whole.teams, struck.teams, strict=True):
    assert np.array_equal(one.moved, other.moved)
    assert np.array_equal(one.begun, other.begun)
print("same:", [int(team.counts.sum()) for team in struck.teams])
"""


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_teams_learn_the_same_if_a_worker_is_killed_every_two_seconds(tmp_path: Path) -> None:
    pytest.importorskip("openmm", reason="OpenMM is not installed: pip install openmm")
    script = tmp_path / "struck.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(EXAMPLE)!r})\n{SCRIPT}")
    ended = subprocess.run(
        [sys.executable, str(script)],
        check=False,
        cwd=tmp_path,
        timeout=800,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
