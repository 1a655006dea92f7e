"""A task that is given the handle of another waits for it, has its value, and ends with it."""

# A task's handle stands for its value among another's arguments.
# pyright: reportArgumentType=false, reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest

from steerio import (
    Board,
    Campaign,
    Cancelled,
    DependencyFailed,
    EncodingError,
    Failed,
    Session,
    StoreSetting,
    Succeeded,
    TaskCancelled,
    TaskFailed,
    TaskQueued,
    UsageError,
    on_failure,
    on_success,
    task,
)
from steerio.errors import UnhandledFailure
from steerio.testing import Model, SimulatedCluster, simulate
from tests.simulated.virtual import Scene, in_virtual_time, of_kind, on_cluster

pytestmark = pytest.mark.borders


@task(pool="simulate")
def double(x: float) -> float:
    if x < 0:
        raise ValueError(f"no double of {x}")
    return 2 * x


@task(pool="simulate")
def total(parts: Any, *, plus: float = 0) -> float:
    values = parts.values() if isinstance(parts, dict) else parts
    return sum(values) + plus


@task(pool="simulate")
def whole(*args: Any) -> Any:
    return args


@task(pool="simulate")
def vector(length: int) -> np.ndarray[Any, Any]:
    return np.arange(length)


class Pair(NamedTuple):
    left: Any
    right: Any


on_two = on_cluster(2, model=Model(1.0))


def on_default(scene: Scene) -> Callable[[], None]:
    """Make a coroutine a test with a worker for plain functions."""

    @in_virtual_time
    async def test() -> None:
        async with SimulatedCluster({"default": 1}, model=Model(1.0)) as cluster:
            async with cluster.session("test") as session:
                await scene(cluster, session)

    return test


on_one = on_cluster(1, model=Model(1.0))


@on_two
async def test_a_handle_among_the_arguments_stands_for_its_value(
    cluster: SimulatedCluster, session: Session
) -> None:
    first = session.submit(double, 1)
    second = session.submit(double, first)
    assert await second == 4
    result = await second.result()
    assert (result.args, result.kwargs) == ((2,), {})
    assert await session.run(double, second) == 8, "one that has ended does as well"
    assert await session.run(total, [first, 10.0, second], plus=first) == 18
    assert await session.run(total, {"a": first, "b": [second][0]}) == 6
    assert await session.run(whole, [(first, {"deep": [second]})], first) == (
        [(2, {"deep": [4]})],
        2,
    )


@on_two
async def test_handles_go_through_map_options_and_streams(
    cluster: SimulatedCluster, session: Session
) -> None:
    doubled = session.map(double, session.map(double, [1, 2, 3]))
    assert await session.gather(*doubled) == [4, 8, 12]
    urgent = session.options(priority=5, tags={"gen": "2"}).submit(double, doubled[0])
    result = await urgent.result()
    assert isinstance(result, Succeeded)
    assert (result.value, result.tags) == (8, {"gen": "2"})
    assert await session.run(total, doubled) == 24


@on_two
async def test_a_chain_of_many_ends(cluster: SimulatedCluster, session: Session) -> None:
    last = session.submit(double, 0)
    for _ in range(500):
        last = session.submit(double, last)
    assert await last == 0
    assert session.pending == []


@on_one
async def test_what_waits_is_not_queued(cluster: SimulatedCluster, session: Session) -> None:
    last = session.submit(double, session.submit(double, session.submit(double, 1)))
    assert [each.state for each in session.pending] == ["pending", "waiting", "waiting"]
    await asyncio.sleep(0.5)
    assert [each.state for each in session.pending] == ["running", "waiting", "waiting"]
    assert len(of_kind(cluster.record.events, TaskQueued)) == 1
    assert await last == 8
    assert asyncio.get_running_loop().time() == pytest.approx(3, abs=0.5)


@on_two
async def test_a_task_fails_with_what_it_waits_for_and_says_so(
    cluster: SimulatedCluster, session: Session
) -> None:
    first = session.submit(double, -1)
    second = session.submit(double, first)
    last = session.submit(total, [second, session.submit(double, 1)])
    with pytest.raises(TaskFailed, match=r"double\(-1\) failed on .*no double of -1") as raised:
        await last
    why = raised.value.__cause__
    assert isinstance(why, DependencyFailed)
    assert isinstance(why.result, Failed)
    assert why.result.task_id == first.id, "of a chain, the first that failed"
    result = await second.result()
    assert isinstance(result, Failed)
    assert (result.attempt, result.worker) == (0, None)
    assert isinstance(result.error.exception, DependencyFailed)


