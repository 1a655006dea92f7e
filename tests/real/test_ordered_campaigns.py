"""``steerio steer`` and ``steerio audit``: a person steers a campaign in another process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

import steerio
from steerio import Answer, OrderRefused, SetParameter
from tests.real.programs import Program, running, steerio_command
from tests.real.test_standing_broker import broker_in, workers_in

SOON_S = 60.0

CAMPAIGN = """
import steerio
from steerio import Campaign, agent, on_success, task


@task
def measure(x: int) -> int:
    return x * x


class Search(Campaign):
    workers = {"default": 1}
    rate = steerio.parameter(0.1, ge=0, le=1, help="Step of the search.")
    loud = steerio.parameter(False)
    most: float = steerio.parameter(3)

    def __init__(self, asks: bool = True) -> None:
        self.asks = asks
        self.began_with = self.rate
        self.done = 0

    @on_success(measure)
    async def count(self, result) -> None:
        self.done += 1

    @agent
    async def work(self) -> None:
        await self.run(measure, 3)
        print(f"began with {self.began_with}, {self.rate}, {self.loud}, {self.most}.", flush=True)
        if self.asks:
            print(f"{await self.approve('go on?')} at {self.rate}.", flush=True)
            print(f"{await self.approve('and on?')} at {self.rate}.", flush=True)
