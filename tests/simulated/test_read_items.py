"""No snapshot is taken while an agent reads the items of a generator task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from steerio import Campaign, agent, task
from steerio.testing import Model
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import play


@task
def count_up(n: int) -> Iterator[int]:
    yield from range(n)


class Reading(Campaign):
    """An agent that checkpoints while it reads."""

    workers: ClassVar = {"default": 1}

    def __init__(self) -> None:
        self.items: list[int] = []

    @agent
    async def read(self) -> None:
        async for item in self.stream(count_up, 8):
            self.items.append(item)
            await self.checkpoint()


def test_no_snapshot_has_a_task_whose_items_are_read() -> None:
    campaign = Reading()
    keeping = play(campaign, CrashingDisk(), Model(10.0), workers=1, every_s=1.0)
    assert campaign.items == list(range(8))
    assert keeping.snapshots.taken <= 1  # when the task has ended, the reader has an item left
