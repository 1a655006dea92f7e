"""``steerio mcp``: scripted assistants over standard input and output, of good and of ill will."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError, StdioServerParameters, stdio_client

from steerio.mcp.marked_answers import DATA
from tests.real.assisted import LURE, ask, ended, read, slow_campaign, task_ids
from tests.real.programs import PATH, Program, running, steerio_command, wait_for_end

SOON_S = 60.0


def steer(folder: Path, *order: str) -> str:
    with running(*steerio_command("steer", *order), cwd=folder) as program:
        assert program.status(SOON_S) == 0, program
        return program.output


@contextlib.asynccontextmanager
async def assistant(folder: Path, *options: str) -> AsyncGenerator[Client]:
    """Start the server as an assistant's program does, and speak to it."""
    command, *arguments = steerio_command("mcp", "run", *options)
    environment = {**os.environ, "PYTHONPATH": PATH}
    started = StdioServerParameters(
        command=command, args=arguments, env=environment, cwd=str(folder)
    )
    with (folder / "mcp.log").open("w") as errors:
        async with Client(stdio_client(started, errors)) as client:
            yield client
    assert (folder / "mcp.log").read_text() == ""


@pytest.mark.parametrize("choice", ["approve", "deny"])
async def test_an_assistant_finds_the_reason_proposes_a_move_and_sees_its_effect(
    tmp_path: Path, choice: str
) -> None:
    with slow_campaign(tmp_path) as program:
        program.wait_for("two are done")
        async with assistant(tmp_path, "--by", "model") as client:
            seen = await ask(client, "overview")
            while not (idle := [p for p in seen[DATA]["pools"] if p["idle"] and not p["queued"]]):
                seen = await ask(client, "overview")
            (busy,) = [pool for pool in seen[DATA]["pools"] if pool["queued"]]
            assert idle[0]["idle_worker_seconds_by_cause"]["no_work"] > 0
            workers = idle[0]["workers"]
            order = {
                "type": "MoveWorkers",
                "source": idle[0]["name"],
                "target": busy["name"],
                "workers": workers - 1,
            }
            proposal = {
                "order": order,
                "reason": f"{busy['name']} has {busy['queued']} tasks queued",
                "based_on": seen["at_event"],
            }
            dry = (await ask(client, "propose_orders", orders=[proposal], dry_run=True))[DATA][0]
            assert dry["state"] == "would be done"
            (put,) = (await ask(client, "propose_orders", orders=[proposal]))[DATA]
            assert put["state"] == "proposed"
            (again,) = (await ask(client, "propose_orders", orders=[proposal]))[DATA]
            assert again == put, "the same proposal"
            asked = await ask(client, "questions")
            assert [each["question"] for each in asked[DATA]["open"]] == [put["question"]]
            waited = await ask(client, "wait", question=put["question"], timeout_s=0.1)
            assert not waited["over"]
            number = str(put["question"])
            said = steer(tmp_path, "--by", "ada", "run", "answer", number, choice)
            assert f"question {number}" in said
            waited = await ask(client, "wait", question=put["question"], timeout_s=60)
            answer = waited[DATA]["question"]
            assert waited["over"]
            assert (answer["choice"], answer["by"]) == (choice, "ada")
            (repeated,) = (await ask(client, "propose_orders", orders=[proposal]))[DATA]
            if choice == "approve":
                assert answer["state"] == repeated["state"] == "done"
                await has_moved(client, busy["name"], busy["workers"] + workers - 1)
                (tmp_path / "go").touch()
                await ended(client, *await task_ids(client))
            else:
                assert answer["state"] == repeated["state"] == "not done"
                assert "denied by ada" in answer["outcome"]
            audited = (await ask(client, "audit"))[DATA]
            while not any("-> " in line for line in audited if "model" in line):
                audited = (await ask(client, "audit"))[DATA]


