"""The room for tasks of a campaign in a pool, by the workers that fit them."""

from __future__ import annotations

from steerio.campaign.pool_tasks import PoolTasks
from steerio.model.places import WorkerNeeds
from steerio.model.status import PoolLoad

LEAST = 1 << 30


def test_many_needs_are_counted_once_for_all_tasks() -> None:
    many = PoolTasks()
    load = PoolLoad(8, 0, 0, 0, makes=[(WorkerNeeds(memory_bytes=LEAST + 10_000), 8)])
    needs = [WorkerNeeds(memory_bytes=LEAST + n) for n in range(1, 9_000)]
    assert many.room(load, needs[0], 1, 0) == 8
    for each in needs[:5]:
        many.count(each, 1)
    assert {many.room(load, each, 1, 0) for each in needs} == {3}
    assert many.room(load, WorkerNeeds(memory_bytes=LEAST + 10_001), 1, 0) == 1
    many.ended(needs[0], 1)
    assert many.room(load, None, 1, 0) == 4
    smaller = PoolLoad(8, 0, 0, 0, makes=[(WorkerNeeds(memory_bytes=LEAST + 3), 6)])
    assert many.room(smaller, needs[0], 1, 0) == 6 - 2
    assert many.room(smaller, needs[4], 1, 0) == 0


def test_a_gang_takes_as_many_workers_as_it_has_members() -> None:
    tasks, load = PoolTasks(), PoolLoad(8, 0, 0, 0, makes=[(WorkerNeeds(), 8)])
    assert tasks.room(load, None, 3, 0) == 2
    assert tasks.room(load, None, 3, 1) == 3
    tasks.count(None, 3)
    assert tasks.room(load, None, 3, 0) == 1
    assert tasks.room(load, None, 1, 0) == 5
    assert tasks.room(load, None, 9, 0) == 0
    tasks.ended(None, 3)
    assert tasks.room(load, None, 9, 0) == 1, "the broker says that there are too few"
