"""The virtual loop: time jumps, nothing hangs, and the same program runs the same every time."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from steerio.errors import DeadlockError, UsageError
from steerio.testing import VirtualLoop, run_virtual
from tests.simulated.virtual import in_virtual_time


@in_virtual_time
async def test_a_day_passes_at_once() -> None:
    began, loop = time.monotonic(), asyncio.get_running_loop()
    await asyncio.sleep(86_400)
    assert loop.time() == 86_400
    assert time.monotonic() - began < 5


@in_virtual_time
async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    woken: list[float] = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append(asyncio.get_running_loop().time())

    await asyncio.gather(*(sleep(seconds) for seconds in (3.0, 1.0, 2.5, 1.0, 100_000.0)))
    assert woken == [1.0, 1.0, 2.5, 3.0, 100_000.0]


@in_virtual_time
async def test_a_cancelled_timer_does_not_move_the_clock() -> None:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(1e6):
        await asyncio.sleep(2)
    assert loop.time() == 2


def test_a_deadlock_is_an_error_that_says_when_and_who_waits() -> None:
    async def wait_for_godot() -> None:
        await asyncio.sleep(5)
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(wait_for_godot(), name="vladimir")

    with pytest.raises(DeadlockError) as raised:
        run_virtual(main())
    assert raised.value.at_s == 5
    (vladimir,) = (line for line in raised.value.waiting if line.startswith("vladimir"))
    assert "wait_for_godot" in vladimir
    assert "test_loop.py" in vladimir


def test_of_many_that_wait_in_a_deadlock_the_first_are_named() -> None:
    async def main() -> None:
        never = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(1_000):
                group.create_task(never.wait(), name=f"waiter {number}")

    with pytest.raises(DeadlockError) as raised:
        run_virtual(main())
    assert len(raised.value.waiting) == 31
    assert "waiter 0: Event.wait" in raised.value.waiting[1]
    assert raised.value.waiting[-1] == "and 971 more"


def test_what_waits_in_a_deadlock_is_cancelled() -> None:
    unwound: list[str] = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            unwound.append("main")

    with pytest.raises(DeadlockError):
        run_virtual(main())
    assert unwound == ["main"]


def test_a_coroutine_that_lets_no_time_pass_is_ended_after_the_real_time_it_was_given() -> None:
    async def spin() -> None:
        while True:  # noqa: ASYNC110 - the fault that is looked for
            await asyncio.sleep(0)

    with pytest.raises(UsageError, match=r"taken 0.2 s.*at|got to 0 s"):
        run_virtual(spin(), wall_limit_s=0.2)


@in_virtual_time
async def test_a_function_in_a_thread_takes_no_virtual_time() -> None:
    main = threading.get_ident()

    def work(number: int) -> int:
        assert threading.get_ident() != main
        return number + 1

    ticking = asyncio.create_task(asyncio.sleep(1))
    assert await asyncio.to_thread(work, 41) == 42
    assert asyncio.get_running_loop().time() == 0
    await ticking


@in_virtual_time
async def test_what_a_function_in_a_thread_raises_arrives() -> None:
    def fail() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        await asyncio.to_thread(fail)


def test_a_thread_that_waits_for_the_loop_is_told_that_it_cannot() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        never = threading.Event()
        try:
            await loop.run_in_executor(None, never.wait)
        finally:
            never.set()

    with pytest.raises(UsageError, match="stands still"):
        run_virtual(main(), wall_limit_s=0.2)


def test_nothing_real_can_be_waited_for() -> None:
    with pytest.raises(UsageError, match="virtual time"):
        run_virtual(asyncio.open_connection("127.0.0.1", 9))


def test_what_a_callback_raises_ends_the_run() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(3, int, "three")
        await asyncio.sleep(10)

    with pytest.raises(ValueError, match="three"):
        run_virtual(main())


def test_sets_of_tasks_have_the_same_order_every_time() -> None:
    async def main() -> list[str]:
        tasks = {asyncio.create_task(asyncio.sleep(1), name=f"{n}") for n in range(50)}
        done, _ = await asyncio.wait(tasks)
        return [task.get_name() for task in done]

    assert run_virtual(main()) == run_virtual(main())


async def test_a_virtual_loop_runs_beside_one_that_runs_already() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 3600


def test_a_loop_knows_whether_it_waits_for_more_than_its_background() -> None:
    class Clockwork:
        def tick(self) -> None:
            asyncio.get_running_loop().call_later(1, self.tick)

    async def main() -> list[bool]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        Clockwork().tick()
        seen = [loop.awaits_timer((Clockwork,))]
        sleeping = asyncio.create_task(asyncio.sleep(5))
        await asyncio.sleep(0)
        seen.append(loop.awaits_timer((Clockwork,)))
        sleeping.cancel()
        await asyncio.sleep(0)
        seen.append(loop.awaits_timer((Clockwork,)))
        return seen

    assert run_virtual(main()) == [False, True, False]
