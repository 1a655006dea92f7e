"""Handles go where asyncio takes futures, and say where their tasks are."""

from __future__ import annotations

import asyncio
import json
import pickle
from typing import Any, NamedTuple

import msgspec
import pytest

from steerio import Board, Session, TaskCancelled, TaskFailed, TaskRetried, TaskStarted, task
from steerio.session.published import published
from steerio.session.task import Done
from steerio.testing import KillWorker, Model, SimulatedCluster
from tests.simulated.virtual import as_asked, on_cluster, simulation

pytestmark = pytest.mark.borders


@task(pool="simulate")
def unlucky(seconds: float) -> None:
    raise ValueError(f"after {seconds}")


@task(pool="simulate")
def given(value: Any) -> Any:
    return value


NOT = Done(False)
MODEL = {simulation: Model(as_asked), unlucky: Model(as_asked), given: Model(1.0)}
on_two = on_cluster(2, model=MODEL)


@on_two
async def test_asyncio_waits_for_handles(cluster: SimulatedCluster, session: Session) -> None:
    tasks = session.map(simulation, [1.0, 2.0, 3.0])
    waited: Any = tasks  # what is awaited is all the same to it, but not to its annotations
    done, pending = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    assert (done, pending) == ({tasks[0]}, set(tasks[1:]))
    done, pending = await asyncio.wait(waited, timeout=0.5)
    assert (done, pending) == ({tasks[0]}, set(tasks[1:]))
    done, pending = await asyncio.wait(waited)
    assert (done, pending) == (set(tasks), set())
    done, _ = await asyncio.wait(waited)
    assert done == set(tasks)


@on_two
async def test_asyncio_waits_for_the_first_handle_that_fails(
    cluster: SimulatedCluster, session: Session
) -> None:
    good, bad = session.submit(simulation, 1.0), session.submit(unlucky, 2.0)
    late = session.submit(simulation, 9.0)
    waited: Any = [good, bad, late]
    done, pending = await asyncio.wait(waited, return_when=asyncio.FIRST_EXCEPTION)
    assert (done, pending) == ({good, bad}, {late})
    assert isinstance(bad.exception(), TaskFailed)
    assert good.exception() is None
    with pytest.raises(asyncio.InvalidStateError):
        late.exception()
    assert not late.cancelled()
    late.cancel()
    await late.result()
    assert late.cancelled()
    assert isinstance(late.exception(), TaskCancelled)


@on_two
async def test_asyncio_gathers_shields_and_bounds_handles(
    cluster: SimulatedCluster, session: Session
) -> None:
    tasks = session.map(simulation, [1.0, 2.0])
    assert await asyncio.gather(*tasks) == [1, 2]
    bad = session.submit(unlucky, 1.0)
    (error,) = await asyncio.gather(bad, return_exceptions=True)
    assert isinstance(error, TaskFailed)
    slow = session.submit(simulation, 5.0)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow, 1.0)
    assert await asyncio.shield(slow) == 5, "it is not cancelled with who waits"
    assert await asyncio.ensure_future(slow) == 5
    values = [await each for each in asyncio.as_completed(session.map(simulation, [3.0, 1.0]))]
    assert values == [1, 3]
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(slow.result())
    assert waiting.result().ended_as == "succeeded"


@on_two
async def test_whether_a_task_is_done_is_true_or_false_and_may_be_called(
    cluster: SimulatedCluster, session: Session
) -> None:
    first = session.submit(simulation, 1.0)
    assert not first.done
    assert first.done() is False
    assert (repr(first.done), first.done == False) == ("False", True)  # noqa: E712
    await first
    assert first.done
    assert first.done() is True
    for plain in (pickle.loads(pickle.dumps(first.done)), await session.run(given, first.done)):
        assert plain is True, "sent, it is a plain bool"
    assert msgspec.msgpack.decode(published({"done": first.done, "not": [NOT]})) == {
        "done": True,
        "not": [False],
    }
    assert f"{first.done}" == "True"
    assert sum(each.done for each in [first, first]) == 2
    assert json.dumps({"done": bool(first.done)}) == '{"done": true}'


@on_two
async def test_a_callback_that_was_removed_is_not_called(
    cluster: SimulatedCluster, session: Session
) -> None:
    called: list[object] = []
    first = session.submit(simulation, 1.0)
    assert first.remove_done_callback(called.append) == 0
    first.add_done_callback(called.append)
    first.add_done_callback(called.append)
    assert first.remove_done_callback(called.append) == 2
    await first
    assert called == []


