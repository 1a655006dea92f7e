"""The command line: what it runs, and how it says what is wrong with what it was given."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

import steerio
from tests.real.programs import Program, python, running, steerio_command
from tests.real.tables import read_table

SQUARES = '''
"""Squares numbers."""
import steerio
from steerio import Board, Campaign, on_success, task

@task(pool="simulate")
def square(x: int) -> int:
    return x * x

class Squares(Campaign):
    """Squares the numbers below a limit."""

    def __init__(self, limit: int, offset: float = 0.0, label: str = "none", fast: bool = True):
        self.todo = Board(square, range(limit))
        self.offset, self.label, self.fast = offset, label, fast
        self.values = []

    @on_success(square)
    async def record(self, result):
        self.values.append(result.value + self.offset)

    async def finish(self):
        print(self.label, self.fast, sorted(self.values))
'''
TWO = SQUARES + "\nclass Other(Squares):\n    pass\n"
LOADED_BEFORE = """
import pathlib
mark = pathlib.Path(__file__).with_suffix(".loaded")
if mark.exists():
    {then}
mark.touch()
"""
ONLY_HERE = SQUARES + LOADED_BEFORE.format(then="raise RuntimeError('loads only once')")
HALF_HERE = SQUARES + LOADED_BEFORE.format(then="del square")
POOLS = """
from steerio import Campaign, task

@task(pool="gpu")
def train(x: int) -> int:
    return x

class Here(Campaign):
    async def finish(self):
        print("all is well")

class There(Campaign):
    async def setup(self):
        await self.run(train, 1)
"""
ENDS = """
import sys
from steerio import Campaign

class Ends(Campaign):
    def __init__(self) -> None:
        sys.exit("bye")
