"""``steerio record``: runs are listed, exported and removed, also while others go on."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from steerio.cli.commands import steerio as command
from steerio.cli.export_command import FORMATS
from steerio.cli.record_options import EXPORTS
from steerio.cli.record_options import TABLES as LISTED
from steerio.edge.record.export_tables import TABLES
from steerio.edge.record.record_files import RecordFiles
from steerio.edge.record.record_head import HEAD_FILE, SCHEMA
from steerio.edge.record.record_lines import whole_lines
from steerio.errors import UsageError
from tests.contract.run_folders import DEAD, change_head, make_run, set_age
from tests.real.programs import running, steerio_command
from tests.real.resumable import Place, summed

DAY = 86_400.0


def invoke(*arguments: str) -> Result:
    """Run ``steerio record``."""
    result = CliRunner().invoke(command, ["record", *arguments], env={"COLUMNS": "400"})
    if result.exception is not None and not isinstance(result.exception, (UsageError, SystemExit)):
        raise result.exception
    return result


def error_of(*arguments: str) -> str:
    result = invoke(*arguments)
    assert result.exit_code != 0
    return str(result.exception) if isinstance(result.exception, UsageError) else result.output


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    result = invoke("list", str(folder), "--json")
    assert result.exit_code == 0
    return {Path(run["path"]).name: run for run in json.loads(result.output)}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    make_run(folder / "a", age_s=40 * DAY)
    make_run(folder / "b", "interrupted", age_s=2 * DAY)
    make_run(folder / "c", None, writer=DEAD, age_s=50 * DAY)
    return folder


# -- a real run -----------------------------------------------------------------------------------


def columns(path: Path, query: str) -> Iterator[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as database:
        yield from database.execute(query)


def test_a_run_is_listed_and_exported_at_each_moment_of_its_life(tmp_path: Path) -> None:
    place = Place(tmp_path)
    to = tmp_path / "record.sqlite"
    place.open_gate(10)
    with running(*place.run("--progress", "off"), cwd=tmp_path) as program:
        program.wait_for("recorded 10.")
        run = listed(tmp_path)["record"]
        assert (run["state"], run["resumable"]) == ("running", False)
        assert run["holder"].startswith(f"process {program.pid} on ")
        assert invoke("export", str(place.record)).output == (
            f"wrote {to} (10 tasks, {len(list(columns(to, 'SELECT * FROM events')))} events)\n"
        )
        assert "nothing to remove" in invoke("prune", str(tmp_path), "--keep", "0").output
    place.cut_at(20, *place.resume("--progress", "off"))
    run = listed(tmp_path)["record"]
    assert (run["state"], run["resumable"], run["incarnation"]) == ("cut off", True, 2)
    assert summed() in place.done(*place.resume("--progress", "off"))
    run = listed(tmp_path)["record"]
    assert (run["state"], run["tasks"], run["holder"]) == ("completed", {"succeeded": 40}, "")
    assert invoke("export", str(place.record), "--force").exit_code == 0
    found = list(columns(to, "SELECT incarnation, count(*) FROM tasks GROUP BY incarnation"))
    assert [number for number, _ in found] == [1, 2, 3]
    assert sum(count for _, count in found) == 40
    assert len(list(whole_lines(place.record / "tasks.jsonl"))) == 40
    result = invoke("prune", str(tmp_path), "--keep", "0", "--yes")
    assert result.exit_code == 0
    assert "removed 1 run" in result.output
    assert not place.record.exists()


def test_a_standing_broker_is_told_by_its_record(tmp_path: Path) -> None:
    with running(*steerio_command("broker", "--run-dir", "broker"), cwd=tmp_path) as program:
        program.wait_for("end it: ")
        run = listed(tmp_path)["broker"]
        assert (run["campaign"], run["state"]) == ("broker", "running")
        with running(*steerio_command("stop", "broker"), cwd=tmp_path) as stopping:
            assert stopping.status() == 0
        program.status()
    assert listed(tmp_path)["broker"]["state"] == "ended"


# -- listing --------------------------------------------------------------------------------------


def test_runs_are_listed_for_people(runs: Path) -> None:
    shown = invoke("list", str(runs)).output
    assert str(runs / "a") in shown
    assert "interrupted, can be resumed" in shown
    assert "cut off, can be resumed" in shown
    assert "2 done" in shown


def test_a_folder_without_runs_has_none(tmp_path: Path) -> None:
    assert invoke("list", str(tmp_path)).output == f"no runs in {tmp_path}\n"
    assert listed(tmp_path) == {}
    assert "there is no folder" in error_of("list", str(tmp_path / "absent"))


def test_the_folder_is_runs_if_none_is_named(
    runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(runs.parent)
    assert "runs/a" in invoke("list").output
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert "there is no folder runs: name the folder of your runs" in error_of("list")


def test_names_of_any_kind_are_shown_as_they_are(tmp_path: Path) -> None:
    make_run(tmp_path / "[red]x")
    make_run(tmp_path / os.fsdecode(b"y-\xff"))
    shown = invoke("list", str(tmp_path)).output
    assert "[red]x" in shown
    assert "y-\\udcff" in shown
    result = invoke("list", str(tmp_path), "--json")
    assert len(json.loads(result.output)) == 2


# -- exporting ------------------------------------------------------------------------------------


def test_the_kind_of_file_follows_from_its_name(runs: Path, tmp_path: Path) -> None:
    begins = {
        "x.sqlite": b"SQLite", "x.sqlite3": b"SQLite", "x.db": b"SQLite", "x.csv": b"task_id,",
        "x.parquet": b"PAR1", "x.json": b'{"displayTimeUnit', "x.trace.json.gz": b"\x1f\x8b",
        "x.jsonl": b'{"resourceSpans', "x.otlp.jsonl.gz": b"\x1f\x8b",
    }  # fmt: skip
    for name, begin in begins.items():
        assert invoke("export", str(runs / "a"), "--to", str(tmp_path / name)).exit_code == 0
        assert (tmp_path / name).read_bytes().startswith(begin)
    said = error_of("export", str(runs / "a"), "--to", "x.txt")
    assert "the end of the name says the kind of file: .sqlite, .sqlite3, .db, .csv" in said


def test_the_kind_of_file_can_be_said(runs: Path, tmp_path: Path) -> None:
    to = tmp_path / "x.txt"
    run = str(runs / "a")
    assert invoke("export", run, "--format", "csv", "--to", str(to)).output == (
        f"wrote {to} (2 tasks)\n"
    )
    for form, end in (("trace", ".trace.json"), ("otlp", ".otlp.jsonl"), ("parquet", ".parquet")):
        assert f"wrote {run}{end} (2 tasks" in invoke("export", run, "--format", form).output
    assert set(EXPORTS) == set(FORMATS)


def test_csv_and_parquet_take_a_table(runs: Path) -> None:
    run = str(runs / "a")
    for table in TABLES:
        said = invoke("export", run, "--format", "csv", "--table", table).output
        assert said.startswith(f"wrote {run}.{table}.csv")
        head = Path(f"{run}.{table}.csv").read_text().splitlines()[0]
        assert head == ",".join(TABLES[table])
    said = error_of("export", run, "--format", "trace", "--table", "tasks")
    assert said == "--table is for csv and parquet; a file of trace has no tables to choose from"
    assert set(TABLES) == set(LISTED)


def test_the_default_is_beside_the_run_directory(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs / "a")
    assert invoke("export", ".").exit_code == 0
    assert (runs / "a.sqlite").exists()
    assert "is there already" in error_of("export", ".")
    assert invoke("export", ".", "--force").exit_code == 0


def test_a_folder_without_a_record_is_not_exported(runs: Path, tmp_path: Path) -> None:
    assert "there is no such folder" in error_of("export", str(tmp_path / "absent"))
    assert "it has no tasks.jsonl" in error_of("export", str(tmp_path))
    make_run(tmp_path / "joined", record=False)
    assert "in the broker's folder" in error_of("export", str(tmp_path / "joined"))
    change_head(runs / "a", schema=SCHEMA + 1)
    assert f"with schema {SCHEMA + 1}" in error_of("export", str(runs / "a"))
    assert not (runs / "a.sqlite").exists()


def test_lines_that_cannot_be_read_are_told(runs: Path) -> None:
    with (runs / "a" / "tasks.jsonl").open("ab") as file:
        file.write(b"\x00\x00\n")
    said = invoke("export", str(runs / "a")).output
    assert "1 line of tasks.jsonl could not be read, the first of them line 3" in said
    assert "(2 tasks, 1 event)" in said


# -- removing -------------------------------------------------------------------------------------


def test_runs_that_have_ended_are_removed(runs: Path) -> None:
    result = invoke("prune", str(runs), "--older", "30d", "--yes")
    assert result.exit_code == 0
    assert "removed 1 run (" in result.output
    assert sorted(listed(runs)) == ["b", "c"]
    assert invoke("prune", str(runs), "--older", "30d", "--cut-off", "--yes").exit_code == 0
    assert sorted(listed(runs)) == ["b"]
    said = invoke("prune", str(runs), "--keep", "1", "--yes").output
    assert said == f"nothing to remove among 1 run in {runs}\n"


def test_nothing_is_removed_without_a_yes(runs: Path) -> None:
    result = invoke("prune", str(runs), "--keep", "0", "--dry-run")
    assert "would remove 2 runs (" in result.output
    assert "there is no terminal to ask at" in error_of("prune", str(runs), "--keep", "0")
    assert sorted(listed(runs)) == ["a", "b", "c"]


@pytest.mark.parametrize(("answer", "left"), [("y", ["c"]), ("n", ["a", "b", "c"])])
def test_at_a_terminal_it_is_asked_for(runs: Path, answer: str, left: list[str]) -> None:
    ours, theirs = pty.openpty()
    prune = steerio_command("record", "prune", str(runs), "--keep", "0")
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(prune, stdin=theirs, capture_output=True, text=True, check=True)
    os.close(ours)
    os.close(theirs)
    assert "remove 2 runs (" in done.stdout
    assert ("removed nothing" in done.stdout) == (answer == "n")
    assert sorted(listed(runs)) == left


def test_journals_can_be_removed_alone(runs: Path) -> None:
    result = invoke("prune", str(runs), "--keep", "0", "--journals", "--yes")
    assert "removed the journals of 2 runs (" in result.output
    assert "they cannot be resumed" in result.output
    assert {name: run["journal_nbytes"] > 0 for name, run in listed(runs).items()} == {
        "a": False,
        "b": False,
        "c": True,
    }


def test_files_of_others_are_named_before_and_kept(runs: Path) -> None:
    (runs / "a" / "best.csv").touch()
    set_age(runs / "a", 40 * DAY)
    result = invoke("prune", str(runs), "--older", "30d", "--yes")
    assert f"1 file of yours will stay in {runs / 'a'}: best.csv" in result.output
    assert f"kept in {runs / 'a'}: best.csv" in result.output
    assert list((runs / "a").iterdir()) == [runs / "a" / "best.csv"]


def test_a_run_that_cannot_be_removed_is_named_and_the_others_are_removed(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = os.unlink

    def broken(name: str, *, dir_fd: int | None = None) -> None:
        if dir_fd is not None and Path(f"/proc/self/fd/{dir_fd}").readlink() == runs / "a":
            raise PermissionError(1, "Operation not permitted", name)
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", broken)
    result = invoke("prune", str(runs), "--keep", "0", "--yes")
    assert result.exit_code == 1
    assert f"kept {runs / 'a'}: " in result.output
    assert "Operation not permitted" in result.output
    assert "removed 1 of 2 runs (" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say which runs are to be removed: --older 30d, --keep 10, or --keep 0"),
        (("--journals",), "say which runs are to be removed"),
        (("--older", "soon"), "'soon' is no length of time"),
        (("--older", "-1d"), "'-1d' is no length of time"),
        (("--keep", "-1"), "-1 is not in the range"),
        (("--keep", "many"), "'many' is not a valid integer"),
    ],
)
def test_wrong_input_is_refused(runs: Path, arguments: tuple[str, ...], said: str) -> None:
    assert said in error_of("prune", str(runs), *arguments, "--yes")
    assert sorted(listed(runs)) == ["a", "b", "c"]


def test_a_run_directory_can_be_named_itself(runs: Path) -> None:
    assert invoke("prune", str(runs / "a"), "--keep", "0", "--yes").exit_code == 0
    assert sorted(listed(runs)) == ["b", "c"]
    files = RecordFiles(runs / "b")
    try:
        assert "nothing to remove" in invoke("prune", str(runs / "b"), "--keep", "0").output
    finally:
        files.close()
    assert (runs / "b" / HEAD_FILE).exists()
