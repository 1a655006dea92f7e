"""The end of a campaign is no error of its agents, however deep in groups it reaches them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, ClassVar

import anyio
import pytest

from steerio import Campaign, Limits, Result, TaskCancelled, agent, every, on_success, task
from steerio.errors import leaves
from steerio.testing import Model, simulate

pytestmark = pytest.mark.borders


@task
def compute(x: int) -> int:
    return x


class Many(Campaign):
    """Has far more to do than there is time for; some of it in whatever way ``wait`` has."""

    workers: ClassVar = {"default": 2}

    def __init__(self, wait: Callable[[Many], Awaitable[Any]]) -> None:
        self.wait = wait
        self.finished = False

    async def setup(self) -> None:
        self.submit(compute, -1)

    async def finish(self) -> None:
        self.finished = True


class InAgent(Many):
    @agent
    async def go(self) -> None:
        while True:
            await self.wait(self)


class InHandler(Many):
    @on_success(compute)
    async def go(self, result: Result) -> None:
        await self.wait(self)


class InPeriod(Many):
    @every(1.0)
    async def go(self) -> None:
        await self.wait(self)


class InSetup(Many):
    async def setup(self) -> None:
        await self.wait(self)


MODEL = Model(10.0)


async def in_task_group(self: Many) -> None:
    async with asyncio.TaskGroup() as group:
        for x in range(6):
            group.create_task(self.run(compute, x))


async def in_groups_of_groups(self: Many) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(in_task_group(self))
        group.create_task(in_anyio_group(self))


async def in_anyio_group(self: Many) -> None:
    async with anyio.create_task_group() as group:
        for x in range(6):
            group.start_soon(partial(self.run, compute, x))  # pyright: ignore[reportArgumentType]


async def in_cancel_scope(self: Many) -> None:
    with anyio.move_on_after(10_000):
        async with anyio.create_task_group() as group:
            group.start_soon(in_task_group, self)


async def gathered(self: Many) -> None:
    await asyncio.gather(*(self.run(compute, x) for x in range(6)))


async def gathered_as_data(self: Many) -> None:
    tasks = [asyncio.create_task(self.run(compute, x)) for x in range(6)]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [error for error in found if isinstance(error, BaseException)]
    if errors:
        raise BaseExceptionGroup("some did not come", [*errors, asyncio.CancelledError()])


async def with_timeout(self: Many) -> None:
    async with asyncio.timeout(10_000):
        await in_task_group(self)


async def waited_for(self: Many) -> None:
    await asyncio.wait_for(in_task_group(self), 10_000)


async def shielded(self: Many) -> None:
    await asyncio.shield(in_task_group(self))


async def waited_and_asked(self: Many) -> None:
    tasks = {asyncio.create_task(self.run(compute, x)) for x in range(6)}
    await asyncio.wait(tasks)
    for each in tasks:
        if each.exception():
            each.result()


async def beside_one_that_waits(self: Many) -> None:
    async def go_on() -> None:
        while True:
            await self.run(compute, 1)

    async with asyncio.TaskGroup() as group:
        group.create_task(go_on())
        group.create_task(asyncio.Event().wait())


async def wrapped(self: Many) -> None:
    try:
        await in_task_group(self)
    except* TaskCancelled as group:
        raise ExceptionGroup("mine", [group, TaskCancelled("mine")]) from None


WAYS = [
    in_task_group,
    in_groups_of_groups,
    in_anyio_group,
    in_cancel_scope,
    gathered,
    gathered_as_data,
    with_timeout,
    waited_for,
    shielded,
    waited_and_asked,
    beside_one_that_waits,
    wrapped,
]


@pytest.mark.parametrize("drain", [True, False])
@pytest.mark.parametrize("where", [InAgent, InHandler, InPeriod, InSetup])
@pytest.mark.parametrize("wait", WAYS)
def test_an_agent_that_waits_in_groups_does_not_fail_by_the_end(
    wait: Callable[[Many], Awaitable[Any]], where: type[Many], drain: bool
) -> None:
    run = simulate(where(wait), model=MODEL, limits=Limits(wall_s=25, drain=drain), until_s=500)
    assert run.campaign.finished
    assert run.duration_s <= 100


@pytest.mark.parametrize("where", [InAgent, InHandler, InPeriod, InSetup])
def test_a_genuine_error_beside_what_was_cancelled_is_one(where: type[Many]) -> None:
    async def wait(self: Many) -> None:
        async def fail() -> None:
            try:
                while True:
                    await self.run(compute, 1)
            except (TaskCancelled, asyncio.CancelledError):
                raise KeyError("mine") from None

        async with asyncio.TaskGroup() as group:
            group.create_task(in_task_group(self))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup) as raised:
        simulate(where(wait), model=MODEL, limits=Limits(wall_s=15, drain=False))
    assert [type(error) for error in leaves(raised.value)] == [KeyError]


def test_what_was_cancelled_by_others_is_an_error_also_in_a_group() -> None:
    async def wait(self: Many) -> None:
        task = self.submit(compute, 1)
        task.cancel()
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.wait_for(task, 100))

    with pytest.raises(ExceptionGroup) as raised:
        simulate(InAgent(wait), model=MODEL)
    assert [type(error) for error in leaves(raised.value)] == [TaskCancelled]


@pytest.mark.parametrize("error", [SystemExit(4), KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_ends_programs_ends_none_from_within_a_group(error: BaseException) -> None:
    async def wait(self: Many) -> None:
        raise BaseExceptionGroup("mine", [BaseExceptionGroup("more", [error])])

    with pytest.raises(ExceptionGroup) as raised:
        simulate(InAgent(wait), model=MODEL)
    assert raised.group_contains(RuntimeError, match=r"InAgent\.go")


def test_what_an_interrupt_cancels_in_finish_is_no_error() -> None:
    class Slow(Campaign):
        workers: ClassVar = {"default": 1}

        async def finish(self) -> None:
            await in_task_group(self)  # type: ignore[arg-type]

    run = simulate(Slow(), model=MODEL, until_s=15)
    assert run.duration_s < 30
    assert run.ended["cancelled"]


def test_what_finish_cancels_itself_is_one() -> None:
    class Hasty(Campaign):
        workers: ClassVar = {"default": 1}

        async def setup(self) -> None:
            self.stop()

        async def finish(self) -> None:
            task = self.submit(compute, 1)
            task.cancel()
            await task

    with pytest.raises(ExceptionGroup) as raised:
        simulate(Hasty(), model=MODEL)
    assert [type(error) for error in leaves(raised.value)] == [TaskCancelled]
