"""MPI programs as tasks, under the real Open MPI and the real MPICH: ranks on gangs of workers."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

import steerio
from steerio import (
    Cancelled,
    Commands,
    Failed,
    Session,
    Succeeded,
    Task,
    TaskType,
    TimedOut,
    Workers,
    mpi_task,
    open_session,
    task,
)
from tests.real import mpi_ranks, programs
from tests.real.programs import running, steerio_command
from tests.real.test_mpi import LAUNCHERS, launch

PROGRAM = [sys.executable, str(Path(mpi_ranks.__file__))]
GONE_S = 10.0
"""Within this all ranks must be gone; a launcher takes its time to end them in order."""


def lines(text: str) -> list[str]:
    return sorted(text.splitlines())


def ranks_of(name: str) -> TaskType[[str], list[str]]:
    """Return the task type of a program of 2 workers with 2 ranks each."""

    # Open MPI keeps shared memory in files, which it leaves behind if it is killed
    env = {"OMPI_MCA_btl_vader_backing_directory": "."}

    @mpi_task(pool="solve", gang=2, ranks_per_worker=2, launcher=name, env=env)
    def add_up(folder: str) -> Commands[list[str]]:
        done = yield [*PROGRAM, name, *([folder] if folder else [])]
        return lines(done.stdout)

    return add_up


@task(pool="solve")
def process_id(number: int) -> int:
    return os.getpid()


@pytest.fixture(params=LAUNCHERS)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    if shutil.which(f"mpiexec.{found}") is None:
        pytest.fail(f"mpiexec.{found} is missing: apt-get install openmpi-bin mpich")
    return found


async def begun(folder: Path, count: int = 4) -> list[int]:
    """Wait until so many ranks run, and return their processes."""
    async with asyncio.timeout(programs.START_S):
        while len(found := ranks_in(folder)) < count:  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.02)
    return found


def ranks_in(folder: Path) -> list[int]:
    """Return the processes of the ranks that have begun, or had."""
    return [int(each.read_text()) for each in folder.glob("rank-?")]


def forget_ranks(folder: Path) -> None:
    for file in folder.glob("rank-?"):
        file.unlink()


def kept(folder: Path) -> list[str]:
    """Return the folders of attempts that were kept."""
    return sorted(map(str, (folder / "run/work").glob("*")))


def parent(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"PPid:\s+(\d+)", status)[1])  # type: ignore[index]


async def started(
    session: Session, kind: TaskType[[str], list[str]], folder: Path
) -> tuple[Task[list[str]], list[int]]:
    """Submit a task whose ranks stay, and wait for these."""
    ranks = session.submit(kind, str(folder))
    return ranks, await begun(folder)


async def test_two_by_two_ranks_run_beside_tasks_for_single_workers_and_stop_in_the_middle(
    tmp_path: Path, name: str
) -> None:
    kind = ranks_of(name)
    async with open_session(workers={"solve": 3}, pin=False, run_dir=tmp_path / "run") as session:
        pids = set(await session.gather(*session.map(process_id, range(20))))
        assert len(pids) == 3
        found = await session.run(kind, "")
        assert [line.partition(", cores")[0] for line in found] == [
            f"rank {rank} of 4, sum 10" for rank in range(4)
        ]
        ranks, processes = await started(session, kind, tmp_path)
        beside = await session.gather(*session.map(process_id, range(20)))
        assert len(set(beside)) == 1, "two of the three workers are taken"
        ranks.cancel()
        assert isinstance(await ranks.result(), Cancelled)
        programs.wait_for_end(processes, within_s=GONE_S)
        again = await session.gather(*session.map(process_id, range(30)))
        assert len(again) == 30
    assert len(kept(tmp_path)) == 1, "that of the stopped one"


async def test_a_killed_worker_takes_all_ranks_along_and_the_task_is_tried_again(
    tmp_path: Path, name: str
) -> None:
    kind = ranks_of(name)
    async with open_session(workers={"solve": 2}, pin=False, run_dir=tmp_path / "run") as session:
        workers = set(await session.gather(*session.map(process_id, range(20))))
        ranks, processes = await started(session, kind, tmp_path)
        forget_ranks(tmp_path)
        leader = next(pid for pid in workers if programs.family(pid) != [pid])
        os.kill(leader, signal.SIGKILL)
        programs.wait_for_end(processes, within_s=GONE_S)
        others = await begun(tmp_path)
        assert set(others).isdisjoint(processes)
        ranks.cancel()
        await ranks.result()
        programs.wait_for_end(others, within_s=GONE_S)


async def test_a_killed_node_takes_all_ranks_along(tmp_path: Path, name: str) -> None:
    kind = ranks_of(name)
    async with open_session(workers={"solve": 2}, pin=False, run_dir=tmp_path / "run") as session:
        worker = await session.run(process_id, 0)
        options = session.options(retries={"lost": 0})
        ranks = options.submit(kind, str(tmp_path))
        processes = await begun(tmp_path)
        node = parent(parent(worker))
        os.kill(node, signal.SIGKILL)
        programs.wait_for_end(processes, within_s=GONE_S)
        assert (await ranks.result()).ended_as == "lost"


async def test_ranks_that_are_out_of_time_end(tmp_path: Path, name: str) -> None:
    kind = ranks_of(name)
    async with open_session(workers={"solve": 2}, pin=False, run_dir=tmp_path / "run") as session:
        result = await session.options(timeout_s=4.0).submit(kind, str(tmp_path)).result()
        assert isinstance(result, TimedOut), result
        programs.wait_for_end(ranks_in(tmp_path), within_s=GONE_S)
        assert await session.run(process_id, 1) > 0


async def test_a_rank_that_fails_ends_all_and_is_told_of(tmp_path: Path, name: str) -> None:
    kind = ranks_of(name)
    async with open_session(workers={"solve": 2}, pin=False, run_dir=tmp_path / "run") as session:
        options = session.options(retries={"failed": 1})
        result = await options.submit(kind, mpi_ranks.FAIL).result()
        assert isinstance(result, Failed), result
        assert result.attempt == 2
        failure = result.error.exception
        assert isinstance(failure, steerio.ProgramFailed)
        # MPICH tells of the rank that failed, or of those that it killed for that (9).
        assert failure.exit_code in ({3, 9} if name == "mpich" else {3})
        assert kept(tmp_path)[-1] == failure.folder
        assert "no good" in written(failure.folder)
        assert re.search(rf"mpiexec\.{name} .* exited with [39]; its folder is kept", str(failure))
        assert await session.run(process_id, 1) > 0


def written(folder: str) -> str:
    return (Path(folder) / "command-1.err").read_text()


async def test_a_rank_that_crashes_is_told_of(tmp_path: Path, name: str) -> None:
    @mpi_task(pool="solve", gang=2, launcher=name)
    def crash() -> Commands[int]:
        done = yield steerio.Command(["sh", "-c", "kill -SEGV $$"], check=False)
        return done.exit_code

    async with open_session(workers={"solve": 2}, pin=False, run_dir=tmp_path) as session:
        assert await session.run(crash) not in (0, None)


async def test_each_rank_has_its_share_of_its_workers_cores_and_variables(name: str) -> None:
    @mpi_task(pool="solve", launcher=name, env={"CASE": "upper"}, keep="never")
    def look() -> Commands[list[str]]:
        alone = yield steerio.Command(["sh", "-c", "echo alone in $CASE"], alone=True)
        say = "echo $CASE $OMP_NUM_THREADS ${MASTER_PORT-no} $(taskset -cp $$ | sed 's/.*: //')"
        done = yield ["sh", "-c", say]
        return [alone.stdout.strip(), *lines(done.stdout)]

    count = len(os.sched_getaffinity(0))
    async with open_session(workers={"solve": Workers(count)}, pin=True) as session:
        alone, *each = await session.options(gang=count).run(look)
        assert alone == "alone in upper"
        assert all(line.startswith("upper 1 no ") for line in each)
        # with as many workers as cores none is pinned: each rank may go anywhere
        assert len(each) == count


async def test_a_launched_campaign_runs_tasks_under_either_launcher(tmp_path: Path) -> None:
    (tmp_path / "solving.py").write_text(NESTED)
    for outer in LAUNCHERS:
        run = steerio_command("run", "solving.py", "--workers", "solve=2", "--run-dir", outer)
        with running(*launch(outer, 3, *run), cwd=tmp_path) as program:
            assert program.status(within_s=90) == 0, program
        for inner in LAUNCHERS:
            assert f"{inner}: ['rank 0 of 2, sum 3', 'rank 1 of 2, sum 3']" in program.output


NESTED = f"""
from steerio import Campaign, Commands, agent, mpi_task

