"""The policy of examples/adaptive, on its recording: what it finds, also if workers crash."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from steerio.testing import KillWorker, simulate

EXAMPLE = Path(__file__).parents[2] / "examples" / "adaptive"
MODULES = ("dipeptide", "sampler", "search", "compare")


@pytest.fixture
def compare() -> Iterator[ModuleType]:
    """Load the example, which is a folder of scripts and no package."""
    before = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(EXAMPLE))
        yield importlib.import_module("compare")
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.modules.update(before)


def learned(compare: ModuleType, faults: list[Any] | None = None, **options: Any) -> Any:
    campaign = compare.Replayed(within=0.0, **options)
    model = {compare.replica: compare.Recording().draw}
    return simulate(campaign, model=model, workers={"dynamics": 2}, faults=faults or []).campaign


def test_teams_learn_the_same_if_workers_are_killed(compare: ModuleType) -> None:
    whole = learned(compare, nanoseconds=1.0)
    kills = [KillWorker(at_s=0.1 + 0.37 * n, pool="dynamics") for n in range(6)]
    killed = learned(compare, kills, nanoseconds=1.0)
    for one, other in zip(whole.teams, killed.teams, strict=True):
        assert one.counts.sum() >= 250
        assert np.array_equal(one.moved, other.moved)
        assert np.array_equal(one.begun, other.begun)


def test_steering_halts_replicas_early_and_sees_more(compare: ModuleType) -> None:
    steered = learned(compare, nanoseconds=1.0)
    going_on = learned(compare, nanoseconds=1.0, way="long")
    assert len(steered.walks) > 3 * len(going_on.walks)
    assert steered.bins > going_on.bins


def test_the_stationary_distribution_does_not_depend_on_where_replicas_begin(
    compare: ModuleType,
) -> None:
    sampler = sys.modules["sampler"]
    moves = np.zeros((compare.BINS**2, compare.BINS**2), int)
    here, there = 0, int(np.argmax(sampler.BEYOND))
    moves[here, here], moves[here, there], moves[there, here] = 900, 100, 100
    assert sampler.share_of(moves) == pytest.approx(1 / 11)
    moves[here] *= 50  # begun there fifty times more often
    assert sampler.share_of(moves) == pytest.approx(1 / 11)
    moves[7, here] = 1000  # was begun at, and never come to
    assert sampler.share_of(moves) == pytest.approx(1 / 11)
