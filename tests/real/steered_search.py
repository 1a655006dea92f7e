"""A campaign in a process of its own, which asks, and can be steered in every way."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Generator
from pathlib import Path

from tests.real.programs import Program, running, steerio_command

CAMPAIGN = """
import steerio
from steerio import Campaign, agent, on_success, task


@task(pool="simulate")
def measure(x: int) -> int:
    return x * x


@task(pool="learn")
def fit(x: int) -> int:
    return x


class Search(Campaign):
    workers = {"simulate": 2, "learn": 1}
    rate = steerio.parameter(0.1, ge=0, le=1, help="Step of the <b>search</b>.")
    loud = steerio.parameter(False)

    @agent
    async def tell(self) -> None:
        async with self.events(steerio.ParameterChanged) as events:
            print("begun", flush=True)
            async for event in events:
                print(f"{event.name} is {event.new}, by {event.by}: {event.reason}.", flush=True)

    @on_success(measure)
    async def count(self, result) -> None:
        print(f"measured {result.args[0]}.", flush=True)

    @agent
    async def work(self) -> None:
        choice = await self.approve("spend <i>500</i> node-hours?", ("yes", "no"))
        print(f"{choice} it is.", flush=True)
        for number in range(1000):
            self.submit(measure, number)
            choice = await self.approve(f"measured {number}, and on?", ("again", "done"))
            if choice == "done":
                break
"""


@contextlib.contextmanager
def searching(folder: Path, *options: str) -> Generator[Program]:
    """Run it in the run directory ``run`` of a folder, for the length of a context."""
    (folder / "search.py").write_text(CAMPAIGN)
    command = steerio_command("run", "search.py", "--run-dir", "run", "--progress", "off")
    with running(*command, *options, cwd=folder) as program:
        program.wait_for("begun")
        yield program
        program.signal(signal.SIGINT)  # one that is killed may leave its files to the next
        program.status()
