"""What cannot be meant is refused where it is said, in words, and changes nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest

from steerio import Session, Task, UsageError, task
from steerio.testing import SimulatedCluster
from tests.simulated.virtual import on_cluster, simulation


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
        ({"pool": 3}, "needs a pool with a name, not 3"),
        ({"pool": ""}, "needs a pool with a name, not ''"),
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
    with pytest.raises(UsageError, match="within_s is a number of seconds from 0, not 'a'"):
        await session.nodes.drain("node", within_s=wrong)
