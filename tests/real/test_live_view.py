"""A run is shown on terminals of any kind, and none of them holds it up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.real.programs import steerio_command
from tests.real.terminals import on_terminal

SEARCH = """
import asyncio
import logging
from pathlib import Path

from steerio import Campaign, agent, task


@task(pool="simulate")
def energy(x: int) -> float:
    if x == 3:
        raise ValueError("no \\x1b[31m such molecule")
    return -x


if Path("quiet").exists():  # the loop of a slow machine may stand still, which is warned of
    logging.getLogger("steerio").setLevel(logging.ERROR)


class Search(Campaign):
    workers = {"simulate": 2, "learn": 1}

    @agent
    async def search(self):
        for x in range(5):
            await self.submit(energy, x).result()
            self.note(best=-x)
        print("all known", flush=True)
        while not Path("seen").exists():
            await asyncio.sleep(0.02)
        print("ended", flush=True)
"""
COLOUR = re.compile(r"\x1b\[(?:\d+;)*3[0-7]m")
ESCAPED = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "search.py").write_text(SEARCH)
    return tmp_path


COMMAND = steerio_command("run", "search.py", "--limit-failures", "5", "--run-dir", "run")


@pytest.mark.parametrize("columns", [40, 60, 200])
def test_a_terminal_shows_pools_ends_notes_and_failures(folder: Path, columns: int) -> None:
    with on_terminal(*COMMAND, cwd=folder, columns=columns) as program:
        program.wait_for("best=-4")
        program.wait_for("task 4 energy failed: ValueError: no")
        (folder / "seen").touch()
        assert program.end() == 0, program
    assert COLOUR.search(program.shown)
    assert program.output.read_text() == "all known\nended\n", "not the terminal's"
    text = ESCAPED.sub("", program.shown)
    assert re.search(r"simulate .*0/2 busy", text)
    assert ("░" in text) == (columns > 40)
    assert "4 done" in text
    assert "1 failed" in text
    lines = re.split(r"[\r\n]+", text)
    drawn = [line for line in lines if "busy" in line and "completed" not in line]
    assert all(len(line) <= columns for line in drawn)
    assert "\x1b[31m such" not in program.shown
    assert "Search completed: 5 tasks (4 done, 1 failed)" in text.replace("\r\n", "")


def test_a_terminal_without_colour_gets_none(folder: Path) -> None:
    with on_terminal(*COMMAND, cwd=folder, env={"NO_COLOR": "1"}) as program:
        program.wait_for("best=-4")
        (folder / "seen").touch()
        assert program.end() == 0, program
    assert not COLOUR.search(program.shown)


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(folder: Path) -> None:
    (folder / "seen").touch()
    with on_terminal(*COMMAND, cwd=folder, env={"TERM": "dumb"}) as program:
        assert program.end() == 0, program
    assert "\x1b[" not in program.shown
    assert "Search completed: 5 tasks" in program.shown


def test_a_terminal_whose_output_is_stopped_does_not_hold_the_campaign_up(folder: Path) -> None:
    (folder / "quiet").touch()
    with on_terminal(*COMMAND, cwd=folder, stopped=True) as program:
        program.wait_for_output("all known")
        (folder / "seen").touch()
        program.wait_for_output("ended")
        assert program.process.poll() is None, "it has its last line to write"
        assert program.end() == 0, program
