"""Campaigns that were cut off, in real processes, go on where they were."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest

import steerio
from steerio import AgentsGoOn, Board, Campaign, Limits, UsageError, agent, on_success
from steerio.edge.record.entries import FORMAT, Began, EntryKind, encode_entry
from steerio.edge.record.opening_journals import open_folder
from steerio.errors import JournalFenced, JournalTaken, leaves
from tests.real import deeds
from tests.real.programs import Program, python, running, steerio_command
from tests.real.resumable import BATCHES, OFTEN, SEARCH, Place, kill, summed
from tests.real.tables import read_table
from tests.real.test_journal_for_real import mounted
from tests.real.test_mpi import LAUNCHERS, launch, rendezvous
from tests.real.test_standing_broker import broker_in, workers_in


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
    with broker_in(tmp_path) as broker:
        output = place.done(*steerio_command("resume", "broker"), status=2)
        assert "broker has no journal to resume from" in output
        begun = steerio_command("run", "search.py", "--resume", "broker")
        assert "broker holds a run without a journal" in place.done(*begun, status=2)
        broker.signal(signal.SIGTERM)
        assert broker.status() == 0, broker
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


# -- programs, launchers, brokers ------------------------------------------------------------------


SCRIPT = """
import asyncio, time
from dataclasses import dataclass
from pathlib import Path

import steerio
from steerio import Campaign, on_success, task
from search import note

@dataclass(frozen=True)
class Point:
    x: int
    scale: float = 2.0

@task
def scaled(point: Point, table, model) -> float:
    note("calls", point.x)
    gate = Path("gate")
    while point.x >= int(gate.read_text()):
        time.sleep(0.005)
    return point.x * point.scale + float(table[1]) + model["bias"]

class Script(Campaign):
    workers = {"default": 2}

    def __init__(self, points: list[Point]) -> None:
        self.points = points
        self.values = {}
        self.table = None

    async def setup(self):
        self.table = await self.put(bytes(range(250)) * 1_000)
        await self.versions("model").publish({"bias": 0.25})
        for point in self.points:
            self.submit(scaled, point, self.table, self.versions("model").latest)

    @on_success(scaled)
    async def record(self, result):
        point = result.args[0]
        assert type(point) is Point and point.x not in self.values
        self.values[point.x] = result.value
        note("told", point.x)
        print(f"recorded {len(self.values)}.", flush=True)

def main():
    points = [Point(x) for x in range(24)]
    HOW
    print("sum", sum(campaign.values.values()), "of", len(campaign.values), flush=True)

if __name__ == "__main__":
    main()
"""
WAYS = {
    "run": 'campaign = steerio.run(Script(points), resume="record")',
    "conduct": 'campaign = asyncio.run(steerio.conduct(Script(points), resume="record"))',
}
SCALED = f"sum {sum(2.0 * x + 1.25 for x in range(24))} of 24\n"


@pytest.mark.parametrize("often", ["", OFTEN], ids=["replayed", "from a snapshot"])
@pytest.mark.parametrize("way", WAYS)
def test_a_script_with_its_own_classes_references_and_versions_goes_on(
    place: Place, way: str, often: str
) -> None:
    script = place.folder / "script.py"
    script.write_text(often + SCRIPT.replace("HOW", WAYS[way]))
    place.cut_at(14, *python("script.py"), after="snapshot at" if often else "recorded")
    told, before = place.told, place.calls
    assert len(told) == 14
    output = place.done(*python("script.py"))
    assert SCALED in output
    assert ("recorded 14." in output) == (not often)
    assert not told.keys() & (place.calls - before).keys()
    assert SCALED in place.done(*python("script.py"))
    output = place.done(*place.resume(), status=2)
    assert "was not started by steerio run: run your program again" in output


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ranks_go_on_with_a_run_that_others_began(place: Place, name: str) -> None:
    begun = steerio_command("run", "search.py", "--resume", "record")
    place.cut_at(6, *launch(name, 3, *begun))
    told, before = place.told, place.calls
    place.cut_at(14, *launch(name, 2, *begun))
    assert not told.keys() & (place.calls - before).keys()
    told, before = place.told, place.calls
    output = place.done(*launch(name, 4, *place.resume()))
    assert output.count(summed()) == 1
    assert not told.keys() & (place.calls - before).keys()
    assert rendezvous() == []
    assert summed() in place.done(*place.resume("--workers", "1"))
    assert summed() in place.done(*launch(name, 2, *place.resume()))
    place.done(*steerio_command("clean"))  # a launcher kills the ranks of another


def test_a_campaign_that_joined_a_broker_goes_on_there_or_alone(place: Place) -> None:
    with broker_in(place.folder) as broker, workers_in(place.folder, "--workers", "2") as node:
        joined = place.run("--join", "broker")
        place.cut_at(12, *joined)
        told, before = place.told, place.calls
        place.cut_at(20, *place.resume("--join", "broker"))
        assert not told.keys() & (place.calls - before).keys()
        told, before = place.told, place.calls
        assert summed() in place.done(*place.resume("--join", "broker"))
        assert not told.keys() & (place.calls - before).keys()
        before = place.calls
        assert summed() in place.done(*place.resume())
        assert place.calls == before
        broker.signal(signal.SIGTERM)
        assert broker.status() == 0, broker
        node.status()


@pytest.mark.parametrize("level", ["process", "machine", "strict"])
def test_a_run_goes_on_at_each_level(place: Place, level: str) -> None:
    place.cut_at(12, *place.run("--durability", level))
    assert summed() in place.done(*place.resume("--durability", level))
    assert all(place.calls[x] == 1 for x in range(12))


# -- in a program that goes on ---------------------------------------------------------------------


class Doubles(Campaign):
    """Doubles numbers; is cut short when it has heard of so many, and may not let itself be."""

    workers: ClassVar = {"default": 1}

    def __init__(self, cut: int = 100) -> None:
        self.todo = Board(deeds.double, range(8))
        self.cut = cut
        self.values: dict[int, int] = {}

    @on_success(deeds.double)
    async def note(self, result: Any) -> None:
        self.values[result.args[0]] = result.value
        if len(self.values) == self.cut:
            raise ZeroDivisionError("a mistake")


class Others(Doubles):
    """Another campaign."""


class Refused(Doubles):
    """Has a class of its own as state, which cannot be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def journal_threads() -> list[str]:
    """Return the threads of journals in this process."""
    return [thread.name for thread in threading.enumerate() if "journal" in thread.name]


