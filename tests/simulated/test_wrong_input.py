"""What cannot be meant is refused where it is said, in words, and changes nothing."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy
import pytest

from steerio import Board, Session, Task, TaskEnded, UsageError, report, task
from steerio.edge.wire import cutting
from steerio.errors import EncodingError
from steerio.model.bounds import LONGEST_S, TYPE_CHARACTERS
from steerio.session import packed_call
from steerio.testing import SimulatedCluster
from tests.simulated.virtual import on_cluster, simulation

pytestmark = pytest.mark.borders


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"threshold_bytes": 1.5}, "threshold_bytes must be a whole number from 0 on, or None"),
        ({"threshold_bytes": "x"}, "threshold_bytes must be .* not 'x'"),
        ({"threshold_bytes": True}, "threshold_bytes must be .* not True"),
        ({"threshold_bytes": -2}, "threshold_bytes must be .* not -2"),
        ({"priority": "high"}, "priority must be a number, not 'high'"),
        ({"cancel_grace_s": []}, r"cancel_grace_s must be a number, not \[\]"),
        ({"needs": "gpu"}, r"needs are like steerio\.Needs\(gpus=1\), not 'gpu'"),
        ({"retries": {"lost": "x"}}, r"retries\['lost'\] must be a whole number from 0 on"),
        ({"pool": 3}, "the pool of a task type must be a name of 1 to 250 characters, not 3"),
        ({"pool": ""}, "the pool of a task type must be a name .* not ''"),
        ({"pool": "p" * 300}, "the pool of a task type must be a name"),
        ({"priority": True}, "priority must be a number, not True"),
        ({"priority": 1j}, "priority must be a number, not 1j"),
        ({"priority": math.nan}, "priority must be a finite number, not nan"),
        ({"timeout_s": "3"}, "timeout_s must be a number, not '3'"),
        ({"timeout_s": 1e308}, r"timeout_s must be above 0 and at most 1e\+09 seconds, or None"),
        ({"timeout_s": 10**400}, "timeout_s must be a number"),
        ({"timeout_s": math.inf}, "timeout_s must be above 0 and at most"),
        ({"timeout_s": math.nan}, "timeout_s must be above 0 and at most"),
        ({"timeout_s": 0}, "timeout_s must be above 0 and at most"),
        ({"timeout_s": False}, "timeout_s must be a number, not False"),
        ({"cancel_grace_s": 1e10}, r"cancel_grace_s must be 0 or more, at most 1e\+09"),
        ({"retries": [("lost", 1)]}, "retries go by kind of end"),
        ({"retries": {"lost": 2**63}}, r"retries\['lost'\] must be a whole number from 0 on"),
        ({"retries": {"failed": True}}, r"retries\['failed'\] must be a whole number from 0 on"),
        ({"retries": {3: 1}}, "retries go by kind of end .* not 3"),
    ],
)
def test_options_of_a_task_type(option: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        task(**option)


def test_what_is_the_default_may_be_said() -> None:
    assert task(threshold_bytes=-1, pool="p")(math.sqrt).threshold_bytes == -1
    assert task(threshold_bytes=None)(math.sqrt).threshold_bytes is None


@on_cluster(1)
async def test_what_is_said_of_many_tasks(cluster: SimulatedCluster, session: Session) -> None:
    async def asked(each: Task[Any]) -> bool:
        return False

    running, queued = session.map(simulation, [4.0, 9.0])
    wrong: Any = asked
    for change in (session.cancel, session.reprioritise):
        with pytest.raises(UsageError, match="asked of many tasks at once: it cannot be async"):
            change(wrong)
    for priority in ("high", math.nan, math.inf):
        given: Any = {queued: priority}
        with pytest.raises(
            UsageError, match=f"of task {queued.id} must be a number, not {priority!r}"
        ):
            session.reprioritise(given)
        with pytest.raises(UsageError, match="must be a number"):
            session.reprioritise(lambda _, given=priority: given)  # type: ignore[misc]
    with pytest.raises(UsageError, match="'x' is neither a task nor the id of one"):
        session.reprioritise({"x": 1.0})
    assert await session.gather(running, queued) == [4.0, 9.0]


@on_cluster(1)
async def test_what_is_waited_for(cluster: SimulatedCluster, session: Session) -> None:
    tasks: list[Any] = session.map(simulation, [4.0, 9.0])
    said = r"takes tasks, as submit\(\.\.\.\) and \*map\(\.\.\.\) return them, not "
    with pytest.raises(UsageError, match=f"gather {said}<coroutine"):
        await session.gather(tasks[0], session.run(simulation, 1.0))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match=rf"gather {said}\[<Task"):
        await session.gather(tasks)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    wrong: Any = [session.run(simulation, 1.0)]
    with pytest.raises(UsageError, match=f"as_completed {said}<coroutine"):
        async for _ in session.as_completed(wrong):
            pass
    assert await session.gather(*tasks) == [4.0, 9.0]


@on_cluster(1)
async def test_numbers(cluster: SimulatedCluster, session: Session) -> None:
    models = session.versions("model")
    wrong: Any = "a"
    with pytest.raises(
        UsageError, match="after must be a whole number from 0 on, or None, not 'a'"
    ):
        await models.next(after=wrong)
    with pytest.raises(UsageError, match="within_s must be a number, not 'a'"):
        await session.nodes.drain("node", within_s=wrong)


class Name(str):
    """A text of a class of its own, which no message has a word for."""

    __slots__ = ()


@on_cluster(1)
async def test_texts_of_users(cluster: SimulatedCluster, session: Session) -> None:
    running, queued = session.map(simulation, [4.0, 9.0])
    wrong: list[Any] = [ValueError("enough"), 3, None, b"why"]
    for reason in wrong:
        for say in (queued.cancel, running.cancel, lambda why: session.cancel([queued], why)):
            with pytest.raises(UsageError, match="the reason must be a text, not"):
                say(reason)
    odd: list[Any] = [{"gen": 3}, {3: "gen"}, {"gen": None}, "gen", ["gen"]]
    for tags in odd:
        with pytest.raises(UsageError, match="tags go from"):
            session.options(tags=tags)
        with pytest.raises(UsageError, match="tags go from"):
            Board(simulation, [1.0], tags=tags)
    named = session.options(tags={Name("gen"): Name("3")}).submit(simulation, 1.0)
    assert await session.gather(running, queued, named) == [4.0, 9.0, 1.0]
    assert (await named.result()).tags == {"gen": "3"}


@on_cluster(1)
async def test_filters_and_names(cluster: SimulatedCluster, session: Session) -> None:
    asked: Any = session
    for filters, said in (
        ((3,), "events are of types like steerio.TaskEnded, not 3"),
        ((int,), "events are of types like steerio.TaskEnded, not <class 'int'>"),
        ((TaskEnded("x", 0, 0, "", "", 0, None, "", None),), "events are of types"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ):
        with pytest.raises(UsageError, match=said):
            asked.events(*filters)
    for filtered, said in (
        ({"pool": 3}, "the pool of events must be a name"),
        ({"pool": ""}, "the pool of events must be a name"),
        ({"task_type": 3}, "3 is neither a function nor a @task"),
        ({"since": "x"}, "since must be a whole number from 0 on, or None, not 'x'"),
        ({"since": 2**63}, "since must be a whole number from 0 on"),
        ({"since": True}, "since must be a whole number from 0 on"),
        ({"since": -1}, "since must be a whole number from 0 on"),
    ):
        with pytest.raises(UsageError, match=said):
            asked.events(**filtered)
    for name in (3, "", "x" * 300):
        with pytest.raises(UsageError, match="the pool that tasks are to wait in must be a name"):
            asked.reassign([], name)
        with pytest.raises(UsageError, match="the pool that workers come from must be a name"):
            asked.pools.move(name, "learn", 1)
        with pytest.raises(UsageError, match="the pool that workers go to must be a name"):
            asked.pools.lend("simulate", to=name)
        with pytest.raises(UsageError, match="the name of a node must be a name"):
            await asked.nodes.drain(name)
        with pytest.raises(UsageError, match=r"the name of versions .* must be a name"):
            asked.versions(name)
    for count in (2**63, True, "1"):
        with pytest.raises(UsageError, match="workers is a whole number above 0"):
            asked.pools.move("simulate", "learn", count)
    with pytest.raises(UsageError, match="preempt_after_s must be a number, not '1'"):
        asked.pools.move("simulate", "learn", 1, preempt_after_s="1")
    with pytest.raises(UsageError, match="neither a task nor the id of one"):
        asked.reassign(["x"], "simulate")
    for how in ("gently", 3):
        with pytest.raises(UsageError, match=f"how is drain or preempt, not {how!r}"):
            asked.pools.move("simulate", "learn", 1, how=how)
        with pytest.raises(UsageError, match=f"how is drain or preempt, not {how!r}"):
            await asked.pools.follow(dict, how=how)
        with pytest.raises(UsageError, match=f"give_back is drain or preempt, not {how!r}"):
            asked.pools.lend("simulate", to="learn", give_back=how)
    assert await session.run(simulation, 1.0) == 1.0


@task(pool="simulate", threshold_bytes=None)
def combining(parts: list[Any]) -> None:
    """Combine parts."""


@on_cluster(1)
async def test_more_than_a_message_takes(cluster: SimulatedCluster, session: Session) -> None:
    references = [await session.put(number) for number in range(3)]
    arrays = [numpy.zeros(10_000) for _ in range(3)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed_call, "MOST_NEEDED", 2)
        patch.setattr(cutting, "MOST_FRAMES", 2)
        with pytest.raises(UsageError, match="may be given 2 references, not 3: put their values"):
            session.submit(combining, references)
        with pytest.raises(EncodingError, match=r"3 arrays and buffers .* through the store"):
            session.submit(combining, arrays)
    assert await session.run(simulation, 1.0) == 1.0


@on_cluster(1)
async def test_priorities(cluster: SimulatedCluster, session: Session) -> None:
    running, queued = session.map(simulation, [4.0, 9.0])
    wrong: list[Any] = ["3", True, None, math.nan, math.inf, 1j]
    for priority in wrong:
        said = f"of task {queued.id} must be a number"
        with pytest.raises(UsageError, match=said):
            queued.reprioritise(priority)
        with pytest.raises(UsageError, match=said):
            session.reprioritise({queued: priority})
    queued.reprioritise(Decimal(3))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert await session.gather(running, queued) == [4.0, 9.0]


@on_cluster(1)
async def test_the_longest_time_that_can_be_meant_ends(
    cluster: SimulatedCluster, session: Session
) -> None:
    patient = session.options(timeout_s=LONGEST_S, cancel_grace_s=LONGEST_S)
    assert await patient.run(simulation, 1.0) == 1.0


@on_cluster(1)
async def test_functions_of_endless_names(cluster: SimulatedCluster, session: Session) -> None:
    def long(x: int) -> int:
        return x

    long.__qualname__ = "n" * (TYPE_CHARACTERS + 1)
    said = f"name of a task type may have {TYPE_CHARACTERS} characters, not .* another __qualname__"
    with pytest.raises(UsageError, match=said):
        session.submit(long, 3)
    assert await session.run(simulation, 1.0) == 1.0


async def test_words_of_tasks() -> None:
    wrong: Any = 3
    with pytest.raises(UsageError, match="the message of a report must be a text, not 3"):
        report(0.5, wrong)
    with pytest.raises(UsageError, match="the fraction done must be a number, not 'half'"):
        report("half")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
