"""The policy of examples/training, on its recording: versions, lags, and workers that are lost."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest

from steerio.testing import KillWorker, simulate
from tests.example_modules import example_module

WORKERS = {"simulate": 6, "learn": 4}


@pytest.fixture
def compare() -> Iterator[ModuleType]:
    with example_module("training", "compare") as module:
        yield module


def ran(compare: ModuleType, faults: Any = (), **options: Any) -> Any:
    """Simulate a search of 120 simulations, each member trained by two workers."""
    campaign = compare.Meanwhile(120, ranks=2, **options)
    source = compare.Recorded("steered", 1, 2)
    return simulate(campaign, model=source.models(), workers=WORKERS, faults=faults)


def trainings(run: Any) -> list[Any]:
    return [each for each in run.records if each.task_type.endswith(":fit")]


def test_simulations_go_on_while_members_are_trained(compare: ModuleType) -> None:
    run = ran(compare)
    campaign = run.campaign
    assert len(campaign.values) >= 120
    assert run.utilisation("simulate") > 0.8
    for trained in campaign.trained:
        assert len(trained) > 1
        assert all(later - before >= campaign.every for before, later in pairwise(trained))
    assert campaign.lags
    assert all(lag >= 0 for lag in campaign.lags.values())
    assert set(run.notes) == {"best", "results_behind", "seconds_to_first_use"}


def test_triggers_to_retrain_coalesce_and_the_newest_results_are_learnt(
    compare: ModuleType,
) -> None:
    run = ran(compare)
    simulated = sorted(
        each.ended for each in run.records if each.task_type.endswith(":simulate") and each.ended
    )
    ended = [each for each in trainings(run) if each.ended_as == "succeeded"]
    assert len(ended) < len(run.campaign.values) // run.campaign.every * 4
    learnt = {at: rows for trained in run.campaign.trained for rows, at in trained.items()}
    for each in ended:
        known = sum(at <= each.started for at in simulated)
        assert known - 8 < learnt[each.ended] <= known


def test_a_gang_that_loses_a_worker_is_retried_as_one(compare: ModuleType) -> None:
    whole = ran(compare)
    begun = trainings(whole)[0].started
    kills = [KillWorker(at_s=begun + 0.1 + 0.2 * n, pool="learn") for n in range(4)]
    kills += [KillWorker(at_s=0.2 + 0.3 * n, pool="simulate") for n in range(4)]
    run = ran(compare, kills)
    assert len(run.campaign.values) >= 120
    again = [each for each in trainings(run) if each.attempt > 1]
    assert again
    assert {each.ended_as for each in trainings(run)} <= {"succeeded", "cancelled"}
    assert all(run.campaign.trained)


def test_a_model_that_is_not_retrained_gives_its_workers_away(compare: ModuleType) -> None:
    run = compare.run("fixed", 1, compare.Recorded("fixed", 1, 1))
    assert [len(trained) for trained in run.campaign.trained] == [1] * 4
    assert run.moves == compare.LEARN


@pytest.mark.parametrize("way", ["alone", "steered", "rounds", "fixed", "random"])
def test_a_replay_asks_for_nothing_that_was_not_recorded(compare: ModuleType, way: str) -> None:
    source = compare.Recorded(way, 2, compare.ranks_of(way))
    source.every = []  # so that a point which is not in the file is an error
    run = compare.run(way, 2, source)
    assert set(run.campaign.points) <= set(source.known)
    assert run.campaign.asked * run.campaign.batch <= len(source.points)
    assert run.campaign.values == [source.known[point].value for point in run.campaign.points]
