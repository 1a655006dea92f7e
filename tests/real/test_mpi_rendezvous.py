"""Ranks that meet by mpi4py, and ranks whose launcher and MPI library are of two MPIs.

mpi4py's wheel works with both MPIs, and looks for MPICH under the name that its makers give it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from tests.real.programs import python, running, steerio_command
from tests.real.test_mpi import LAUNCHERS, launch, rendezvous
from tests.real.test_mpi_hosts import can_rename

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mpi4py") is None, reason="mpi4py is not installed"
)
WITHIN_S = 100.0
CAMPAIGN = """
import os
import steerio
from steerio import Board, Campaign, on_success, task

@task
def work(x: int, large: bytes) -> tuple[int, bytes]:
    return x * x, large

@task(gang=int(os.environ["WORKERS"]))
def together() -> None:
    pass

class Squares(Campaign):
    def __init__(self) -> None:
        self.todo = Board(work, [(x, bytes(1_000_000 + x)) for x in range(8)])
        self.values = []

    async def setup(self):
        await self.run(together)

    @on_success(work)
    async def record(self, result):
        self.values.append(result.value)

    async def finish(self):
        squares = sum(square for square, large in self.values if large)
        print(f"sum {squares}", flush=True)
"""
OTHER = {"openmpi": "mpich", "mpich": "openmpi"}
LIBRARY = {"openmpi": "Open MPI v", "mpich": "MPICH "}
SAID = {"openmpi": "Open MPI's mpiexec", "mpich": "a launcher of MPICH's kind"}
APART = """
hostname 127.0.0.1
mount -t tmpfs none own && cp *.py own && cd own || exit 9
export OMPI_COMM_WORLD_LOCAL_SIZE=1 MPI_LOCALNRANKS=1
exec "$@"
"""
"""Gives a rank a working directory of its own, as on a host that shares no file system."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "squares.py").write_text(CAMPAIGN)
    (tmp_path / "own").mkdir()
    (tmp_path / "apart.sh").write_text(APART)
    library = Path("/usr/lib/x86_64-linux-gnu/libmpich.so.12")
    if library.exists():
        (tmp_path / "libmpi.so.12").symlink_to(library)
    return tmp_path


def variables(folder: Path, mpi: str, workers: int = 2) -> dict[str, str]:
    """Return those with which mpi4py finds an MPI, and the campaign that so many work for it."""
    return {
        **os.environ,
        "WORKERS": str(workers),
        "MPI4PY_MPIABI": mpi,
        "LD_LIBRARY_PATH": str(folder),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }


@pytest.mark.skipif(not can_rename(), reason="only root may mount a folder over another")
@pytest.mark.parametrize("name", LAUNCHERS)
def test_ranks_without_a_common_folder_meet_by_mpi(folder: Path, name: str) -> None:
    run = steerio_command("run", "squares.py", "--rendezvous", "mpi")
    apart = ("unshare", "--uts", "--mount", "sh", "apart.sh", *run)
    env = variables(folder, name)
    with running(*launch(name, 3, *apart), cwd=folder, env=env) as program:
        assert program.status(within_s=WITHIN_S) == 0, program.output
    assert "sum 140\n" in program.output
    assert program.output.count("record: ") == 1, "only rank 0 speaks"
    broken = (*apart[:-4], "run", "none.py", "--rendezvous", "mpi")
    (folder / "none.py").write_text("raise ZeroDivisionError('as it is loaded')\n")
    with running(*launch(name, 2, *broken), cwd=folder, env=env) as program:
        assert program.status(within_s=WITHIN_S) == 2, program
    assert "as it is loaded" in program.output


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ranks_whose_mpi_is_not_their_launchers_stop(folder: Path, name: str) -> None:
    env = variables(folder, OTHER[name], workers=1)
    run = steerio_command("run", "squares.py", "--rendezvous", "mpi")
    (folder / "script.py").write_text(
        "from mpi4py import MPI\nfrom squares import *\nsteerio.run(Squares())\n"
    )
    for command in (run, python("script.py")):
        with running(*launch(name, 2, *command), cwd=folder, env=env) as program:
            assert program.status(within_s=WITHIN_S) != 0, program
        assert f"two MPIs are mixed up: {SAID[name]} started this process as" in program.output
        assert f"({LIBRARY[OTHER[name]]}" in program.output
        assert "says rank 0 of 1" in program.output
    assert not (folder / "runs").exists()
    with running(
        *launch(name, 2, *python("script.py")), cwd=folder, env={**env, "STEERIO_MPI": "yes"}
    ) as program:
        assert program.status(within_s=WITHIN_S) == 0, program.output
    assert "sum 140\n" in program.output
    assert rendezvous() == []


UNKNOWN = """
import os
from mpi4py import MPI
from squares import *
for name in [name for name in os.environ if name.startswith(("OMPI_COMM", "PMI"))]:
    del os.environ[name]
steerio.run(Squares())
"""


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ranks_of_an_unknown_launcher_do_not_each_run_the_campaign(folder: Path, name: str) -> None:
    (folder / "unknown.py").write_text(UNKNOWN)
    env = variables(folder, name)
    with running(*launch(name, 2, *python("unknown.py")), cwd=folder, env=env) as program:
        assert program.status(within_s=WITHIN_S) != 0, program
    assert "of 2, and its launcher has set no variables that steerio knows" in program.output
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_campaign_may_load_mpi_under_a_launcher(folder: Path, name: str) -> None:
    """In rank 0, which is then alone for MPI, and in a script that all ranks run."""
    env = variables(folder, name)
    (folder / "loads.py").write_text("from mpi4py import MPI\n" + CAMPAIGN)
    (folder / "script.py").write_text("from loads import *\nsteerio.run(Squares())\n")
    for command in (steerio_command("run", "loads.py"), python("script.py")):
        with running(*launch(name, 3, *command), cwd=folder, env=env) as program:
            assert program.status(within_s=WITHIN_S) == 0, program.output
        assert "sum 140\n" in program.output
        assert rendezvous() == []


def test_ranks_go_by_the_launcher_that_started_them_last(folder: Path) -> None:
    inner = launch("mpich", 3, *steerio_command("run", "squares.py"))
    command = launch("openmpi", 1, *inner)
    with running(*command, cwd=folder, env=variables(folder, "mpich")) as program:
        assert program.status(within_s=WITHIN_S) == 0, program.output
    assert "sum 140\n" in program.output
    assert len(list((folder / "runs").iterdir())) == 1


def test_a_rank_that_does_not_know_how_many_there_are_stops(folder: Path) -> None:
    env = shutil.which("env")
    assert env is not None
    command = launch("mpich", 2, env, "-u", "PMI_SIZE", *steerio_command("run", "squares.py"))
    with running(*command, cwd=folder) as program:
        assert program.status(within_s=WITHIN_S) != 0, program
    assert "PMI_RANK=1 says that this process is one of several" in program.output
