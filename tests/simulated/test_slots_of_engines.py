"""A campaign whose pool an executor serves is simulated as any other: slots are workers."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import ClassVar, NoReturn

import pytest

from steerio import Campaign, OnExecutor, Succeeded, Workers, agent, on_success, task
from steerio.errors import UsageError
from steerio.launch.on_executor import on_executors
from steerio.launch.workers import counts_of, merged_workers, needs_of
from steerio.testing import Model, simulate


@task(pool="dock")
def dock(x: int) -> int:
    return x


def no_executor() -> NoReturn:
    raise AssertionError("a simulation calls no engine")


class Docking(Campaign):
    workers: ClassVar = {"dock": OnExecutor(no_executor, slots=4, gpus=1)}

    def __init__(self) -> None:
        self.docked: list[int] = []

    @agent
    async def begin(self) -> None:
        for x in range(8):
            self.submit(dock, x)

    @on_success(dock)
    async def take(self, result: Succeeded) -> None:
        self.docked.append(result.args[0])


def test_slots_are_simulated_as_workers() -> None:
    ran = simulate(Docking(), model=Model(10.0))
    assert sorted(ran.campaign.docked) == list(range(8))
    assert ran.duration_s == pytest.approx(20.0)


def test_a_number_changes_the_slots_and_nothing_else() -> None:
    usual = Docking.workers
    asked = merged_workers({"dock": 9}, usual)
    assert counts_of(asked) == {"dock": 9}
    assert counts_of(usual) == {"dock": 4}
    assert needs_of(asked) == needs_of(usual)
    assert on_executors(asked)["dock"].executor is no_executor
    assert on_executors({"dock": 2, "train": Workers(1)}) == {}


def test_pools_on_executors_are_compared_and_shown_by_all_that_they_were_given() -> None:
    one, same = OnExecutor(no_executor, slots=2), OnExecutor(no_executor, 2)
    assert one == same
    assert hash(one) == hash(same)
    assert one != OnExecutor(no_executor, 3)
    assert one != Workers(2)
    assert Workers(2) != one
    assert repr(OnExecutor(no_executor, 2, cpus=4)).endswith(", 2, cpus=4)")


def test_a_function_that_makes_no_executor_is_named() -> None:
    def make() -> Executor:
        return None  # type: ignore[return-value]

    with pytest.raises(UsageError, match="is to return an executor"):
        OnExecutor(make, slots=1).made()
