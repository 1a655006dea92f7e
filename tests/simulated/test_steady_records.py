"""What is recorded is the same in each run: no word of it says where something is in memory."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from steerio import Campaign, Failed, agent, task
from steerio.testing import Model, simulate

pytestmark = pytest.mark.borders

ROOT = Path(__file__).parents[2]


class Plain:
    """Has the repr of any object."""


class Loud:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@task(pool="simulate")
def failing(what: Any) -> None:
    raise ValueError(f"cannot take {what!r}")


@task(pool="simulate")
def fine(what: Any) -> Any:
    return what


class Publishing(Campaign):
    """Publish, submit and fail with whatever has an address."""

    def __init__(self, made_with: Any = Plain) -> None:
        self.made_with = made_with

    @agent
    async def main(self) -> None:
        things: list[Any] = [
            Plain(), [Plain(), {"a": Plain()}], print, lambda: 1, functools.partial(fine, Plain()),
            Plain().__eq__, {"b", "a", "c", "d"}, frozenset({"x", "y"}), {"z": 1, "a": object()},
            Loud(), object, 1j, iter([]), (n for n in ""), {1, "a", None}, memoryview(b"a"),
        ]  # fmt: skip
        for thing in things:
            self.publish(thing)
            assert isinstance(await self.submit(failing, "x").result(), Failed)
        for number in range(2):
            local = _local(number)
            await self.submit(local, 1).result()
        assert isinstance(await self.submit(failing, Plain()).result(), Failed)


def _local(number: int) -> Any:
    @task(pool="simulate")
    def closure(x: int) -> int:
        return x + number

    return closure


def record() -> bytes:
    model = Model(1.0)
    run = simulate(Publishing(), model=model, workers={"simulate": 2})
    return run.event_log + repr([entry.error for entry in run.records]).encode()


def test_no_record_has_an_address_in_it() -> None:
    log = record()
    assert b"at 0x" not in log
    assert b"Plain object" in log
    assert b"whose repr raises RuntimeError" in log
    assert record() == log


def test_a_run_in_another_process_records_the_same() -> None:
    code = (
        "import sys; from tests.simulated.test_steady_records import record; "
        "sys.stdout.buffer.write(record())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    assert done.stdout == record()
