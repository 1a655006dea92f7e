"""A recorded result whose call is cancelled before it has it is kept for another."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from steerio import Campaign, agent, task
from steerio.testing import Model
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import play


@task
def measure(x: int) -> int:
    return x * x


class Cancelling(Campaign):
    """Cancels its call at once, if it is told so."""

    workers: ClassVar = {"default": 1}

    def __init__(self, *, cancels: bool, again: bool) -> None:
        self.cancels, self.again = cancels, again
        self.ends: list[str] = []

    @agent
    async def call(self) -> None:
        for cancels in [self.cancels] + [False] * self.again:
            handle = self.submit(measure, 3)
            if cancels:
                handle.cancel()
            self.ends.append((await handle.result()).ended_as)
            await asyncio.sleep(1.0)


def ends(*, again: bool) -> tuple[Cancelling, Any]:
    disk = CrashingDisk()
    play(Cancelling(cancels=False, again=False), disk, Model(1.0))
    campaign = Cancelling(cancels=True, again=again)
    return campaign, play(campaign, disk, Model(1.0))


def test_a_result_whose_call_was_cancelled_is_recovered() -> None:
    campaign, keeping = ends(again=False)
    assert campaign.ends == ["cancelled"]
    assert [each.value for each in campaign.recovered] == [9]  # type: ignore[attr-defined]
    assert keeping.recorded_before == 0


def test_a_result_whose_call_was_cancelled_is_given_to_the_next() -> None:
    campaign, keeping = ends(again=True)
    assert campaign.ends == ["cancelled", "succeeded"]
    assert not campaign.recovered
    assert keeping.recorded_before == 1
