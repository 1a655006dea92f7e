"""An agent that computes in its handler idles no worker and gets nobody declared lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.real.programs import python, running

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
