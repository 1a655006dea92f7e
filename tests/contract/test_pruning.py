"""Runs are listed as they stand, and removed only if no process has them and steerio wrote them."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from steerio.edge.record.disk import Folder
from steerio.edge.record.opening_journals import open_folder
from steerio.edge.record.owners import this_process
from steerio.edge.record.record_files import EVENTS_FILE, TASKS_FILE, RecordFiles
from steerio.edge.record.record_head import HEAD_FILE
from steerio.edge.wire.connection import Connection
from steerio.errors import UsageError
from steerio.session.pruning import Choice, chosen, foreign_files, prune
from steerio.session.recorded_runs import RecordedRun, find_runs, is_run, recorded_run, state_of
from steerio.session.run_dir import JOURNAL, LOG_FILE, PARAMETERS, SUMMARY
from tests.contract.run_folders import DEAD, FAR, make_journal, make_run

DAY = 86_400.0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def runs_in(folder: Path) -> list[RecordedRun]:
    return [recorded_run(path) for path in find_runs(folder)]


# -- the states of runs ---------------------------------------------------------------------------

STATES: dict[str, tuple[dict[str, Any], str, bool]] = {
    "completed": ({"ended": "completed"}, "completed", False),
    "limited": ({"ended": "completed", "limited": True}, "limited", True),
    "interrupted": ({"ended": "interrupted"}, "interrupted", True),
    "failed": ({"ended": "failed"}, "failed", True),
    "failed without a journal": ({"ended": "failed", "journal": False}, "failed", False),
    "alive": ({"ended": None, "writer": this_process()}, "running", False),
    "ending": ({"ended": "completed", "writer": this_process()}, "running", False),
    "elsewhere": ({"ended": None, "writer": FAR}, "unknown", False),
    "killed": ({"ended": None, "writer": DEAD}, "cut off", True),
    "killed without a journal": (
        {"ended": None, "writer": DEAD, "journal": False},
        "cut off",
        False,
    ),
    "killed, and joined a broker": (
        {"ended": None, "writer": DEAD, "record": False},
        "cut off",
        True,
    ),
    "of no process that is known": (
        {"ended": None, "journal": False, "record": False},
        "unknown",
        False,
    ),
    "joined a broker": ({"ended": "completed", "record": False}, "completed", False),
}


@pytest.mark.parametrize("name", STATES)
def test_the_state_of_a_run_is_told(tmp_path: Path, name: str) -> None:
    options, state, resumable = STATES[name]
    run = recorded_run(make_run(tmp_path / "run", **options))
    assert (run.state, run.resumable) == (state, resumable)
    assert (state in ("running", "unknown") and "writer" in options) == bool(run.holder)


def test_a_run_is_told_in_full(tmp_path: Path) -> None:
    run = recorded_run(make_run(tmp_path / "run", tasks=3))
    assert (run.campaign, run.incarnation, run.tasks) == ("Search", 1, {"succeeded": 3})
    assert run.nbytes == sum(p.stat().st_size for p in run.path.rglob("*") if p.is_file())
    assert 0 < run.journal_nbytes < run.nbytes
    assert run.began is not None
    assert abs(run.began - time.time()) < 60.0, "by the head of the record"


def test_of_a_run_whose_tasks_are_elsewhere_the_summary_counts_them(tmp_path: Path) -> None:
    run = recorded_run(make_run(tmp_path / "run", record=False))
    assert run.tasks == {"succeeded": 5, "failed": 1}
    assert run.began == 1767323045.0


def test_a_broker_that_has_ended_is_told_from_one_that_was_killed(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", None, journal=False)
    (folder / PARAMETERS).unlink()
    run = recorded_run(folder)
    assert (run.campaign, run.state) == ("broker", "ended")
    files = RecordFiles(folder)
    assert recorded_run(folder).state == "running"
    files.close()
    assert recorded_run(folder).state == "ended"


def test_a_connection_file_of_a_broker_that_may_live_counts(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    connection = Connection("far", 77, "unix:///nowhere", "tcp://far:1", None)
    connection.write(folder)
    assert state_of(folder) == ("unknown", "process 77 on far")
    (folder / "connection.json").write_text("{}")
    assert state_of(folder) == ("unknown", "")


@pytest.mark.parametrize("file", [HEAD_FILE, SUMMARY, PARAMETERS])
@pytest.mark.parametrize("content", ["", "[]", "{}", '{"ended":7,"started":[]}', "\x00"])
def test_files_that_cannot_be_read_are_no_reason_to_fail(
    tmp_path: Path, file: str, content: str
) -> None:
    folder = make_run(tmp_path / "run", None, writer=DEAD)
    (folder / file).write_text(content)
    assert recorded_run(folder).state == "cut off"


def test_an_owner_that_cannot_be_read_may_be_alive(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    (owner,) = (folder / JOURNAL).glob("*.owner")
    owner.write_text("")
    assert state_of(folder) == ("unknown", "")


def test_only_run_directories_are_found_and_links_are_not_followed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs" / "one")
    (tmp_path / "runs" / "link").symlink_to(run)
    (tmp_path / "runs" / "file").touch()
    other = tmp_path / "runs" / "other"
    other.mkdir()
    (other / TASKS_FILE).touch()
    (other / JOURNAL).mkdir()
    assert find_runs(tmp_path / "runs") == [run]
    assert find_runs(run) == [run]
    assert find_runs(tmp_path) == []
    with pytest.raises(UsageError, match=r"absent cannot be read: No such file"):
        find_runs(tmp_path / "absent")


def test_a_run_that_ended_before_it_began_is_one(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / LOG_FILE).touch()
    make_journal(folder / JOURNAL, DEAD)
    assert is_run(folder)
    assert recorded_run(folder).state == "cut off"


# -- the choice -----------------------------------------------------------------------------------


def test_runs_are_chosen_by_age_number_and_state(tmp_path: Path) -> None:
    for days in range(5):
        make_run(tmp_path / f"old-{days}", age_s=days * DAY)
    make_run(tmp_path / "cut", None, writer=DEAD, age_s=9 * DAY)
    make_run(tmp_path / "far", None, writer=FAR, age_s=9 * DAY)
    make_run(tmp_path / "alive", None, writer=this_process(), age_s=9 * DAY)
    make_run(tmp_path / "plain", journal=False, age_s=9 * DAY)
    runs, now = runs_in(tmp_path), time.time()

    def names_of(**choice: Any) -> list[str]:
        return sorted(run.path.name for run in chosen(runs, Choice(**choice), now + 1.0))

    assert names_of() == ["old-0", "old-1", "old-2", "old-3", "old-4", "plain"]
    assert names_of(older_s=3 * DAY) == ["old-3", "old-4", "plain"]
    assert names_of(keep=4) == ["old-4", "plain"]
    assert names_of(older_s=2 * DAY, keep=4) == ["old-4", "plain"]
    assert names_of(keep=100) == []
    assert names_of(older_s=3 * DAY, journals=True) == ["old-3", "old-4"]
    assert names_of(older_s=4 * DAY, cut_off=True) == ["cut", "old-4", "plain"]


# -- the removal ----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"journal": False}, {"record": False}])
def test_a_run_is_removed_whole(tmp_path: Path, options: dict[str, Any]) -> None:
    folder = make_run(tmp_path / "run", **options)
    run = recorded_run(folder)
    done = prune(run, Choice())
    assert (done.nbytes, done.kept, done.refused) == (run.nbytes, [], "")
    assert names(tmp_path) == []


def test_files_that_steerio_did_not_write_stay_with_their_folder(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    (folder / "best.csv").write_text("mine")
    (folder / JOURNAL / "notes.txt").write_text("mine")
    (folder / "models").mkdir()
    (folder / "models" / TASKS_FILE).write_text("mine")
    (folder / "workers-rank3.log").touch()
    assert foreign_files(folder) == ["best.csv", "models"]
    done = prune(recorded_run(folder), Choice())
    assert done.kept == ["best.csv", JOURNAL, "models"]
    assert names(folder) == ["best.csv", JOURNAL, "models"]
    assert names(folder / JOURNAL) == ["notes.txt"]
    assert (folder / "models" / TASKS_FILE).read_text() == "mine"
    assert not is_run(folder)


def test_only_journals_are_removed_if_asked_for(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "interrupted")
    run = recorded_run(folder)
    before = names(folder)
    done = prune(run, Choice(journals=True))
    assert (done.nbytes, done.kept) == (run.journal_nbytes, [])
    assert names(folder) == [name for name in before if name != JOURNAL]
    again = recorded_run(folder)
    assert (again.state, again.resumable, again.tasks) == ("interrupted", False, run.tasks)


def test_links_are_removed_and_not_what_they_lead_to(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "000001.frames").write_text("mine")
    (elsewhere / "log").write_text("mine")
    folder = make_run(tmp_path / "run", journal=False)
    (folder / "workers.log").symlink_to(elsewhere / "log")
    (folder / "objects").symlink_to(elsewhere)
    assert prune(recorded_run(folder), Choice()).kept == ["objects"]
    linked = make_run(tmp_path / "linked", journal=False)
    (linked / JOURNAL).symlink_to(elsewhere)
    done = prune(recorded_run(linked), Choice())
    assert done.refused == "its journal is a link, which is not followed"
    assert names(elsewhere) == ["000001.frames", "log"]
    assert (linked / TASKS_FILE).exists()


def test_a_run_that_goes_on_meanwhile_stays(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "interrupted")
    run = recorded_run(folder)
    journal = open_folder(folder / JOURNAL)  # as a process does that resumes it
    done = prune(run, Choice())
    assert done.refused == f"it is running by now (process {os.getpid()} on {run_host()})"
    assert (folder / TASKS_FILE).exists()
    journal.writer.close()
    (folder / SUMMARY).unlink()
    assert prune(run, Choice()).refused == "it is cut off by now"
    make_run(tmp_path / "gone")
    gone = recorded_run(tmp_path / "gone")
    assert not prune(gone, Choice()).refused
    assert prune(gone, Choice()).refused == "it is not there any more"


def run_host() -> str:
    return this_process().host


def test_a_process_that_takes_the_journal_first_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does so between the last look at the run and the removal."""
    folder = make_run(tmp_path / "run", "interrupted")
    run = recorded_run(folder)
    opened: list[Any] = []
    looked = state_of

    def look_then_open(path: Path) -> Any:
        found = looked(path)
        opened.append(open_folder(path / JOURNAL))
        return found

    monkeypatch.setattr("steerio.session.pruning.state_of", look_then_open)
    done = prune(run, Choice())
    assert done.refused == f"process {os.getpid()} on {run_host()} has it by now"
    assert (folder / TASKS_FILE).exists()
    opened[0].writer.append([(1, b"goes on")])
    opened[0].writer.close()