async def test_campaigns_on_a_running_loop_go_on_and_leave_nothing(tmp_path: Path) -> None:
    record = tmp_path / "record"
    with pytest.raises(ExceptionGroup) as raised:
        await steerio.conduct(Doubles(5), resume=record)
    assert raised.group_contains(ZeroDivisionError)
    assert journal_threads() == []
    with pytest.raises(UsageError, match="cannot go on as Others"):
        await steerio.conduct(Others(), resume=record)
    with pytest.raises(UsageError, match=r"self.lock .*transient"):
        await steerio.conduct(Refused(), resume=tmp_path / "refused", durability="machine")
    with pytest.raises(UsageError, match="has none"):
        await steerio.conduct(Doubles(), resume=record, durability="none")
    assert journal_threads() == []
    early = asyncio.ensure_future(steerio.conduct(Doubles(), resume=record))
    await asyncio.sleep(0)
    early.cancel()
    await asyncio.wait([early])
    campaign = await steerio.conduct(Doubles(), resume=record)
    assert campaign.values == {x: 2 * x for x in range(8)}
    assert journal_threads() == []
    for owner in record.glob("journal/*.owner"):
        assert json.loads(owner.read_text())["released"] is True
    tasks = read_table(record / "tasks.jsonl")
    assert sum(tasks.ended_as == "succeeded") == 8


async def test_two_campaigns_of_a_program_cannot_go_on_with_one_run(tmp_path: Path) -> None:
    record = tmp_path / "record"
    both = [steerio.conduct(Doubles(), resume=record) for _ in range(2)]
    one, other = await asyncio.gather(*both, return_exceptions=True)
    won, refused = (other, one) if isinstance(one, BaseException) else (one, other)
    assert isinstance(won, Doubles)
    assert isinstance(refused, UsageError)
    assert f"process {os.getpid()} on " in str(refused)
    assert won.values == {x: 2 * x for x in range(8)}


class Held(Doubles):
    """Goes on until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.release = asyncio.Event(), asyncio.Event()

    @agent
    async def hold(self) -> None:
        self.begun.set()
        await self.release.wait()


async def test_a_program_that_takes_a_run_over_has_the_other_end_with_an_error(
    tmp_path: Path,
) -> None:
    record = tmp_path / "record"
    held = Held()
    first = asyncio.ensure_future(steerio.conduct(held, resume=record))
    await held.begun.wait()
    with pytest.raises(JournalTaken, match="take_over=True, or --take-over"):
        await steerio.conduct(Held(), resume=record)
    second = Held()
    second.release.set()
    await steerio.conduct(second, resume=record, take_over=True)
    assert second.values == {x: 2 * x for x in range(8)}
    held.release.set()
    (error,) = await asyncio.gather(first, return_exceptions=True)
    assert isinstance(error, BaseException)
    assert [type(leaf) for leaf in leaves(error)] == [JournalFenced]
    assert json.loads((record / "summary.json").read_text())["ended"] == "completed"
    with pytest.raises(UsageError, match="take_over goes with resume"):
        await steerio.conduct(Doubles(), take_over=True)


class Deaf(Doubles):
    """Swallows every cancellation, until it is released."""

    def __init__(self, release: asyncio.Event) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.release = release

    @agent
    async def insist(self) -> None:
        self.begun.set()
        while not self.release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.release.wait()


async def test_a_run_that_deaf_agents_left_behind_can_be_resumed(tmp_path: Path) -> None:
    record = tmp_path / "record"
    deaf = Deaf(asyncio.Event())
    limits = Limits(calls_s=0.1, leave_s=0.1)
    conducting = asyncio.ensure_future(steerio.conduct(deaf, resume=record, limits=limits))
    await deaf.begun.wait()
    conducting.cancel()
    with pytest.raises(AgentsGoOn):
        await conducting
    before = asyncio.all_tasks() - {asyncio.current_task()}
    released = asyncio.Event()
    released.set()
    campaign = await steerio.conduct(Deaf(released), resume=record)
    assert campaign.values == {x: 2 * x for x in range(8)}
    deaf.release.set()
    await asyncio.wait(before)
    assert journal_threads() == []
    assert json.loads((record / "summary.json").read_text())["ended"] == "completed"
