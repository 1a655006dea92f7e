"""A run that must end does so within its bounds: whatever hangs, computes or swallows its end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from steerio.edge.store.folders import sweep_stale
from steerio.node.setup import SAME_S
from tests.real import programs
from tests.real.programs import Program, running, steerio_command
from tests.real.tables import read_table
from tests.real.test_mpi import launch
from tests.real.test_standing_broker import broker_in

pytestmark = pytest.mark.borders

CAMPAIGN = """
import asyncio, time
from steerio import Board, Campaign, agent, on_success, task

@task
def work(x: int) -> int:
    time.sleep(0.02 if x < 20 else 0.1 if x < 1_000 else 1e6)
    return x

class Hanging(Campaign):
    def __init__(self, kind: str = "") -> None:
        self.todo = Board(work, range(1_000), ahead=2)
        self.kind, self.seen = kind, 0

    @on_success(work)
    async def record(self, result):
        self.seen += 1
        print(f"recorded {self.seen}.", flush=True)
        if self.seen != 5:
            return
        print("hanging", flush=True)
        if self.kind == "task":
            await self.run(work, 1_000)
        while self.kind == "compute":
            time.sleep(0.1)
        while self.kind in ("swallow", "error"):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass
        if self.kind == "thread":
            await asyncio.to_thread(time.sleep, 3600)
        if self.kind == "handler":
            await asyncio.Event().wait()

    @agent
    async def fail(self):
        while self.kind == "error":
            await asyncio.sleep(0.05)
            if self.seen >= 5:
                raise ValueError("a mistake")

    async def finish(self):
        print("finishing", flush=True)
        await self.run(work, 7)
        if self.kind == "finish":
            await asyncio.Event().wait()
        await asyncio.sleep(0.1)
        print("finished", flush=True)
"""

GRACE = ("--grace", "drain=0.3,calls=0.3,finish=2,leave=0.5", "--progress", "off")
GENTLE = ("", "task", "handler", "finish")
"""What ends in good order when it is cancelled."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "hanging.py").write_text(CAMPAIGN)
    (tmp_path / "sockets").mkdir()
    return tmp_path


def command(folder: Path, kind: str, *options: str) -> tuple[str, ...]:
    return steerio_command(
        "run", "hanging.py", "--run-dir", "record", "--kind", kind, *GRACE, *options
    )


def summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "record/summary.json").read_text())
    return found


def ends_with_a_record(folder: Path, program: Program, kind: str, *, ended: str) -> None:
    """See that it ended, said so, recorded whatever had begun, and left nothing."""
    assert "Traceback" not in program.output
    assert list((folder / "sockets").iterdir()) == [], "no socket is left"
    assert not (folder / "record/connection.json").exists()
    assert summary(folder)["ended"] == ended
    events = read_table(folder / "record/events.jsonl")
    started = set(events[events.type == "TaskStarted"].task_id)
    assert started <= set(read_table(folder / "record/tasks.jsonl").task_id)
    if kind in GENTLE:
        assert ("finished" in program.output) == (kind != "finish")
    else:
        assert "steerio: the campaign is ended: it had to end and did not" in program.output


def run_hanging(folder: Path, *asked: str) -> Any:
    return running(*asked, cwd=folder, env={"TMPDIR": str(folder / "sockets")})


@pytest.mark.parametrize("kind", ["task", "finish", "compute", "thread"])
def test_a_limit_of_time_is_a_bound(folder: Path, kind: str) -> None:
    with run_hanging(folder, *command(folder, kind, "--workers", "2", "--limit-wall", "2")) as run:
        run.wait_for("hanging" if kind != "finish" else "recorded 5.")
        pids = programs.family(run.pid)
        assert run.status(within_s=20) == int(kind not in GENTLE), run
        programs.wait_for_end(pids, within_s=2.0)
    ends_with_a_record(folder, run, kind, ended="completed" if kind in GENTLE else "failed")


@pytest.mark.parametrize(
    ("kind", "by"),
    [
        ("handler", "SIGTERM"),
        ("compute", "SIGTERM"),
        ("swallow", "SIGTERM"),
        ("finish", "steerio stop"),
        ("compute", "steerio stop"),
    ],
)
def test_whoever_is_asked_once_ends_within_a_bound(folder: Path, kind: str, by: str) -> None:
    with run_hanging(folder, *command(folder, kind, "--workers", "2")) as run:
        run.wait_for("hanging")
        pids = programs.family(run.pid)
        if by == "SIGTERM":
            run.signal(signal.SIGTERM)
            status, ended = 143, "interrupted"
        else:
            with running(*steerio_command("stop", "record"), cwd=folder) as stop:
                assert stop.status() == 0, stop
            gentle = kind in GENTLE
            status, ended = int(not gentle), "completed" if gentle else "failed"
        assert run.status(within_s=20) == status, run
        programs.wait_for_end(pids, within_s=2.0)
    ends_with_a_record(folder, run, kind, ended=ended)


def test_an_agent_that_swallows_its_end_does_not_outlive_an_error(folder: Path) -> None:
    with run_hanging(folder, *command(folder, "error", "--workers", "2")) as run:
        run.wait_for("goes on although it was cancelled")
        assert run.status(within_s=20) == 1, run
    assert "steerio: the campaign is ended: it had to end" in run.output


