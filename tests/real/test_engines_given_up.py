"""A program that gives an engine up ends, although a call of it never does."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import steerio
from steerio import OnExecutor
from steerio.launch.engine_node import EngineNode
from steerio.model.settings import Settings
from tests.real.programs import START_S, python, running, steerio_command, wait_for_end
from tests.real.test_standing_broker import broker_in

HELD = """
import asyncio
import os
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
FOLDER = Path(__file__).parent


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

if __name__ == "__main__":
    steerio.run(Held(), run_dir=FOLDER / "run", progress="off")
"""
A_SCRIPT = """
async def main():
    async with steerio.open_session(workers={"engine": OnExecutor(made, slots=1)}) as session:
        task = session.submit(hold, FOLDER)
        await begun()
        print("it is held", flush=True)
        await task

asyncio.run(main())
"""
A_SERVING_SCRIPT = """
async def main():
    async with steerio.connect(FOLDER / "broker") as session:
        async with session.serve("engine", OnExecutor(made, slots=1)):
            task = session.submit(hold, FOLDER)
            await begun()
            print("it is held", flush=True)
            await task

asyncio.run(main())
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
    return python(str(path))


def its_process_ends(folder: Path) -> None:
    wait_for_end([int((folder / "begun").read_text())], START_S)


@pytest.mark.timeout(120)
def test_a_session_that_is_given_up_kills_the_processes_of_its_engine(tmp_path: Path) -> None:
    with running(*program(tmp_path, A_SESSION)) as held:
        assert held.status() == 0, held
    its_process_ends(tmp_path)


def interrupted_twice(command: tuple[str, ...], folder: Path) -> None:
    """Interrupt a program, and again while it waits for its engine; nothing of it stays."""
    before = _folders(folder)
    with running(*command, cwd=folder, env={"TMPDIR": str(folder / "tmp")}) as held:
        held.wait_for("it is held")
        held.signal(signal.SIGINT)
        held.wait_for("its shutdown begins")
        held.signal_later(signal.SIGINT)
        assert held.status() != 0, held
    its_process_ends(folder)
    assert _folders(folder) == before


def _folders(folder: Path) -> set[Path]:
    """Return the folders of sockets and stores that a program with its own temporary one has."""
    return set((folder / "tmp").iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    return tmp_path


@pytest.mark.timeout(120)
@pytest.mark.parametrize("text", [A_CAMPAIGN, A_SCRIPT], ids=["campaign", "script"])
def test_a_second_interrupt_ends_an_engine_whose_shutdown_waits(place: Path, text: str) -> None:
    interrupted_twice(program(place, text), place)


@pytest.mark.timeout(120)
def test_a_second_interrupt_ends_an_engine_that_serves_another_broker(place: Path) -> None:
    with broker_in(place):
        interrupted_twice(program(place, A_SERVING_SCRIPT), place)
    (place / "begun").unlink()
    program(place, A_CAMPAIGN)
    with broker_in(place):
        run = steerio_command("run", "program.py", "--join", "broker", "--progress", "off")
        interrupted_twice(run, place)


async def test_a_handler_of_a_signal_may_give_an_engine_up_that_is_just_told_to_leave() -> None:
    async with steerio.open_session(workers=1) as session:
        assert session.reached_by is not None
        on = OnExecutor(lambda: ThreadPoolExecutor(1), slots=1)
        node = EngineNode("default", on, 1, session.reached_by, Settings())
        before = signal.signal(signal.SIGUSR1, lambda *_: node.give_up())
        try:
            with node._lock:  # pyright: ignore[reportPrivateUsage]  # as `leave` has it
                signal.raise_signal(signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert node.ended.is_set()


@pytest.mark.timeout(120)
def test_an_engine_that_was_given_up_before_it_was_made_gets_no_call(tmp_path: Path) -> None:
    with running(*program(tmp_path, BEFORE_IT_IS_MADE)) as held:
        assert held.status() == 0, held
        assert "its thread has ended" in held.output
        assert "a call" not in held.output
