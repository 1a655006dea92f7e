"""Campaigns that were cut off, in real processes, go on where they were."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.real.programs import running, steerio_command
from tests.real.resumable import Place, kill, summed, to_be_killed


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def killed_again_and_again(place: Place, kills: int, size: int) -> None:
    """Kill a search at random moments; nothing that its agent was told is run again."""
    random = Random(os.environ["STRESS_SEED"])
    workers = random.choice([1, 2, 3])
    command = place.run("--size", str(size), "--workers", str(workers))
    at_work = 0
    for _ in range(kills):
        before, told = place.calls, place.told
        with to_be_killed(*command, cwd=place.folder) as program:
            program.wait_for(f"recorded {len(told) + random.randint(1, size // kills)}.")
            kill(program)
        assert "steerio: " not in program.output
        again = place.calls - before
        assert not told.keys() & again.keys()
        at_work += workers
        workers = random.choice([1, 2, 3])
        command = place.resume("--workers", str(workers))
    told, before = place.told, place.calls
    assert place.done(*command).count(summed(size)) == 1
    calls = place.calls
    assert not told.keys() & (calls - before).keys()
    assert calls.keys() == set(range(size))
    assert max(calls.values()) <= 1 + kills
    assert calls.total() <= size + at_work
    for file in ("tasks.jsonl", "events.jsonl"):
        for line in (place.record / file).read_text().splitlines():
            json.loads(line)


@pytest.mark.smoke
def test_a_campaign_that_is_killed_again_and_again_runs_no_finished_task_again(
    place: Place,
) -> None:
    killed_again_and_again(place, 3, 60)


@pytest.mark.stress
@pytest.mark.parametrize("_", range(10))
def test_a_campaign_that_is_killed_ten_times_runs_no_finished_task_again(
    place: Place, _: int
) -> None:
    killed_again_and_again(place, 10, 400)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_campaign_that_was_interrupted_says_how_to_go_on_and_does(
    place: Place, number: signal.Signals, status: int
) -> None:
    place.open_gate(12)
    with running(*place.run(), cwd=place.folder) as program:
        program.wait_for("recorded 12.")
        program.signal(number)
        assert program.status() == status, program
    assert "to go on: steerio resume record\n" in program.output
    place.open_gate(1_000_000)
    output = place.done(*place.resume())
    assert summed() in output
    assert "to go on" not in output
    calls = place.calls
    assert all(calls[x] == 1 for x in range(12))
    assert set(calls) == set(range(40))


@pytest.mark.parametrize(
    ("limit", "because"), [("--limit-tasks", "5 tasks have"), ("--limit-wall", "1 s have")]
)
def test_a_campaign_that_reached_a_limit_goes_on_without_it(
    place: Place, limit: str, because: str
) -> None:
    place.open_gate(5)
    value = because.partition(" ")[0]
    output = place.done(*place.run(limit, value, "--workers", "1", "--grace", "drain=0"))
    assert re.search(r"Search limited: \d tasks \(5 done", output)
    assert "to go on: steerio resume record\n" in output
    summary = json.loads((place.record / "summary.json").read_text())
    assert (summary["ended"], summary["limited"]) == ("completed", True)
    assert summary["because"].startswith(because)
    place.open_gate(1_000_000)
    assert "recorded 7." in place.done(*place.resume("--limit-tasks", "7", "--workers", "1"))
    assert summed() in place.done(*place.resume())
    assert all(place.calls[x] == 1 for x in range(5))


def test_resume_begins_a_run_if_there_is_none_and_a_complete_one_is_not_run_again(
    place: Place,
) -> None:
    begin_or_go_on = steerio_command("run", "search.py", "--resume", "record")
    first = place.done(*begin_or_go_on, "--random-seed", "7")
    calls = place.calls
    assert calls == Counter(range(40))
    seeds = {(place.record / "random_seed").read_text()}
    assert seeds == {"7\n"}
    for command in (begin_or_go_on, place.resume(), (*begin_or_go_on, "--random-seed", "7")):
        again = place.done(*command)
        assert summed() in first
        assert summed() in again
        assert "Search completed: 40 tasks (40 done), 40 recorded before, in" in again
        assert place.calls == calls
        seeds.add((place.record / "random_seed").read_text())
    assert len(seeds) == 4, "no worker draws numbers again that an earlier one has drawn"
    assert len((place.record / "tasks.jsonl").read_text().splitlines()) == 40
    (owner,) = [
        file for file in place.record.glob("journal/*.owner") if file.name.startswith("000004")
    ]
    assert json.loads(owner.read_text())["released"] is True


def test_a_run_goes_on_with_the_workers_that_were_asked_for(place: Place) -> None:
    place.done(*place.run("--workers", "default=3:memory=2G", "--limit-tasks", "3"))
    for command in (place.resume("--limit-tasks", "6"), place.resume("--limit-tasks", "9")):
        place.done(*command)
        parameters = json.loads((place.record / "parameters.json").read_text())
        assert parameters["workers"] == {"default": 3}
        assert parameters["needs"]["default"]["memory_bytes"] == 2 * 2**30
    place.done(*place.resume("--workers", "1"))
    parameters = json.loads((place.record / "parameters.json").read_text())
    assert (parameters["workers"], parameters["needs"]) == ({"default": 1}, {})


def test_a_second_process_is_refused_and_told_which_has_the_run(place: Place) -> None:
    place.open_gate(12)
    with running(*place.run(), cwd=place.folder) as program:
        program.wait_for("recorded 12.")
        files = {file.name for file in place.record.iterdir()}
        for command in (place.resume(), steerio_command("run", "search.py", "--resume", "record")):
            output = place.done(*command, status=2)
            assert f"has an owner: process {program.pid} on " in output
            assert "its process lives" in output
            assert "to go on" not in output
        assert {file.name for file in place.record.iterdir()} == files
        assert place.told.total() == 12
        place.open_gate(1_000_000)
        assert program.status() == 0, program
    assert summed() in program.output


def test_of_processes_that_resume_at_the_same_time_one_wins(place: Place) -> None:
    place.cut_at(12, *place.run())
    one, other = place.resume("--workers", "1"), place.resume("--workers", "1")
    with running(*one, cwd=place.folder) as a, running(*other, cwd=place.folder) as b:
        statuses = {a.status(), b.status()}
    outputs = a.output + b.output
    assert statuses == {0, 2} or statuses == {0}, outputs  # the one may end before the other
    if statuses == {0, 2}:
        assert outputs.count(summed()) == 1
        assert "has an owner: process " in outputs
    assert max(place.calls.values()) <= 2


def test_a_process_that_was_taken_over_from_ends_and_spoils_nothing(place: Place) -> None:
    place.open_gate(12)
    first = running(*place.run("--durability", "strict"), cwd=place.folder)
    second = running(*place.resume("--take-over", "--durability", "strict"), cwd=place.folder)
    with first as old:
        old.wait_for("recorded 12.")
        old.signal(signal.SIGSTOP)
        with second as new:
            new.wait_for("recorded 12.")
            place.open_gate(13)
            new.wait_for("recorded 13.")
            files = {file.name for file in place.record.iterdir()}
            assert "connection.json" in files
            old.signal(signal.SIGCONT)
            assert old.status() == 1, old
            assert "recorded 13." not in old.output
            assert f"JournalFenced: process {new.pid} on " in old.output
            assert "Traceback" not in old.output
            assert {file.name for file in place.record.iterdir()} == files
            place.open_gate(1_000_000)
            assert new.status() == 0, new
    assert summed() in new.output
    assert json.loads((place.record / "summary.json").read_text())["ended"] == "completed"


@pytest.mark.parametrize("level", ["process", "machine", "strict"])
def test_a_run_goes_on_at_each_level(place: Place, level: str) -> None:
    place.cut_at(12, *place.run("--durability", level))
    assert summed() in place.done(*place.resume("--durability", level))
    assert all(place.calls[x] == 1 for x in range(12))
