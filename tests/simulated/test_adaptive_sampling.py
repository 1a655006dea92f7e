"""The policy of examples/adaptive, on its recording: what it finds, also if workers crash."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from steerio import TaskEnded
from steerio.testing import KillWorker, simulate
from tests.example_modules import example_module


@pytest.fixture
def compare() -> Iterator[ModuleType]:
    with example_module("adaptive", "compare") as module:
        yield module


def learned(compare: ModuleType, faults: Any = (), way: str = "steered") -> Any:
    campaign = compare.Replayed(within=0.0, nanoseconds=1.0, way=way)
    model = {compare.replica: partial(compare.Recording().draw, way=way)}
    return simulate(campaign, model=model, workers={"dynamics": 2}, faults=faults).campaign


def test_teams_learn_the_same_if_workers_are_killed(compare: ModuleType) -> None:
    whole = learned(compare)
    kills = [KillWorker(at_s=0.1 + 0.37 * n, pool="dynamics") for n in range(6)]
    killed = learned(compare, kills)
    for one, other in zip(whole.teams, killed.teams, strict=True):
        assert one.counts.sum() >= 250
        assert np.array_equal(one.moved, other.moved)
        assert np.array_equal(one.begun, other.begun)


def test_a_campaign_that_is_stopped_begins_no_other_replica(compare: ModuleType) -> None:
    model = {compare.replica: partial(compare.Recording().draw, way="steered")}
    campaign = compare.Replayed(within=0.0, nanoseconds=1.0)
    ran = simulate(campaign, model=model, workers={"dynamics": 2}, until_s=1.0)
    ended = [event.at for event in ran.events if isinstance(event, TaskEnded)]
    assert 10 < len(ended) < 200
    assert len(ran.campaign.walks) <= len(ended)


def test_steering_halts_replicas_early(compare: ModuleType) -> None:
    steered = learned(compare)
    going_on = learned(compare, way="long")
    assert len(steered.walks) > 3 * len(going_on.walks)


def test_the_share_does_not_depend_on_where_replicas_begin(compare: ModuleType) -> None:
    sampler = sys.modules["sampler"]
    moves = np.zeros((compare.BINS**2, compare.BINS**2), int)
    here, there = 0, int(np.argmax(sampler.BEYOND))
    linked = np.isin(np.arange(len(moves)), (here, there))
    moves[here, here], moves[here, there], moves[there, here] = 900, 100, 100
    assert sampler.share_of(moves, linked) == pytest.approx(1 / 11)
    moves[here] *= 50  # begun there fifty times more often
    assert sampler.share_of(moves, linked) == pytest.approx(1 / 11)
    moves[7, here] = 1000  # was begun at, and never come to
    assert sampler.share_of(moves, linked) == pytest.approx(1 / 11)


def test_teams_do_not_agree_while_one_knows_a_place_that_others_have_not_come_to(
    compare: ModuleType,
) -> None:
    sampler = sys.modules["sampler"]
    teams = [sampler.Team(index, 4, 1, "steered", 1000) for index in range(4)]
    for team in teams:
        team.moved[0, 0] = team.counts[0] = 1000
    assert sampler.agreement(teams) == (0.0, 0.0)
    teams[1].counts[200], teams[1].moved[200, 0] = 400, 1  # it began there, and has left for ever
    share, around = sampler.agreement(teams)
    assert (share, around) == (0.0, pytest.approx(400 / 4400))
