"""An executor of a session on a virtual clock: its calls are tasks like any others."""

from __future__ import annotations

import asyncio
from concurrent import futures

import pytest

from steerio import EncodingError, Session, UsageError
from steerio.errors import CallLost, ExecutorBroken
from steerio.testing import KillWorker, Model, SimulatedCluster
from tests.simulated.virtual import as_asked, on_cluster, simulation


def plain(seconds: int) -> str:
    return str(seconds)


MODEL = {simulation: Model(as_asked), plain: Model(as_asked)}
on_two = on_cluster(2, model=MODEL)


@on_two
async def test_a_call_takes_virtual_time(cluster: SimulatedCluster, session: Session) -> None:
    loop = asyncio.get_running_loop()
    executor = session.executor("simulate")
    assert await loop.run_in_executor(executor, simulation, 100.0) == 100.0
    assert loop.time() >= 100.0
    assert await loop.run_in_executor(executor, plain, 2.5) == "2.5"  # type: ignore[arg-type]
    with pytest.raises(EncodingError):
        await loop.run_in_executor(executor, simulation, "soon")  # type: ignore[arg-type]


@on_two
async def test_a_running_call_is_not_cancelled_and_a_queued_one_is(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with session.executor() as executor:
        calls = [executor.submit(simulation, seconds) for seconds in (5.0, 5.0, 7.0)]
        late = executor.submit(simulation, 9.0)
        await asyncio.sleep(1.0)
        assert [call.running() for call in calls] == [True, True, False]
        assert [call.cancel() for call in (*calls[:2], late)] == [False, False, True]
    assert [call.result(0) for call in calls] == [5.0, 5.0, 7.0]
    assert late.cancelled()


@on_two
async def test_a_call_that_is_cancelled_as_it_begins_is_stopped(
    cluster: SimulatedCluster, session: Session
) -> None:
    executor = session.executor()
    call = executor.submit(simulation, 1000.0)
    assert call.cancel()  # the word that it runs is under way
    assert await asyncio.wait_for(asyncio.to_thread(call.cancelled), 1.0)
    assert call.task is not None
    await call.task.result()
    assert asyncio.get_running_loop().time() < 900.0


@on_cluster(1, model=MODEL, faults=[KillWorker(at_s=5.0), KillWorker(at_s=15.0)])
async def test_a_lost_call_breaks_only_itself(cluster: SimulatedCluster, session: Session) -> None:
    executor = session.executor(options=session.options(retries={"lost": 0}))
    with pytest.raises(CallLost) as raised:
        await asyncio.wrap_future(executor.submit(simulation, 20.0))
    assert isinstance(raised.value, futures.BrokenExecutor)
    assert await asyncio.wrap_future(executor.submit(simulation, 1.0)) == 1.0
    again = session.executor()
    assert await asyncio.wrap_future(again.submit(simulation, 20.0)) == 20.0


@on_two
async def test_the_end_of_the_session_ends_its_calls(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with cluster.session("other") as other:
        executor = other.executor()
        call = executor.submit(simulation, 100.0)
    with pytest.raises(ExecutorBroken):
        executor.submit(simulation, 1.0)
    assert call.exception(0) is not None


@on_two
async def test_waits_in_virtual_time_are_refused(
    cluster: SimulatedCluster, session: Session
) -> None:
    executor = session.executor()
    call = executor.submit(simulation, 3.0)
    with pytest.raises(UsageError, match="would stop the loop"):
        call.result()
    with pytest.raises(UsageError, match="would stop the loop"):
        executor.shutdown()
    assert not call.done()
    await asyncio.wrap_future(call)
