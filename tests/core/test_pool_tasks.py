"""The room for tasks of a campaign in a pool, by the workers that fit them."""

from __future__ import annotations

from steerio.campaign.pool_tasks import PoolTasks
from steerio.model.places import WorkerNeeds
from steerio.model.status import PoolLoad

LEAST = 1 << 30


def room(tasks: PoolTasks, load: PoolLoad, needs: WorkerNeeds | None, gang: int = 1) -> int:
    """Return how many more may go out one after the other."""
    count = 0
    while tasks.has_room(load, needs, gang, 0):
        tasks.count(needs, gang, 1)
        count += 1
    for _ in range(count):
        tasks.ended(needs, gang)
    return count


def test_many_needs_are_counted_once_for_all_tasks() -> None:
    many = PoolTasks()
    load = PoolLoad(8, 0, 0, 0, makes=[(WorkerNeeds(memory_bytes=LEAST + 10_000), 8)])
    needs = [WorkerNeeds(memory_bytes=LEAST + n) for n in range(1, 9_000)]
    assert room(many, load, needs[0]) == 8
    for each in needs[:5]:
        many.count(each, 1, 1)
    assert {room(many, load, each) for each in needs} == {3}
    assert room(many, load, WorkerNeeds(memory_bytes=LEAST + 10_001)) == 1
    many.ended(needs[0], 1)
    assert room(many, load, None) == 4
    smaller = PoolLoad(8, 0, 0, 0, makes=[(WorkerNeeds(memory_bytes=LEAST + 3), 6)])
    assert room(many, smaller, needs[0]) == 6 - 2
    assert room(many, smaller, needs[4]) == 0


def test_a_gang_takes_as_many_workers_as_it_has_members() -> None:
    tasks, load = PoolTasks(), PoolLoad(8, 0, 0, 0, makes=[(WorkerNeeds(), 8)])
    assert room(tasks, load, None, 3) == 2
    tasks.count(None, 3, 1)
    assert room(tasks, load, None, 3) == 1
    assert room(tasks, load, None) == 5
    assert room(tasks, load, None, 9) == 1, "the broker says that there are too few"


def test_a_gang_goes_out_once_smaller_tasks_are_all_that_it_has_to_wait_for() -> None:
    tasks, load = PoolTasks(), PoolLoad(8, 0, 0, 0, makes=[(WorkerNeeds(), 8)])
    tasks.count(None, 1, 8)
    assert room(tasks, load, None, 4) == 0
    tasks.ended(None, 1)
    assert room(tasks, load, None, 4) == 1
    tasks.count(None, 4, 1)
    assert room(tasks, load, None) == 0, "the broker keeps workers for it"
    for _ in range(4):
        tasks.ended(None, 1)
    assert room(tasks, load, None, 4) == 1
    tasks.ended(None, 1)
    tasks.ended(None, 4)
    tasks.count(None, 5, 1)
    assert room(tasks, load, None, 4) == 0, "a gang as large has to end first"
    assert room(tasks, load, None) == 1
