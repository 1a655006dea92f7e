"""A campaign knows at its end how busy its workers were, and whether it did anything."""

from __future__ import annotations

import asyncio
import logging
from typing import ClassVar

import pytest

from steerio import Campaign, agent
from steerio.campaign.conductor import Conductor
from steerio.campaign.usage import UsedTime
from steerio.model.status import PoolLoad
from steerio.testing import simulate
from tests.simulated.virtual import AS_ASKED, simulation, training

pytestmark = pytest.mark.borders


def load(workers: int, starting: int = 0) -> PoolLoad:
    return PoolLoad(workers, 0, 0, 0, starting)


def test_the_busy_share_counts_workers_for_as_long_as_they_were_ready() -> None:
    used = UsedTime(100.0)
    assert used.busy() == {}
    used.look({"a": load(2, starting=2), "b": load(1)}, 100.0)
    used.look({"a": load(2), "b": load(1)}, 110.0)
    used.worked("a", 15.0)
    used.look({"a": load(1), "b": load(2)}, 120.0)
    used.look({}, 130.0)
    assert used.busy() == {"a": 0.5, "b": 0.0}
    used.worked("a", 100.0)
    assert used.busy()["a"] == 1.0, "what is measured on different clocks may differ"


class Working(Campaign):
    workers: ClassVar = {"simulate": 2, "learn": 1}

    def __init__(self) -> None:
        self.seen: list[Conductor] = []

    async def setup(self) -> None:
        assert isinstance(self._conductor, Conductor)
        self.seen.append(self._conductor)
        await asyncio.gather(self.run(simulation, 100.0), self.run(simulation, 50.0))
        await self.run(training, 10)


def test_a_campaign_adds_up_what_its_tasks_took_of_each_pool() -> None:
    campaign = simulate(Working(), model=AS_ASKED).campaign
    (conductor,) = campaign.seen
    assert conductor.pools.used.busy() == pytest.approx({"simulate": 150 / 220, "learn": 10 / 110})


class Nothing(Campaign):
    workers: ClassVar = {"simulate": 1}

    @agent
    async def wait(self) -> None:
        await asyncio.sleep(5)


def test_a_campaign_that_did_nothing_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "steerio"):
        simulate(Nothing(), model=AS_ASKED)
        simulate(Working(), model=AS_ASKED)
    (said,) = [record.message for record in caplog.records]
    assert said.startswith("Nothing has ended and done nothing: no task was submitted. Submit")
