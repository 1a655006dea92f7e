"""The checks that every test undergoes: each kind of leak is seen, and named."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from steerio.edge.store.folders import sweep_stale
from tests import leaks
from tests.own_folders import OWN, SHARED_MEMORY, SHARED_MEMORY_VARIABLE, own_shared_memory

SLEEPER = "import time; time.sleep(600)"
PARENT_OF_A_SLEEPER = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}], start_new_session=True)
print(child.pid, flush=True)
"""


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE_S", 0.05)


@contextlib.contextmanager
def python_running(code: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as it:
        try:
            yield it
        finally:
            it.kill()


@pytest.mark.smoke
def test_nothing_acquired_is_nothing_left() -> None:
    assert leaks.left_behind(leaks.take_stock()) == []


def test_a_process_that_runs_on_is_named_by_its_command() -> None:
    before = leaks.take_stock()
    with python_running(SLEEPER) as process:
        left = leaks.left_behind(before)
        assert any(str(process.pid) in line and "time.sleep" in line for line in left)
    assert leaks.left_behind(before) == []


def test_a_process_whose_parent_died_is_found_and_killed() -> None:
    before = leaks.take_stock()
    with python_running(PARENT_OF_A_SLEEPER) as parent:
        assert parent.stdout is not None
        orphan = int(parent.stdout.readline())
    descriptor = os.pidfd_open(orphan)
    try:
        assert any(str(orphan) in line for line in leaks.left_behind(before))
        assert len(leaks.kill_strays(before)) == 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
    assert leaks.left_behind(before) == []


def test_a_process_that_ended_but_was_not_waited_for_is_named() -> None:
    before = leaks.take_stock()
    with python_running("") as process:
        assert process.stdout is not None
        process.stdout.read()
        assert any("never waited for" in line for line in leaks.left_behind(before))
    assert leaks.left_behind(before) == []


def test_a_process_that_ends_within_the_grace_is_no_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "GRACE_S", 60.0)
    before = leaks.take_stock()
    with python_running(SLEEPER) as process:
        reaper = threading.Thread(target=process.wait)
        reaper.start()
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout is not None
        process.stdout.close()
        assert leaks.left_behind(before) == []


def test_an_open_socket_is_named() -> None:
    before = leaks.take_stock()
    with socket.socket():
        assert any("-> socket:" in line for line in leaks.left_behind(before))
    assert leaks.left_behind(before) == []


def test_a_thread_that_runs_on_is_named() -> None:
    before, release = leaks.take_stock(), threading.Event()
    thread = threading.Thread(target=release.wait, name="idler")
    thread.start()
    try:
        assert leaks.left_behind(before) == ["thread 'idler'"]
    finally:
        release.set()
        thread.join()
    assert leaks.left_behind(before) == []


def test_a_zeromq_context_that_was_not_terminated_is_named() -> None:
    before = leaks.take_stock()
    with zmq.Context() as context, context.socket(zmq.PAIR) as pair:
        pair.bind("inproc://leaks")
        assert any("ZeroMQ's thread" in line for line in leaks.left_behind(before))
    assert leaks.left_behind(before) == []


def test_the_thread_behind_zero_copy_messages_is_no_leak() -> None:
    before = leaks.take_stock()
    for _ in range(2):
        with zmq.Context() as context, context.socket(zmq.PAIR) as a, context.socket(zmq.PAIR) as b:
            a.bind("inproc://leaks")
            b.connect("inproc://leaks")
            a.send(bytes(1_000_000), copy=False)
            b.recv()
        assert leaks.take_stock().minus(before)
        assert leaks.left_behind(before) == []


def test_shared_memory_that_was_not_unlinked_is_named() -> None:
    before = leaks.take_stock()
    path = SHARED_MEMORY / f"steerio-leak-{os.getpid()}"
    path.write_bytes(b"x")
    try:
        assert leaks.left_behind(before) == [f"file {path}"]
    finally:
        path.unlink()
    assert leaks.left_behind(before) == []


