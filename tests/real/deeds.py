"""Functions that tests have workers run, found by their import path."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import steerio


class Unlucky(Exception):
    """An exception of our own."""


class Stubborn(Exception):
    """One that pickles, but cannot be made again from that."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def double(x: int) -> int:
    """Return it twice."""
    return 2 * x


def process_id() -> int:
    """Return the process that runs this."""
    return os.getpid()


async def wait_and_return(x: int, seconds: float = 0.01) -> int:
    """Return it after a while."""
    await asyncio.sleep(seconds)
    return x


def answer_when_told(folder: Path) -> int:
    """Say by a file that it has begun, wait for the file ``go``, and say that it ends."""
    (folder / "begun").touch()
    while not (folder / "go").exists():
        time.sleep(0.01)
    (folder / "ends").touch()
    return 42


def note_run(folder: Path, number: int, seconds: float = 0.0) -> int:
    """Say in a file of this worker's that it runs this, and from when to when."""
    began = time.monotonic()
    time.sleep(seconds)
    with (folder / f"runs-{os.getpid()}").open("a") as file:
        file.write(f"{number} {began} {time.monotonic()}\n")
    return number


def some_bytes(nbytes: int) -> bytes:
    """Return so many bytes."""
    return bytes(nbytes)


def count_to(number: int) -> Iterator[int]:
    """Yield numbers."""
    yield from range(number)


async def count_slowly_to(number: int) -> AsyncIterator[int]:
    """Yield numbers, giving others their turn."""
    for index in range(number):
        await asyncio.sleep(0)
        yield index


def count_for_ever(mark: Path) -> Iterator[int]:
    """Yield numbers until closed; say in a file how far that went."""
    index = 0
    try:
        while True:
            yield index
            index += 1
    finally:
        mark.write_text(str(index))


def yield_for_ever(nbytes: int, mark: Path) -> Iterator[bytes]:
    """Yield so many bytes again and again until closed; say in a file how often."""
    count = 0
    try:
        while True:
            count += 1
            yield bytes(nbytes)
    finally:
        mark.write_text(str(count))


def be_unlucky(what: str) -> None:
    """Raise, from a function that the traceback shows."""
    raise Unlucky(what)


def be_stubborn() -> None:
    """Raise what does not travel."""
    raise Stubborn(1, 2)


def leave_by_exit(code: int) -> None:
    """Call ``sys.exit``."""
    sys.exit(code)


def unpicklable() -> object:
    """Return what cannot be sent."""
    return (x for x in ())


# -- dying ----------------------------------------------------------------------------------------


def die(how: str) -> None:
    """End this worker."""
    match how:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "abort":
            os.abort()


def die_once(mark: Path) -> int:
    """End the first worker that runs this; return the process of the second."""
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def report_from_threads(number: int) -> int:
    """Report from several threads at a time."""
    with ThreadPoolExecutor(4) as threads:
        for _ in threads.map(report_slowly, range(number)):
            pass
    return number


def report_slowly(index: int) -> None:
    """Report, as soon as that is not too often."""
    time.sleep(0.06)
    steerio.report(message=f"part {index}")


def fail_times(number: int, mark: Path) -> int:
    """Fail so many times, then return how many attempts there were."""
    with mark.open("a") as file:
        file.write("x")
    attempts = len(mark.read_text())
    if attempts <= number:
        raise Unlucky(f"attempt {attempts}")
    return attempts


# -- not wanting to end ---------------------------------------------------------------------------


def announce(*pids: int) -> None:
    """Tell, as an event, that the task is under way, and which processes are."""
    steerio.report(message=" ".join(map(str, (os.getpid(), *pids))))


def cooperate() -> str:
    """Look whether to stop, and stop."""
    announce()
    while not steerio.should_stop():
        time.sleep(0.001)
    return "stopped"


def cooperate_if(long: bool) -> str:
    """Nearly always end at once, so that more of it is sent ahead."""
    return cooperate() if long else "done"


def loop_in_python() -> None:
    """Never look, never end."""
    announce()
    while True:
        pass


def swallow_everything() -> None:
    """Never end, and handle what would end it."""
    announce()
    while True:
        try:
            time.sleep(1000)
        except BaseException:  # noqa: BLE001 - that is the point
            continue


def never_return_from_c() -> None:
    """Be in C code that lets no signal handler run."""
    announce()
    pow(3, 1 << 40)


async def wait_for_ever() -> None:
    """Wait in a coroutine."""
    announce()
    await asyncio.sleep(1000)


async def wait_in_thread() -> None:
    """Wait in a coroutine for a thread that cannot be stopped."""
    announce()
    await asyncio.to_thread(time.sleep, 1000)


def wait_for_child() -> None:
    """Wait for a child process."""
    with subprocess.Popen(["sleep", "1000"]) as child:
        announce(child.pid)
        child.wait()


def leave_grandchild() -> None:
    """Have a grandchild whose parent has ended, so that it is an orphan."""
    shell = subprocess.run(
        ["sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"], capture_output=True, check=True
    )
    announce(int(shell.stdout))
    time.sleep(1000)


def leave_deaf_child() -> None:
    """Have a child that ignores SIGTERM."""
    child = subprocess.Popen(["sh", "-c", "trap '' TERM; echo; exec sleep 1000"], stdout=-1)
    assert child.stdout is not None
    child.stdout.readline()  # the trap is set
    announce(child.pid)
    time.sleep(1000)


def leave_daemon() -> None:
    """Have a child in a session of its own, which signals to the worker's group do not reach."""
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    announce(child.pid)
    while True:
        pass


STUBBORN = (
    cooperate,
    loop_in_python,
    swallow_everything,
    never_return_from_c,
    wait_for_ever,
    wait_in_thread,
    wait_for_child,
    leave_grandchild,
    leave_deaf_child,
    leave_daemon,
)
"""Everything that a cancelled task may be doing."""
