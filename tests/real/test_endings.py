"""However a campaign ends, it ends soon, says why, records what was done and leaves nobody."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.real import programs
from tests.real.programs import Program, running, steerio_command
from tests.real.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

CAMPAIGN = '''
import asyncio, os, signal, sys, time
import steerio
from steerio import Board, Campaign, agent, on_success, on_failure, task

@task
def work(x: int) -> int:
    time.sleep(0.02)
    return x

@task(retries={"lost": 0})
def crash(x: int) -> int:
    os.kill(os.getpid(), signal.SIGSEGV)

class Endless(Campaign):
    """Never ends by itself."""

    def __init__(self, kind: str = "", end_after: int = -1) -> None:
        self.todo = Board(work, range(100_000), ahead=4)
        self.kind, self.end_after, self.seen = kind, end_after, 0

    @on_success(work)
    async def record(self, result):
        self.seen += 1
        print(f"recorded {self.seen}.", flush=True)
        if self.seen == self.end_after:
            if self.kind == "raise":
                raise ZeroDivisionError("an agent's own mistake")
            if self.kind == "task":
                await self.run(crash, 1)
            if self.kind == "unasked":
                self.submit(crash, 1)
            if self.kind == "unpicklable":
                self.submit(work, asyncio.get_running_loop())
            if self.kind == "unknown":
                self.submit("work", 1)
            if self.kind == "compute":
                print("computing", flush=True)
                while True:
                    pass
            if self.kind == "exit":
                sys.exit(4)
            if self.kind in ("stop", "finish"):
                self.stop()

    @agent
    async def watch(self):
        while self.kind == "swallow":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                print("swallowed", flush=True)
        await asyncio.Event().wait()

    async def finish(self):
        if self.kind == "linger":
            print("lingering", flush=True)
            await asyncio.Event().wait()
        if self.kind == "finish":
            raise ZeroDivisionError("a mistake at the end")
'''


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    file = tmp_path / "campaign.py"
    file.write_text(CAMPAIGN)
    return file


def run_command(campaign: Path, *options: str) -> tuple[str, ...]:
    record = campaign.parent / "record"
    return steerio_command(
        "run", str(campaign), "--workers", "2", "--run-dir", str(record), *options
    )


def recorded(campaign: Path) -> pd.DataFrame:
    return read_table(campaign.parent / "record/tasks.jsonl")


def summary(campaign: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((campaign.parent / "record/summary.json").read_text())
    return found


def nobody_left(pids: list[int], program: Program, within_s: float) -> None:
    assert len(pids) >= 5, f"campaign, node, zygote and two workers of {program}"
    programs.wait_for_end(pids, within_s)


def everything_is_recorded(campaign: Path, program: Program, but: int = 0) -> None:
    ended = Counter(recorded(campaign).ended_as)
    assert ended["succeeded"] >= program.output.count("recorded ") - but


def test_a_campaign_that_stops_ends_with_0_and_a_whole_record(campaign: Path) -> None:
    with running(*run_command(campaign, "--kind", "stop", "--end-after", "9")) as program:
        assert program.status() == 0, program
        assert program.wait_for("record: ").startswith("record: ")
    tasks = recorded(campaign)
    ended = Counter(tasks.ended_as)
    assert ended.keys() <= {"succeeded", "cancelled"}, "what was queued is cancelled"
    assert set(tasks.cause) == {"Endless.__init__"}
    done = tasks[tasks.ended_as == "succeeded"]
    assert (done.started >= done.sent - 0.001).all()
    record = campaign.parent / "record"
    assert {file.name for file in record.iterdir()} == {
        "campaign.log",
        "events.jsonl",
        "journal",
        "parameters.json",
        "random_seed",
        "record.json",
        "summary.json",
        "tasks.jsonl",
        "workers.log",
    }
    assert summary(campaign)["ended"] == "completed"
    assert summary(campaign)["tasks"] == len(done)
    assert 0 < summary(campaign)["busy"]["default"] <= 1
    assert f"Endless completed: {len(tasks)} tasks ({len(done)} done" in program.output
    assert "; busy: default " in program.output
    assert len(read_table(record / "events.jsonl")) > 3 * len(done)


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("raise", "ZeroDivisionError", "an agent's own mistake"),
        ("exit", "RuntimeError", "Endless.record raised SystemExit(4)"),
        ("finish", "ZeroDivisionError", "a mistake at the end"),
        ("task", "TaskLost", "its process was ended by SIGSEGV"),
        ("unasked", "UnhandledFailure", "No agent handles that"),
        ("unpicklable", "EncodingError", "argument 'x' of task type campaign:work"),
        ("unknown", "UsageError", "'work' is neither a function nor a @task"),
    ],
)
def test_what_goes_wrong_in_an_agent_ends_the_campaign_with_1_and_says_where(
    campaign: Path, kind: str, error: str, said: str
) -> None:
    with running(*run_command(campaign, "--kind", kind, "--end-after", "25")) as program:
        program.wait_for("recorded 1.")
        pids = programs.family(program.pid)
        assert program.status(within_s=10) == 1, program
        nobody_left(pids, program, within_s=1.0)
    assert error in program.output
    assert said in program.output
    if kind != "unasked":
        assert f"{campaign}" in program.output, "the agent's own line is shown"
    assert "steerio/campaign/" not in program.output, "and not ours"
    assert summary(campaign)["ended"] == "failed"
    assert summary(campaign)["because"].startswith(f"{error}: ")
    everything_is_recorded(campaign, program)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_one_signal_ends_a_campaign_in_good_order(
    campaign: Path, number: signal.Signals, status: int
) -> None:
    with running(*run_command(campaign)) as program:
        program.wait_for("recorded 5.")
        pids = programs.family(program.pid)
        program.signal(number)
        assert program.status(within_s=10) == status, program
        nobody_left(pids, program, within_s=1.0)
    assert "ending in good order" in program.output
    assert "Traceback" not in program.output
    assert summary(campaign)["ended"] == "interrupted"
    everything_is_recorded(campaign, program)
    assert set(recorded(campaign).ended_as) == {"succeeded", "cancelled"}


def test_a_campaign_under_nohup_goes_on_when_its_terminal_is_closed(campaign: Path) -> None:
    under_nohup = ("sh", "-c", "trap '' HUP; exec \"$@\"", "nohup")
    with running(*under_nohup, *run_command(campaign)) as program:
        program.wait_for("recorded 5.")
        program.signal(signal.SIGHUP)
        program.wait_for("recorded 50.")
        program.signal(signal.SIGTERM)
        assert program.status(within_s=10) == 143, program


def test_a_second_ctrl_c_ends_a_campaign_at_once(campaign: Path) -> None:
    with running(*run_command(campaign, "--kind", "linger")) as program:
        program.wait_for("recorded 5.")
        pids = programs.family(program.pid)
        program.signal(signal.SIGINT)
        program.wait_for("lingering")
        program.signal_later(signal.SIGINT)
        assert program.status(within_s=5) == 130, program
        nobody_left(pids, program, within_s=2.0)
    assert "Traceback" not in program.output
    assert "starting another" not in program.output
    everything_is_recorded(campaign, program)


@pytest.mark.parametrize(("kind", "deaf"), [("compute", "computing"), ("swallow", "swallowed")])
@pytest.mark.parametrize("third", [False, True], ids=["twice", "three times"])
def test_ctrl_c_twice_ends_agents_that_compute_or_swallow_it(
    campaign: Path, kind: str, deaf: str, third: bool
) -> None:
    sockets = campaign.parent / "sockets"
    sockets.mkdir()
    command = run_command(campaign, "--kind", kind, "--end-after", "5")
    with running(*command, env={"TMPDIR": str(sockets)}) as program:
        program.wait_for("recorded 5.")
        pids = programs.family(program.pid)
        if kind == "compute":
            program.wait_for(deaf)
        program.signal(signal.SIGINT)
        program.wait_for("ending in good order", within_s=1.0)
        if kind == "swallow":
            program.wait_for(deaf)
        program.signal_later(signal.SIGINT)
        if third:
            program.signal_later(signal.SIGTERM)
        assert program.status(within_s=5) in ((130, 143) if third else (130,)), program
        nobody_left(pids, program, within_s=2.0)
    assert "Traceback" not in program.output
    assert "ended at once by SIG" in program.output
    assert summary(campaign)["ended"] == "interrupted"
    assert not list(sockets.iterdir())
    assert not (campaign.parent / "record/connection.json").exists()
    everything_is_recorded(campaign, program)


def test_ctrl_c_while_a_campaign_starts_ends_it_too(campaign: Path) -> None:
    campaign.write_text(f"{CAMPAIGN}\nprint('loaded', flush=True)\n")
    with running(*run_command(campaign)) as program:
        program.wait_for("loaded")
        pids = programs.family(program.pid)
        program.signal(signal.SIGINT)
        assert program.status(within_s=10) == 130, program
        programs.wait_for_end(pids, within_s=2.0)
    assert "Traceback" not in program.output


def test_a_campaign_that_cannot_record_its_results_ends_with_the_reason(campaign: Path) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    campaign.write_text(f"{CAMPAIGN}\nimport resource\n{limit}\n")
    with running(*run_command(campaign, "--progress", "off")) as program:
        assert program.status(within_s=20) == 1, program
    assert "cannot be written: [Errno 27] File too large" in program.output
    everything_is_recorded(campaign, program, but=5)


def test_a_killed_campaign_leaves_nobody_and_its_record(campaign: Path) -> None:
    with running(*run_command(campaign)) as program:
        program.wait_for("recorded 20.")
        pids = programs.family(program.pid)
        os.kill(program.pid, signal.SIGKILL)
        program.status(within_s=5)
        nobody_left(pids, program, within_s=5.0)
    everything_is_recorded(campaign, program)
