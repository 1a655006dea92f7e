"""An agent that computes in its handler idles no worker and gets nobody declared lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.real.programs import python, running, steerio_command
from tests.real.test_standing_broker import broker_in, workers_in

PROGRAM = """
import sys, time
import steerio
from steerio import Campaign, Limits, Settings, on_success, task

TASK_S, BUSY_S = 0.04, 3.0

@task
def work(x: int) -> int:
    time.sleep(TASK_S)
    return x

class Busy(Campaign):
    busy = False

    async def setup(self):
        for x in range(400):
            self.submit(work, x)

    @on_success(work)
    async def compute(self, result):
        if not self.busy:
            self.busy = True
            began = time.time()
            if sys.argv[1] == "sleeps":
                time.sleep(BUSY_S)
            else:
                while time.time() < began + BUSY_S:
                    pass
            print(f"busy from {began} to {time.time()} end", flush=True)
            self.stop(cancel=True)

settings = Settings(beat_s=0.2, lease_s=1.0)  # so that silence would show
steerio.run(Busy(), workers={"default": 2}, run_dir=sys.argv[2], settings=settings)
"""


def lines(file: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("how", ["sleeps", "computes"])
def test_workers_go_on_while_an_agent_is_busy_and_the_agent_is_named(
    tmp_path: Path, how: str
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    record = tmp_path / "record"
    with running(*python("program.py", how, str(record)), cwd=tmp_path) as program:
        words = program.wait_for(" end").split()
        assert program.status() == 0, program
    began, ended = float(words[2]), float(words[4])
    tasks = lines(record / "tasks.jsonl")
    done = [(t["started"], t["ended"]) for t in tasks if t["ended_as"] == "succeeded"]
    busy_s = sum(to - since for since, to in done if began < since and to < ended)
    assert busy_s > 0.5 * 2 * (ended - began), "two workers had work for most of that time"
    events = lines(record / "events.jsonl")
    kinds = {event["type"] for event in events if event["at"] < ended}
    assert not {kind for kind in kinds if kind.endswith("Lost")}
    (stall,) = [event for event in events if event["type"] == "LoopStalled"]
    assert (stall["agent"], stall["where"][:9]) == ("Busy.compute", "compute (")
    assert ended - began <= stall["seconds"] + 0.1
    assert stall["at"] - stall["seconds"] == pytest.approx(began, abs=0.2)
    log = (record / "campaign.log").read_text()
    assert "the event loop has stood still for" in log
    assert "Busy.compute, at compute (" in log
    assert "offload it" in log


JOINED = """
import time
from steerio import Campaign, agent, task

@task
def work(x: int) -> int:
    return x

class Joined(Campaign):
    @agent
    async def think(self) -> None:
        await self.run(work, 1)
        time.sleep(1.5)
        await self.run(work, 2)
"""


def test_an_agent_that_keeps_the_loop_beside_a_standing_broker_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "joined.py").write_text(JOINED)
    with broker_in(tmp_path) as broker, workers_in(tmp_path, "--workers", "default=1"):
        command = steerio_command("run", "joined.py", "--join", "broker", "--run-dir", "mine")
        with running(*command, cwd=tmp_path) as program:
            assert program.status() == 0, program
        with running(*steerio_command("stop", "broker"), cwd=tmp_path) as stop:
            assert stop.status() == 0, stop
        assert broker.status() == 0, broker
    events = lines(tmp_path / "broker" / "events.jsonl")
    (stall,) = [event for event in events if event["type"] == "LoopStalled"]
    assert (stall["agent"], stall["where"][:7]) == ("Joined.think", "think (")
    assert stall["client"] == "Joined"
    assert stall["seconds"] >= 1.5
    log = (tmp_path / "mine" / "campaign.log").read_text()
    assert "the event loop has stood still for" in log
