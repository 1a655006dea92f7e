"""The policy of examples/ionization, on its recording: who goes on, also if workers are killed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from steerio import Settings
from steerio.testing import KillWorker, simulate
from tests.example_modules import example_module


@pytest.fixture
def compare() -> Iterator[ModuleType]:
    for needed in ("rdkit", "sklearn"):
        pytest.importorskip(needed, reason=f"{needed} is not installed: extra example-ionization")
    with example_module("ionization", "compare") as module:
        yield module


def some(compare: ModuleType, count: int) -> list[str]:
    return list(compare.Recording().rows)[:count]


def ran(compare: ModuleType, molecules: list[str], way: str, share: float) -> Any:
    recording = compare.Recording()
    worker_s = share * sum(sum(recording.rows[each].costs) for each in molecules)
    return compare.run(compare.WAYS[way], recording, 4, worker_s, molecules)


def test_dear_steps_are_for_few(compare: ModuleType) -> None:
    molecules = some(compare, 120)
    cheap, fair, dear = (
        len(values) for values in ran(compare, molecules, "cascade", 0.15).campaign.known
    )
    assert cheap > 2 * fair > 2 * dear > 10


def test_the_cascade_finds_more_of_the_best_than_the_last_stage_alone(compare: ModuleType) -> None:
    molecules = some(compare, 120)
    last = compare.Recording().last
    best = sorted(molecules, key=lambda each: last.get(each, 0.0))[-6:]

    def found(way: str) -> int:
        known = ran(compare, molecules, way, 0.15).campaign.known[-1]
        return sum(each in known for each in best)

    assert found("cascade") > max(found("last stage only"), found("at random"))


def test_all_values_are_the_same_if_workers_are_killed(compare: ModuleType) -> None:
    molecules, recording = some(compare, 40), compare.Recording()
    values: list[Any] = []
    for faults in ([], [KillWorker(at_s=1.0 + 3.0 * n) for n in range(12)]):
        campaign = compare.Quiet(worker_s=1e6, molecules=molecules)
        simulated = simulate(
            campaign,
            model=recording.models(),
            workers={"simulate": 2},
            faults=faults,
            settings=Settings(kills=1000),  # a molecule is none that kills its workers
        )
        assert campaign.through
        assert simulated.moves > 4
        values.append([dict(sorted(each.items())) for each in campaign.known])
    assert values[0] == values[1]
    assert values[0][-1] == {name: recording.last[name] for name in sorted(molecules)}


def test_a_molecule_that_fails_goes_no_further(compare: ModuleType) -> None:
    recording = compare.Recording()
    (failed,) = (name for name, row in recording.rows.items() if row.failure)
    campaign = compare.Quiet(worker_s=1e6, molecules=[*some(compare, 8), failed])
    simulate(campaign, model=recording.models(), workers={"simulate": 2})
    assert campaign.through
    assert list(campaign.failures) == [failed]
    assert failed in campaign.known[1]
    assert failed not in campaign.known[2]


def test_workers_are_lent_to_training_and_inference(compare: ModuleType) -> None:
    molecules = some(compare, 60)
    simulated = ran(compare, molecules, "cascade", 0.3)
    assert simulated.campaign.models > 3
    assert simulated.worker_seconds("train")[0] > 0
    assert simulated.worker_seconds("infer")[0] > 0
    assert simulated.utilisation() > 0.9


@pytest.mark.timeout(300)
def test_the_policy_runs_unchanged_on_64_workers(compare: ModuleType) -> None:
    simulated = compare.at_scale(64)
    assert simulated.utilisation() > 0.9
    assert simulated.campaign.models > 3


def test_a_level_that_is_known_leaves_no_more_than_those_above(compare: ModuleType) -> None:
    delta, recording = sys.modules["delta"], compare.Recording()
    molecules = some(compare, 60)
    rows = recording.rows
    known = [
        {each: rows[each].values[level] for each in molecules[:count]}
        for level, count in enumerate((40, 20, 10))
    ]
    found = delta.predict(delta.train(known), known, molecules)
    assert np.all(found.deviation[:10] == 0.0)
    assert np.allclose(found.mean[:10], list(known[2].values()))
    assert np.allclose(found.deviation[10:20], found.left[1, 10:20])
    assert np.allclose(found.deviation[20:40], found.left[0, 20:40])
    assert np.all(found.deviation[40:] > found.left[0, 40:])
    assert np.all(found.left[0] > found.left[1])


def test_chances_add_up_to_the_number_of_the_best(compare: ModuleType) -> None:
    delta = sys.modules["delta"]
    chance = np.random.default_rng(1)
    mean, deviation = chance.normal(9, 1, 200), chance.uniform(0.1, 1.0, 200)
    found = delta.Estimates(mean, deviation, np.zeros((3, 200)))
    assert delta.chances(found, 10).sum() == pytest.approx(10, abs=0.01)


def test_a_cheap_look_is_worth_more_than_its_share_of_the_whole_way(compare: ModuleType) -> None:
    delta = sys.modules["delta"]
    mean, deviation = np.linspace(5, 10, 100), np.full(100, 1.0)
    telling = delta.Estimates(mean, deviation, np.array([[0.2] * 100, [0.1] * 100, [0.0] * 100]))
    dull = delta.Estimates(mean, deviation, np.array([[1.0] * 100, [1.0] * 100, [0.0] * 100]))
    costs, begin = (0.02, 0.2, 4.0), [0] * 100
    worth, without = (delta.worths(each, 5, begin, costs) for each in (telling, dull))
    assert np.allclose(without, delta.chances(dull, 5) / sum(costs))
    assert np.all(worth >= without - 1e-12)
    assert np.all(worth[40:60] > 2 * without[40:60])
    assert np.all(np.diff(worth) >= -1e-12)  # who is likelier among the best goes first
