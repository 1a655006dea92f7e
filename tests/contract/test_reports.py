"""The report of a run is one file that has all it needs, however the run ended."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from steerio.dashboard import report
from steerio.dashboard.report import write_report
from steerio.edge.record.record_files import RecordFiles
from steerio.edge.record.record_head import HEAD_FILE
from steerio.errors import UsageError
from steerio.session.run_dir import SUMMARY
from tests.contract.run_folders import DEAD, change_head
from tests.contract.test_record_files import entry
from tests.generated_records import write_run

EVIL = "</script><script>alert(1)</script><!--"


def held(page: str, name: str) -> dict[str, object]:
    found = re.search(rf'id="held-{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_report_is_one_file_that_fetches_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", workers=20, tasks=2000)
    page = write_report(folder).read_text()
    assert not re.search(r"<(script|link|img)[^>]*\s(src|href)=\"(?!data:,)", page)
    assert "default-src 'none'" in page
    details = held(page, "details")
    assert len(details["spans"]["spans"]) == 2000  # type: ignore[index, call-overload]
    assert "997" in details["stories"]  # type: ignore[operator]
    assert held(page, "snapshot")["gantt"]["by"] == "worker"  # type: ignore[index, call-overload]


def test_a_report_of_a_long_run_has_shares_of_time_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MOST_SPANS", 100)
    page = write_report(write_run(tmp_path / "run", workers=20, tasks=2000)).read_text()
    assert held(page, "details") == {"spans": None, "stories": {}}
    assert held(page, "snapshot")["failures"]


def test_stories_of_a_report_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MOST_STORIES", 30)
    page = write_report(write_run(tmp_path / "run", workers=20, tasks=2000)).read_text()
    stories = held(page, "details")["stories"]
    assert len(stories) == 30  # type: ignore[arg-type]
    assert {"997", "1994"} <= set(stories)  # type: ignore[call-overload]


def test_stories_of_a_report_are_bounded_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "STORIES_S", 0.0)
    page = write_report(write_run(tmp_path / "run", workers=2, tasks=20)).read_text()
    details = held(page, "details")
    assert details["stories"] == {}
    assert details["spans"] is not None


def test_a_damaged_line_does_not_stop_a_report(tmp_path: Path) -> None:
    """Of a failure whose traceback has a byte that is of no text, and one with odd tags."""
    folder = tmp_path / "run"
    folder.mkdir()
    files = RecordFiles(folder)
    failed = {"error": "ValueError: no", "ended_as": "failed", "traceback": "damaged"}
    files.write([entry(1), entry(2, **failed), entry(3, **failed)], [])
    files.close()
    lines = (folder / "tasks.jsonl").read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"damaged", b"dam\xffged")
    lines[2] = lines[2].replace(b'"traceback":"damaged"', b'"traceback":7')
    assert b"dam\xffged" in lines[1]
    assert b":7" in lines[2]
    (folder / "tasks.jsonl").write_bytes(b"".join(lines))
    page = write_report(folder).read_text()
    snapshot = held(page, "snapshot")
    header, failures = snapshot["header"], snapshot["failures"]
    assert (header["unread"], header["tasks"]) == (1, 2)  # type: ignore[index, call-overload]
    assert [each["task_id"] for each in failures] == [3]  # type: ignore[attr-defined]
    assert set(held(page, "details")["stories"]) == {"1", "3"}  # type: ignore[call-overload]


def test_the_record_of_a_run_that_was_killed_has_a_report(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", workers=4, tasks=40)
    (folder / SUMMARY).unlink()
    change_head(folder, writer=DEAD, closed=False)
    with (folder / "tasks.jsonl").open("ab") as file:
        file.write(b'{"task_id":41,"task_ty')
    page = write_report(folder, tmp_path / "killed.html").read_text()
    header = held(page, "snapshot")["header"]
    assert (header["state"], header["tasks"]) == ("cut off", 40)  # type: ignore[index, call-overload]
    assert not (folder / "report.html").exists()


def test_names_that_users_gave_stay_text(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    files = RecordFiles(folder)
    files.write([entry(1, error=f"ValueError: {EVIL}", ended_as="failed", args=[[EVIL], {}])], [])
    files.close()
    assert (folder / HEAD_FILE).exists()
    page = write_report(folder).read_text()
    assert "<script>alert" not in page
    (failure,) = held(page, "snapshot")["failures"]  # type: ignore[misc]
    assert failure["error"] == f"ValueError: {EVIL}"


def test_a_report_replaces_a_page_and_no_other_file(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", workers=2, tasks=2)
    page = write_report(folder, tmp_path / "page.html")
    assert write_report(folder, page) == page
    (tmp_path / "search.py").write_text("import steerio\n")
    with pytest.raises(UsageError, match="is there and no page: name another file"):
        write_report(folder, tmp_path / "search.py")
    assert (tmp_path / "search.py").read_text() == "import steerio\n"
    (tmp_path / "empty").touch()
    write_report(folder, tmp_path / "empty")


def test_a_report_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", workers=2, tasks=2)
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="out is a folder: name a file for the report in it"):
        write_report(folder, tmp_path / "out")
    for name in (".", "", ".."):
        with pytest.raises(UsageError, match=r"\. is a folder"):
            write_report(folder, name)
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        write_report(folder, tmp_path / "none" / "report.html")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_a_folder_without_a_run_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name a run directory"):
        write_report(tmp_path)