async def has_moved(client: Client, pool: str, workers: int) -> None:
    """Wait until an overview shows so many workers in a pool."""
    while True:
        seen = await ask(client, "overview")
        found = {each["name"]: each for each in seen[DATA]["pools"]}[pool]
        if found["workers"] == workers and found["busy"] == workers:
            return


async def test_a_hostile_assistant_gets_nowhere(tmp_path: Path) -> None:
    with slow_campaign(tmp_path) as program:
        program.wait_for("two are done")
        async with assistant(tmp_path, "--by", "model", "--tasks-per-hour", "3") as client:
            failures = await ask(client, "failures")
            assert LURE in failures[DATA][0]["message"], "as data"
            ids = (await task_ids(client))[1:]
            with pytest.raises(MCPError, match="no tool"):
                await client.call_tool("give_orders", {"orders": []})
            orders: list[Any] = [
                {"type": "StopCampaign", "cancel": True},
                {"type": "Answer", "choice": "yes", "question": 1},
            ]
            for order in orders:
                asked = {"orders": [{"order": order, "reason": LURE}]}
                assert (await client.call_tool("propose_orders", asked)).is_error
            orders = [
                {"type": "SetParameter", "name": "step", "value": 9},
                {"type": "SetParameter", "name": "__class__", "value": "x"},
                {"type": "MoveWorkers", "source": "learn", "target": "../x", "workers": 10**9},
                {"type": "CancelTasks", "tasks": [10**15]},
                {"type": "SubmitTask", "task_type": "os:system", "args": ["id"]},
                {"type": "PauseAgent", "agent": "search"},
            ]
            given = await ask(
                client, "propose_orders", orders=[{"order": o, "reason": LURE} for o in orders]
            )
            assert given.get("done", 0) == 0, given
            cancel = {"order": {"type": "CancelTasks", "tasks": ids[2:]}, "reason": LURE}
            for number in range(30):  # of others: a person would have to approve it
                asked = {"orders": [cancel | {"id": f"again-{number}"}]}
                result = await client.call_tool("propose_orders", asked)
                assert not result.is_error
                assert LURE not in json.dumps({**read(result), DATA: None})
            seen = await ask(client, "overview")
            assert seen["live"]
            assert seen["cancelled"] == 0
            assert len(seen[DATA]["open_questions"]) <= 20
            assert seen[DATA]["parameters"][0]["value"] == 0.1
        assert program.output.count("Traceback") == 0


# -- the streams ----------------------------------------------------------------------------------


