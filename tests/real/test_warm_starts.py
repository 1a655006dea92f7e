"""What a node preloads and what it refuses to; resources of workers, and how they are released."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import steerio
from steerio import TaskProgress, WorkerJoined, WorkerLost
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.hosting import Hosting
from steerio.session.session import Session
from tests.real import deeds
from tests.real.programs import python, running, steerio_command, wait_for_end

SOON_S = 10.0
"""A bound for what takes far less, on machines that are slow at times."""


def parent_of(pid: int) -> int:
    """Return the parent of a process."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# -- resources ------------------------------------------------------------------------------------


def note(log: Path, what: str) -> None:
    """Append a line."""
    with log.open("a") as file:
        file.write(what + "\n")


@steerio.resource
def licence(log: Path) -> Iterator[int]:
    """Note who took it, and who gave it back."""
    note(log, f"taken by {os.getpid()}")
    yield os.getpid()
    note(log, f"given back by {os.getpid()}")


@steerio.resource
def solver(log: Path) -> Iterator[str]:
    """Need a licence."""
    yield f"solver of {licence(log)}"
    note(log, "closed")


@steerio.resource
def stuck() -> Iterator[None]:
    """Never be released."""
    yield
    time.sleep(1000)


def use(log: Path) -> tuple[str, int]:
    """Use it; return it and the process."""
    return solver(log), os.getpid()


async def use_in_coroutine(log: Path) -> str:
    """Use it in a coroutine."""
    await asyncio.sleep(0)
    return solver(log)


def use_and_never_end(log: Path) -> None:
    """Use it for long."""
    licence(log)
    deeds.announce()
    time.sleep(1000)


@steerio.resource
def server() -> Iterator[int]:
    """Have a process and a thread."""
    with (
        subprocess.Popen(["sleep", "1000"], start_new_session=True) as process,
        ThreadPoolExecutor(1) as threads,
    ):
        threads.submit(process.wait)
        yield process.pid
        process.kill()


def use_server(long: bool) -> tuple[int, int]:
    """Use it; return it and the process."""
    pid = server()
    if long:
        deeds.announce(pid)
        time.sleep(1000)
    return pid, os.getpid()


def use_what_is_stuck() -> int:
    """Use what cannot be released."""
    stuck()
    return os.getpid()


