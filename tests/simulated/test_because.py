"""The record says because of which results each task was submitted."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from msgspec import Struct

from steerio import Board, Campaign, Succeeded, agent, on_event, on_success, task
from steerio.broker.broker import Broker
from steerio.edge.record.record_files import TaskEntry
from steerio.edge.wire.memory import MemoryRouter
from steerio.model import messages as ms
from steerio.model.bounds import MOST_BEHIND
from steerio.model.tasks import TaskOptions, TaskSpec
from steerio.testing import Model, simulate
from steerio.testing.record import MemoryRecord
from tests.simulated.kept_runs import CrashingDisk, cut, play


@task
def first(x: int) -> int:
    return x


@task
def second(x: int) -> int:
    return x


@task
def third(x: int) -> int:
    return x


@task
def together(xs: list[int]) -> int:
    return len(xs)


MODEL = Model(lambda random, x: 0.5 + random.random(), value=lambda x: 0)


class Found(Struct):
    x: int


def by_call(records: list[TaskEntry]) -> dict[tuple[str, Any], TaskEntry]:
    """Return the entries by their function and argument, each of which is there once."""
    found = {(each.task_type.rpartition(":")[2], str(each.args[0][0])): each for each in records}
    assert len(found) == len(records)
    return found


class Follows(Campaign):
    """Submits because of single results, of batches, of events, and because of nothing."""

    workers: ClassVar = {"default": 3}

    def __init__(self) -> None:
        self.todo = Board(first, range(4))
        self.later: Board[int] = Board(second)

    @on_success(first)
    async def each(self, result: Succeeded) -> None:
        x: Any = result.args[0]
        if x == 0:
            await self.run(second, 10)
            self.submit(third, 11)  # after a wait, and still because of the same result
        if x == 1:
            self.later.add(20)
        if x == 2:
            self.publish(Found(x))
        if x == 3:
            other: Any = self.submit(second, 30)
            self.submit(third, other)  # waits for another task

    @on_event(Found)
    async def found(self, event: Found) -> None:
        self.submit(second, 40 + event.x)

    @on_success(first, every=2)
    async def pairs(self, results: list[Succeeded]) -> None:
        self.submit(together, [result.args[0] for result in results])

    @agent
    async def alone(self) -> None:
        self.submit(second, await self.run(second, 50) + 1)


def test_each_task_names_the_results_that_its_agent_handled() -> None:
    found = by_call(simulate(Follows(), model=MODEL).records)

    def ids(*calls: int) -> tuple[int, ...]:
        return tuple(found["first", str(x)].task_id for x in calls)

    assert {found["first", str(x)].because for x in range(4)} == {None}
    assert found["second", "10"].because == found["third", "11"].because == ids(0)
    assert found["second", "20"].because == ids(1), "an entry of a board: who added it"
    assert found["second", "42"].because == ids(2), "an event: who published it"
    assert found["second", "30"].because == found["third", "0"].because == ids(3)
    assert found["second", "50"].because is found["second", "1"].because is None
    pairs = [entry for entry in found.values() if entry.cause == "Follows.pairs"]
    assert len(pairs) == 2
    for entry in pairs:
        assert entry.because == ids(*entry.args[0][0])


class Crowd(Campaign):
    workers: ClassVar = {"default": 4}

    def __init__(self) -> None:
        self.todo = Board(first, range(2 * MOST_BEHIND))

    @on_success(first, every=2 * MOST_BEHIND)
    async def all_of_them(self, results: list[Succeeded]) -> None:
        self.submit(second, len(results))


def test_of_many_results_the_first_are_named() -> None:
    records = simulate(Crowd(), model=MODEL).records
    ended = [entry.task_id for entry in records if entry.task_type.endswith(":first")]
    assert records[-1].because == tuple(ended[:MOST_BEHIND])


class Coalesced(Campaign):
    """Handles events that came in while it was busy in one call."""

    workers: ClassVar = {"default": 1}

    def __init__(self) -> None:
        self.todo = Board(first, range(6))

    @on_success(first)
    async def tell(self, result: Succeeded) -> None:
        self.publish(Found(result.args[0]))

    @on_event(Found, coalesce=True)
    async def found(self, events: list[Found]) -> None:
        await self.run(together, [event.x for event in events])


def test_a_call_with_several_events_has_the_reason_of_the_last() -> None:
    found = by_call(simulate(Coalesced(), model=MODEL).records)
    followed = [entry for (name, _), entry in found.items() if name == "together"]
    assert Counter(x for entry in followed for x in entry.args[0][0]) == Counter(range(6))
    for entry in followed:
        assert entry.because == (found["first", str(entry.args[0][0][-1])].task_id,)


def test_after_a_resume_the_names_are_those_of_the_record() -> None:
    """Results that are given out again have other ids in the process that resumes."""
    disk, before, after = CrashingDisk(), MemoryRecord(), MemoryRecord()
    uncut = CrashingDisk()
    play(Follows(), uncut, MODEL, every_s=100.0)
    files = cut(Follows(), disk, uncut.changes * 2 // 3, model=MODEL, every_s=100.0, record=before)
    assert files is not None
    play(Follows(), CrashingDisk(files), MODEL, every_s=100.0, record=after)
    tasks = {entry.task_id: entry for entry in [*before.tasks, *after.tasks]}
    assert len(tasks) == len(before.tasks) + len(after.tasks)
    given = {number for entry in after.tasks for number in entry.because or ()}
    assert given <= set(tasks)
    assert given & {entry.task_id for entry in before.tasks}, "a result of before led to a task"
    for entry in after.tasks:
        if entry.cause == "Follows.pairs":
            assert [tasks[n].args[0][0] for n in entry.because or ()] == entry.args[0][0]


class Ranked(Campaign):
    """Hands out by a board for long, which agents have ranked before the cut."""

    workers: ClassVar = {"default": 1}

    def __init__(self) -> None:
        self.todo = Board(first, [0])
        self.later: Board[int] = Board(second)

    @on_success(first)
    async def add(self, result: Succeeded) -> None:
        self.later.add_all(range(20))


def test_a_snapshot_keeps_the_reasons_of_the_entries_of_boards() -> None:
    disk, before, after = CrashingDisk(), MemoryRecord(), MemoryRecord()
    uncut = CrashingDisk()
    keeping = play(Ranked(), uncut, MODEL, every_s=2.0)
    assert keeping.snapshots.taken > 2
    files = cut(Ranked(), disk, uncut.changes * 2 // 3, model=MODEL, every_s=2.0, record=before)
    assert files is not None
    play(Ranked(), CrashingDisk(files), MODEL, every_s=2.0, record=after)
    (root,) = (entry.task_id for entry in before.tasks if entry.task_type.endswith(":first"))
    assert after.tasks
    assert {entry.because for entry in after.tasks} == {(root,)}


def test_of_a_client_that_names_too_many_the_first_are_recorded() -> None:
    router, record = MemoryRouter(), MemoryRecord()
    broker, client = Broker([router], clock=lambda: 0.0, epoch=0.0, record=record), router.link()
    client.send(ms.JoinClient(ms.PROTOCOL, "client"))
    broker.step()
    client.send(ms.DefineTask(1, TaskSpec("energy", "default")))
    for number, because in enumerate([tuple(range(1000)), ()]):
        about = (0.0, b"", 0, TaskOptions(), None, "", None, because)
        client.send(ms.SubmitTask(number, 1, *about))
    client.send(ms.CancelTasks([0, 1], "unwanted"))
    broker.step()
    assert [entry.because for entry in record.tasks] == [tuple(range(MOST_BEHIND)), None]
    broker.close("done")
