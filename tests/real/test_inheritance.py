"""What workers get from the process that started them, and what they must not get."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import steerio
from tests.real import programs
from tests.real.programs import python, running


def surroundings() -> dict[str, Any]:
    """Tell what a task finds around it, and what a program that it starts finds."""
    links: dict[str, str] = {}
    for file in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):  # the one that the listing was read from
            links[file.name] = str(file.readlink())
    listing = subprocess.run(
        ["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False, check=True
    )
    return {
        "descriptors": links,
        "of a child": [line.split()[-3] for line in listing.stdout.splitlines()[1:]],
        "input": sys.stdin.read(),
        "path": os.environ.get("PYTHONPATH"),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }


PROGRAM = """
import asyncio, json, os, socket, sys
import steerio
from tests.real.test_inheritance import surroundings

def say(text):
    print(text)

async def main():
    here, there = socket.socketpair()
    reading, writing = os.pipe()
    print("printed before", end=" ")  # and not written yet: the output is a pipe
    async with steerio.open_session(workers={"default": 2}) as session:
        found = await session.run(surroundings)
        here.close()
        os.close(writing)
        there.settimeout(5)
        assert there.recv(1) == b"", "nobody else holds the connection"
        assert os.read(reading, 1) == b"", "nor the pipe"
        await session.gather(*session.map(say, ["one", "two"]))
    there.close()
    print(json.dumps(found))

asyncio.run(main())
"""


def check(found: dict[str, Any]) -> None:
    """Look at what a task found."""
    sockets = [link for link in found["descriptors"].values() if "socket:" in link]
    standard = {found["descriptors"][n] for n in "12"}  # of which it has copies
    pipes = [link for link in found["descriptors"].values() if "pipe:" in link]
    pipes = [link for link in pipes if link not in standard]
    assert len(sockets) == 1, f"the way to the broker, among {found['descriptors']}"
    assert pipes == []
    assert found["descriptors"]["0"] == os.devnull
    assert found["of a child"] == ["0", "1", "2", "3"], "3 is the folder that it lists"
    assert found["input"] == ""
    assert found["threads"] == "1", "workers share the cores"


@pytest.mark.smoke
def test_a_forked_node_holds_no_connection_and_prints_nothing_twice(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    with running(*python("program.py"), cwd=tmp_path) as program:
        assert program.status() == 0, program
    assert program.output.count("printed before") == 1
    assert program.output.count("one") == program.output.count("two") == 1  # lines may mix
    found = json.loads(program.output.splitlines()[-1].removeprefix("printed before "))
    check(found)
    assert found["path"] == programs.PATH


TOLD_AT_FORK = """
import os, signal
from steerio.node import end_signal

signal.signal(signal.SIGTERM, end_signal.end_by_signal)
os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))
try:
    with end_signal.told_later():
        pid = os.fork()
        if pid == 0:
            assert signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, [])
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
except end_signal.EndZygote:
    print("told afterwards")
assert end_signal.told_to_end()
"""


def test_a_zygote_that_is_told_to_end_while_it_forks_hears_of_it_afterwards(tmp_path: Path) -> None:
    """Else Python swallows it, in the hooks of libraries that run at a fork."""
    (tmp_path / "program.py").write_text(TOLD_AT_FORK)
    with running(*python("program.py"), cwd=tmp_path) as program:
        assert program.status() == 0, program
    assert program.output == "told afterwards\n"


async def test_a_fresh_node_is_no_different(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    reading, writing = os.pipe()
    async with steerio.open_session(workers={"default": 1}) as session:
        found = await session.run(surroundings)
        os.close(writing)
        assert os.read(reading, 1) == b""
    os.close(reading)
    check(found)
    assert found["path"] == "/somewhere/else"


async def test_what_tasks_print_is_in_the_log_line_by_line(tmp_path: Path) -> None:
    def say(text: str) -> None:
        print(text)  # noqa: T201
        print(f"{text}!", file=sys.stderr)  # noqa: T201
        os.system(f"echo {text}?")

    def count(name: str) -> int:
        lines = (tmp_path / "workers.log").read_text().splitlines()
        return [line.rpartition(" | ")[2] for line in lines].count(name)

    async with steerio.open_session(workers={"default": 2}, run_dir=tmp_path) as session:
        await session.gather(*session.map(say, ["a", "b", "c"]))
        counts = {f"{text}{end}": count(f"{text}{end}") for text in "abc" for end in ("", "!", "?")}
    assert counts == dict.fromkeys(counts, 1)
    assert (tmp_path / "workers.log").stat().st_mode & 0o777 == 0o600


async def test_a_task_that_forks_and_lets_the_child_return_is_reported_once() -> None:
    def fork() -> int:
        child = os.fork()
        if child:
            return os.waitpid(child, 0)[1]
        return 0

    async with steerio.open_session(workers={"default": 1}) as session:
        assert await session.run(fork) == 0
        assert await session.gather(*session.map(abs, [-1, -2])) == [1, 2]
        assert not (await session.status()).dropped
