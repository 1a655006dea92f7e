"""Folders and files of any name: on every road, and in every encoding of the surroundings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.real.programs import python, running, steerio_command
from tests.real.test_command_line import SQUARES
from tests.real.test_mpi import LAUNCHERS, launch

pytestmark = pytest.mark.borders

NAMES = {
    "not UTF-8": b"caf\xe9 \xff",
    "not ASCII": "zürich-東".encode(),
    "not a word": b"a b\nc:d%20%s#[*]?'\"\\",
}
SURROUNDINGS: dict[str, dict[str, str]] = {
    "as they are": {},
    "all ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "printing ASCII": {"PYTHONIOENCODING": "ascii"},
}
EMBEDDED = """
import asyncio, os, sys
import steerio

def where() -> list[str]:
    return [os.getcwd(), *sys.path]

async def main():
    async with steerio.open_session(workers={"default": 1}, run_dir=sys.argv[1]) as session:
        found = await session.run(where)
        assert sys.argv[2] in found, found
        print(ascii(await session.run("{}".format, sys.argv[1])) == ascii(sys.argv[1]))

asyncio.run(main())
"""


def odd(folder: Path, name: bytes) -> tuple[Path, Mapping[str, str]]:
    """Return a folder of that name with files of that name, and what makes it the temporary one."""
    place = folder / os.fsdecode(name)
    temporary = place / "t"
    temporary.mkdir(parents=True)
    (place / f"{place.name}.py").write_text(SQUARES)
    (place / "embedded.py").write_text(EMBEDDED)
    return place, {"TMPDIR": str(temporary)}


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose name leaves room for sockets."""
    folder = Path("/tmp") / f"st-odd-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_session_and_its_workers_work_in_folders_of_any_name(short: Path, name: bytes) -> None:
    place, surroundings = odd(short, name)
    command = python("embedded.py", str(place / "record"), str(place))
    with running(*command, cwd=place, env=surroundings) as program:
        assert program.status() == 0, program
        assert program.output == "True\n", "names are values like any other"
    assert (place / "record/tasks.jsonl").exists()
    assert list((place / "t").iterdir()) == []


@pytest.mark.parametrize("around", SURROUNDINGS.values(), ids=SURROUNDINGS.keys())
def test_a_broker_and_all_that_join_it_work_there_too(
    short: Path, around: Mapping[str, str]
) -> None:
    place, surroundings = odd(short, b" ".join(NAMES.values())[:50])
    env = {**surroundings, **around}
    record = str(place / "record")
    with running(*steerio_command("broker", "--run-dir", record), cwd=place, env=env) as broker:
        broker.wait_for("end it: ")
        join = steerio_command("worker", "--join", record, "--workers", "simulate=1")
        with running(*join, cwd=place, env=env) as worker:
            run = ("run", f"{place.name}.py:Squares", "--limit", "3", "--join", record)
            for command in (run, ("status", record), ("status", "--json", record)):
                with running(*steerio_command(*command), cwd=place, env=env) as program:
                    assert program.status() == 0, program
            with running(*steerio_command("stop", record), cwd=place, env=env) as program:
                assert program.status() == 0, program
            assert (broker.status(), worker.status()) == (0, 0), (broker, worker)
    assert list((place / "t").iterdir()) == []


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_ranks_of_a_launcher_meet_there(short: Path, launcher: str) -> None:
    place, env = odd(short, NAMES["not UTF-8"])
    command = steerio_command("run", f"{place.name}.py", "--limit", "3", "--run-dir", "record")
    with running(*launch(launcher, 2, *command), cwd=place, env=env) as program:
        assert program.status() == 0, program
    assert (place / "record/summary.json").exists()


def test_what_cannot_be_written_to_is_one_error(short: Path) -> None:
    place, env = odd(short, NAMES["not a word"])
    (place / "file").touch()
    run = ("run", f"{place.name}.py", "--limit", "3", "--run-dir", "file")
    for command in (("broker", "--run-dir", "file/x"), run):
        with running(*steerio_command(*command), cwd=place, env=env) as program:
            assert program.status() == 2, program
            assert "error: cannot write to the run directory file" in program.output, program