@on_two
async def test_who_gives_up_waiting_leaves_nothing_with_the_handle(
    cluster: SimulatedCluster, session: Session
) -> None:
    slow = session.submit(simulation, 100.0)
    for _ in range(50):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slow.result(), 0.1)
    assert slow._waiters == []
    await slow


# -- where they are -------------------------------------------------------------------------------


def states(tasks: list[Any]) -> list[str]:
    return [each.state for each in tasks]


@on_two
async def test_a_handle_says_where_its_task_is_once_it_was_asked(
    cluster: SimulatedCluster, session: Session
) -> None:
    tasks = session.map(simulation, [1.0, 2.0, 1.0])
    await asyncio.sleep(0.5)
    assert states(tasks) == ["pending"] * 3, "nobody has asked before"
    await asyncio.sleep(0.1)
    assert states(tasks) == ["running", "running", "queued"]
    await asyncio.sleep(0.5)
    assert states(tasks) == ["succeeded", "running", "running"]
    later = session.submit(simulation, 1.0)
    await asyncio.sleep(0.1)
    assert states([later]) == ["queued"]
    later.cancel()
    bad = session.submit(unlucky, 0.1)
    await bad.result()
    assert states([later, bad]) == ["cancelled", "failed"]


@on_cluster(1, model=MODEL, faults=[KillWorker(5.0)])
async def test_a_handle_says_that_its_task_is_queued_again(
    cluster: SimulatedCluster, session: Session
) -> None:
    first = session.submit(simulation, 10.0)
    assert states([first]) == ["pending"]
    seen = []
    async with session.events(TaskStarted, TaskRetried) as events:
        async for event in events:
            await asyncio.sleep(0)
            seen.append((type(event), first.state))
            if len(seen) == 3:
                break
    assert seen == [
        (TaskStarted, "running"),
        (TaskRetried, "queued"),
        (TaskStarted, "running"),
    ]
    first.cancel()


@on_two
async def test_sessions_are_told_of_their_own_tasks(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with cluster.session("other", host="laptop") as other:
        own, foreign = session.submit(simulation, 5.0), other.submit(simulation, 5.0)
        assert states([own, foreign]) == ["pending"] * 2
        await asyncio.sleep(1)
        assert states([own, foreign]) == ["running"] * 2
    assert foreign.state == "cancelled"


@on_two
async def test_a_handle_is_shown_without_asking(
    cluster: SimulatedCluster, session: Session
) -> None:
    first = session.submit(simulation, 1.0)
    assert repr(first) == f"<Task {first.id} {simulation.name}: pending>"
    await asyncio.sleep(0.5)
    assert "pending" in repr(first)
    await first
    assert "succeeded" in repr(first)


# -- map ------------------------------------------------------------------------------------------


class Point(NamedTuple):
    x: float
    y: float


@task(pool="simulate")
def shown(*args: Any) -> str:
    return repr(args)


@task(pool="simulate")
def norm(point: Point) -> float:
    return point.x**2 + point.y**2


ITEMS: list[tuple[Any, str]] = [
    ((1, 2), "(1, 2)"),
    (((1, 2),), "((1, 2),)"),
    ((), "()"),
    ([1, 2], "([1, 2],)"),
    ({"x": 1}, "({'x': 1},)"),
    (Point(1, 2), "(Point(x=1, y=2),)"),
    ("ab", "('ab',)"),
]


@on_cluster(2, model=Model(1.0))
async def test_map_takes_a_plain_tuple_for_all_arguments_and_anything_else_for_one(
    cluster: SimulatedCluster, session: Session
) -> None:
    found = await session.gather(*session.map(shown, [item for item, _ in ITEMS]))
    assert found == [said for _, said in ITEMS]
    assert await session.gather(*session.map(norm, [Point(3, 4)])) == [25]
    board = Board(norm, [Point(1, 2), Point(1, 2), Point(3, 4)])
    assert board.waiting == [Point(1, 2), Point(3, 4)]
    taken = board.take()
    assert taken is not None
    assert taken[1] == (Point(1, 2),)
    with pytest.raises(TypeError, match="too many positional") as raised:
        session.map(simulation, [(1, 2)])
    assert "put it into another" in raised.value.__notes__[0]
