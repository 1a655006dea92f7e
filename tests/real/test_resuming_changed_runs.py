"""Runs whose code, files or disk have changed: they go on, or say in words why they cannot."""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from steerio.edge.record.entries import FORMAT, Began, EntryKind, encode_entry
from steerio.edge.record.opening_journals import open_folder
from steerio.edge.wire.connection import read_connection
from tests.real.programs import Program, running, steerio_command
from tests.real.resumable import BATCHES, OFTEN, SEARCH, Place, summed
from tests.real.test_journal_for_real import mounted
from tests.real.test_standing_broker import broker_in


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


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


NO_RUNS = {
    "missing": ("missing is not a folder", ""),
    "search.py": ("search.py is not a folder", "cannot write to the run directory search.py"),
    "empty": ("empty has no journal to resume from", ""),
    "odd": ("odd has no folder journal, but something else", "odd/journal is not a folder"),
    "": ("the run directory has no name", "the run directory has no name"),
}


@pytest.mark.parametrize("name", NO_RUNS)
def test_what_is_no_run_cannot_be_resumed_and_is_said_to_be_none(place: Place, name: str) -> None:
    for folder in ("empty", "odd"):
        (place.folder / folder).mkdir()
    (place.folder / "odd/journal").touch()
    resuming, running_on = NO_RUNS[name]
    output = place.done(*steerio_command("resume", name), status=2)
    assert f"steerio: error: {resuming}" in output
    if running_on:
        command = steerio_command("run", "search.py", "--resume", name)
        assert f"steerio: error: {running_on}" in place.done(*command, status=2)
    assert not (place.folder / "journal").exists()


def test_a_run_without_a_journal_cannot_be_resumed_nor_can_a_broker(place: Place) -> None:
    place.done(*place.run("--durability", "none"))
    with broker_in(place.folder) as broker:
        for name in ("record", "broker"):
            output = place.done(*steerio_command("resume", name), status=2)
            assert f"{name} has no journal to resume from" in output
            command = steerio_command("run", "search.py", "--resume", name)
            output = place.done(*command, status=2)
            assert f"{name} holds a run without a journal, which cannot be resumed" in output
        broker.signal(signal.SIGTERM)
        assert broker.status() == 0, broker
    both = ("--resume", "record", "--run-dir", "other")
    output = place.done(*steerio_command("run", "search.py", *both), status=2)
    assert "leave out run_dir='other'" in output


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
    began = Began(FORMAT + 1, "search:Search", bytes(place.file), b"", 0, "99.0")
    journal.writer.append([(EntryKind.BEGAN, encode_entry(began))])
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


LISTED = """
import json
import steerio
from steerio import Campaign, agent, task

@task
def energy(x: int) -> int:
    return x

class Listed(Campaign):
    @agent
    async def ask(self):
        print("energy", await self.run(energy, 1))
        try:
            print("other", await self.run(json.dumps, "all"), flush=True)
        except steerio.FunctionRefused as error:
            print(error, flush=True)
"""


def test_a_run_that_goes_on_has_the_list_of_functions_that_it_had(tmp_path: Path) -> None:
    place = Place(tmp_path, LISTED)
    begin = steerio_command("run", "search.py", "--run-dir", "record", "--limit-tasks", "1")
    place.done(*begin, "--allow", "search:*")
    for command in (place.resume(), steerio_command("run", "search.py", "--resume", "record")):
        output = place.done(*command, "--limit-tasks", "2")
        assert "json:dumps" in output, output
        assert "allowed are search:*" in output, output
        assert "other" not in output, output
    output = place.done(*place.resume(), "--limit-tasks", "3", "--allow", "search:*,json:dumps")
    assert 'other "all"' in output, output


def test_a_broker_that_takes_anothers_place_has_its_list_of_functions(tmp_path: Path) -> None:
    with broker_in(tmp_path, "--allow", "lab:*") as first:
        first.signal(signal.SIGKILL)
        first.status()
    with broker_in(tmp_path):
        assert read_connection(tmp_path / "broker").allow == ("lab:*",)
