"""The replica of examples/replica: killed workers change nothing, a bad plant ends it clearly."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steerio
from steerio import SetParameter, WorkerLost
from steerio.testing import Model, RandomKills, simulate
from tests.example_modules import example_module
from tests.real.programs import REPOSITORY, python, running, steerio_command

EXAMPLE = REPOSITORY / "examples" / "replica"
POOLS = ("assimilate", "ahead")
MINUTES = 10.0

KILLED = """
import hashlib
import os
import signal

import steerio
from replica import Replica

from steerio import agent, task


@task(pool="assimilate", priority=9)
def own_pid() -> int:
    return os.getpid()


class Killed(Replica):
    @agent
    async def kill(self) -> None:
        for number in (3, 7, 11, 15):
            await self.until(lambda: self.number >= number)
            os.kill(await self.run(own_pid), signal.SIGKILL)

    async def finish(self) -> None:
        digest = hashlib.sha256(self.ensemble.tobytes()).hexdigest()
        print(f"{self.number} measurements, ensemble {digest}", flush=True)


if __name__ == "__main__":
    killed = Killed(members=60, minutes=10.0, speed=2.0)
    killed.watch = False
    steerio.run(killed, run_dir="killed", progress="off")
"""

SAYS = """
import os
import sys
import time

with open("pid", "w") as file:
    file.write(str(os.getpid()))
print('{"number": 1, "kelvin": 324.0, "coolant": 300.0}', flush=True)
how = sys.argv[1]
if how == "dies":
    os._exit(3)
if how == "nonsense":
    print('{"number": 2, "kelvin": "\\x1b[31mhot"}', flush=True)
if how == "leaps":
    print('{"number": 9, "kelvin": 324.0, "coolant": 300.0}', flush=True)
if how == "babbles":
    print("x" * 100_000, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    with example_module("replica", "replica") as module:
        yield module


def virtual(example: Any) -> Any:
    """Return the replica with its plant in virtual time."""
    link, plant = sys.modules["link"], sys.modules["plant"]

    class Virtual(example.Replica):  # type: ignore[misc]
        def open_line(self) -> AbstractAsyncContextManager[Any]:
            tank = plant.Plant(self.seed)
            return contextlib.nullcontext(link.VirtualLine(tank, self.minutes, 0.5))

    return Virtual


def test_kills_of_workers_change_neither_estimates_nor_orders(example: Any) -> None:
    whole, killed = (
        simulate(
            virtual(example)(members=60, minutes=MINUTES), model=Model(0.02), faults=faults, seed=3
        )
        for faults in ((), [RandomKills(rate_per_s=0.5, pool=pool) for pool in POOLS])
    )
    assert sum(isinstance(event, WorkerLost) for event in killed.events) >= 5
    assert killed.ended == whole.ended
    assert len(whole.campaign.orders) > 2
    assert killed.campaign.orders == whole.campaign.orders
    assert np.array_equal(killed.campaign.ensemble, whole.campaign.ensemble)


def test_a_replica_whose_worker_is_killed_again_and_again_ends_as_a_simulated_one(
    example: Any, tmp_path: Path
) -> None:
    calm = virtual(example)(members=60, minutes=MINUTES)
    calm.watch = False  # else orders depend on when they were given, if one is late
    simulate(calm, model=Model(0.001))
    digest = hashlib.sha256(calm.ensemble.tobytes()).hexdigest()
    (tmp_path / "killed.py").write_text(KILLED)
    path = os.pathsep.join([str(EXAMPLE), str(REPOSITORY)])
    with running(*python("killed.py"), cwd=tmp_path, env={"PYTHONPATH": path}) as program:
        assert program.status(60.0) == 0, program.output
    events = (tmp_path / "killed/events.jsonl").read_text().splitlines()
    assert sum("WorkerLost" in line and "SIGKILL" in line for line in events) == 4
    assert f"20 measurements, ensemble {digest}" in program.output


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("dies", "the plant ended with exit code 3"),
        ("hangs", "the plant said nothing for 1 s"),
        ("nonsense", 'the plant said b\'{"number": 2, "kelvin": "\\x1b[31mhot"}'),
        ("leaps", "behind measurement 1"),
        ("babbles", "the plant said more than 1000 bytes without an end"),
    ],
)
def test_a_plant_that_fails_ends_the_campaign_clearly(tmp_path: Path, how: str, said: str) -> None:
    (tmp_path / "bad.py").write_text(SAYS)
    command = steerio_command("run", str(EXAMPLE / "replica.py"), "--progress", "off")
    bad = shlex.join([sys.executable, "bad.py", how])
    silence = "1" if how == "hangs" else "30"
    with running(*command, "--plant", bad, "--silence", silence, cwd=tmp_path) as program:
        assert program.status(60.0) == 1, program
    assert said in program.output
    assert "\x1b" not in program.output
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_person_asks_what_if_and_orders_a_coolant(example: Any) -> None:
    class Steered(virtual(example)):  # type: ignore[misc]
        @steerio.agent
        async def person(self) -> None:
            await self.until(lambda: self.number >= 6)
            await self.session.order(SetParameter("what_if", 320.0), by="ada")
            await self.until(lambda: not self.what_if)
            await self.session.order(SetParameter("coolant", 290.0), by="ada")

    steered = Steered(members=60, minutes=MINUTES)
    steered.watch = False
    run = simulate(steered, model=Model(0.02))
    assert run.notes["what_if_risk"] == 1.0
    assert steered.orders == [(0, 300.0), (10, 290.0)]
    assert [row.coolant for row in steered.history].index(290.0) == 10
    assert steered.late == 0


def test_the_plant_runs_alone_and_takes_orders(tmp_path: Path) -> None:
    command = python(str(EXAMPLE / "plant.py"), "--speed", "100", "--minutes", "3")
    with running(*command, cwd=tmp_path) as program:
        assert program.status() == 0
    lines = [json.loads(line) for line in program.output.splitlines()]
    assert [line["number"] for line in lines] == [1, 2, 3, 4, 5, 6]
