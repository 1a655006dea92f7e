"""What tasks print and log is in whole lines, which say when, where and by which task."""
# ruff: noqa: T201 - it is about printing

from __future__ import annotations

import logging
import multiprocessing
import os
import re
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import steerio
from steerio import Cancelled, TaskProgress, TaskStarted

pytestmark = pytest.mark.borders
LINE = re.compile(r"\d\d:\d\d:\d\d\.\d{3} default-(\d)(?: task (\d+))? \| (.*)")


def prints(text: str, times: int) -> None:
    """Print lines in many pieces, on both streams."""
    for _ in range(times):
        for character in text:
            print(character, end="", flush=True)
            print(character, end="", file=sys.stderr)
        print()
        print(file=sys.stderr)


def leaves_half_a_line() -> None:
    """End in the midst of a line."""
    print("half", end="")


def draws_progress_bar() -> None:
    """Write over the same line again and again, as tqdm does."""
    for percent in range(0, 101, 20):
        print(f"\r{percent} %", end="", flush=True)
    print("\r\n", end="")


def logs() -> None:
    """Log a warning, where nobody has set up logging."""
    logging.getLogger("a.task").warning("a warning of two\nlines")


def prints_in_fork() -> None:
    """Have a forked process print, and end without a newline."""
    print("in the worker", end="")
    process = multiprocessing.get_context("fork").Process(
        target=print, args=("in the fork",), kwargs={"end": ""}
    )
    process.start()
    process.join()
    print()


def prints_below_python() -> None:
    """Print as C code and other programs do."""
    os.write(1, b"by number\n")
    os.system("echo by a program")
    sys.stdout.buffer.write(b"by its buffer\n")
    sys.stdout.flush()


def prints_much() -> None:
    """Print a line that has no end."""
    for _ in range(3):
        print("x" * 50_000, end="")


def reports_and_works(place: str) -> None:
    """Report quickly, and then nothing more until somebody has heard of the last."""
    for step in range(100):
        steerio.report(step / 100, f"step {step}")
    while not Path(place).exists():
        time.sleep(0.01)
    for step in range(100, 151):
        steerio.report(None, f"step {step}")


def reports_and_waits() -> None:
    """Report quickly, and wait."""
    for step in range(10):
        steerio.report(None, f"step {step}")
    while not steerio.should_stop():
        time.sleep(0.01)


async def test_lines_of_tasks_are_whole_and_say_where_they_are_from(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    async with steerio.open_session(workers={"default": 2}, run_dir=folder) as session:
        many = [session.submit(prints, str(n) * 30, 20) for n in range(6)]
        await session.gather(*many)
        single = {
            kind: session.submit(kind)
            for kind in (
                leaves_half_a_line,
                draws_progress_bar,
                logs,
                prints_in_fork,
                prints_below_python,
                prints_much,
            )
        }
        await session.gather(*single.values())
        ids = {kind: str(task.id) for kind, task in single.items()}
        of_many = {str(task.id): str(n) * 30 for n, task in enumerate(many)}
    told: dict[str, list[str]] = {}
    plain: list[str] = []
    for line in (folder / "workers.log").read_text().splitlines():
        found = LINE.fullmatch(line)
        if found is None:
            plain.append(line)
        else:
            told.setdefault(found[2], []).append(found[3])
    for task_id, text in of_many.items():
        assert told[task_id] == [text] * 40
    assert told[ids[leaves_half_a_line]] == ["half"]
    assert told[ids[draws_progress_bar]] == ["100 %"]
    assert told[ids[logs]] == ["a warning of two", "lines"]
    assert sorted(told[ids[prints_in_fork]]) == ["in the fork", "in the worker"]
    assert "".join(told[ids[prints_much]]) == "x" * 150_000
    assert sorted(plain) == ["by a program", "by its buffer", "by number"]


def is_stopped_amid_report(where: str) -> None:
    """Report as it is stopped, which strikes in a function by which a thread is started."""

    def strike(frame: FrameType, event: str, argument: object) -> Any:
        if event == "call" and frame.f_code.co_qualname == where:
            sys.settrace(None)
            signal.raise_signal(signal.SIGTERM)

    while not steerio.should_stop():
        pass
    steerio.report(message="first")
    sys.settrace(strike)
    steerio.report(message="second")


async def test_a_task_that_is_stopped_as_it_reports_keeps_its_worker_and_the_next_reports() -> None:
    async with (
        steerio.open_session(workers={"default": 1}) as session,
        session.events(TaskProgress, TaskStarted) as events,
    ):
        worker = await session.run(os.getpid)
        for where in ("Timer.__init__", "Thread.start"):
            stopped = session.submit(is_stopped_amid_report, where)
            async for event in events:
                if isinstance(event, TaskStarted) and event.task_id == stopped.id:
                    break
            stopped.cancel()
            assert isinstance(await stopped.result(), Cancelled), where
            waiting = session.submit(reports_and_waits)
            async for event in events:
                if isinstance(event, TaskProgress) and event.message == "step 9":
                    break
            waiting.cancel()
            await waiting.result()
        assert await session.run(os.getpid) == worker


async def test_the_last_report_is_heard_of_while_the_task_works_and_as_it_ends(
    tmp_path: Path,
) -> None:
    async with (
        steerio.open_session(workers={"default": 1}) as session,
        session.events(TaskProgress, TaskStarted) as events,
    ):
        heard: list[str] = []
        task = session.submit(reports_and_works, str(tmp_path / "heard"))
        async for event in events:
            if isinstance(event, TaskProgress):
                heard.append(event.message)
                if event.message == "step 99":
                    (tmp_path / "heard").touch()
                if event.message == "step 150":
                    break
        await task
        assert heard[0] == "step 0"
        assert len(heard) < 50
        waiting = session.submit(reports_and_waits)
        async for event in events:
            if isinstance(event, TaskProgress) and event.message == "step 9":
                break
        waiting.cancel()
        assert isinstance(await waiting.result(), Cancelled | steerio.Succeeded)