@on_one
async def test_a_task_is_cancelled_with_what_it_waits_for(
    cluster: SimulatedCluster, session: Session
) -> None:
    first = session.submit(double, 1)
    second = session.submit(double, first)
    last = session.submit(double, second)
    first.cancel("no longer needed")
    with pytest.raises(TaskCancelled, match=r"takes the value of another task.*no longer needed"):
        await last
    assert len((await last.result()).reason) < 200, "of a chain only the first is named"
    assert isinstance(await second.result(), Cancelled)


@on_one
async def test_a_task_that_waits_can_be_cancelled_alone(
    cluster: SimulatedCluster, session: Session
) -> None:
    first = session.submit(double, 1)
    waiting, other = session.map(double, [first, first])
    running = asyncio.create_task(session.run(double, first))
    await asyncio.sleep(0)
    waiting.cancel("changed my mind")
    running.cancel()
    with pytest.raises(TaskCancelled, match="changed my mind"):
        await waiting
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await first, await other) == (2, 4)
    waiting.cancel("again")


@on_one
async def test_what_waits_is_ranked_as_it_was_told_meanwhile(
    cluster: SimulatedCluster, session: Session
) -> None:
    first, _ = session.map(double, [1, 2])  # the other is before both
    low, high = session.map(double, [first, first])
    session.reprioritise({high: 5.0})
    ended = [each async for each in session.as_completed([low, high])]
    assert ended == [high, low]


