"""The policy of examples/protein with a made-up score: its models, and workers that are killed."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from steerio.testing import KillWorker, Model, simulate
from tests.example_modules import example_module

FAKE = """
import json
from pathlib import Path

from proposals import chosen


def propose(model_path, n, seed):
    content = json.loads(Path(model_path).read_text())
    return [content["best"], "no peptide", *chosen(n - 2, seed, "A**AA**A", "AEK")]


def finetune(model_path, data, seed):
    best = max(data, key=data.get)
    path = Path(model_path).with_name(f"trained-on-{len(data)}.json")
    path.write_text(json.dumps({"best": best}))
    return str(path)
"""


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / "fake_model.py").write_text(FAKE)
    monkeypatch.syspath_prepend(str(tmp_path))
    with example_module("protein", "search") as module:
        monkeypatch.setattr(module.PeptideDesign, "needs_packages", False)
        yield module
    sys.modules.pop("fake_model", None)


def score(sequence: str) -> float:
    return sum(random.Random(f"{place}{each}").gauss(0, 5) for place, each in enumerate(sequence))


def models(search: ModuleType) -> dict[Any, Model]:
    return {
        search.helix_preference: Model(
            lambda rng, sequence: 0.5 + rng.random(), value=score, obeys="term"
        ),
        search.begin: Model(0.3),
        search.finetune: Model(0.2),
        search.propose: Model(0.05),
    }


def fake(search: ModuleType, tmp_path: Path, **options: Any) -> Any:
    start = tmp_path / "checkpoint.json"
    start.write_text('{"best": "AAAAAAAA"}')
    return search.PeptideDesign(letters="AEK", model="fake_model", start=str(start), **options)


def test_a_model_of_ones_own_takes_the_place_of_the_language_model(
    search: ModuleType, tmp_path: Path
) -> None:
    campaign = fake(search, tmp_path, budget=40)
    ran = simulate(campaign, model=models(search), workers={"simulate": 4, "model": 0})
    assert len(campaign.scores) == 40
    proposals = importlib.import_module("proposals")
    assert all(proposals.fits(each, "A**AA**A", "AEK") for each in campaign.scores)
    assert len(list(tmp_path.glob("trained-on-*.json"))) == len(campaign.trained_at) - 1 > 2
    assert ran.moves > 0
    assert ran.utilisation("simulate") > 0.8


def test_each_score_says_which_model_proposed_it_and_how_old_that_was(
    search: ModuleType, tmp_path: Path
) -> None:
    campaign = fake(search, tmp_path, budget=48)
    simulate(campaign, model=models(search), workers={"simulate": 4, "model": 0})
    lags = list(campaign.lags.values())
    assert [lag.version for lag in lags].count(0) == campaign.first
    assert max(lag.version for lag in lags) > 2
    for lag in lags:
        assert (lag.age_s > 0) == (lag.version > 0)
        assert 0 <= lag.behind <= len(campaign.trained_at) - lag.version


def test_all_of_a_small_space_is_scored_once_and_alike_if_workers_are_killed(
    search: ModuleType, tmp_path: Path
) -> None:
    kills = [KillWorker(at_s=1.0 + 1.3 * n, pool="simulate") for n in range(12)]
    scores = []
    for faults in ([], kills):
        campaign = fake(search, tmp_path, budget=1000)
        workers = {"simulate": 4, "model": 0}
        simulate(campaign, model=models(search), workers=workers, faults=faults)
        assert campaign.failed == 0
        scores.append(campaign.scores)
    assert len(scores[0]) == 3**4
    assert scores[0] == scores[1]


def test_a_sequence_that_cannot_be_scored_is_paid_for(search: ModuleType, tmp_path: Path) -> None:
    campaign = fake(search, tmp_path, budget=40)
    model = models(search) | {search.helix_preference: Model(1.0, value=score, fails=0.2)}
    simulate(campaign, model=model, workers={"simulate": 4, "model": 0})
    assert campaign.failed > 0
    assert len(campaign.scores) + campaign.failed == 40


def test_the_language_model_learns_which_letters_score_well(search: ModuleType) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    language = importlib.import_module("language")
    known = search.chosen(40, 1, "A**AA**A", "AEKLQ")
    one = language.start(known, 1)
    before = language.propose(one, 64, 1)
    one = language.finetune(one, {each: score(each) for each in known}, 1)
    after = language.propose(one, 64, 1)
    assert language.propose(one, 64, 1) == after
    assert sum(map(score, after)) > sum(map(score, before))


def test_new_sequences_take_the_place_of_known_ones(search: ModuleType) -> None:
    proposals = importlib.import_module("proposals")
    got = proposals.new_sequences(["AAAA", "AEEA", "XXXX"], 3, 1, "A**A", "AE", ["AAAA"])
    assert sorted(got) == ["AAEA", "AEAA", "AEEA"]
    assert proposals.new_sequences(["AAAA"], 3, 1, "A**A", "AE", [*got, "AAAA"]) == []


def test_the_policy_keeps_many_workers_busy(search: ModuleType) -> None:
    pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    ran = importlib.import_module("compare").at_scale(16)
    assert len(ran.campaign.scores) == 128
    assert len(ran.campaign.trained_at) > 3
    assert ran.utilisation("simulate") > 0.6