@pytest.mark.smoke
async def test_a_resource_is_set_up_once_in_a_worker_and_released_when_that_leaves(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    async with steerio.open_session(workers={"default": 1}) as session:
        ((first, pid), *others) = await session.gather(*session.map(use, [log] * 5))
        assert await session.run(use_in_coroutine, log) == first == f"solver of {pid}"
        assert {value for value, _ in others} == {first}
        assert log.read_text().splitlines() == [f"taken by {pid}"]
    assert log.read_text().splitlines()[1:] == ["closed", f"given back by {pid}"]


async def test_a_worker_that_is_busy_as_all_ends_is_told_and_releases(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with (
        steerio.open_session(workers={"default": 1}) as session,
        session.events(TaskProgress) as events,
    ):
        session.submit(use_and_never_end, log).add_done_callback(lambda _: None)
        pid = int((await anext(events)).message)
    assert log.read_text().splitlines() == [f"taken by {pid}", f"given back by {pid}"]


async def test_a_killed_worker_releases_nothing_and_the_next_sets_up_its_own(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    async with steerio.open_session(workers={"default": 1}) as session:
        _, killed = await session.run(use, log)
        os.kill(killed, signal.SIGKILL)
        _, other = await session.run(use, log)
        assert other != killed
    assert log.read_text().splitlines() == [
        f"taken by {killed}",
        f"taken by {other}",
        "closed",
        f"given back by {other}",
    ]


async def test_a_release_that_hangs_holds_up_the_end_for_no_longer_than_its_bound(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    async with steerio.open_session(workers={"default": 2}, run_dir=tmp_path / "run") as session:
        await session.run(use_what_is_stuck)
        began = time.monotonic()
    assert time.monotonic() - began < 5.0
    told = (tmp_path / "run/workers.log").read_text()
    assert "in stuck" in told, "where it hung"
    assert not log.exists()


async def test_the_processes_and_threads_of_a_resource_outlast_a_cancelled_task() -> None:
    async with (
        steerio.open_session(workers={"default": 1}) as session,
        session.events(TaskProgress) as events,
    ):
        task = session.submit(use_server, True)
        worker, sleeper = map(int, (await anext(events)).message.split())
        task.cancel()
        assert (await task.result()).ended_as == "cancelled"
        assert await session.run(use_server, False) == (sleeper, worker)
    wait_for_end([sleeper], within_s=SOON_S)


async def test_functions_shipped_by_value_share_their_resource() -> None:
    @steerio.resource
    def here() -> object:
        return object()

    def one() -> int:
        return id(here())

    def two() -> int:
        return id(here())

    async with steerio.open_session(workers={"default": 1}) as session:
        assert await session.run(one) == await session.run(two)


PROGRAM = """
import asyncio, os
import steerio

@steerio.resource
def connection():
    print("opened", flush=True)
    yield os.getpid()
    print("closed", flush=True)

def use():
    return connection(), os.getpid()

async def main():
    assert connection() == os.getpid()
    async with steerio.open_session(workers={"default": 1}) as session:
        value, worker = await session.run(use)
        assert value == worker != os.getpid()

asyncio.run(main())
assert connection() == os.getpid()
print("end", flush=True)
"""


def test_what_the_campaign_has_set_up_is_not_shared_with_its_workers(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    with running(*python("program.py"), cwd=tmp_path) as program:
        assert program.status() == 0, program
    told = [line.rpartition(" | ")[2] for line in program.output.splitlines()]
    assert told == ["opened", "opened", "closed", "end", "closed"]


# -- preloading -----------------------------------------------------------------------------------

STARTS_THREAD = """
import threading
threading.Thread(target=threading.Event().wait, name="meddler", daemon=True).start()
"""


def thread_names() -> list[str]:
    """Return the threads of this process."""
    import threading

    return sorted(thread.name for thread in threading.enumerate())


async def test_a_module_that_starts_threads_is_refused_and_other_pools_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "starts_thread.py").write_text(STARTS_THREAD)
    (tmp_path / "harmless.py").write_text("")
    hosting = Hosting(
        BrokerSetup(
            workers={"first": 1, "threads": 1, "second": 1},
            preload={
                "first": ["harmless"],
                "threads": ["json", "starts_thread", "harmless"],
                "second": ["harmless"],
            },
        )
    )
    await hosting.start()
    try:
        session = Session(await hosting.join("test"), None)
        try:
            refused = session.submit(steerio.task(pool="threads")(os.getpid))
            with pytest.raises(steerio.TaskLost) as raised:
                await refused
            told = str(raised.value)
            assert "preloading starts_thread is refused" in told
            assert "starts 1 thread ('meddler')" in told
            assert "Take 'starts_thread' out" in told
            for pool in ("first", "second", "first"):
                names = await session.run(steerio.task(pool=pool)(thread_names))
                assert names == ["MainThread"]
                pid = await session.run(steerio.task(pool=pool)(os.getpid))
                async with asyncio.timeout(SOON_S), session.events(WorkerJoined) as events:
                    os.kill(pid, signal.SIGKILL)
                    assert (await anext(events)).pool == pool
        finally:
            session.close()
    finally:
        await hosting.close()


async def test_each_refused_module_has_its_pool_fail_and_resources_are_released_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    log = tmp_path / "log"
    for name in ("refused_one", "refused_two"):
        (tmp_path / f"{name}.py").write_text(STARTS_THREAD)
    hosting = Hosting(
        BrokerSetup(
            workers={"early": 1, "one": 1, "two": 1, "late": 1},
            preload={"one": ["refused_one"], "two": ["refused_two"], "never": ["refused_three"]},
        )
    )
    (tmp_path / "refused_three.py").write_text(STARTS_THREAD)
    await hosting.start()
    try:
        session = Session(await hosting.join("test"), None)
        try:
            pids: list[int] = []
            for pool in ("early", "late"):
                pids.append((await session.run(steerio.task(pool=pool)(use), log))[1])
            for pool in ("one", "two"):
                with pytest.raises(steerio.TaskLost, match=f"preloading refused_{pool} is refused"):
                    await session.run(steerio.task(pool=pool)(os.getpid))
            assert parent_of(pids[0]) != parent_of(pids[1]), "another zygote has taken over"
        finally:
            session.close()
    finally:
        await hosting.close()
    said = log.read_text().splitlines()
    assert {f"given back by {pid}" for pid in pids} < set(said)


async def test_a_worker_of_a_node_that_leaves_releases(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run_dir = tmp_path / "run"
    with running(*steerio_command("broker", "--run-dir", str(run_dir))) as broker:
        broker.wait_for("worker --join")
        with running(
            *steerio_command("worker", "--join", str(run_dir), "--workers", "default=1")
        ) as node:
            async with steerio.connect(run_dir) as session:
                _, pid = await session.run(use, log)
                node.signal(signal.SIGTERM)
                node.status()
        assert log.read_text().splitlines()[1:] == ["closed", f"given back by {pid}"]
        broker.signal(signal.SIGTERM)
        broker.status()


async def test_what_pools_without_workers_need_is_loaded_while_there_is_nothing_else_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("needed_later", "needed_last"):
        os.mkfifo(tmp_path / name)
        (tmp_path / f"{name}.py").write_text(
            f"import os\nopen({str(tmp_path / name)!r}, 'w').write(str(os.getpid()))\n"
        )
    hosting = Hosting(
        BrokerSetup(
            workers={"default": 1},
            preload={"later": ["needed_later", "json"], "last": ["needed_last"]},
        )
    )
    await hosting.start()
    try:
        session = Session(await hosting.join("test"), None)
        try:
            # the zygote is stuck in the first until this reads it: the worker came before
            worker = await session.run(os.getpid)
            for name in ("needed_later", "needed_last"):
                loaded_by = int(await asyncio.to_thread((tmp_path / name).read_text))
                assert loaded_by == parent_of(worker)
            async with asyncio.timeout(SOON_S), session.events(WorkerLost, WorkerJoined) as events:
                os.kill(worker, signal.SIGKILL)
                assert isinstance(await anext(events), WorkerLost)
                assert isinstance(await anext(events), WorkerJoined)
        finally:
            session.close()
    finally:
        await hosting.close()


CAMPAIGN = f"""
{STARTS_THREAD}
from steerio import Campaign, on_success, task

@task
def names() -> list[str]:
    return sorted(thread.name for thread in threading.enumerate())

class Ask(Campaign):
    workers = {{"default": 1}}

    async def setup(self):
        print("found", await self.run(names))
        self.stop()
"""


def test_a_campaign_whose_file_starts_threads_has_each_worker_load_it(tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text(CAMPAIGN)
    with running(
        *python("-m", "steerio", "run", "ask.py", "--run-dir", "run"), cwd=tmp_path
    ) as program:
        assert program.status() == 0, program
    assert "found ['MainThread', 'meddler']" in program.output
    log = (tmp_path / "run/workers.log").read_text()
    assert "each worker loads it for itself" in log
