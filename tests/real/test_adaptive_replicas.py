"""Adaptive sampling by real OpenMM, while workers are killed: teams learn the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.striking import run_struck

SAMPLED = """
import numpy as np
from search import Adaptive

whole, killed = struck(Adaptive, each_s=2.0, kills=20, nanoseconds={nanoseconds}, within=0.0)
for one, other in zip(whole.teams, killed.teams, strict=True):
    assert np.array_equal(one.moved, other.moved)
    assert np.array_equal(one.begun, other.begun)
print("same:", [int(team.counts.sum()) for team in killed.teams])
"""


@pytest.mark.stress
@pytest.mark.timeout(900)
def test_teams_learn_the_same_if_a_worker_is_killed_every_two_seconds(tmp_path: Path) -> None:
    pytest.importorskip("openmm", reason="OpenMM is not installed: pip install openmm")
    killed, said = run_struck("adaptive", SAMPLED.format(nanoseconds=1.0), tmp_path, 800.0)
    assert killed > 2, said
