"""Campaigns under the MPI launchers of Debian: ``mpiexec -n 3 steerio run FILE``."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from steerio.node.launcher_variables import forget_rank
from tests.real import programs
from tests.real.programs import python, running, steerio_command
from tests.real.tables import read_table
from tests.real.test_standing_broker import broker_in, status_of

CAMPAIGN = """
import os, time
import steerio
from steerio import Board, Campaign, on_success, task

@task
def work(x: int) -> tuple[int, int]:
    time.sleep(0.02)
    return x * x, os.getpid()

class Squares(Campaign):
    def __init__(self, fail: bool = False, endless: bool = False) -> None:
        self.todo = Board(work, range(100_000 if endless else 40))
        self.fail, self.values = fail, {}

    @on_success(work)
    async def record(self, result):
        self.values[result.args[0]] = result.value
        print(f"recorded {len(self.values)}.", flush=True)
        if self.fail:
            raise ZeroDivisionError("an agent's own mistake")

    async def finish(self):
        squares = sum(square for square, _ in self.values.values())
        workers = len({pid for _, pid in self.values.values()})
        print(f"sum {squares} from {workers} workers", flush=True)
"""

LAUNCHERS = {
    "openmpi": ("mpiexec.openmpi", "--oversubscribe"),
    "mpich": ("mpiexec.mpich",),
}


def launch(name: str, ranks: int, *command: str) -> Sequence[str]:
    """Return the command that starts so many ranks of a command."""
    program, *options = LAUNCHERS[name]
    if shutil.which(program) is None:
        pytest.fail(
            f"{program} is missing; on Debian and Ubuntu it comes with: "
            f"apt-get install {'openmpi-bin' if name == 'openmpi' else 'mpich'}",
            pytrace=False,
        )
    return [program, *options, "-n", str(ranks), *command]


def rendezvous() -> list[Path]:
    """Return the files by which ranks find each other."""
    return list(Path(tempfile.gettempdir()).glob(".steerio-*"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "squares.py").write_text(CAMPAIGN)
    return tmp_path


@pytest.mark.parametrize("name", LAUNCHERS)
def test_rank_0_steers_and_the_others_work(folder: Path, name: str) -> None:
    command = launch(name, 3, *steerio_command("run", "squares.py", "--run-dir", "record"))
    with running(*command, cwd=folder) as program:
        program.wait_for("recorded 5.")
        pids = programs.family(program.pid)
        assert program.status() == 0, program
        programs.wait_for_end(pids, within_s=2.0)
    assert f"sum {sum(x * x for x in range(40))} from 2 workers" in program.output
    assert program.output.count("record: ") == 1, "only rank 0 speaks"
    assert rendezvous() == []
    tasks = read_table(folder / "record/tasks.jsonl")
    assert set(tasks.node) == {"rank1", "rank2"}
    assert set(tasks.ended_as) == {"succeeded"}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_failure_is_passed_on_and_a_missing_file_too(folder: Path, name: str) -> None:
    command = launch(name, 3, *steerio_command("run", "squares.py", "--fail"))
    with running(*command, cwd=folder) as program:
        assert program.status() == 1, program
    assert "ZeroDivisionError: an agent's own mistake" in program.output
    with running(*launch(name, 2, *steerio_command("run", "circles.py")), cwd=folder) as program:
        assert program.status() == 2, program
    assert "there is no file 'circles.py'" in program.output
    assert rendezvous() == []


@pytest.mark.parametrize("name", LAUNCHERS)
def test_nobody_is_left_when_rank_0_or_the_launcher_is_killed(folder: Path, name: str) -> None:
    command = launch(name, 3, *steerio_command("run", "squares.py", "--endless"))
    for victim in ("rank 0", "launcher"):
        with running(*command, cwd=folder) as program:
            program.wait_for("recorded 5.")
            pids = programs.family(program.pid)
            ranks = [pid for pid in pids if b"squares.py" in _command_of(pid)]
            programs.kill(ranks[0] if victim == "rank 0" else program.pid)
            assert program.status(within_s=20) != 0, program
            programs.wait_for_end(pids, within_s=20.0)
    assert rendezvous() == []
    # launchers may kill the other ranks at once, which then leave the files of their store
    with running(*steerio_command("clean"), cwd=folder) as program:
        assert program.status() == 0, program


SILENT = """
import time
from steerio import Board, Campaign, task