@on_one
async def test_the_end_of_a_session_ends_what_waits(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with cluster.session("other") as other:
        waiting = other.submit(double, other.submit(double, 1))
    with pytest.raises(TaskCancelled, match="this session was closed"):
        await waiting
    assert await session.run(double, 1) == 2


@on_one
async def test_the_loss_of_the_broker_ends_what_waits(
    cluster: SimulatedCluster, session: Session
) -> None:
    waiting = session.submit(double, session.submit(double, 1))
    cluster.broker.close("the end")
    result = await waiting.result()
    assert result.ended_as == "lost"


@on_one
async def test_handles_that_cannot_be_waited_for_are_refused(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with cluster.session("other") as other:
        foreign = other.submit(double, 1)
        with pytest.raises(UsageError, match="of another session: await it"):
            session.submit(double, foreign)
    first = session.submit(double, 1)
    with pytest.raises(TypeError, match="too many positional arguments"):
        session.submit(double, first, 1)
    with pytest.raises(EncodingError, match="give it as an argument of a task"):
        session.submit(whole, Pair(first, 1))
    with pytest.raises(EncodingError, match="give it as an argument of a task"):
        await session.put([first])
    for entry in (first, (1, first)):
        with pytest.raises(UsageError, match="cannot be an entry of a board"):
            Board(double, [entry])
    assert await first == 2


@on_one
async def test_a_value_that_does_not_fit_is_the_failure_of_who_waits(
    cluster: SimulatedCluster, session: Session
) -> None:
    mistaken = session.submit(double, session.submit(whole, "words"))
    with pytest.raises(TaskFailed, match=r"argument 'x' of task type .*double") as raised:
        await mistaken
    assert isinstance(raised.value.__cause__, EncodingError)


@on_one
async def test_what_waits_is_given_what_was_there_when_it_was_submitted(
    cluster: SimulatedCluster, session: Session
) -> None:
    array, words = np.zeros(3), ["a"]
    waiting = session.submit(whole, session.submit(double, 1), array, words)
    array[:] = 1
    words.append("b")
    value = await waiting
    assert (value[0], value[1].tolist(), value[2]) == (2, [0, 0, 0], ["a"])
    assert (await waiting.result()).args[1].tolist() == [0, 0, 0]


@on_one
async def test_a_value_that_came_first_is_what_it_was_when_it_came(
    cluster: SimulatedCluster, session: Session
) -> None:
    first, words = session.submit(vector, 3), session.submit(whole, ["a"])
    early, letters = await first, await words
    waiting = session.submit(whole, first, [words], session.submit(double, 1), first)
    late = session.submit(vector, 2)
    later = session.submit(whole, late, session.submit(double, 2), session.submit(double, 3))
    early += 7
    letters[0].append("b")
    (await late)[:] = 7
    value = await waiting
    assert (value[0].tolist(), value[1], value[2]) == ([0, 1, 2], [(["a"],)], 2)
    assert value[0] is value[3], "what is given twice is one"
    assert (await later)[0].tolist() == [0, 1]
    assert (await session.run(whole, first))[0].tolist() == [7, 8, 9], "as it is at submit"


@on_default
async def test_the_function_of_what_waits_is_what_it_was_when_it_was_submitted(
    cluster: SimulatedCluster, session: Session
) -> None:
    class Scale:
        def __init__(self, factor: float, of: Any) -> None:
            self.factor, self.of = factor, of

        def times(self, x: float) -> float:
            return float(self.factor * x * np.sum(self.of))

    scale = Scale(10, await session.put(np.ones(1_000)))
    waiting = session.submit(scale.times, session.submit(abs, -1))
    scale.factor, scale.of = 20, None
    assert await waiting == 10_000


def test_values_in_the_store_are_passed_on_and_let_go() -> None:
    @on_cluster(1, model=Model(1.0), store=StoreSetting(threshold_bytes=100))
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        put = await session.put(np.ones(1_000))
        first = session.submit(vector, 1_000)
        waiting = session.submit(whole, first, put)
        del put
        value = await waiting
        assert value[0].sum() == 499_500
        assert value[1].sum() == 1_000
        cancelled = session.submit(whole, session.submit(vector, 1_000))
        await asyncio.sleep(0.5)
        cancelled.cancel()
        await cancelled.result()
        del waiting, first, value, cancelled
        await session.run(double, 1)
        assert (await session.store.statistics()).objects == 0

    scene()


# -- in campaigns ---------------------------------------------------------------------------------


class Chain(Campaign):
    workers: ClassVar = {"simulate": 2}

    def __init__(self, start: float) -> None:
        self.start = start
        self.values: list[float] = []
        self.failures: list[str] = []

    async def setup(self) -> None:
        self.submit(total, [self.submit(double, self.start)])

    @on_success(total)
    async def take_in(self, result: Succeeded) -> None:
        self.values.append(result.value)


def test_a_campaign_waits_for_what_waits() -> None:
    ran = simulate(Chain(1), model=Model(1.0))
    assert ran.campaign.values == [2]


def test_a_failure_that_others_wait_for_is_told_once() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        simulate(Chain(-1), model=Model(1.0))
    (error,) = raised.value.exceptions
    assert isinstance(error, UnhandledFailure)
    assert "total" in str(error)
    assert "no double of -1" in str(error)


def test_who_handles_the_failure_of_what_waits_has_handled_both() -> None:
    class Handling(Chain):
        @on_failure(total)
        async def note_failure(self, result: Failed) -> None:
            self.failures.append(result.error.type)

    ran = simulate(Handling(-1), model=Model(1.0))
    assert ran.campaign.failures == ["steerio.errors.DependencyFailed"]


def test_no_worker_idles_beside_a_board_for_what_only_waits() -> None:
    class Beside(Campaign):
        workers: ClassVar = {"simulate": 2}

        def __init__(self) -> None:
            self.todo = Board(double, range(10))

        async def setup(self) -> None:
            first = self.submit(whole, 1)
            self.last = self.map(whole, [first] * 5)

    ran = simulate(Beside(), model={double: Model(1.0), whole: Model(5.0)})
    assert ran.duration_s == pytest.approx((10 + 6 * 5) / 2, abs=5.1)
    started = [record.started for record in ran.records if record.task_type == double.name]
    assert min(start for start in started if start is not None) < 1


def test_what_waits_when_a_campaign_stops_is_cancelled() -> None:
    class Stopping(Chain):
        async def setup(self) -> None:
            await super().setup()
            self.stop()

    ran = simulate(Stopping(1), model=Model(1.0))
    assert ran.campaign.values == []
    assert ran.ended == {"succeeded": 1}
