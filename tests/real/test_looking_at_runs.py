"""``steerio top`` and ``steerio report --text`` show real runs, while they go on and afterwards."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from steerio.cli.commands import steerio as command
from steerio.cli.top_command import drawn, line_of
from steerio.edge.record.record_files import RecordFiles
from steerio.errors import UsageError
from steerio.model import events as ev
from steerio.session.run_dir import PARAMETERS, SUMMARY
from steerio.view.run_reader import RunReader
from tests.contract.run_folders import DEAD, make_run
from tests.contract.test_record_files import entry, published
from tests.real.programs import running, steerio_command
from tests.real.resumable import Place


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(command, arguments)
    if result.exception is not None and not isinstance(result.exception, (UsageError, SystemExit)):
        raise result.exception
    return result


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    """A run directory of a campaign one of whose tasks has failed."""
    (tmp_path / "failing.py").write_text(
        "from steerio import Campaign, on_failure, on_success, task\n\n"
        "@task\n"
        "def divide(n: int) -> float:\n"
        "    print('dividing', n)\n"
        "    return 1 / n\n\n"
        "class Failing(Campaign):\n"
        "    workers = {'default': 2}\n"
        "    async def setup(self):\n"
        "        for n in (2, 1, 0):\n"
        "            self.submit(divide, n)\n"
        "    @on_failure(divide)\n"
        "    async def shrug(self, result):\n"
        "        self.submit(divide, 10)\n"
    )
    with running(*steerio_command("run", "failing.py", "--run-dir", "run"), cwd=tmp_path) as ran:
        assert ran.status() == 0
    return tmp_path / "run"


def test_a_report_in_text_has_all_figures(failing: Path) -> None:
    shown = invoke("report", str(failing), "--text").output
    assert "Failing completed" in shown
    assert "4 tasks (3 done, 1 failed)" in shown
    for title in ("Pools", "Ends", "Time of workers", "Times and sizes", "Task types", "Not well"):
        assert f"\n{title}\n" in shown
    assert "ZeroDivisionError: division by zero" in shown
    assert "in divide" in shown  # of the traceback
    assert "arguments: [[0],{}]" in shown
    assert "reaction of agents" in shown
    assert "Failing.shrug" in shown
    assert max(map(len, shown.splitlines())) < 160


def test_a_report_needs_a_run_and_has_one_form(failing: Path, tmp_path: Path) -> None:
    both = invoke("report", str(failing), "--text", "--out", str(tmp_path / "one.html"))
    assert isinstance(both.exception, UsageError)
    assert "there is no such folder" in str(
        invoke("report", str(tmp_path / "no"), "--text").exception
    )


def test_a_run_that_was_killed_is_reported(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", None, writer=DEAD, tasks=3)
    assert "Search was cut off" in invoke("report", str(folder), "--text").output


def test_top_follows_a_run_to_its_end(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.open_gate(10)
    with running(*place.run("--progress", "off"), cwd=tmp_path) as program:
        program.wait_for("recorded 10.")
        with running(*steerio_command("top", "record"), cwd=tmp_path) as top:
            assert "running" in top.wait_for("10 tasks (10 done)")
            place.open_gate(1_000_000)
            assert program.status() == 0
            assert top.status() == 0
            last = top.output.splitlines()[-1]
    assert "completed" in last
    assert "40 tasks" in last


def test_ctrl_c_ends_top_and_not_the_run(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.open_gate(10)
    with running(*place.run("--progress", "off"), cwd=tmp_path) as program:
        program.wait_for("recorded 10.")
        with running(*steerio_command("top", "record", "--plain"), cwd=tmp_path) as top:
            top.wait_for("10 tasks")
            top.signal(signal.SIGINT)
            assert top.status() == 0
            assert "Traceback" not in top.output
        place.open_gate(1_000_000)
        assert program.status() == 0


def on_a_terminal(*arguments: str, columns: int, cwd: Path) -> str:
    """Return all that a command shows on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": str(columns), "LINES": "40", "TERM": "xterm"}
    process = subprocess.Popen(
        steerio_command(*arguments), cwd=cwd, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 65536):
            shown += chunk
    except OSError:  # the terminal has no more writer
        pass
    finally:
        os.close(ours)
        assert process.wait(40) == 0
    return shown.decode()