@task
def work(x: int) -> None:
    time.sleep(0.02)

class Silent(Campaign):
    def __init__(self) -> None:
        self.todo = Board(work, range(1_000_000))

    async def setup(self):
        await self.run(work, 0)  # so the other rank has read its file
        print("begun", flush=True)
"""


@pytest.mark.borders
@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_campaign_that_says_nothing_ends_when_its_launcher_leaves(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "silent.py").write_text(SILENT)
    command = launch(name, 2, *steerio_command("run", "silent.py", "--progress", "off"))
    with running(*command, cwd=tmp_path) as program:
        program.wait_for("begun")
        pids = programs.family(program.pid)
        program.signal(signal.SIGTERM)
        program.signal(signal.SIGTERM)  # as `timeout` does, to the program and to its group
        program.status(within_s=60)
        programs.wait_for_end(pids, within_s=60.0)
    assert rendezvous() == []


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ranks_join_a_standing_broker(folder: Path, name: str) -> None:
    workers = launch(name, 2, *steerio_command("worker", "--join", "broker"))
    run = steerio_command("run", "squares.py", "--join", "broker", "--run-dir", "record")
    with broker_in(folder) as broker, running(*workers, cwd=folder) as ranks:
        with running(*run, cwd=folder) as campaign:
            assert campaign.status() == 0, campaign
        assert "from 2 workers" in campaign.output
        assert len(status_of(folder)["nodes"]) == 2  # type: ignore[arg-type]
        broker.signal(signal.SIGTERM)
        assert broker.status(within_s=10) == 0, broker
        assert ranks.status(within_s=20) == 0, ranks


ON_BEHALF = """
import ctypes, subprocess, sys, os
ctypes.CDLL(sys.argv[1])  # as an MPI program is linked
if os.environ.get("OMPI_COMM_WORLD_RANK", os.environ.get("PMI_RANK")) == sys.argv[2]:
    sys.exit(subprocess.run([sys.executable, "-m", "steerio", "run", "squares.py"]).returncode)
"""


@pytest.mark.borders
@pytest.mark.parametrize("name", LAUNCHERS)
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_campaign_that_a_rank_of_another_program_starts_waits_for_no_ranks(
    folder: Path, name: str, rank: str
) -> None:
    library = {"openmpi": "libmpi.so.40", "mpich": "libmpich.so.12"}[name]
    (folder / "theirs.py").write_text(ON_BEHALF)
    with running(*launch(name, 2, *python("theirs.py", library, rank)), cwd=folder) as program:
        assert program.status(within_s=20) == 0, program
    assert "from 1 workers" in program.output


NESTED = """
import subprocess, sys
from steerio import Campaign, agent, task

@task
def another() -> str:
    command = [sys.executable, "-m", "steerio", "run", "squares.py"]
    return subprocess.run(command, capture_output=True, text=True).stdout.splitlines()[-1]

class Nested(Campaign):
    @agent
    async def ask(self):
        print("inner:", await self.run(another), flush=True)
"""


@pytest.mark.borders
def test_a_campaign_that_a_task_under_a_launcher_starts_has_workers_of_its_own(
    folder: Path,
) -> None:
    (folder / "nested.py").write_text(NESTED)
    command = launch("openmpi", 2, *steerio_command("run", "nested.py"))
    with running(*command, cwd=folder) as program:
        assert program.status(within_s=30) == 0, program
    assert "inner: sum 20540 from 1 workers" in program.output


@pytest.mark.borders
def test_a_launcher_may_start_ranks_through_shells(folder: Path) -> None:
    shell = f"true; {' '.join(steerio_command('run', 'squares.py'))}; exit $?"
    with running(*launch("mpich", 3, "bash", "-c", shell), cwd=folder) as program:
        assert program.status() == 0, program
    assert "from 2 workers" in program.output


STEP = {
    "SLURM_JOB_ID": "77",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "0",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_NODES": "1",
}
ALONE = """
import steerio
from squares import Squares

