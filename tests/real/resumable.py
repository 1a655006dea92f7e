"""A campaign that tests cut off and resume, with a record of each call and of each result told."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.real import programs
from tests.real.programs import Program, running, steerio_command

SEARCH = '''
import time
from pathlib import Path

from steerio import Board, Campaign, on_success, task


def note(file, word):
    with open(file, "a") as out:
        out.write(f"{word}\\n")


@task
def work(x: int) -> int:
    note("calls", x)
    while x >= int(Path("gate").read_text()):
        time.sleep(0.005)
    return x * x


class Point:
    pass


class Search(Campaign):
    """Squares the numbers below ``size``; tasks from the number in the file ``gate`` on wait."""

    def __init__(self, size: int = 40) -> None:
        self.todo = Board(work, range(size), ahead=0)
        self.values = {}
        self.point = Point()

    @on_success(work)
    async def record(self, result):
        x = result.args[0]
        assert x not in self.values, "told twice"
        self.values[x] = result.value
        note("told", x)
        print(f"recorded {len(self.values)}.", flush=True)

    async def finish(self):
        print(f"sum {sum(self.values.values())} of {len(self.values)}", flush=True)
'''
BATCHES = """
    @on_success(work, every=100)
    async def summarize(self, results):
        print("summary of", len(results))
"""
"""One more agent, which waits for a hundred results."""
OFTEN = """
from steerio.campaign.keeping import Keeping
from steerio.campaign.snapshot_taker import SnapshotTaker
from steerio.model.settings import Settings

def take_often():
    capture, forget = Keeping._capture, SnapshotTaker._forget
    at = 0

    def noted(keeping):
        nonlocal at
        at = len(keeping._run.campaign.values)
        return capture(keeping)

    def told(snapshots):
        forget(snapshots)
        print(f"snapshot at {at}.", flush=True)

    Keeping._capture, SnapshotTaker._forget = noted, told
    begin = Keeping.__init__

    def often(keeping, *args, **options):
        begin(keeping, *args, **{**options, "settings": Settings(snapshot_s=0.02)})

    Keeping.__init__ = often

take_often()
"""
"""Takes snapshots all the time, and tells of each."""


class Place:
    """A folder with that campaign, and the run in it."""

    def __init__(self, folder: Path, code: str = SEARCH) -> None:
        self.folder = folder
        self.record = folder / "record"
        self.file = folder / "search.py"
        self.file.write_text(code)
        self.open_gate(1_000_000)

    def open_gate(self, number: int) -> None:
        """Let the tasks below a number go on."""
        fresh = self.folder / "fresh"
        fresh.write_text(str(number))
        fresh.replace(self.folder / "gate")

    @property
    def calls(self) -> Counter[int]:
        """How often each call was begun by a worker."""
        return self._counts("calls")

    @property
    def told(self) -> Counter[int]:
        """How often the agent was told of each result."""
        return self._counts("told")

    def _counts(self, name: str) -> Counter[int]:
        file = self.folder / name
        return Counter(map(int, file.read_text().split() if file.exists() else ()))

    def run(self, *options: str) -> tuple[str, ...]:
        """Return the command that begins the run."""
        return steerio_command("run", "search.py", "--run-dir", "record", *options)

    def resume(self, *options: str) -> tuple[str, ...]:
        """Return the command that goes on with it."""
        return steerio_command("resume", "record", *options)

    def done(self, *command: str, status: int = 0, env: Mapping[str, str] | None = None) -> str:
        """Run a command to its end; return its output."""
        with running(*command, cwd=self.folder, env=env) as program:
            assert program.status() == status, program
            assert "Traceback" not in program.output, program
        return program.output

    def cut_at(self, number: int, *command: str, after: str = "recorded") -> str:
        """Run a command, and kill all its processes when it has told that many results."""
        self.open_gate(number)
        with to_be_killed(*command, cwd=self.folder) as program:
            program.wait_for(f"{after} {number}.")
            kill(program)
        self.open_gate(1_000_000)
        return program.output


@contextlib.contextmanager
def to_be_killed(*command: str, cwd: Path) -> Iterator[Program]:
    """Start a program with its own temporary folder, as the sockets that it leaves stay a while."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        running(*command, cwd=cwd, env={"TMPDIR": temporary}) as program,
    ):
        yield program


def kill(program: Program) -> None:
    """Kill a program and all processes of its group, and wait for the end of all."""
    pids = programs.family(program.pid)
    os.killpg(program.pid, signal.SIGKILL)
    program.status()
    programs.wait_for_end(pids, within_s=20.0)


def kill_every_process(program: Program) -> None:
    """Kill a program and all that it started, one by one, whatever groups they are in."""
    pids = programs.family(program.pid)
    for pid in pids:
        programs.kill(pid)
    program.status()
    programs.wait_for_end(pids, within_s=20.0)


def summed(size: int = 40) -> str:
    """Return the last word of a search that is complete; another thread may end its line."""
    return f"sum {sum(x * x for x in range(size))} of {size}"