"""
FILES = {
    "pools.py": POOLS,
    "squares.py": SQUARES,
    "two.py": TWO,
    "only_here.py": ONLY_HERE,
    "half_here.py": HALF_HERE,
    "broken.py": "def f(:\n",
    "raises.py": "raise ValueError('no config')\n",
    "empty.py": "x = 1\n",
    "encoded.py": "# -*- coding: nonsense -*-\n",
    "ends.py": "import sys\nsys.exit(0)\n",
    "ends_later.py": ENDS,
    "text.txt": "not Python\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.smoke
def test_a_campaign_runs_with_its_options_and_leaves_a_readable_record(folder: Path) -> None:
    options = ("--limit", "4", "--offset", "0.5", "--label", "mine", "--no-fast")
    with running(
        *steerio_command("run", "squares.py", *options, "--workers", "simulate=2"), cwd=folder
    ) as program:
        assert program.status() == 0, program
    assert "mine False [0.5, 1.5, 4.5, 9.5]" in program.output
    (record,) = (folder / "runs").iterdir()
    assert f"record: runs/{record.name}" in program.output
    tasks = read_table(record / "tasks.jsonl")
    assert sorted(tasks.value) == [0, 1, 4, 9]
    assert set(tasks.task_type) == {"squares:square"}
    parameters = json.loads((record / "parameters.json").read_text())
    assert parameters["workers"] == {"simulate": 2}
    said = {"limit": 4, "offset": 0.5, "label": "mine", "fast": False}
    assert parameters["arguments"] == said
    assert parameters["attributes"] == {"offset": 0.5, "label": "mine", "fast": False}
    assert parameters["command"][1:3] == ["run", "squares.py"]
    assert not (record / "connection.json").exists()


def test_limits_end_a_campaign(folder: Path) -> None:
    command = steerio_command(
        "run", "squares.py", "--limit", "100000", "--limit-tasks", "5", "--progress", "off"
    )
    with running(*command, "--run-dir", "record", cwd=folder) as program:
        assert program.status() == 0, program
    summary = json.loads((folder / "record/summary.json").read_text())
    assert summary["because"] == "5 tasks have ended"
    assert 5 <= summary["tasks"] <= 6


def test_a_pool_too_many_is_warned_of(folder: Path) -> None:
    command = ("run", "squares.py", "--limit", "2", "--workers", "simulate=1,lern=1")
    with running(*steerio_command(*command), cwd=folder) as program:
        assert program.status() == 0, program
    assert "steerio: no task type here is for the pool 'lern'\n" in program.output


def test_a_derived_campaign_is_seen_to_use_the_task_types_of_its_base(folder: Path) -> None:
    (folder / "derived.py").write_text(
        "import squares\n\n\nclass Mine(squares.Squares):\n    pass\n"
    )
    command = ("run", "derived.py", "--limit", "2", "--workers", "simulate=1,lern=1")
    with running(*steerio_command(*command), cwd=folder) as program:
        assert program.status() == 0, program
    assert "no task type here is for the pool 'lern'\n" in program.output
    assert "'simulate'" not in program.output


def test_only_the_pools_that_a_campaign_uses_need_workers(folder: Path) -> None:
    command = ("run", "pools.py:{}", "--workers", "default=1", "--progress", "off")
    for name, status, said in [
        ("Here", 0, "all is well"),
        ("There", 1, "no pool is named 'gpu' (pools here: default); start it with workers="),
    ]:
        arguments = [argument.format(name) for argument in command]
        with running(*steerio_command(*arguments), cwd=folder) as program:
            assert program.status() == status, program
        assert said in program.output
        assert "no task type here" not in program.output


@pytest.mark.parametrize(
    ("command", "record"),
    [
        (["run", "squares.py", "--limit", "1", "--store", "redis"], "runs"),
        (["run", "pools.py:Here", "--store", "redis", "--run-dir", "record"], "record"),
        (["broker", "--store", "redis", "--run-dir", "record"], "record"),
    ],
)
def test_a_store_that_cannot_be_leaves_no_record(
    folder: Path, command: list[str], record: str
) -> None:
    with running(*steerio_command(*command), cwd=folder) as program:
        assert program.status() == 2, program
    assert "the redis store does not take these options" in program.output
    assert not (folder / record).exists()


def test_a_broker_that_is_not_there_to_join_leaves_no_record(folder: Path) -> None:
    with running(
        *steerio_command("run", "squares.py", "--limit", "1", "--join", "nowhere"), cwd=folder
    ) as program:
        assert program.status() == 2, program
    assert "there is no run directory nowhere" in program.output
    assert not (folder / "runs").exists()


def test_a_threshold_is_for_a_pool_that_the_campaign_may_have(folder: Path) -> None:
    for pool, status, said in [
        ("default", 0, "all is well"),
        ("gpu", 0, "all is well"),
        ("gpus", 2, "name the pool 'gpus', which is none of the pools here"),
    ]:
        (folder / "store.toml").write_text(f"kind = 'file'\n[thresholds]\n{pool} = 1\n")
        command = ("run", "pools.py:Here", "--workers", "default=1", "--store", "store.toml")
        with running(*steerio_command(*command), cwd=folder) as program:
            assert program.status() == status, program
        assert said in program.output


WRONG: Mapping[str, tuple[list[str], int, str]] = {
    "an option that is nearly one of ours": (
        ["run", "squares.py", "--limit-walls", "3"],
        2,
        "No such option '--limit-walls'. (Did you mean one of",
    ),
    "no file": (["run", "square.py"], 2, "there is no file 'square.py'"),
    "a folder": (["run", "."], 2, "'.' is a folder; name a file in it"),
    "no name at all": (["run", ""], 2, "'' names no file: say FILE or FILE:CAMPAIGN"),
    "a campaign of no file": (["run", ":Squares"], 2, "':Squares' names no file"),
    "a name that is too long": (["run", "x" * 5000], 2, "cannot be looked for: File name too long"),
    "a pipe": (["run", "/dev/null"], 2, "'/dev/null' is no file that could be read"),
    "a file that ends the program": (
        ["run", "ends.py"],
        2,
        "ends.py ended the program as it was loaded (sys.exit(0)): do that below",
    ),
    "a campaign that ends the program": (
        ["run", "ends_later.py"],
        2,
        "Ends(...) could not be made: it ended the program (sys.exit('bye'))",
    ),
    "an encoding that is none": (["run", "encoded.py"], 2, "encoded.py could not be loaded: Syn"),
    "no ending": (["run", "squares"], 2, "did you mean squares.py?"),
    "no argument": (["run"], 2, "Usage: steerio run"),
    "a syntax error": (["run", "broken.py"], 2, "broken.py could not be loaded: SyntaxError"),
    "an error": (["run", "raises.py"], 2, "raises.py could not be loaded: ValueError: no config"),
    "no Python": (["run", "text.txt"], 2, "not a Python file"),
    "no campaign": (["run", "empty.py"], 2, "no class that derives from steerio.Campaign"),
    "two campaigns": (["run", "two.py"], 2, "several campaigns (Squares, Other); say which"),
    "an unknown one": (["run", "two.py:Third"], 2, "no campaign 'Third' (it has: Squares, Other)"),
    "an option left out": (["run", "squares.py"], 2, "Missing option '--limit'"),
    "an unknown option": (["run", "squares.py", "--limits", "3"], 2, "No such option"),
    "an option of the wrong type": (["run", "squares.py", "--limit", "few"], 2, "'few' is not"),
    "a typo in --workers": (
        ["run", "squares.py", "--limit", "3", "--workers", "simulate:2"],
        2,
        "'simulate:2' in --workers is not POOL=NUMBER, like simulate=2",
    ),
    "empty workers": (
        ["run", "squares.py", "--limit", "3", "--workers", ""],
        2,
        "'' in --workers is not POOL=NUMBER",
    ),
    "workers for a broker that has its own": (
        ["run", "squares.py", "--limit", "3", "--workers", "2", "--join", "."],
        2,
        "--workers does not go with --join",
    ),
    "a pool misspelt": (
        ["run", "squares.py", "--limit", "3", "--workers", "simulat=2"],
        2,
        "no task type here is for the pool 'simulat'; did you mean 'simulate'?",
    ),
    "a limit that is no number": (
        ["run", "squares.py", "--limit", "3", "--limit-wall", "nan"],
        2,
        "Limits.wall_s must be a finite number or None, not nan",
    ),
    "a missing pool": (
        ["run", "squares.py", "--limit", "3", "--workers", "learn=1"],
        2,
        "add simulate=1 to the workers",
    ),
    "no place for the record": (
        ["run", "squares.py", "--limit", "3", "--run-dir", "text.txt"],
        2,
        "cannot write to the run directory text.txt",
    ),
    "a file that loads only once": (
        ["run", "only_here.py", "--limit", "3"],
        1,
        "RuntimeError: loads only once",
    ),
    "a task that workers do not have": (
        ["run", "half_here.py", "--limit", "3"],
        1,
        "workers do not find square in half_here",
    ),
    "a record without a name": (
        ["run", "squares.py", "--limit", "3", "--run-dir", ""],
        2,
        "the run directory has no name",
    ),
    "a record of a name too long": (
        ["run", "squares.py", "--limit", "3", "--run-dir", "x" * 5000],
        2,
        "cannot write to the run directory",
    ),
    "a broker of a name too long": (["status", "x" * 5000], 2, "is no run directory: File name"),
    "no broker": (["status", "."], 2, "no broker is running in . (there is no connection.json"),
    "no broker to join": (["worker", "--join", "."], 2, "no broker is running"),
    "a node of a name too long": (
        ["worker", "--join", ".", "--name", "a" * 251],
        2,
        "--name must be a name of 1 to 250 characters",
    ),
    "no broker to stop": (["stop", "nowhere"], 2, "there is no run directory nowhere"),
    "a port without a host": (["broker", "--port", "5555"], 2, "--port goes with --host"),
    "no such command": (["walk"], 2, "No such command 'walk'"),
}


def started_together(folder: Path, stack: ExitStack) -> Iterator[tuple[str, Program]]:
    """Start all commands that are wrong, for most of their time is Python's own start."""
    for name, (arguments, _, _) in WRONG.items():
        yield name, stack.enter_context(running(*steerio_command(*arguments), cwd=folder))