def test_a_full_disk_can_be_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "run")

    def no_room(disk: Folder, name: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Folder, "create", no_room)
    assert not prune(recorded_run(folder), Choice()).refused
    assert names(tmp_path) == []


def test_a_removal_that_failed_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(tmp_path / "run")
    run = recorded_run(folder)
    with monkeypatch.context() as patched:

        def broken(name: str, *, dir_fd: int | None = None) -> None:
            raise OSError(errno.EIO, "Input/output error", name)

        patched.setattr(os, "unlink", broken)
        with pytest.raises(OSError, match="Input/output"):
            prune(run, Choice())
    assert recorded_run(folder).state == "completed"
    assert not prune(recorded_run(folder), Choice()).refused
    assert names(tmp_path) == []


def test_the_head_of_another_user_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", journal=False)
    (folder / HEAD_FILE).unlink()
    os.mkfifo(folder / HEAD_FILE)
    (folder / SUMMARY).unlink()
    os.mkfifo(folder / SUMMARY)
    run = recorded_run(folder)
    assert (run.state, run.incarnation) == ("unknown", 0)
    assert chosen([run], Choice(cut_off=True), time.time()) == []
    assert (folder / EVENTS_FILE).exists()
    assert msgspec.structs.asdict(run)["state"] == "unknown"
