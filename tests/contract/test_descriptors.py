"""What happens where descriptors, threads or processes run out: one error, and no more work."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import steerio
from steerio.edge.system.descriptors import KEPT, is_scarce, need_descriptors
from steerio.edge.wire import unix_listener
from steerio.edge.wire.blocking_link import StreamLink
from steerio.edge.wire.contexts import Context
from steerio.edge.wire.unix import StreamRouter
from steerio.errors import UsageError
from steerio.launch.node_process import NodeProcess
from steerio.model import messages as ms

pytestmark = pytest.mark.borders


@contextlib.contextmanager
def limited(more: int) -> Iterator[int]:
    """Let this process have only so many descriptors more than it has; tells the bound."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    bound = lowest_free + more
    resource.setrlimit(resource.RLIMIT_NOFILE, (bound, before[1]))
    try:
        yield bound
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_bound_is_raised_as_far_as_what_is_needed_asks_for() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
        need_descriptors(100)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 150
        assert not is_scarce(100)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    most = before[1] if before[1] != resource.RLIM_INFINITY else 10**9
    with pytest.raises(UsageError, match=r"may have \d+ descriptors .* with \d+ workers needs"):
        need_descriptors(most)
    with pytest.raises(UsageError, match="have fewer workers"):
        need_descriptors(most)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_last_descriptors_are_known() -> None:
    with limited(100) as bound:
        assert not is_scarce(bound - KEPT - 1)
        assert is_scarce(bound - KEPT)


@pytest.mark.parametrize("left", [KEPT + 5, 3])
def test_a_broker_without_descriptors_lets_workers_wait_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    monkeypatch.setattr(unix_listener, "PAUSE_S", 0.0)
    router = StreamRouter(str(tmp_path / "s"))
    workers: list[StreamLink] = []
    taken: list[int] = []
    try:
        with limited(2 * 30 + left), caplog.at_level(logging.WARNING):
            for _ in range(30):
                workers.append(StreamLink(router.address))
            taken += [os.dup(0) for _ in range(28)]  # by somebody else in this process
            for _ in range(100):
                router.expect()
                assert router.receive(10) == []
            connected = len(router._connections)
            assert connected < 30
            for number in taken:
                os.close(number)
            taken.clear()
            for _ in range(100):
                router.expect()
                router.receive(10)
            assert len(router._connections) > connected
        told = [record.getMessage() for record in caplog.records]
        assert len(told) == 1
        assert "no worker or client can connect: Too many open files" in told[0]
        for worker in workers:
            worker.send(ms.JoinClient(ms.PROTOCOL, "x"))
            worker.flush()
        for _ in range(100):
            router.expect()
            router.receive(10)
        assert len(router._connections) == 30, "who waited is let in"
    finally:
        for number in taken:
            os.close(number)
        for worker in workers:
            worker.close()
        router.close()


def test_while_nobody_can_be_accepted_a_loop_has_nothing_to_do(tmp_path: Path) -> None:
    async def count() -> int:
        router = StreamRouter(str(tmp_path / "s"))
        wakes = 0

        def wake() -> None:
            nonlocal wakes
            wakes += 1
            router.receive(10)

        router.attach(asyncio.get_running_loop(), wake)
        with limited(5):
            with socket.socket(socket.AF_UNIX) as worker:
                worker.connect(str(tmp_path / "s"))
                await asyncio.sleep(0.2)
        router.close()
        return wakes

    assert asyncio.run(count()) < 10


LOW = """
import asyncio, resource, steerio

resource.setrlimit(resource.RLIMIT_NOFILE, (64, int({hard})))

async def main():
    async with steerio.open_session(workers={{"default": 60}}, pin=False) as session:
        print(await session.run("{{}}".format, 1))

asyncio.run(main())
"""


def test_a_session_that_cannot_have_its_workers_says_so_at_once() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", LOW.format(hard=hard)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        ).stderr
        for hard in (64, 100)
    ]
    for bound, text in zip((64, 100), told, strict=True):
        assert text.count("Traceback") == 1
        assert f"may have {bound} descriptors (open files) and with 60 workers needs" in text


def test_a_context_that_cannot_have_threads_is_an_os_error() -> None:
    before = threading.stack_size()
    try:
        threading.stack_size(2**46)  # no memory for it, as where there are no more threads
        with pytest.raises(OSError, match="no more threads"):
            Context()
    finally:
        threading.stack_size(before)


async def test_no_threads_and_no_processes_are_one_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = threading.stack_size()
    try:
        threading.stack_size(2**46)
        with pytest.raises(UsageError, match="no more threads can be started"):
            async with steerio.open_session(workers={"default": 1}):
                pass
    finally:
        threading.stack_size(before)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fork", refuse)
        with pytest.raises(UsageError, match="no process can be started"):
            NodeProcess.forked()