"""


def steer(folder: Path, *order: str, expect: int = 0) -> str:
    with running(*steerio_command("steer", *order), cwd=folder) as program:
        assert program.status(SOON_S) == expect, program
        return program.output


def audit(folder: Path, run_dir: str) -> list[str]:
    with running(*steerio_command("audit", run_dir), cwd=folder) as program:
        assert program.status(SOON_S) == 0, program
        return [line.partition("  ")[2] for line in program.output.splitlines()]


def search(folder: Path, *options: str) -> Any:
    (folder / "search.py").write_text(CAMPAIGN)
    command = steerio_command("run", "search.py", "--progress", "off", *options)
    return running(*command, cwd=folder)


def test_parameters_are_options_of_run_and_checked_there(tmp_path: Path) -> None:
    options = ("--rate", "0.25", "--loud", "--most", "7", "--no-asks", "--run-dir", "run")
    with search(tmp_path, *options) as program:
        assert program.status(SOON_S) == 0, program
        assert "began with 0.25, 0.25, True, 7.0." in program.output
    written = json.loads((tmp_path / "run" / "parameters.json").read_text())
    assert written["parameters"] == {"rate": 0.25, "loud": True, "most": 7.0}
    with search(tmp_path, "--rate", "3") as program:
        assert program.status(SOON_S) == 2, program
        assert (
            "Search.rate cannot be 3.0: it is a number at least 0 and at most 1" in program.output
        )
    with search(tmp_path, "--help") as program:
        assert program.status(SOON_S) == 0, program
        assert "--rate FLOAT" in program.output
        assert "Step of the search: a number at least 0 and at most 1" in program.output


@pytest.mark.parametrize("joined", [False, True], ids=["embedded", "joined"])
def test_a_person_looks_sets_answers_pauses_and_stops(tmp_path: Path, joined: bool) -> None:
    if joined:
        with broker_in(tmp_path), workers_in(tmp_path):
            with search(tmp_path, "--join", "broker", "--run-dir", "run") as program:
                steered(tmp_path, program, "broker")
    else:
        with search(tmp_path, "--run-dir", "run") as program:
            steered(tmp_path, program, "run")


def steered(folder: Path, program: Program, place: str) -> None:
    program.wait_for("began with")
    ada = "--by", "ada", place
    while "go on?" not in steer(folder, *ada, "questions"):
        pass
    looked = steer(folder, *ada, "look")
    assert "parameter rate = 0.1: a number at least 0 and at most 1 (Step of the search)" in looked
    assert "question 1 of Search.work: go on? [yes | no]" in looked
    assert "agent count (@on_success): 0 queued, 0 under way" in looked
    assert "pool default: 1 worker, 0 running, 0 queued" in looked
    said = steer(folder, *ada, "set", "rate=0.2", "--reason", "it is slow")
    assert said == "rate is 0.2 now, and was 0.1\n"
    said = steer(folder, *ada, "set", "rate=0.3", "--dry-run", "--campaign", "Search")
    assert said == "would set rate from 0.2 to 0.3\n"
    assert "cannot be '7'" in steer(folder, *ada, "set", "rate=7", expect=1)
    assert "say NAME=VALUE" in steer(folder, *ada, "set", "rate", expect=2)
    assert "no campaign named Fit" in steer(folder, *ada, "look", "--campaign", "Fit", expect=1)
    assert "put it between quotes" in steer(folder, *ada, "answer", "1", "o", "k", expect=2)
    said = steer(folder, *ada, "pause-agent", "count")
    assert said == "Search.count is paused, with 0 calls queued\n"
    assert "agent count (@on_success): paused, " in steer(folder, *ada, "look")
    said = steer(folder, *ada, "resume-agent", "count")
    assert said == "Search.count is resumed, with 0 calls queued\n"
    said = steer(folder, *ada, "checkpoint", "--dry-run")
    assert said.startswith("would take a snapshot")
    said = steer(folder, *ada, "answer", "1", "yes", "--reason", "we may")
    assert said == "answered question 1 (go on?) 'yes'\n"
    program.wait_for("yes at 0.2.")
    assert "was answered 'yes' already, by ada" in steer(
        folder, *ada, "answer", "1", "no", expect=1
    )
    assert steer(folder, *ada, "stop", "--reason", "enough") == "it ends\n"
    assert program.status(SOON_S) == 0, program
    lines = audit(folder, place)
    assert "Search: Search.work asked (1): go on? [yes | no]" in lines
    assert "Search: ada: set rate to '0.2' (it is slow) -> rate is 0.2 now, and was 0.1" in lines
    assert (
        "Search: ada: answer question 1 'yes' (we may) -> answered question 1 (go on?) 'yes'"
        in (lines)
    )
    assert "Search: ada: stop (enough) -> it ends" in lines
    assert any("refused: Search.rate cannot be '7'" in line for line in lines)
    assert any(line.startswith("Search: ada: tried to set rate to '0.3'") for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_wait_for_an_answer(tmp_path: Path, number: signal.Signals) -> None:
    with search(tmp_path, "--run-dir", "run") as program:
        program.wait_for("began with")
        while "go on?" not in steer(tmp_path, "run", "questions"):
            pass
        program.signal(number)
        assert program.status(SOON_S) == 128 + number, program
        assert "Traceback" not in program.output


async def test_orders_questions_and_answers_outlive_a_killed_process(tmp_path: Path) -> None:
    with search(tmp_path, "--run-dir", "run", "--loud") as program:
        program.wait_for("began with")
        async with steerio.connect(tmp_path / "run", name="ada") as session:
            while not (await session.look()).questions:
                pass
            await session.order(SetParameter("rate", 0.5))
            await session.order(Answer("no"))
            program.wait_for("no at 0.5.")
            while not (await session.look()).questions:
                pass
        os.killpg(program.pid, signal.SIGKILL)
        program.status(SOON_S)
    command = steerio_command("resume", "run", "--progress", "off")
    with running(*command, cwd=tmp_path) as program:
        program.wait_for("no at 0.5.")
        assert "began with 0.1, 0.5, True, 3.0." in program.output, (
            "the order came behind no result"
        )
        async with steerio.connect(tmp_path / "run", name="ada") as session:
            while not (questions := (await session.look()).questions):
                pass
            assert [(each.number, each.text) for each in questions] == [(2, "and on?")]
            with pytest.raises(OrderRefused, match="no question 1 is open"):
                await session.order(Answer("yes", 1))
            await session.order(Answer("yes"))
        program.wait_for("yes at 0.5.")
        assert program.status(SOON_S) == 0, program


def test_a_person_orders_pools_and_tasks_of_a_campaign(tmp_path: Path) -> None:
    with search(tmp_path, "--run-dir", "run") as program:
        program.wait_for("began with")
        while "go on?" not in steer(tmp_path, "run", "questions"):
            pass
        said = steer(
            tmp_path, "run", "pause", "default", "--by", "ada", "--reason", "odd", "--dry-run"
        )
        assert said == "would pause default (0 running, 0 queued)\n"
        said = steer(tmp_path, "--by", "eve", "run", "pause", "--by", "ada", "--reason", "odd")
        assert said == "default is paused: 0 running, 0 queued\n"
        said = steer(tmp_path, "run", "submit", "measure", "[4]", "--by", "ada", "--priority", "2")
        found = re.fullmatch(r"submitted task (\d+): measure\(4\)\n", said)
        assert found is not None
        first = found[1]
        said = steer(tmp_path, "run", "submit", "search:measure", "--kwarg", "x=5", "--by", "ada")
        second = said.split()[2].rstrip(":")
        said = steer(tmp_path, "run", "rank", first, second, "--priority", "7.5", "--by", "ada")
        assert said == f"ranked tasks {first}, {second} at 7.5, if still queued\n"
        said = steer(tmp_path, "run", "cancel", second, "99", "--by", "ada")
        assert said == f"cancelled task {second}; task 99 is no task of this campaign\n"
        said = steer(tmp_path, "run", "submit", "measure", "[x]", expect=2)
        assert "cannot be read as JSON" in said
        said = steer(tmp_path, "run", "submit", "measure", '["four"]', expect=1)
        assert "'four'" in said
        assert steer(tmp_path, "run", "resume", "--by", "ada").startswith("default goes on: ")
        asyncio.run(propose(tmp_path / "run"))
        seen = steer(tmp_path, "run", "questions")
        assert "question 2 of mei: mei proposes: set rate to 0.4 (too \\x1b[2Jfast)" in seen
        said = steer(tmp_path, "run", "answer", "2", "approve", "--by", "ada")
        assert said == "approved question 2: rate is 0.4 now, and was 0.1\n"
        assert steer(tmp_path, "run", "stop", "--by", "ada") == "it ends\n"
        assert program.status(SOON_S) == 0, program
    lines = audit(tmp_path, "run")
    assert "Search: ada: pause all pools (odd) -> default is paused: 0 running, 0 queued" in lines
    assert f"Search: ada: submit measure(4) -> submitted task {first}: measure(4)" in lines
    told = [line for line in lines if line.startswith("Search: mei: set rate")]
    assert "refused: mei has the role 'look', which may only look" in told[0]
    assert told[1].endswith(", approved by ada -> rate is 0.4 now, and was 0.1")
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "tasks.jsonl").read_text().splitlines()
    ]
    (ordered,) = [row for row in rows if str(row.get("task_id", row.get("id"))) == first]
    assert ordered["tags"] == {"ordered_by": "ada"}


async def propose(run_dir: Path) -> None:
    async with steerio.connect(run_dir, name="mei") as session:
        order = SetParameter("rate", 0.4)
        answer = await session.order(order, role="propose", reason="too \x1b[2Jfast")
        assert (answer.done, answer.question) == (False, 2)
        with pytest.raises(OrderRefused, match="answer no"):
            await session.order(Answer("approve", 2), role="propose")
        with pytest.raises(OrderRefused, match="may only look"):
            await session.order(order, role="look")