@pytest.mark.parametrize(("kind", "by"), [("handler", "limit"), ("compute", "SIGTERM")])
def test_a_campaign_that_joined_a_broker_ends_within_the_same_bounds(
    folder: Path, kind: str, by: str
) -> None:
    worker = steerio_command("worker", "--join", "broker", "--workers", "2")
    limit = ["--limit-wall", "2"] if by == "limit" else []
    with broker_in(folder), running(*worker, cwd=folder):
        with run_hanging(folder, *command(folder, kind, "--join", "broker", *limit)) as run:
            run.wait_for("hanging")
            if by == "SIGTERM":
                run.signal(signal.SIGTERM)
            orderly = kind in GENTLE
            status = 143 if by == "SIGTERM" else int(not orderly)
            assert run.status(within_s=20) == status, run
    assert ("finished" in run.output) == orderly
    expected = "interrupted" if by == "SIGTERM" else "completed" if orderly else "failed"
    assert summary(folder)["ended"] == expected


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_computing_campaign_hears_that_the_broker_it_joined_is_gone(
    folder: Path, how: str
) -> None:
    worker = steerio_command("worker", "--join", "broker", "--workers", "2")
    with broker_in(folder, "--wait", "3") as broker, running(*worker, cwd=folder) as node:
        with run_hanging(folder, *command(folder, "compute", "--join", "broker")) as run:
            run.wait_for("hanging")
            if how == "killed":
                broker.signal(signal.SIGKILL)
            else:
                with running(*steerio_command("stop", "broker"), cwd=folder) as stop:
                    assert stop.status() == 0, stop
            assert run.status(within_s=20) == 1, run
        assert node.status(within_s=20) == (how == "killed"), node
    sweep_stale()  # a broker that was killed, and a campaign that was ended hard, leave a store
    assert "an agent keeps the event loop, and its broker is gone" in run.output
    assert summary(folder)["ended"] == "failed"


@pytest.mark.parametrize(("name", "kind"), [("openmpi", "compute"), ("mpich", "handler")])
def test_under_a_launcher_a_limit_is_a_bound_too(folder: Path, name: str, kind: str) -> None:
    asked = launch(name, 2, *command(folder, kind, "--limit-wall", "3"))
    with run_hanging(folder, *asked) as run:
        run.wait_for("hanging")
        pids = programs.family(run.pid)
        assert (run.status(within_s=30) == 0) == (kind in GENTLE), run
        programs.wait_for_end(pids, within_s=5.0)
    assert summary(folder)["ended"] == ("completed" if kind in GENTLE else "failed")


# -- what counts as twice --------------------------------------------------------------------------


def timeout_of(*command: str) -> Sequence[str]:
    """Return a command under GNU ``timeout``, which signals a process and then its group."""
    program = shutil.which("timeout")
    if program is None:
        pytest.skip("there is no timeout here")
    return [program, "3", *command]


def test_a_signal_to_process_and_group_counts_once(folder: Path) -> None:
    with run_hanging(folder, *timeout_of(*command(folder, "", "--workers", "2"))) as run:
        assert run.status() == 124, run
    assert "finished" in run.output
    assert summary(folder)["ended"] == "interrupted"


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGHUP])
def test_signals_within_milliseconds_count_once(folder: Path, second: signal.Signals) -> None:
    with run_hanging(folder, *command(folder, "", "--workers", "2")) as run:
        run.wait_for("recorded 5.")
        run.signal(signal.SIGTERM)
        run.signal(second)
        assert run.status() in (143, 128 + second), run
    assert "finished" in run.output
    assert "at once by" not in run.output


def rank_0_of(program: Program) -> int:
    """Return the process of rank 0, below its launcher."""
    said = re.compile(rb"(?:^|\0)(?:OMPI_COMM_WORLD|PMI)_RANK=0\0")
    family = programs.family(program.pid)
    return next(pid for pid in family if said.search(Path(f"/proc/{pid}/environ").read_bytes()))


@pytest.mark.parametrize("name", ["openmpi", "mpich"])
def test_a_signal_to_a_launcher_and_its_rank_0_counts_once(folder: Path, name: str) -> None:
    with run_hanging(folder, *launch(name, 2, *command(folder, ""))) as run:
        run.wait_for("recorded 5.")
        os.kill(rank_0_of(run), signal.SIGTERM)
        run.signal(signal.SIGTERM)
        run.status()  # what this is, is the launcher's
    assert "finished" in run.output
    assert summary(folder)["ended"] == "interrupted"


def test_a_second_ctrl_c_half_a_second_later_is_still_at_once(folder: Path) -> None:
    with run_hanging(folder, *command(folder, "finish", "--workers", "2")) as run:
        run.wait_for("recorded 5.")
        run.signal(signal.SIGINT)
        run.wait_for("finishing")
        run.signal_later(signal.SIGINT)
        assert run.status(within_s=5) == 130, run
    assert programs.DELIBERATE_S > SAME_S
    assert "finish is cancelled" not in (folder / "record/campaign.log").read_text()