@pytest.mark.parametrize("columns", [60, 200])
def test_a_terminal_shows_tables_that_fit(failing: Path, columns: int) -> None:
    shown = on_a_terminal("top", str(failing), columns=columns, cwd=failing.parent)
    assert "Pools" in shown
    assert "ZeroDivisionError" in shown
    assert ("busy over time" in shown) == (columns == 200)
    assert "\x1b[?25h" in shown  # the cursor is back
    text = on_a_terminal("report", str(failing), "--text", columns=columns, cwd=failing.parent)
    assert "Time of workers" in text


def test_what_is_drawn_fits_the_terminal(failing: Path) -> None:
    from rich.console import Console

    reader = RunReader(failing)
    reader.read_all()
    snapshot = reader.snapshot()
    for columns in (40, 60, 90, 200):
        console = Console(width=columns, height=30, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115
        with console.file:
            console.print(drawn(snapshot, columns, 30))
        lines = console.export_text().splitlines()
        assert max(map(len, lines)) <= columns
        assert any("default" in line for line in lines)
    assert line_of(snapshot).endswith("0 queued")


EVIL = "\x1b]0;mine\x07\x9b2J"
SHOWN = "\\x1b]0;mine\\x07\\x9b2J"


def test_control_characters_of_users_do_not_reach_the_terminal(tmp_path: Path) -> None:
    """As of errors, types, pools and notes; a terminal is sent only what rich draws."""
    folder = make_run(tmp_path / "run", record=False)
    summary = json.loads((folder / SUMMARY).read_text())
    (folder / SUMMARY).write_text(json.dumps({**summary, "because": f"so {EVIL}"}))
    begun = json.loads((folder / PARAMETERS).read_text())
    (folder / PARAMETERS).write_text(json.dumps({**begun, "campaign": f"m:C{EVIL}"}))
    files = RecordFiles(folder)
    failed = {"error": f"E{EVIL}\nmore", "ended_as": "failed", "traceback": f"T\n in{EVIL}"}
    task = entry(1, **failed, task_type=f"m:{EVIL}", pool=EVIL)
    files.write(
        [task],
        [
            ev.PoolPaused(1, 5.0, EVIL, f"by {EVIL}"),
            published({EVIL: 1.0}),
            ev.BoardChanged(3, 6.0, f"board {EVIL}", EVIL, 2, 1, 0, 1.0, EVIL),
            ev.LoopStalled(4, 7.0, f"agent {EVIL}", 1.5, f"at {EVIL}"),
        ],
    )
    files.close()
    report, top = ("report", str(folder), "--text"), ("top", str(folder))
    for shown in (
        invoke(*report).output,
        invoke(*top, "--plain").output,
        on_a_terminal(*report, columns=200, cwd=tmp_path),
        on_a_terminal(*top, columns=200, cwd=tmp_path),
    ):
        assert f"C{SHOWN}" in shown
        assert not any(part in shown for part in ("\x1b]", "\x07", "\x9b"))
    text = invoke(*report).output
    for whole in (
        f"so {SHOWN}",
        f"E{SHOWN}",
        f" in{SHOWN}",
        f"by {SHOWN}",
        f"board {SHOWN}",
        f"agent {SHOWN}",
    ):
        assert whole in text


def test_control_characters_in_the_list_of_runs_do_not_reach_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    make_run(tmp_path / "run\x1b[31m")
    shown = invoke("record", "list", str(tmp_path)).output
    assert "\\x1b[31m" in shown
    assert "\x1b" not in shown
