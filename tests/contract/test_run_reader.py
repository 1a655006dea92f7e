"""A run directory is read as it grows, and in whatever state it was left."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from steerio import Campaign, Limits, Result, on_result, task
from steerio.edge.record.record_files import EVENTS_FILE, TASKS_FILE, RecordFiles
from steerio.edge.record.record_head import HEAD_FILE, SCHEMA
from steerio.errors import UsageError
from steerio.testing import KillWorker, Model, simulate
from steerio.view.questions import log_lines, printed_by, spans_of, story_of
from steerio.view.run_reader import RunReader
from steerio.view.snapshot import RunSnapshot
from tests.contract.run_folders import DEAD, FAR, change_head, make_run

HALF = 7
"""Bytes at a time are few, and no divisor of the length of a line."""


@task(pool="simulate", retries={"lost": 1})
def measure(n: int) -> int:
    return n


class Search(Campaign):
    """Each result leads to the next task."""

    workers: ClassVar = {"simulate": 3}

    async def setup(self) -> None:
        for n in range(3):
            self.submit(measure, n)

    @on_result(measure)
    async def go_on(self, result: Result) -> None:
        if result.args[0] < 30:
            self.submit(measure, result.args[0] + 3)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a simulated campaign, of which some tasks fail and one worker dies."""
    folder = tmp_path_factory.mktemp("runs") / "search"
    simulate(
        Search(),
        model=Model(2.0, fails=lambda rng, n: n % 10 == 7, crashes=lambda rng, n: n == 12),
        faults=[KillWorker(at_s=5.0)],
        latency_s=0.1,
        limits=Limits(failures=20),
        run_dir=folder,
    )
    return folder


def whole(folder: Path) -> RunSnapshot:
    reader = RunReader(folder)
    reader.read_all()
    return reader.snapshot(gantt=True)


def comparable(snapshot: RunSnapshot) -> Any:
    """Return a snapshot without the number and the time of its making."""
    fields = msgspec.to_builtins(snapshot)
    return {**fields, "number": 0, "made_at": 0.0, "header": {**fields["header"], "run": ""}}


def test_a_record_is_counted_whole(recorded: Path) -> None:
    snapshot = whole(recorded)
    lines = [json.loads(line) for line in (recorded / TASKS_FILE).read_text().splitlines()]
    assert snapshot.header.tasks == len(lines)
    assert snapshot.header.run == "search"
    by_end = {name: sum(line["ended_as"] == name for line in lines) for name in ("failed", "lost")}
    assert (snapshot.ends.failed, snapshot.ends.lost) == (by_end["failed"], by_end["lost"])
    (pool,) = snapshot.pools
    assert (pool.lost, pool.name, pool.queued) == (3, "simulate", 0)
    assert snapshot.gantt is not None
    assert {row.node for row in snapshot.gantt.rows} == {"node-1"}
    assert snapshot.reaction.count == sum(bool(line["because"]) for line in lines)
    assert snapshot.causes[0].cause == "Search.go_on"
    ran = sum(line["ended"] - line["started"] for line in lines if line["ended"])
    assert snapshot.header.worker_s == pytest.approx(ran)
    assert msgspec.json.decode(msgspec.json.encode(snapshot), type=RunSnapshot) == snapshot