@mpi_task(pool="solve", gang=2, launcher="openmpi", timeout_s=60)
def openmpi() -> Commands[list[str]]:
    done = yield {[*PROGRAM, "openmpi"]!r}
    return sorted(line.partition(", cores")[0] for line in done.stdout.splitlines())

@mpi_task(pool="solve", gang=2, launcher="mpich", timeout_s=60)
def mpich() -> Commands[list[str]]:
    done = yield {[*PROGRAM, "mpich"]!r}
    return sorted(line.partition(", cores")[0] for line in done.stdout.splitlines())

class Solving(Campaign):
    @agent
    async def both(self):
        print("openmpi:", await self.run(openmpi), flush=True)
        print("mpich:", await self.run(mpich), flush=True)
"""


async def test_gangs_of_programs_and_many_single_tasks_all_get_their_turn(
    tmp_path: Path, name: str
) -> None:
    kind = ranks_of(name)
    async with open_session(workers={"solve": 2}, pin=False, run_dir=tmp_path / "run") as session:
        singles = session.map(process_id, range(50))
        wide = [session.submit(kind, "") for _ in range(3)]
        more = session.map(process_id, range(50))
        for each in wide:
            result = await each.result()
            assert isinstance(result, Succeeded), result
            assert len(result.value) == 4
        await session.gather(*singles, *more)
    assert kept(tmp_path) == []