steerio.run(Squares(), settings=steerio.Settings(join_s=1.0))
"""


@pytest.mark.borders
def test_a_shell_of_slurm_waits_for_nobody_and_a_rank_not_long(folder: Path) -> None:
    (folder / "alone.py").write_text(ALONE)
    shell = {**STEP, "SLURM_STEP_NUM_TASKS": "1"}
    rank = {**STEP, "SLURM_STEP_NUM_TASKS": "4"}
    with running(*python("alone.py"), cwd=folder, env=shell) as program:
        assert program.status(within_s=20) == 0, program
    with running(*python("alone.py"), cwd=folder, env=rank) as program:
        assert program.status(within_s=20) == 1, program
    assert "none of the other 3 ranks has begun to run steerio within 0.9 s" in program.output
    assert "say --no-mpi or STEERIO_MPI=no" in program.output
    assert rendezvous() == []
    no_rank = {**rank, "STEERIO_MPI": "no"}
    with running(*python("alone.py"), cwd=folder, env=no_rank) as program:
        assert program.status(within_s=20) == 0, program


LIMITED = """
import os, resource
from steerio import Campaign, agent, task

@task(pool="learn")
def limits() -> tuple[int, str]:
    return resource.getrlimit(resource.RLIMIT_DATA)[0], os.environ["OMP_NUM_THREADS"]

class Limits(Campaign):
    @agent
    async def ask(self):
        print("limits", *await self.run(limits), flush=True)
"""


def test_ranks_give_their_workers_what_pools_ask_for(tmp_path: Path) -> None:
    (tmp_path / "limits.py").write_text(LIMITED)
    workers = "learn=2:cpus=3:memory=1G"
    command = launch("openmpi", 3, *steerio_command("run", "limits.py", "--workers", workers))
    environ = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with running(*command, cwd=tmp_path, env=environ) as program:
        assert program.status() == 0, program
    assert f"limits {2**30} 3" in program.output


TASKS_WITH_MPI = """
import os
import subprocess

import steerio


@steerio.task(pool="work", retries={"lost": 0})
def start_ranks(launcher):
    named = [name for name in os.environ if name.startswith(("PMI", "OMPI_COMM_WORLD"))]
    command = [*launcher, "-n", "2", "printenv", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return named, done.stdout.split(), done.stderr


class Nested(steerio.Campaign):
    workers = {"work": 1}

    @steerio.agent
    async def main(self):
        for launcher in (["mpiexec.openmpi", "--oversubscribe"], ["mpiexec.mpich"]):
            named, ranks, errors = await self.run(start_ranks, launcher)
            assert not named, named
            assert ranks == ["2", "2"], (launcher, ranks, errors)
        print("all started", flush=True)
"""


@pytest.mark.borders
@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_task_starts_ranks_of_its_own_below_either_launcher(tmp_path: Path, name: str) -> None:
    (tmp_path / "nested.py").write_text(TASKS_WITH_MPI)
    command = launch(name, 2, *steerio_command("run", "nested.py"))
    with running(*command, cwd=tmp_path) as program:
        assert program.status() == 0, program
    assert "all started" in program.output


@pytest.mark.borders
def test_what_belongs_to_the_job_or_its_user_stays_in_the_environment() -> None:
    stays = {
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_NODELIST": "n[1-2]",
        "SLURM_NTASKS": "4",
        "OMPI_MCA_btl": "self",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "HYDRA_LAUNCHER": "ssh",
        "PATH": "/bin",
    }
    goes = dict.fromkeys(
        ("PMI_RANK", "PMIX_RANK", "SLURM_PROCID", "SLURM_STEP_ID", "OMPI_MCA_orte_hnp_uri"), "1"
    )
    environment = {**stays, **goes}
    forget_rank(environment)
    assert environment == stays
