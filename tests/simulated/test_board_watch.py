"""Campaigns tell how their boards stand: seldom, in the end, and the same in every run."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, ClassVar

import pytest

from steerio import Board, Campaign, Session, agent, on_success
from steerio.campaign.board_watch import MOST_BOARDS, BoardWatch, pause_s
from steerio.campaign.conductor import drive
from steerio.model.events import BoardChanged
from steerio.testing import SimulatedCluster, SimulatedRun, simulate
from tests.simulated.virtual import (
    AS_ASKED,
    in_virtual_time,
    of_kind,
    on_cluster,
    simulation,
    training,
)


class Ranked(Campaign):
    workers: ClassVar = {"simulate": 2}

    def __init__(self, times: Iterable[float]) -> None:
        self.todo = Board(simulation, times)


def told(run: SimulatedRun[Any]) -> list[BoardChanged]:
    return of_kind(run.events, BoardChanged)


def counts(events: list[BoardChanged]) -> list[tuple[int, int, int]]:
    return [(event.waiting, event.out, event.ended) for event in events]


@pytest.mark.smoke
def test_a_board_is_told_of_once_a_second_at_most_and_as_the_campaign_ends() -> None:
    events = told(simulate(Ranked([0.25 + i / 1000 for i in range(40)]), model=AS_ASKED))
    assert {(each.name, each.pool, each.client) for each in events} == {
        ("Ranked.todo", "simulate", "Ranked")
    }
    assert counts(events)[0] == (38, 2, 0)
    assert counts(events)[-1] == (0, 0, 40)
    for earlier, later in pairwise(events[:-1]):
        assert later.at - earlier.at >= 0.99 * pause_s(earlier.at) > 0.09
    assert len(events) > 4
    assert all(each.waiting + each.out + each.ended == 40 for each in events)


@in_virtual_time
async def test_a_long_run_is_told_of_less_often() -> None:
    events: list[BoardChanged] = []
    watch, board = BoardWatch(events.append), Board(simulation)
    watch.follow({"todo": board})
    for number in range(20_000):
        board.add(float(number))
        watch.changed()
        await asyncio.sleep(0.5)
    watch.close()
    assert 1000 + 1000 * math.log(10) < len(events) < 1.05 * (1000 + 1000 * math.log(10))
    assert (pause_s(0.0), pause_s(5.0), pause_s(100.0), pause_s(1e4)) == (0.1, 0.5, 1.0, 10.0)
    assert events[-1].waiting == 20_000
    assert events[-1].oldest_s == pytest.approx(10_000.0, abs=0.5)


def test_the_age_is_that_of_the_oldest_that_waits() -> None:
    events = told(simulate(Ranked([10.0 + 2 * i for i in range(6)]), model=AS_ASKED))
    waited = [event for event in events if event.waiting]
    assert [event.waiting for event in waited] == [4, 3, 2, 1]
    assert [event.oldest_s for event in waited] == pytest.approx([event.at for event in waited])
    assert [event.oldest_s for event in events if not event.waiting] == [0.0, 0.0, 0.0]


class Growing(Campaign):
    workers: ClassVar = {"simulate": 1}

    def __init__(self) -> None:
        self.todo = Board(simulation)

    @agent
    async def grow(self) -> None:
        for number in range(4):
            self.todo.add(100.0 + number)
            await asyncio.sleep(10.0)
        self.todo.discard(101.0)
        self.todo.rescore({103.0: 5.0})


def test_an_entry_keeps_its_age_when_it_is_ranked_again() -> None:
    events = told(simulate(Growing(), model=AS_ASKED))
    assert [(round(e.at), e.waiting, e.oldest_s) for e in events[:4]] == [
        (0, 0, 0.0), (10, 1, 0.0), (20, 2, 10.0), (30, 3, 20.0),
    ]  # fmt: skip
    assert [(round(e.at), e.waiting, e.oldest_s) for e in events[4:]] == [
        (40, 2, 20.0), (100, 1, 80.0), (203, 0, 0.0), (305, 0, 0.0),
    ]  # fmt: skip


class Several(Campaign):
    workers: ClassVar = {"simulate": 1, "learn": 1}

    def __init__(self) -> None:
        self.first = self.again = Board(simulation, [1.0])
        self.more = [Board(training, [2]), Board(training, [3])]

    @on_success(training)
    async def another(self, result: Any) -> None:
        if result.value == 2:
            self.first = Board(simulation, [4.0, 5.0])


def test_boards_are_named_by_their_attributes_and_told_of_apart() -> None:
    events = told(simulate(Several(), model=AS_ASKED))
    last = {each.name: (each.waiting, each.out, each.ended) for each in events}
    assert last == {
        "Several.first": (0, 0, 2),
        "Several.again": (0, 0, 1),
        "Several.more[0]": (0, 0, 1),
        "Several.more[1]": (0, 0, 1),
    }


class Many(Campaign):
    workers: ClassVar = {"simulate": 1}

    def __init__(self) -> None:
        for number in range(MOST_BOARDS + 10):
            setattr(self, f"b{number}", Board(simulation, [1.0]))


def test_of_many_boards_the_first_are_told_of() -> None:
    assert len({each.name for each in told(simulate(Many(), model=AS_ASKED))}) == MOST_BOARDS


def test_the_same_run_tells_the_same() -> None:
    runs = [simulate(Growing(), model=AS_ASKED).event_log for _ in range(2)]
    assert runs[0] == runs[1]


@on_cluster(2)
async def test_a_campaign_on_a_session_tells_and_leaves_no_timer(
    cluster: SimulatedCluster, session: Session
) -> None:
    campaign = Ranked([1.0, 2.0, 3.0])
    await drive(campaign, session)
    await asyncio.sleep(5.0)
    before = len(of_kind(cluster.record.events, BoardChanged))
    campaign.todo.add(4.0)
    await asyncio.sleep(5.0)
    assert len(of_kind(cluster.record.events, BoardChanged)) == before > 0
