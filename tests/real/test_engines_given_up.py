"""A program that gives an engine up ends, although a call of it never does."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.real.programs import START_S, python, running, wait_for_end

HELD = """
import asyncio
import os
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import steerio
from steerio import Campaign, OnExecutor, agent, task
from steerio.launch import engine_node
from steerio.session import opening

engine_node.END_S = 1000.0  # far beyond the bounds of the tests
FOLDER = Path(sys.argv[1])


class Told(ProcessPoolExecutor):
    def submit(self, function, *args):
        print("a call", flush=True)
        return super().submit(function, *args)

    def shutdown(self, *args, **options):
        print("its shutdown begins", flush=True)
        super().shutdown(*args, **options)


def made():
    return Told(1, mp_context=get_context("fork"))


@task(pool="engine")
def hold(folder):
    (folder / "new").write_text(str(os.getpid()))
    (folder / "new").rename(folder / "begun")
    while not (folder / "never").exists():
        time.sleep(0.01)


async def begun():
    while not (FOLDER / "begun").exists():
        await asyncio.sleep(0.01)


class Noted(opening.Hosting):
    def __init__(self, *args):
        super().__init__(*args)
        Noted.latest = self


opening.Hosting = Noted
"""
A_SESSION = """
async def main():
    async with steerio.open_session(workers={"engine": OnExecutor(made, slots=1)}) as session:
        session.submit(hold, FOLDER)
        await begun()
        Noted.latest.kill()

asyncio.run(main())
"""
A_CAMPAIGN = """
class Held(Campaign):
    workers = {"engine": OnExecutor(made, slots=1)}

    @agent
    async def begin(self):
        self.submit(hold, FOLDER)
        await begun()

    @agent
    async def say(self):
        await begun()
        print("it is held", flush=True)
        await asyncio.Event().wait()

steerio.run(Held(), run_dir=FOLDER / "run", progress="off")
"""
BEFORE_IT_IS_MADE = """
asked, go = threading.Event(), threading.Event()

def late():
    asked.set()
    go.wait()
    return made()

async def main():
    async with steerio.open_session(workers={"engine": OnExecutor(late, slots=1)}):
        await asyncio.to_thread(asked.wait)
        Noted.latest.kill()
        go.set()

asyncio.run(main())
for each in threading.enumerate():
    if each.name == "steerio-engine-engine":
        each.join()
print("its thread has ended")
"""


def program(folder: Path, text: str) -> tuple[str, ...]:
    path = folder / "program.py"
    path.write_text(HELD + text)
    return python(str(path), str(folder))


def its_process_ends(folder: Path) -> None:
    wait_for_end([int((folder / "begun").read_text())], START_S)


@pytest.mark.timeout(120)
def test_a_session_that_is_given_up_kills_the_processes_of_its_engine(tmp_path: Path) -> None:
    with running(*program(tmp_path, A_SESSION)) as held:
        assert held.status() == 0, held
    its_process_ends(tmp_path)


@pytest.mark.timeout(120)
def test_a_second_interrupt_ends_an_engine_whose_shutdown_waits(tmp_path: Path) -> None:
    with running(*program(tmp_path, A_CAMPAIGN)) as held:
        held.wait_for("it is held")
        held.signal(signal.SIGINT)
        held.wait_for("its shutdown begins")
        held.signal_later(signal.SIGINT)
        assert held.status() != 0, held
    its_process_ends(tmp_path)


@pytest.mark.timeout(120)
def test_an_engine_that_was_given_up_before_it_was_made_gets_no_call(tmp_path: Path) -> None:
    with running(*program(tmp_path, BEFORE_IT_IS_MADE)) as held:
        assert held.status() == 0, held
        assert "its thread has ended" in held.output
        assert "a call" not in held.output