def test_what_is_wrong_with_a_command_is_said_in_words(folder: Path) -> None:
    with ExitStack() as stack:
        for name, program in list(started_together(folder, stack)):
            _, status, said = WRONG[name]
            assert program.status() == status, f"{name}: {program}"
            assert said in program.output, f"{name}: {program}"
            if status == 2 and "could not be loaded" not in said:
                assert "Traceback" not in program.output, f"{name}: {program}"


DESCRIBED = """
from steerio import Campaign

class Described(Campaign):
    '''Look for it.

    Args:
        budget: how many energies to
            compute.
        deep (bool): whether to go deep.

    Raises:
        nothing: at all.
    '''

    def __init__(self, budget: int = 3, deep: bool = False, other: str = "x") -> None:
        pass
"""


def test_help_says_of_options_what_docstrings_say_of_arguments(tmp_path: Path) -> None:
    (tmp_path / "described.py").write_text(DESCRIBED)
    with running(*steerio_command("run", "described.py", "--help"), cwd=tmp_path) as program:
        assert program.status() == 0, program
    _, _, options = program.output.partition("Options of Described:")
    assert "how many energies to compute.  [default: 3]" in options
    assert "whether to go deep." in options
    assert "nothing" not in options


def test_help_and_version_are_there_and_cost_no_campaign(folder: Path) -> None:
    with ExitStack() as stack:
        commands = [
            (["--version"], f"steerio, version {steerio.__version__}"),
            (["--help"], "Steer computational campaigns"),
            (["run", "--help"], "--limit-tasks N"),
            (["run", "squares.py", "--help"], "Options of Squares"),
            (["broker", "--help"], "--no-encryption"),
            (["worker", "--help"], "--join RUN_DIR"),
            (["status", "--help"], "--json"),
            (["stop", "--help"], "End a running broker"),
        ]
        started = [
            (stack.enter_context(running(*steerio_command(*arguments), cwd=folder)), said)
            for arguments, said in commands
        ]
        for program, said in started:
            assert program.status() == 0, program
            assert said in program.output, program
    assert not (folder / "runs").exists()


def test_a_host_that_is_none_of_this_machine_leaves_no_run_directory(folder: Path) -> None:
    command = steerio_command("broker", "--host", "no.such.host.invalid", "--run-dir", "mine")
    with running(*command, cwd=folder) as program:
        assert program.status() == 2, program
    assert "is not an address or name of this machine" in program.output
    assert not (folder / "mine").exists()


def test_a_port_in_use_is_said_at_once(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = steerio_command("broker", "--host", "127.0.0.1", "--port", port)
        with running(*command, cwd=folder) as program:
            assert program.status() == 2, program
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in program.output
    assert "Choose another --port" in program.output


def test_a_script_runs_its_own_campaign_with_what_is_defined_in_it(folder: Path) -> None:
    script = SQUARES + (
        "\nif __name__ == '__main__':\n"
        "    done = steerio.run(Squares(3), workers={'simulate': 1}, progress='off')\n"
        "    print(sorted(done.values), done.run_dir)\n"
    )
    (folder / "script.py").write_text(script)
    with running(*python("script.py"), cwd=folder) as program:
        assert program.status() == 0, program
    assert "[0.0, 1.0, 4.0] runs/squares-" in program.output
