"""Workers start whatever the steering process has for streams, path and folder; or say why not."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import steerio
from steerio import Lost, WorkerLost

pytestmark = pytest.mark.borders

STREAMS = """
import asyncio, io, os, sys, threading
from pathlib import Path
import steerio

class Tee:
    def write(self, text):
        return len(text)

class Failing(io.StringIO):
    def flush(self):
        raise RuntimeError("not now")

def closed():
    stream = open(os.devnull, "w")
    stream.close()
    return stream

def say():
    print("from a task")
    print("an error", file=sys.stderr)
    return sys.stdin.read()

async def main(spawned):
    real = sys.stdout, sys.stderr
    waiting = threading.Event()
    if spawned:
        threading.Thread(target=waiting.wait).start()
    kinds = [io.StringIO(), Tee(), Failing(), None, closed()]
    for kind in kinds[:2] if spawned else kinds:
        sys.stdout = sys.stderr = kind
        try:
            async with steerio.open_session(workers={"default": 1}) as session:
                assert await session.run(say) == ""
        finally:
            sys.stdout, sys.stderr = real
    waiting.set()
    print("all began")

asyncio.run(main("spawned" in sys.argv))
"""

CLOSED = """
import asyncio, os, sys, threading
import steerio

def say():
    print("from a task", flush=True)
    print("an error", file=sys.stderr, flush=True)

class Says(steerio.Campaign):
    @steerio.agent
    async def main(self):
        await self.run(steerio.task(pool="default")(say))
        with open("said", "w") as file:
            file.write("said")

steerio.run(Says(), workers={"default": 1}, progress="off")
"""

WATCHED = """
import io, os, sys
import steerio

class Tee:
    def write(self, text):
        sys.__stderr__.write(text)

class Failing(io.StringIO):
    def write(self, text):
        raise RuntimeError("not now")

def closed():
    stream = open(os.devnull, "w")
    stream.close()
    return stream

class Watched(steerio.Campaign):
    workers = {"default": 1}

    @steerio.agent
    async def main(self):
        self.value = await self.run(abs, -1)

real = sys.stdout, sys.stderr
mode = sys.argv[1]
for stream in (Tee(), None, Failing(), closed()):
    sys.stdout = sys.stderr = stream
    try:
        value = steerio.run(Watched(), progress=mode).value
    finally:
        sys.stdout, sys.stderr = real
    assert value == 1
print("all ran")
"""

PLACES = """
import asyncio, os, pathlib, shutil, sys, threading
import steerio
import importable_there

async def main():
    sys.path += [pathlib.Path("/nowhere"), None, b"/nowhere", ""]
    for spawned in (False, True):
        os.makedirs("gone", exist_ok=True)
        os.chdir("gone")
        shutil.rmtree("../gone")
        waiting = threading.Event()
        if spawned:
            threading.Thread(target=waiting.wait).start()
        try:
            async with steerio.open_session(workers={"default": 1}) as session:
                assert await session.run(importable_there.double, 2) == 4
                assert await session.run(importable_there.double, 3) == 6
        finally:
            waiting.set()
        os.chdir(sys.path[0])
    print("all began")

asyncio.run(main())
"""


def run(*arguments: str, cwd: Path) -> str:
    """Return what a program prints."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("how", ["forked", "spawned"])
def test_workers_start_whatever_stands_for_the_standard_streams(how: str, tmp_path: Path) -> None:
    (tmp_path / "streams.py").write_text(STREAMS)
    lines = run("streams.py", how, cwd=tmp_path).splitlines()
    assert [line.rpartition(" | ")[2] for line in lines] == [
        *["from a task"] * (2 if how == "spawned" else 5),
        "all began",
    ]


@pytest.mark.parametrize("closed", ["0<&- 1>&- 2>&-", "2>&-"])
def test_workers_start_where_descriptors_are_closed(closed: str, tmp_path: Path) -> None:
    (tmp_path / "closed.py").write_text(CLOSED)
    command = f"exec {sys.executable} closed.py {closed}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 0
    assert (tmp_path / "said").read_text() == "said"


@pytest.mark.parametrize("mode", ["auto", "live"])
def test_no_run_fails_because_its_progress_can_be_shown_nowhere(mode: str, tmp_path: Path) -> None:
    (tmp_path / "watched.py").write_text(WATCHED)
    done = subprocess.run(
        [sys.executable, "watched.py", mode],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "all ran\n"), done.stderr
    assert done.stderr.count("Watched completed: 1 task (1 done),") == 1


def test_workers_start_with_anything_on_the_path_and_where_the_folder_is_gone(
    tmp_path: Path,
) -> None:
    (tmp_path / "places.py").write_text(PLACES)
    (tmp_path / "importable_there.py").write_text("def double(x):\n    return 2 * x\n")
    assert run("places.py", cwd=tmp_path) == "all began\n"


def test_where_no_worker_starts_the_reason_is_told(tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text(
        "import os, threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        f"if os.getppid() != {os.getpid()}:\n"
        "    raise LookupError('no licence for it')\n"
        "import steerio\n"
        "@steerio.task(pool='default')\n"
        "def work(): pass\n"
        "class Works(steerio.Campaign):\n"
        "    @steerio.agent\n"
        "    async def main(self):\n"
        "        await self.run(work)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "steerio", "run", "raises.py", "--progress", "off"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "LookupError: no licence for it" in done.stderr


async def test_a_worker_that_ends_by_an_error_of_its_own_leaves_word_of_it() -> None:
    async with (
        steerio.open_session(workers={"default": 1}) as session,
        session.events(WorkerLost) as events,
    ):
        task = session.options(retries={"lost": 0}).submit(close_everything)
        lost = await task.result()
        assert isinstance(lost, Lost | steerio.Succeeded)
        assert "Error" in (await anext(events)).reason


def close_everything() -> None:
    """Close what is the worker's: its copies of the standard descriptors, but not the link."""
    for file in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):  # the one that the listing was read from
            if int(file.name) > 2 and "socket:" not in str(file.readlink()):
                os.close(int(file.name))