def test_shared_memory_that_a_stranger_uses_is_not_ours() -> None:
    path = SHARED_MEMORY / f"steerio-leak-{os.getpid()}"
    code = f"""
import mmap, time
with open({str(path)!r}, "w+b") as file:
    file.write(bytes(10))
    file.flush()
    memory = mmap.mmap(file.fileno(), 10)
print(flush=True)
time.sleep(600)
"""
    before = leaks.take_stock()
    with python_running(code) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        try:
            now = leaks.take_stock()
            alone = frozenset[leaks.Process]()
            assert leaks._used_by_strangers(path, alone)
            assert not leaks._used_by_strangers(path, now.processes - before.processes)
        finally:
            path.unlink()


STORE = """
from steerio.edge.store.folders import open_folder
import time
folder = open_folder()
print(folder.path, flush=True)
time.sleep(600)
"""


def test_the_folder_of_a_store_whose_process_was_killed_is_named() -> None:
    before = leaks.take_stock()
    with python_running(STORE) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().strip())
    assert f"file {path}" in leaks.left_behind(before)
    sweep_stale()
    assert leaks.left_behind(before) == []


def test_stores_of_other_test_processes_are_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_shared_memory() as theirs, monkeypatch.context() as patch:
        assert theirs is not None
        before = leaks.take_stock()
        patch.setenv(SHARED_MEMORY_VARIABLE, str(theirs))
        patch.setenv("TMPDIR", str(tmp_path))
        with python_running(STORE) as process:
            assert process.stdout is not None
            path = Path(process.stdout.readline().strip())
        patch.undo()
        assert path.is_relative_to(theirs)
        assert leaks.left_behind(before) == []
        assert path.exists()


def test_the_folder_of_a_dead_test_process_is_removed_and_that_of_a_living_one_is_not() -> None:
    with own_shared_memory() as living:
        assert living is not None
        dead = Path(tempfile.mkdtemp(prefix=OWN, dir=SHARED_MEMORY))
        with own_shared_memory():
            assert living.exists()
            assert not dead.exists()
    assert not living.exists()


def test_what_is_called_after_a_stranger_is_not_ours() -> None:
    with python_running(SLEEPER) as stranger:
        family = frozenset(leaks.take_stock().processes)
        for form in ("joblib_memmapping_folder_{}_ab_cd", "psm_of_{}", "sem.loky-{}-ab"):
            path = SHARED_MEMORY / form.format(stranger.pid)
            assert leaks._used_by_strangers(path, frozenset[leaks.Process]())
            assert not leaks._used_by_strangers(path, family)
        path = SHARED_MEMORY / f"psm_a{stranger.pid}"
        assert not leaks._used_by_strangers(path, frozenset[leaks.Process]())


def test_a_folder_of_sockets_that_was_not_removed_is_named() -> None:
    before = leaks.take_stock()
    with tempfile.TemporaryDirectory(prefix="steerio-") as folder:
        assert leaks.left_behind(before) == [f"file {Path(folder)}"]
    assert leaks.left_behind(before) == []


async def test_a_task_that_outlives_its_test_fails_it() -> None:
    running: set[asyncio.Task[object]] = set()

    async def forgetful() -> None:
        running.add(asyncio.create_task(asyncio.Event().wait(), name="forgotten"))

    with pytest.raises(leaks.LeakedTasks, match="forgotten"):
        await leaks.leaving_no_tasks(forgetful)()
    for task in running:
        task.cancel()
    await asyncio.wait(running)


async def test_a_task_that_ends_within_the_grace_is_no_leak() -> None:
    async def brief() -> None:
        running.append(asyncio.create_task(asyncio.sleep(0)))

    running: list[asyncio.Task[None]] = []
    await leaks.leaving_no_tasks(brief)()
    assert running[0].done()
