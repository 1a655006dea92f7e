"""Campaigns in real processes recall results: their own, and those of earlier runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import steerio
from steerio import Campaign, UsageError, on_success, task
from tests.real.programs import running, steerio_command

SCAN = """
from pathlib import Path

from steerio import Board, Campaign, on_success, task


@task(memo=True, version=Path("version").read_text())
def work(x: int) -> bytes:
    with Path("calls").open("a") as out:
        out.write(f"{x}\\n")
    return bytes([x]) * 3_000_000 if x == 3 else bytes([x]) * 10


class Scan(Campaign):
    def __init__(self, items: int = 8) -> None:
        self.todo = Board(work, range(items))
        self.sum = 0
        self.recalled = []

    @on_success(work)
    async def take_in(self, result):
        self.sum += sum(result.value)
        if result.recalled:
            self.recalled.append(result.recalled)
        print(f"recorded {len(self.todo.ended)}.", flush=True)

    async def finish(self):
        print(f"sum {self.sum}, recalled from {sorted(set(self.recalled))}", flush=True)
"""


class Scans:
    """A folder with a campaign that tests run in several ways."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "scan.py").write_text(SCAN)
        (folder / "version").write_text("1")
        (folder / "calls").touch()

    @property
    def calls(self) -> list[int]:
        """The calls that workers made."""
        return self.calls_in(self.folder)

    @staticmethod
    def calls_in(folder: Path) -> list[int]:
        """Return the calls that workers made in a folder."""
        return sorted(map(int, (folder / "calls").read_text().split()))

    def run(self, run_dir: str, *options: str, code: int = 0) -> str:
        """Run the campaign to its end, and return what it printed."""
        command = steerio_command("run", "scan.py", "--run-dir", run_dir, "--workers", "2")
        with running(*command, *options, cwd=self.folder) as program:
            assert program.status() == code, program
        return program.output

    def summary(self, run_dir: str) -> dict[str, Any]:
        """Return the summary of a run."""
        found: dict[str, Any] = json.loads((self.folder / run_dir / "summary.json").read_text())
        return found


@pytest.fixture
def scans(tmp_path: Path) -> Scans:
    return Scans(tmp_path)


ALL = sum(x * 10 for x in (0, 1, 2, 4, 5, 6, 7)) + 9_000_000
"""The sum of all bytes of all values."""


@pytest.mark.smoke
def test_results_of_named_runs_are_not_computed_again(scans: Scans) -> None:
    assert f"sum {ALL - 130}, recalled from []" in scans.run("one", "--items", "6")
    assert scans.calls == [*range(6)]
    output = scans.run("two", "--memo", "one")
    assert f"sum {ALL}, recalled from ['one']" in output
    assert "2 tasks (2 done), 6 recalled" in output
    assert scans.calls == [*range(8)]
    assert scans.summary("two")["recalled"] == 6
    assert scans.summary("two")["tasks"] == 8
    # it has copied those of the first run, and names that one still
    output = scans.run("three", "--memo", "two", "--durability", "none")
    assert f"sum {ALL}, recalled from ['one', 'two']" in output
    assert scans.calls == [*range(8)]
    (scans.folder / "version").write_text("2")
    assert f"sum {ALL}, recalled from []" in scans.run("four", "--memo", "two", "--memo", "one")
    assert scans.calls == sorted([*range(8)] * 2)


def test_a_named_run_of_which_nothing_can_be_recalled_is_told_of(scans: Scans) -> None:
    scans.run("empty", "--items", "0")
    scans.run("one", "--items", "2")
    output = scans.run("two", "--memo", "empty", "--memo", "one")
    assert output.count("steerio: nothing can be recalled from empty: no task has succeeded") == 1
    assert "recalled from one" not in output
    assert "6 tasks (6 done), 2 recalled" in output
    log = (scans.folder / "two" / "campaign.log").read_text()
    assert "nothing can be recalled from empty" in log
    assert "2 results of one may be recalled" in log


def test_folders_that_are_no_runs_are_refused_before_a_run_directory_is_made(scans: Scans) -> None:
    scans.run("one", "--durability", "none")
    output = scans.run("two", "--memo", "one", code=2)
    assert "one has no journal, so no results can be recalled from it" in output
    output = scans.run("two", "--memo", "nowhere", code=2)
    assert "nowhere is not a folder: name the folder of an earlier run as memo" in output
    assert not (scans.folder / "two").exists()


def test_a_damaged_journal_is_refused_and_named(scans: Scans) -> None:
    scans.run("one")
    (segment,) = (scans.folder / "one" / "journal").glob("*.frames")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    output = scans.run("two", "--memo", "one", code=1)
    assert "the journal is damaged" in output
    assert segment.name in output
    assert not (scans.folder / "two").exists()


@task(memo=True)
def slow_square(x: int) -> int:
    with Path("calls").open("a") as out:
        out.write(f"{x}\n")
    return x * x


class Twice(Campaign):
    """Asks for the same value again, after a campaign of the same process has ended."""

    workers = {"default": 1}  # noqa: RUF012 - as users write it

    def __init__(self) -> None:
        self.seen: list[tuple[int, str]] = []

    async def setup(self) -> None:
        self.submit(slow_square, 3)
        self.submit(slow_square, 3)

    @on_success(slow_square)
    async def take_in(self, result: Any) -> None:
        self.seen.append((result.value, result.recalled))


async def test_campaigns_and_sessions_of_a_program_recall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_dir = tmp_path / "one"
    first = await steerio.conduct(Twice(), run_dir=run_dir)
    assert first.seen == [(9, ""), (9, "this run")]
    second = await steerio.conduct(Twice(), run_dir=tmp_path / "two", memo=run_dir)
    assert second.seen == [(9, str(run_dir)), (9, str(run_dir))]
    async with steerio.open_session(workers=1, memo=[tmp_path / "two"]) as session:
        result = await session.submit(slow_square, 3).result()
        assert isinstance(result, steerio.Succeeded)
        assert (result.value, result.recalled) == (9, str(run_dir))
        with pytest.raises(UsageError, match="memo does not go with a session"):
            await steerio.conduct(Twice(), session=session, memo=run_dir)
        third = await steerio.conduct(Twice(), session=session)
        assert [value for value, _ in third.seen] == [9, 9]
    assert Scans.calls_in(tmp_path) == [3]
    with pytest.raises(UsageError, match="memo is a list of run directories"):
        await steerio.conduct(Twice(), memo=[7])  # type: ignore[list-item]
