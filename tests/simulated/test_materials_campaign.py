"""The policy of examples/materials, on its recording: its decisions, also if workers crash."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from steerio import TaskEnded, VersionPublished, WorkerMoved
from steerio.testing import KillWorker, simulate
from tests.example_modules import example_module

REPEATS = 3


@pytest.fixture
def compare() -> Iterator[ModuleType]:
    with example_module("materials", "compare") as module:
        yield module


def runs(ran: Any, name: str) -> list[Any]:
    """Return the records of the tasks of a type that succeeded, in the order of their ends."""
    found = [each for each in ran.records if each.task_type.endswith(f":{name}")]
    return sorted((each for each in found if each.ended_as == "succeeded"), key=lambda e: e.ended)


def test_workers_move_to_the_stages_that_have_work(compare: ModuleType) -> None:
    ran = compare.run(compare.Replayed, compare.moving(8), 1, 15.0)
    static = compare.run(compare.Static, compare.moving(8) | {"learn": 1}, 1, 15.0)
    assert any(isinstance(event, WorkerMoved) for event in ran.events)
    assert ran.utilisation() > 0.85 > static.utilisation()
    assert not static.moves


def test_a_campaign_ends_when_its_budget_is_used_up_and_all_is_measured(
    compare: ModuleType,
) -> None:
    campaign = compare.Replayed(budget=24)
    ran = simulate(campaign, model=compare.Recording().models, workers=compare.moving(8), seed=1)
    assert 24 <= campaign.ends < 48
    boards = (campaign.linkers, campaign.frameworks, campaign.fresh, campaign.again)
    assert not any(len(board) or board.running for board in boards)
    ended = Counter(event.ended_as for event in ran.events if isinstance(event, TaskEnded))
    assert ended["succeeded"] > 50
    assert campaign.computed


def test_a_stack_that_is_smaller_than_a_batch_is_filled_all_the_same(compare: ModuleType) -> None:
    campaign = compare.Replayed(budget=8, batch=16, stack=4)
    simulate(campaign, model=compare.Recording().models, workers=compare.moving(8), seed=1)
    assert campaign.ends >= 8


def test_leaders_are_measured_again_with_other_seeds_before_their_long_run(
    compare: ModuleType,
) -> None:
    campaign = compare.Replayed(budget=80)
    simulate(campaign, model=compare.Recording().models, workers=compare.moving(8), seed=1)
    measured = Counter(len(each.short) for each in campaign.candidates.values())
    assert measured[1], "some fall behind at once"
    assert measured[REPEATS] >= len(campaign.computed) > 0
    assert max(measured) == REPEATS
    assert all(len(each.short) == REPEATS for each in campaign.computed)


def test_the_newest_model_writes_the_next_linkers(compare: ModuleType) -> None:
    ran = compare.run(compare.Replayed, compare.moving(8), 1, 15.0)
    published = [event for event in ran.events if isinstance(event, VersionPublished)]
    assert len(published) == ran.campaign.version + 1 > 3
    for version in published[1:-1]:
        begun = (each for each in runs(ran, "generate") if each.started >= version.at)
        assert next(begun).versions["linkers"] >= version.version


def test_a_generator_that_is_trained_writes_better_pairs_more_often(compare: ModuleType) -> None:
    linkers = sys.modules["linkers"]
    good, bad = "c1ccc(o1)", "C#C"
    worth = {linkers.linker([good]): 2.0, linkers.linker([bad]): 0.0}
    model = linkers.train.function(worth)
    written = Counter(
        each for seed in range(40) for each in linkers.generate.function(model, 16, seed)
    )
    assert written[linkers.linker([good])] > 2 * written[linkers.linker([bad])]
    assert linkers.train.function({linkers.linker([bad]): 0.0}) == linkers.FIRST


def test_outcomes_are_the_same_if_workers_are_killed(compare: ModuleType) -> None:
    kills = [KillWorker(at_s=1.0 + 1.7 * n, pool="dynamics") for n in range(6)]
    told = []
    for faults in ([], kills):
        campaign = compare.Replayed(budget=40, retrain=10**9)
        simulate(
            campaign,
            model=compare.Recording().models,
            workers=compare.moving(8),
            seed=1,
            faults=faults,
        )
        assert campaign.ends >= 40
        told.append({name: each.short[0] for name, each in campaign.candidates.items()})
    whole, killed = told
    both = whole.keys() & killed.keys()
    assert len(both) >= 8
    assert {name: whole[name] for name in both} == {name: killed[name] for name in both}


def test_the_unchanged_policy_keeps_64_workers_busy(compare: ModuleType) -> None:
    ran = compare.at_scale(64)
    assert ran.utilisation() > 0.7
    assert ran.moves


@pytest.mark.stress
def test_the_unchanged_policy_keeps_1024_workers_busy(compare: ModuleType) -> None:
    assert compare.at_scale(1024).utilisation() > 0.7