@pytest.mark.parametrize("part", [HALF, 1_000, 10_000])
def test_a_run_that_grows_while_it_is_read_is_counted_alike(
    recorded: Path, tmp_path: Path, part: int
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    tasks, events = (recorded / name for name in (TASKS_FILE, EVENTS_FILE))
    whole_of = {TASKS_FILE: tasks.read_bytes(), EVENTS_FILE: events.read_bytes()}
    if part == HALF:
        whole_of = {name: text[:5000] for name, text in whole_of.items()}
    RecordFiles(folder).close()
    change_head(folder, closed=False)  # so the run goes on
    reader = RunReader(folder)
    for start in range(0, max(map(len, whole_of.values())), part):
        for name, text in whole_of.items():
            with (folder / name).open("ab") as file:
                file.write(text[start : start + part])
        reader.read()
        if start % (50 * part) == 0:
            reader.snapshot()
    (folder / HEAD_FILE).write_bytes((recorded / HEAD_FILE).read_bytes())
    reader.read_all()
    assert comparable(reader.snapshot(gantt=True)) == comparable(whole(folder))


def test_a_long_record_of_a_run_that_is_over_is_shown_while_it_is_read(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steerio.view.run_files.CHUNK", 2_000)
    reader, seen = RunReader(recorded), list[int]()
    while reader.read():
        seen.append(reader.snapshot().header.tasks)
    assert len(seen) > 5
    assert seen == sorted(seen)
    assert comparable(reader.snapshot(gantt=True)) == comparable(whole(recorded))


def test_a_run_that_was_killed_is_counted_as_far_as_it_came(recorded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    tasks = (recorded / TASKS_FILE).read_bytes().splitlines(keepends=True)
    events = (recorded / EVENTS_FILE).read_bytes().splitlines(keepends=True)
    (folder / TASKS_FILE).write_bytes(b"".join(tasks[:10]) + tasks[10][:50])
    last = json.loads(tasks[9])["received"]
    # the last events of a broker that is killed are not written
    told = [line for line in events if json.loads(line)["at"] < last - 3.0]
    (folder / EVENTS_FILE).write_bytes(b"".join(told) + events[len(told)][:20])
    (folder / HEAD_FILE).write_bytes((recorded / HEAD_FILE).read_bytes())
    change_head(folder, writer=DEAD, closed=False)
    snapshot = whole(folder)
    assert (snapshot.header.state, snapshot.header.live) == ("cut off", False)
    assert (snapshot.header.tasks, snapshot.header.until) == (10, last)
    assert snapshot.header.unread == 0


def test_a_run_that_may_be_alive_elsewhere_is_live(tmp_path: Path) -> None:
    snapshot = whole(make_run(tmp_path / "run", None, writer=FAR))
    assert (snapshot.header.state, snapshot.header.live) == ("unknown", True)


@pytest.mark.parametrize("ended", ["completed", "interrupted", "failed"])
def test_the_header_says_how_a_run_has_ended(tmp_path: Path, ended: str) -> None:
    header = whole(make_run(tmp_path / "run", ended, tasks=3)).header
    assert (header.state, header.live, header.campaign, header.tasks) == (ended, False, "Search", 3)


def test_lines_that_cannot_be_read_are_passed_over_and_counted(
    recorded: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (TASKS_FILE, EVENTS_FILE):
        text = (recorded / name).read_bytes()
        (folder / name).write_bytes(b"\x00\x00\n{}\n" + text + b'{"task_id": "x"}\n')
    snapshot = whole(folder)
    assert snapshot.header.unread == 6
    assert snapshot.header.tasks == whole(recorded).header.tasks
    assert snapshot.failures[0].args == whole(recorded).failures[0].args


def test_a_record_of_tasks_alone_is_counted(recorded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / TASKS_FILE).write_bytes((recorded / TASKS_FILE).read_bytes())
    (folder / EVENTS_FILE).touch()
    assert whole(folder).header.tasks == whole(recorded).header.tasks


def test_a_record_that_has_just_begun_has_nothing_yet(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", None, tasks=0, record=False)
    snapshot = whole(folder)
    assert (snapshot.header.tasks, snapshot.pools, snapshot.header.campaign) == (0, (), "Search")


def test_a_campaign_that_joined_a_broker_is_looked_at_by_its_record(
    recorded: Path, tmp_path: Path
) -> None:
    folder = make_run(tmp_path / "run", record=False)
    (folder / "parameters.json").write_text(json.dumps({"joined": str(recorded)}))
    header = whole(folder).header
    assert (header.joined, header.tasks) == (str(recorded), whole(recorded).header.tasks)


def test_folders_without_a_run_and_later_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder; name a run directory"):
        RunReader(tmp_path / "absent")
    with pytest.raises(UsageError, match="it has no record of a run"):
        RunReader(tmp_path)
    folder = make_run(tmp_path / "run")
    change_head(folder, schema=SCHEMA + 1)
    with pytest.raises(UsageError, match="this version reads up to schema"):
        RunReader(folder)


def test_a_record_of_the_schema_before_is_read_as_well(recorded: Path, tmp_path: Path) -> None:
    folder = tmp_path / recorded.name
    shutil.copytree(recorded, folder)
    tasks = [json.loads(line) for line in (folder / TASKS_FILE).read_text().splitlines()]
    for line in tasks:
        assert line.pop("others") is None, "none of them was a gang"
    (folder / TASKS_FILE).write_text("".join(json.dumps(line) + "\n" for line in tasks))
    change_head(folder, schema=SCHEMA - 1)
    before, after = whole(folder), whole(recorded)
    assert (before.header.tasks, before.pools) == (after.header.tasks, after.pools)
    assert before.gantt == after.gantt


def test_a_record_that_cannot_be_read_is_an_error_in_words(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    reader = RunReader(folder)
    (folder / TASKS_FILE).unlink()
    (folder / TASKS_FILE).symlink_to(os.devnull)
    with pytest.raises(UsageError, match="cannot be read"):
        reader.read_all()


# -- questions ------------------------------------------------------------------------------------


def test_the_story_of_a_task_goes_from_its_reasons_to_its_consequences(recorded: Path) -> None:
    story = story_of(recorded, 5)
    assert (story.state, story.cause, story.args) == ("ended", "Search.go_on", "[[4],{}]")
    (before,) = story.before
    (after,) = story.after
    assert (before.args, after.args) == ("[[1],{}]", "[[7],{}]")
    assert story.reaction_s == pytest.approx(0.0)
    assert json.loads(story.events[0])["type"] == "TaskQueued"
    assert story.failure is None
    failed = story_of(recorded, after.task_id)
    assert failed.failure is not None
    assert "fails by its model" in failed.failure.traceback
    assert failed.ended_as == "failed"


def test_the_story_tells_all_attempts(recorded: Path) -> None:
    lines = [json.loads(line) for line in (recorded / TASKS_FILE).read_text().splitlines()]
    again = next(line for line in lines if line["earlier"])
    attempts = story_of(recorded, again["task_id"]).attempts
    assert [attempt.attempt for attempt in attempts] == [1, 2]
    assert attempts[0].ended_as.startswith("lost")


def test_the_story_of_a_task_that_has_not_ended_is_that_of_its_events(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", tasks=0)
    told = '{"type":"%s","number":1,"at":1.0,"task_id":7,"task_type":"m:f","pool":"a"}\n'
    assert story_of(folder, 7).state == "unknown"
    (folder / EVENTS_FILE).write_text(told % "TaskQueued")
    assert story_of(folder, 7).state == "queued"
    (folder / EVENTS_FILE).write_text(told % "TaskQueued" + told % "TaskStarted" + "torn")
    story = story_of(folder, 7)
    assert (story.state, story.task_type, len(story.attempts)) == ("running", "m:f", 1)


def test_the_lines_that_a_task_printed_are_found(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    (folder / "workers.log").write_text(
        "10:00:00.000 a-1 task 7 | one\n10:00:00.000 a-1 | task 7 | other\n"
        "10:00:00.000 a-2 task 77 | no\n"
    )
    (folder / "workers-rank2.log").write_text("10:00:01.000 b-1 task 7 | two\n")
    assert {line[-3:] for line in log_lines(folder, 7)} == {"one", "two"}


def test_of_many_lines_that_a_task_printed_the_last_are_found_from_the_end() -> None:
    task, other = "10:00:00.000 a-1 task 7 | ", "10:00:00.000 a-1 task 8 | "
    lines = [f"{task if n % 3 else other}{n} task 7 | task 7 | \n" for n in range(100)]
    text = "".join(lines).encode()
    mine = [line.rstrip("\n") for line in lines if line.startswith(task)]
    assert printed_by(text, 7) == mine
    assert printed_by(text, 7, most=5) == mine[-5:]
    assert printed_by(text, 7, most=0) == printed_by(text, 9) == printed_by(b"", 7) == []
    assert printed_by(f"{task}torn".encode(), 7) == [f"{task}torn"]


def test_the_attempts_in_a_window_are_those_that_touch_it(recorded: Path) -> None:
    window = spans_of(recorded, 4.0, 6.0)
    lines = [json.loads(line) for line in (recorded / TASKS_FILE).read_text().splitlines()]
    expected = {
        line["task_id"]
        for line in lines
        if line["started"] and line["started"] < 6.0 and line["ended"] > 4.0
    }
    lost = {line["task_id"] for line in lines if line["earlier"]}
    assert expected <= {span.task_id for span in window.spans} <= expected | lost
    assert {window.rows[span.row] for span in window.spans} <= {
        "simulate-1",
        "simulate-2",
        "simulate-3",
        "simulate-4",
    }
    few = spans_of(recorded, 4.0, 6.0, most=1, longest_s=10.0)
    assert (len(few.spans), few.left_out) == (1, len(window.spans) - 1)
    one = spans_of(recorded, 4.0, 6.0, workers=["simulate-2"])
    assert one.rows == ("simulate-2",)
