"""A run directory is reopened, also while another process makes its journal, or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from steerio.errors import UsageError
from steerio.session.run_dir import JOURNAL, PARAMETERS, TASKS, make_run_dir, reopen_run_dir


@pytest.mark.parametrize("call", ["is_dir", "exists"])
def test_a_journal_that_is_made_meanwhile_is_not_taken_for_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    look = getattr(Path, call)

    def looked(path: Path) -> bool:
        found: bool = look(path)
        if path == tmp_path / JOURNAL and not found:
            path.mkdir()
            (tmp_path / TASKS).touch()
        return found

    monkeypatch.setattr(Path, call, looked)
    assert reopen_run_dir(tmp_path) == tmp_path


def test_a_folder_of_runs_is_not_taken_for_a_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / PARAMETERS).touch()
    with pytest.raises(UsageError, match=r"no run itself, but 2 runs .* such as .*/b:"):
        reopen_run_dir(tmp_path)
    with pytest.raises(UsageError, match=r"no run itself, but 2 runs .* such as .*/b:"):
        make_run_dir(tmp_path, "search")
    assert not (tmp_path / "campaign.log").exists()
    assert make_run_dir(tmp_path / "c", "search") == tmp_path / "c"
    assert reopen_run_dir(tmp_path / "b") == tmp_path / "b"
    (tmp_path / JOURNAL).mkdir()
    assert reopen_run_dir(tmp_path) == tmp_path, "a run may keep others in its folder"


def test_a_file_in_the_place_of_a_run_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "search.py").touch()
    with pytest.raises(UsageError, match=r"search.py: a file is in its place"):
        reopen_run_dir(tmp_path / "search.py")
