"""What a task changes of its process is not found by the next one there."""

from __future__ import annotations

import contextvars
import decimal
import faulthandler
import gc
import locale
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steerio
from steerio import Failed, Succeeded

pytestmark = pytest.mark.borders
variable = contextvars.ContextVar("variable", default="as it was")


def state() -> dict[str, Any]:
    """Tell how a task finds its process."""
    umask = os.umask(0o022)
    os.umask(umask)
    handlers = {n: signal.getsignal(n) for n in signal.valid_signals() if n < 32}
    return {
        "folder": str(Path.cwd()),
        "umask": umask,
        "streams": [stream.closed for stream in (sys.stdin, sys.stdout, sys.stderr)],
        "names": [sys.stdout.fileno(), sys.stderr.fileno(), sys.stdin.fileno()],
        "descriptors": [str(Path(f"/proc/self/fd/{n}").readlink()) for n in range(3)],
        "variables": dict(os.environ),
        "handlers": {n: getattr(handler, "__name__", handler) for n, handler in handlers.items()},
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "timers": [signal.getitimer(n)[0] for n in range(3)],
        "filters": repr(warnings.filters),
        "path": list(sys.path),
        "recursion": sys.getrecursionlimit(),
        "locale": locale.setlocale(locale.LC_ALL),
        "timeout": socket.getdefaulttimeout(),
        "collecting": gc.isenabled(),
        "trace": (sys.gettrace(), sys.getprofile(), sys.excepthook is sys.__excepthook__),
        "decimal": decimal.getcontext().prec,
        "errors": np.geterr(),
        "context": variable.get(),
        "faulthandler": faulthandler.is_enabled(),
        "process": os.getpid(),
    }


def goes_to_folder_that_is_gone() -> None:
    """Fail in a scratch folder."""
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        shutil.rmtree(scratch)
        raise RuntimeError("in there")


def closes_streams() -> None:
    """Close all there is."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()
    for number in range(3):
        os.close(number)


def replaces_streams() -> None:
    """Put others in their place, on both levels."""
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - and never close it
    os.dup2(sys.stdout.fileno(), 1)
    del sys.stdin


def detaches_stream() -> None:
    """Take the buffer of a stream away."""
    sys.stdout.detach()  # pyright: ignore[reportAttributeAccessIssue]


def changes_variables() -> None:
    """Set, change and remove variables, the last so that the mapping does not see it."""
    os.environ["STEERIO_TEST"] = "1"
    os.environ["PATH"] = "/nowhere"
    del os.environ["HOME"]


def replaces_environ() -> None:
    """Put another mapping in its place."""
    os.environ = {"PATH": "/nowhere"}  # type: ignore[assignment]  # noqa: B003


def leaves_alarms() -> None:
    """Leave handlers that raise, timers that strike soon, and signals that are blocked."""

    def strike(*_: object) -> None:
        raise RuntimeError("from a task before")

    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGUSR1, signal.SIGPROF, signal.SIGINT):
        signal.signal(number, strike)
    signal.setitimer(signal.ITIMER_PROF, 0.05, 0.01)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    faulthandler.dump_traceback_later(0.1, exit=True)


def leaves_deadly_alarm() -> None:
    """Leave a timer without a handler, which ends a process."""
    signal.alarm(1)


def changes_python() -> None:
    """Change what Python's own modules keep for the whole process."""
    os.umask(0o777)
    warnings.simplefilter("error")
    warnings.filters = []  # type: ignore[misc]
    sys.path.insert(0, "/nowhere")
    sys.path = ["/nowhere"]
    sys.setrecursionlimit(sys.getrecursionlimit() + 1_000)
    locale.setlocale(locale.LC_ALL, "C")
    socket.setdefaulttimeout(0.01)
    gc.disable()
    sys.setprofile(lambda *_: None)
    sys.excepthook = print
    faulthandler.disable()
    decimal.getcontext().prec = 3
    np.seterr(all="raise")
    variable.set("changed")


async def changes_context() -> None:
    """Change variables of the context in a coroutine."""
    changes_python()


def hurries_everything() -> None:
    """Change a good deal in one."""
    changes_python()
    changes_variables()
    goes_to_folder_that_is_gone()


def waits(seconds: float) -> None:
    """Use time, on the clock and of the processor."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def test_a_task_finds_its_process_as_the_first_one_did() -> None:
    deeds: list[Callable[[], Any]] = [
        goes_to_folder_that_is_gone,
        closes_streams,
        replaces_streams,
        detaches_stream,
        changes_variables,
        replaces_environ,
        leaves_alarms,
        changes_python,
        changes_context,
        hurries_everything,
    ]
    async with steerio.open_session(workers={"default": 1}) as session:
        found = await session.run(state)
        for deed in deeds:
            result = await session.submit(deed).result()
            assert isinstance(result, Succeeded | Failed), deed
            assert await session.run(state) == found, deed
        await session.run(leaves_alarms)
        await session.run(waits, 0.2)
        assert (await session.run(state))["process"] == found["process"]


async def test_of_many_tasks_in_one_go_none_finds_what_another_has_changed() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        found = await session.run(state)
        tasks = [session.submit(deed) for _ in range(50) for deed in (hurries_everything, state)]
        results = [await task.result() for task in tasks]
        assert all(isinstance(failed, Failed) for failed in results[::2])
        assert all(same.value == found for same in results[1::2] if isinstance(same, Succeeded))


def sometimes(changes: bool) -> None:
    """Change a good deal, or nothing."""
    if changes:
        os.chdir("/")
        os.environ["STEERIO_TEST"] = "1"
        os.umask(0o777)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)


async def test_a_type_that_was_long_orderly_leaves_nothing_to_another_all_the_same() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        found = await session.run(state)
        for _ in range(3):
            await session.gather(*session.map(sometimes, [False] * 150))
            await session.run(sometimes, True)
            assert await session.run(state) == found


async def test_what_was_printed_before_and_after_goes_where_it_went(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with steerio.open_session(workers={"default": 1}, run_dir=tmp_path / "run") as session:
        for deed in (closes_streams, replaces_streams, detaches_stream):
            await session.submit(deed).result()
            await session.run(print, f"after {deed.__name__}")
    log = (tmp_path / "run" / "workers.log").read_text()
    for deed in (closes_streams, replaces_streams, detaches_stream):
        assert f"after {deed.__name__}\n" in log


@steerio.resource
def settled() -> str:
    """Set up something that needs its process to be changed."""
    os.environ["STEERIO_RESOURCE"] = "1"
    sys.path.append("/resource")
    return "set up"


def uses_resource() -> str:
    """Use it, and change something else."""
    os.environ["STEERIO_TASK"] = "1"
    return settled()


def variables() -> tuple[str | None, str | None, bool]:
    """Return what is left of that."""
    get = os.environ.get
    return get("STEERIO_RESOURCE"), get("STEERIO_TASK"), "/resource" in sys.path


async def test_what_a_resource_changes_as_it_is_set_up_stays() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        await session.run(uses_resource)
        assert await session.run(variables) == ("1", None, True)