@contextlib.contextmanager
def server(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server with pipes of the test's own."""
    process = subprocess.Popen(
        steerio_command("mcp", "run", *options),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": PATH},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def say(process: subprocess.Popen[bytes], text: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(text + b"\n")
    process.stdin.flush()


def hear(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def call(number: int, method: str, **params: Any) -> bytes:
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return json.dumps(message).encode()


def greet(process: subprocess.Popen[bytes]) -> None:
    about = {"name": "test", "version": "1"}
    said = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": about}
    say(process, call(1, "initialize", **said))
    assert hear(process)["result"]["serverInfo"]["name"] == "steerio"
    say(process, b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run directory of a campaign that has ended."""
    folder = tmp_path_factory.mktemp("over")
    with slow_campaign(folder) as program:
        program.wait_for("two are done")
        steer(folder, "run", "stop", "--cancel")
        assert program.status(SOON_S) == 0, program
    return folder


def test_it_ends_when_its_input_is_closed(over: Path) -> None:
    with server(over) as process:
        greet(process)
        say(process, call(2, "tools/call", name="overview", arguments={}))
        assert "untrusted_data" in hear(process)["result"]["content"][0]["text"]
        out, errors = process.communicate(timeout=SOON_S)
        assert (process.returncode, out, errors) == (0, b"", b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_at_once_by_a_signal(over: Path, number: signal.Signals) -> None:
    with server(over) as process:
        greet(process)
        say(process, call(2, "tools/call", name="wait", arguments={"question": 7}))
        process.send_signal(number)
        status = process.wait(SOON_S)
        assert process.stderr is not None
        assert (status, process.stderr.read()) == (0, b"")


def test_it_ends_if_nothing_reads_its_answers(over: Path) -> None:
    with server(over) as process:
        greet(process)
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        say(process, call(2, "tools/list"))
        assert process.wait(SOON_S) == 0


def test_a_client_that_reads_nothing_keeps_it_from_ending_no_longer_than_a_signal(
    over: Path,
) -> None:
    with server(over) as process:
        greet(process)
        for number in range(100):  # more answers than a pipe holds
            say(process, call(number + 2, "tools/list"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(SOON_S) == 0


def test_broken_messages_are_passed_over_and_only_the_protocol_is_spoken(over: Path) -> None:
    with server(over) as process:
        greet(process)
        for text in (
            b"",
            b"hello",
            b"\xff\xfe\x00",
            b"[" * 100_000,
            b'{"jsonrpc": "2.0", "id": 3, "method": "tools/call"}',
            b'{"jsonrpc": "2.0", "id": 4, "method": "resources/read", "params": {"uri": "file:///"}}',
            b'{"jsonrpc": "2.0", "id": 5, "method": 7}',
            b'{"jsonrpc": "2.0", "id": 6, "method": "tools/call", "params": {"name": 3}}',
            b"x" * 3_000_000,
            b'{"jsonrpc": "2.0", "id": 8, "method": "no/such", "params": {"a": "\\u001b"}}',
            call(9, "tools/call", name="tasks", arguments={"ids": [2], "x": "y" * 2_000_000}),
            call(10, "tools/call", name="tasks", arguments={"ids": "all"}),
        ):
            say(process, text)
        say(process, call(99, "ping"))
        heard = []
        while not heard or heard[-1].get("id") != 99:
            heard.append(hear(process))
        for answer in heard[:-1]:
            failed = "error" in answer or answer["result"]["isError"]
            assert failed, answer
        assert heard[-1]["result"] == {}


def test_wrong_usage_is_told_in_words(tmp_path: Path, over: Path) -> None:
    for options, words in (
        (["nowhere"], "there is no such folder"),
        ([str(tmp_path)], "it has no record of a run"),
        ([str(over / "run"), "--role", "code"], "Invalid value for '--role'"),
        ([str(over / "run"), "--by", "x" * 300], "--by must be a name"),
        ([str(over / "run"), "--tasks-per-hour", "-1"], "--tasks-per-hour"),
    ):
        with running(*steerio_command("mcp", *options), cwd=tmp_path) as program:
            assert program.status(SOON_S) == 2, program
            assert words in program.output
            assert "Traceback" not in program.output


def test_a_missing_package_is_named_with_the_way_to_get_it(tmp_path: Path, over: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['mcp'] = None\n")
    path = os.pathsep.join([str(tmp_path), PATH])
    command = steerio_command("mcp", str(over / "run"))
    with running(*command, cwd=tmp_path, env={"PYTHONPATH": path}) as program:
        assert program.status(SOON_S) == 2, program
        assert "pip install 'steerio[mcp]'" in program.output


async def test_no_process_stays_when_an_assistant_leaves(tmp_path: Path) -> None:
    with slow_campaign(tmp_path) as program:
        program.wait_for("two are done")
        pids = []
        began = time.monotonic()
        async with assistant(tmp_path, "--role", "look") as client:
            await ask(client, "overview")
            pids = servers_of(program)
            assert len(pids) == 1
        wait_for_end(pids, SOON_S)
        assert time.monotonic() - began < SOON_S


def servers_of(program: Program) -> list[int]:
    """Return the children of this process, besides a program."""
    found: list[int] = []
    for file in Path("/proc/self/task").glob("*/children"):
        found += map(int, file.read_text().split())
    return [pid for pid in found if pid != program.pid and b"mcp\0" in cmdline(pid)]


def cmdline(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
