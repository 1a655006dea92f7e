"""Campaigns that were cut off, in real processes, go on where they were."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from steerio.edge.record.entries import FORMAT, Began, Kind, encode_entry
from steerio.edge.record.opening import open_folder
from tests.real.programs import Program, running, steerio_command
from tests.real.resumable import BATCHES, OFTEN, SEARCH, Place, kill, summed
from tests.real.test_journal_for_real import mounted
from tests.real.test_standing_broker import broker_in


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
        with running(*command, cwd=place.folder) as program:
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
    assert "Search limited: 5 tasks" in output
    assert "to go on: steerio resume record\n" in output
    summary = json.loads((place.record / "summary.json").read_text())
    assert (summary["ended"], summary["because"].startswith(because)) == ("limited", True)
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
    for command in (begin_or_go_on, place.resume(), begin_or_go_on):
        again = place.done(*command)
        assert summed() in first
        assert summed() in again
        assert "Search completed: 40 tasks, 0 of them failed" in again
        assert place.calls == calls
        assert (place.record / "random_seed").read_text() == "7\n"
    assert len((place.record / "tasks.jsonl").read_text().splitlines()) == 40
    (owner,) = [
        file for file in place.record.glob("journal/*.owner") if file.name.startswith("000004")
    ]
    assert json.loads(owner.read_text())["released"] is True


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


RESTORES = """
    def restore_state(self, state, version):
        print(f"restored from version {version}", flush=True)
        super().restore_state({**state, "version": version}, 1)
