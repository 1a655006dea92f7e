"""Which task follows which: by the types of tasks, and by the code that awaited or handles them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from steerio.session import chains
from steerio.session.chains import (
    HANDLER,
    KEPT_CHAINS,
    NO_TYPES,
    Behind,
    KnownChains,
    chain_after,
    chain_behind,
    chain_of_next,
    was_awaited,
)


def made(name: str) -> Any:
    """Return a task of a type, submitted now."""
    return SimpleNamespace(type=SimpleNamespace(name=name), chain=chain_of_next(name))


async def run(name: str) -> frozenset[str]:
    """Submit a task of a type, and await it; return its chain."""
    task = made(name)
    was_awaited(task)
    chain: frozenset[str] = task.chain
    return chain


async def test_a_loop_begins_a_chain_in_each_round() -> None:
    for _ in range(3):
        assert await run("embed") == NO_TYPES
        assert await run("relax") == {"embed"}
        assert await run("score") == {"embed", "relax"}


async def test_tasks_of_one_step_may_be_several() -> None:
    for _ in range(2):
        first = [made("embed"), made("embed")]
        assert [task.chain for task in first] == [NO_TYPES, NO_TYPES]
        for task in first:
            was_awaited(task)
        assert made("relax").chain == made("score").chain == {"embed"}


async def test_another_task_of_asyncio_begins_anew() -> None:
    await run("train")
    assert await asyncio.create_task(run("embed")) == NO_TYPES
    assert made("embed").chain == {"train"}


async def test_code_that_no_task_of_asyncio_runs_leaves_no_trace() -> None:
    seen: list[Any] = []

    def call_back() -> None:
        was_awaited(made("embed"))
        seen.append(chain_behind.get())

    asyncio.get_running_loop().call_soon(call_back)
    await asyncio.sleep(0)
    assert not seen[0].types


async def test_a_handler_has_the_chain_of_its_results_for_the_whole_of_a_call() -> None:
    chain_behind.set(Behind(frozenset({"embed"}), grows=False))
    for _ in range(2):
        assert await run("relax") == {"embed"}
        assert await run("embed") == NO_TYPES
        assert await asyncio.create_task(run("relax")) == {"embed"}
    chain_behind.set(HANDLER)
    assert await run("relax") == NO_TYPES
    assert await run("score") == NO_TYPES


def test_a_task_that_takes_the_value_of_another_follows_it() -> None:
    relaxed = made("relax")
    relaxed.chain = frozenset({"embed"})
    assert chain_after("score", NO_TYPES, [relaxed]) == {"embed", "relax"}
    assert chain_after("embed", NO_TYPES, [relaxed]) == NO_TYPES
    assert chain_after("score", frozenset({"x"}), []) == {"x"}


def test_chains_of_ended_tasks_are_known_up_to_a_number() -> None:
    known = KnownChains()
    result: Any = SimpleNamespace(task_id=7, task_type="relax")
    other: Any = SimpleNamespace(task_id=8, task_type="relax")
    assert known.behind_call([result]) is known.behind_call([other])
    assert known.behind_call([result]).types == {"relax"}
    known.ended(7, frozenset({"embed"}))
    assert known.behind_call([result]) == Behind(frozenset({"embed", "relax"}), grows=False)
    assert known.behind_call([other]).types == {"relax"}
    assert known.behind_call([other, result]).types == {"embed", "relax"}
    for number in range(8, 8 + KEPT_CHAINS):
        known.ended(number, frozenset({"embed"}))
    assert known.behind_call([result]).types == {"relax"}
    assert chains.NOTHING.types == NO_TYPES
