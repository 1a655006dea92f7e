"""A run directory is reopened although another process makes its journal at that moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from steerio.session.run_dir import JOURNAL, TASKS, reopen_run_dir


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