"""
CHANGES = {
    "renamed": (
        SEARCH.replace("class Search", "class Other"),
        2,
        "search has no campaign 'Search' (it has: Other)",
    ),
    "version": (
        SEARCH.replace("    def __init__", "    state_version = 1\n\n    def __init__"),
        1,
        "write restore_state(self, state, version)",
    ),
    "trigger": (SEARCH, 1, "results or events for Search.summarize (trigger 1), which the"),
    "attribute": (
        SEARCH.replace("class Point", "class Place").replace("Point()", "Place()") + BATCHES,
        1,
        "the state of Search cannot be read from its snapshot: AttributeError: ",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_campaign_whose_class_has_changed_says_what_to_do_and_harms_nothing(
    tmp_path: Path, change: str
) -> None:
    old = OFTEN + SEARCH + BATCHES
    place = Place(tmp_path, old)
    place.cut_at(12, *place.run(), after="snapshot at")
    code, status, said = CHANGES[change]
    place.file.write_text(code)
    output = place.done(*place.resume(), status=status)
    assert said in output
    if change == "renamed":
        command = steerio_command("run", "search.py", "--resume", "record")
        output = place.done(*command, status=2)
        assert "the run there is of search:Search, and cannot go on as Other" in output
    assert all(place.calls[x] == 1 for x in range(12))
    place.file.write_text(old)
    output = place.done(*place.resume())
    assert summed() in output
    assert "recorded 13." in output
    assert "recorded 12." not in output, "the snapshot is still there"
    assert all(place.calls[x] == 1 for x in range(12))


def test_a_class_with_more_agents_goes_on_from_a_snapshot(tmp_path: Path) -> None:
    place = Place(tmp_path, OFTEN + SEARCH + BATCHES)
    place.cut_at(12, *place.run("--size", "100"), after="snapshot at")
    place.file.write_text(SEARCH + BATCHES + BATCHES.replace("summar", "another_summar"))
    output = place.done(*place.resume())
    assert "recorded 12." not in output
    assert summed(100) in output
    assert output.count("\nsummary of 100\n") == 1
    assert output.count("another_summary") == 0, "it heard of the last 88 only"


def test_a_class_with_another_version_of_its_state_may_bring_it_into_its_form(
    tmp_path: Path,
) -> None:
    place = Place(tmp_path, OFTEN + SEARCH)
    place.cut_at(12, *place.run(), after="snapshot at")
    changed = SEARCH.replace("    def __init__", "    state_version = 1\n\n    def __init__")
    place.file.write_text(changed + RESTORES)
    output = place.done(*place.resume())
    assert "restored from version 0\n" in output
    assert "recorded 12." not in output
    assert summed() in output


# -- harm to the files -----------------------------------------------------------------------------


def test_a_bit_that_flipped_in_the_journal_is_told_of_and_nothing_is_run(place: Place) -> None:
    place.done(*place.run("--limit-tasks", "30"))
    (file,) = place.record.glob("journal/*.frames")
    data = file.read_bytes()
    spoilt = bytearray(data)
    spoilt[len(data) // 2] ^= 16
    file.write_bytes(spoilt)
    before = place.calls
    for command in (place.resume(), steerio_command("run", "search.py", "--resume", "record")):
        output = place.done(*command, status=1)
        assert f"the journal is damaged: record/journal/{file.name}, byte " in output
        assert "to go on: " not in output
    assert (place.calls, file.read_bytes()) == (before, spoilt)
    file.write_bytes(data)
    assert summed() in place.done(*place.resume())


def test_what_is_no_run_cannot_be_resumed_and_is_said_to_be_none(
    place: Place, tmp_path: Path
) -> None:
    for name in ("empty", "broker", "odd", "unkept"):
        (tmp_path / name).mkdir()
    (tmp_path / "odd/journal").touch()
    place.done(*steerio_command("run", "search.py", "--run-dir", "unkept", "--durability", "none"))
    for name, said in {
        "missing": "missing is not a folder",
        "search.py": "search.py is not a folder",
        "empty": "empty has no journal to resume from",
        "unkept": "unkept has no journal to resume from",
        "odd": "odd has no folder journal, but something else of that name",
        "": "the run directory has no name",
    }.items():
        output = place.done(*steerio_command("resume", name), status=2)
        assert f"steerio: error: {said}" in output
    for name, said in {
        "search.py": "cannot write to the run directory search.py",
        "unkept": "unkept holds a run without a journal, which cannot be resumed",
        "odd": "odd/journal is not a folder",
        "": "the run directory has no name",
    }.items():
        output = place.done(*steerio_command("run", "search.py", "--resume", name), status=2)
        assert f"steerio: error: {said}" in output
    with broker_in(tmp_path):
        output = place.done(*steerio_command("resume", "broker"), status=2)
        assert "broker has no journal to resume from" in output
        begun = steerio_command("run", "search.py", "--resume", "broker")
        assert "broker holds a run without a journal" in place.done(*begun, status=2)
    both = ("--resume", "record", "--run-dir", "other")
    output = place.done(*steerio_command("run", "search.py", *both), status=2)
    assert "leave out run_dir='other'" in output
    assert not (tmp_path / "journal").exists()


@pytest.mark.parametrize("name", ["campaign.log", "parameters.json", "tasks.jsonl", "summary.json"])
def test_a_run_directory_that_cannot_be_written_is_said_to_be_so(place: Place, name: str) -> None:
    place.done(*place.run("--limit-tasks", "10"))
    kept = (place.record / name).rename(place.folder / name)
    (place.record / name).mkdir()
    for _ in range(2):
        output = place.done(*place.resume(), status=2)
        assert "steerio: error: cannot write to the run directory record" in output
    (place.record / name).rmdir()
    kept.rename(place.record / name)
    assert summed() in place.done(*place.resume())


def test_a_run_on_a_read_only_disk_cannot_be_resumed(place: Place) -> None:
    place.done(*place.run("--limit-tasks", "10"))
    before = place.calls
    with mounted(place.folder / "view", "--bind", "-o", "ro", str(place.record)):
        for command in (
            steerio_command("resume", "view"),
            steerio_command("run", "search.py", "--resume", "view"),
        ):
            output = place.done(*command, status=2)
            assert "cannot write to the run directory view: Read-only file system" in output
    assert place.calls == before
    assert summed() in place.done(*place.resume())


def test_a_journal_of_a_later_format_is_left_to_a_later_version(place: Place) -> None:
    place.record.mkdir()
    (place.record / "journal").mkdir()
    journal = open_folder(place.record / "journal")
    began = Began(FORMAT + 1, "search:Search", str(place.file), b"", 0, "99.0")
    journal.writer.append([(Kind.BEGAN, encode_entry(began))])
    journal.writer.close()
    for command in (place.resume(), steerio_command("run", "search.py", "--resume", "record")):
        output = place.done(*command, status=2)
        assert "steerio 99.0 wrote the journal, in format" in output
        assert "resume with that one" in output


# -- a full disk -----------------------------------------------------------------------------------


FULL = "No result is given out until then"


@contextlib.contextmanager
def paused(place: Place) -> Iterator[tuple[Program, Path]]:
    """Run a search whose journal is on a small disk, which is full; yields the filler."""
    place.record.mkdir()
    small = ("-t", "tmpfs", "-o", "size=256k", "tmpfs")
    place.open_gate(12)
    command = steerio_command(
        "run", "search.py", "--resume", "record", "--durability", "process", "--grace", "calls=0.1"
    )
    with mounted(place.record / "journal", *small) as journal:
        filler = place.folder / "record/journal/filler"
        with running(*command, cwd=place.folder) as program:
            program.wait_for("recorded 12.")
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while file.write(bytes(4096)) == 4096:
                    pass
            place.open_gate(1_000_000)
            program.wait_for(FULL)
            yield program, filler
        assert list(journal.glob("*.frames"))


def test_a_search_waits_while_the_disk_of_its_journal_is_full(place: Place) -> None:
    with paused(place) as (program, filler):
        told = place.told
        filler.unlink()
        program.wait_for("the journal has room again: the campaign goes on")
        assert program.status() == 0, program
        assert program.output.count(FULL) == 1
        assert summed() in program.output
        assert place.calls == Counter(range(40))
        assert len(told) < 40
        assert summed() in place.done(*place.resume())
        assert place.calls == Counter(range(40))


def test_a_search_that_waits_for_a_full_disk_can_be_interrupted_and_goes_on_later(
    place: Place,
) -> None:
    with paused(place) as (program, filler):
        program.signal(signal.SIGINT)
        assert program.status(within_s=10) == 130, program
        told = place.told
        filler.unlink()
        before = place.calls
        assert summed() in place.done(*place.resume())
        assert not told.keys() & (place.calls - before).keys()
