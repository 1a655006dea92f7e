"""``steerio why`` tells the story of a task of a run that is over, and of one that goes on."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from steerio import connect, task
from steerio.cli.commands import steerio as command
from steerio.edge.wire.connection import FILE_NAME
from steerio.errors import UsageError
from tests.real.programs import running, steerio_command

SEARCH = """
import logging
import time

from steerio import Campaign, on_success, task


@task(retries={"failed": 1})
def simulate(x: int) -> int:
    print("simulating", x)
    time.sleep(0.2)  # so long that no worker is given the next one ahead
    if x == 5 and not OPEN.exists():
        OPEN.touch()
        raise ValueError("not yet")
    if x == 7:
        raise ValueError("never")
    return x * x


class Search(Campaign):
    workers = {"default": 1}

    async def setup(self) -> None:
        self.submit(simulate, 2)

    @on_success(simulate)
    async def record(self, result) -> None:
        if result.value < 10:
            for x in range(4, 8):
                key = f"x={x}" if x < 7 else "7000"
                self.session.options(key=key).submit(simulate, x)
"""


def told(*arguments: str) -> Result:
    result = CliRunner().invoke(command, ["why", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("why")
    opened = f"from pathlib import Path\n\nOPEN = Path({str(folder / 'open')!r})\n"
    (folder / "search.py").write_text(SEARCH.replace("import logging\n", opened))
    options = ("--run-dir", "run", "--progress", "off", "--limit-failures", "1")
    with running(*steerio_command("run", "search.py", *options), cwd=folder) as program:
        assert program.status() == 0, program.output
    return folder / "run"


def numbers_by_arg(run: Path) -> dict[int, int]:
    lines = (run / "tasks.jsonl").read_text().splitlines()
    return {line["args"][0][0]: line["task_id"] for line in map(json.loads, lines)}


def test_the_story_of_a_task_has_its_reasons_attempts_and_lines(run: Path) -> None:
    numbers = numbers_by_arg(run)
    said = told(str(run), str(numbers[5])).output
    lines = said.splitlines()
    assert lines[0] == f"task {numbers[5]}: search:simulate, succeeded"
    assert "  args: [[5],{}]" in lines
    assert "by agent Search.record, because of" in said
    assert f"  task {numbers[2]}: search:simulate [[2],{{}}] gave 4, " in said
    assert f": worker default-1 was busy with task {numbers[4]} until " in said
    assert "attempt 1: failed: ValueError; worker default-1 on node " in said
    assert "attempt 2: succeeded; worker default-1 on node " in said
    printed = [line for line in lines if line.endswith(f"task {numbers[5]} | simulating 5")]
    assert len(printed) == 2


def test_what_followed_is_told_and_a_first_task_has_no_reason(run: Path) -> None:
    numbers = numbers_by_arg(run)
    said = told(str(run), str(numbers[2])).output
    assert "by agent Search.setup, which handled no result then" in said
    assert "4 tasks followed, because of it" in said
    for x in (4, 5, 6):
        assert f"  task {numbers[x]}: search:simulate [[{x}],{{}}] gave {x * x}, by agent" in said


def test_the_traceback_of_a_failure_is_told(run: Path) -> None:
    said = told(str(run), str(numbers_by_arg(run)[7])).output
    assert "  error: ValueError: never" in said
    assert '    raise ValueError("never")' in said.replace("      ", "    ")


def test_a_story_can_be_json(run: Path) -> None:
    numbers = numbers_by_arg(run)
    found = json.loads(told(str(run), str(numbers[5]), "--json").output)
    assert found["task"]["task_id"] == numbers[5]
    assert [reason["task_id"] for reason in found["because"]] == [numbers[2]]
    assert found["now"] is None
    assert len(found["printed"]) == 2


def test_steps_back_and_lines_can_be_bounded(run: Path) -> None:
    numbers = numbers_by_arg(run)
    said = told(str(run), str(numbers[5]), "--depth", "0", "--lines", "1").output
    assert "printed (the last 1 of 2; --lines)" in said


def test_an_unknown_task_is_wrong_usage(run: Path) -> None:
    with pytest.raises(UsageError, match=r"has no task 999: it has tasks from \d+ to \d+; the"):
        told(str(run), "999")


def test_a_task_is_found_by_its_key(run: Path) -> None:
    numbers = numbers_by_arg(run)
    for key, x in (("x=5", 5), ("7000", 7)):  # a key may look like a number
        assert told(str(run), key).output.startswith(f"task {numbers[x]}: ")
    with pytest.raises(UsageError, match=r"no task with the key 'x=9' has ended in .*by its num"):
        told(str(run), "x=9")


def test_without_a_task_those_that_failed_are_listed(run: Path) -> None:
    number = numbers_by_arg(run)[7]
    said = told(str(run)).output.splitlines()
    assert said[0] == "1 task failed, timed out or lost"
    assert said[1].startswith(
        f"  task {number}: search:simulate [[7],{{}}] failed (ValueError: nev"
    )
    assert said[2] == f"the story of one: steerio why {run} TASK"
    found = json.loads(told(str(run), "--json").output)
    assert [task["task_id"] for task in found["failed"]] == [number]
    assert (found["waiting"], found["now"]) == ([], {})


def test_of_many_tasks_in_trouble_the_last_failures_and_the_first_that_wait_are_listed(
    tmp_path: Path,
) -> None:
    ends = [("failed", n) for n in range(1, 31)] + [("lost", 31), ("succeeded", 32)]
    tasks = [
        {
            "task_id": n,
            "task_type": "m:f",
            "ended_as": end,
            "args": None,
            "value": {"ended_as": "x"},
        }
        | {"error": None}
        for end, n in ends
    ]
    steps = [("Queued", n) for n in range(1, 61)] + [("Started", n) for n in range(1, 41)]
    steps += [("Ended", 31), ("Retried", 40), ("Started", 41)]
    events = [{"type": f"Task{kind}", "task_id": n, "task_type": "m:f"} for kind, n in steps]
    for name, lines in (("tasks.jsonl", tasks), ("events.jsonl", events)):
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        (tmp_path / name).write_text(text)
    said = told(str(tmp_path)).output.splitlines()
    assert said[0] == "the last 10 tasks failed, timed out or lost"
    assert [line.split(":")[0] for line in said[1:11]] == [f"  task {n}" for n in range(22, 32)]
    assert said[11] == "20 tasks that wait for a worker"
    assert said[12] == "  task 42: m:f"
    assert said[22] == "  and 10 more"


@task(pool="default")
def never(x: int) -> int:
    return x


async def test_a_task_that_waits_is_told_by_the_broker(tmp_path: Path) -> None:
    with running(*steerio_command("broker", "--run-dir", "broker"), cwd=tmp_path) as program:
        program.wait_for("end it: ")
        async with connect(tmp_path / "broker") as session:
            handle = session.submit(never, 1)
            await session.status()  # by then the broker has the task
            with running(*steerio_command("why", "broker", str(handle.id)), cwd=tmp_path) as asking:
                assert asking.status() == 0, asking.output
            assert "now it is QUEUED: pool 'default' has 1 task queued, and" in asking.output
            with running(*steerio_command("why", "broker"), cwd=tmp_path) as asking:
                assert asking.status() == 0, asking.output
            assert "1 task that waits for a worker" in asking.output
            assert f"task {handle.id}: tests.real.test_why:never: now it is QUEUED" in asking.output
            handle.cancel()
        with running(*steerio_command("stop", "broker"), cwd=tmp_path) as stopping:
            assert stopping.status() == 0
        program.status()


async def test_control_characters_of_a_pause_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with contextlib.ExitStack() as programs:
        broker = steerio_command("broker", "--run-dir", "broker")
        program = programs.enter_context(running(*broker, cwd=tmp_path))
        program.wait_for("end it: ")
        worker = steerio_command("worker", "--join", "broker", "--workers", "default=1")
        programs.enter_context(running(*worker, cwd=tmp_path))
        async with connect(tmp_path / "broker") as session:
            while "default" not in session.pools:
                await session.pools.changed()
            await session.pools.pause("default", reason="to \x1b[31mlook")
            handle = session.submit(never, 1)
            await session.status()  # by then the broker has the task
            early = tmp_path / "early"  # as it is before the record has the first event of the task
            early.mkdir()
            shutil.copy2(tmp_path / "broker" / FILE_NAME, early)
            for name in ("tasks.jsonl", "events.jsonl"):
                (early / name).touch()
            asked = steerio_command("why", "early", str(handle.id))
            with running(*asked, cwd=tmp_path) as asking:
                assert asking.status() == 0, asking.output
            assert "to \\x1b[31mlook" in asking.output
            assert "\x1b" not in asking.output
            handle.cancel()
        with running(*steerio_command("stop", "broker"), cwd=tmp_path) as stopping:
            assert stopping.status() == 0
        program.status()


def test_control_characters_of_tasks_do_not_reach_the_terminal(run: Path, tmp_path: Path) -> None:
    number = numbers_by_arg(run)[6]
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("tasks.jsonl", "events.jsonl"):
        (copy / name).write_bytes((run / name).read_bytes())
    (copy / "workers.log").write_text(f"10:00:00.000 w task {number} | \x1b[31mred\x07\n")
    said = told(str(copy), str(number)).output
    assert "\\x1b[31mred\\x07" in said
    assert "\x1b" not in said
