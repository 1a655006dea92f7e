"""A rank of ``mpiexec`` that is killed: whether its campaign goes on is up to the launcher."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import steerio
from tests.real import programs
from tests.real.programs import running, steerio_command
from tests.real.striking import kill_rank_2
from tests.real.test_mpi import CAMPAIGN, launch, rendezvous

pytestmark = pytest.mark.timeout(300)

RUN = steerio_command("run", "squares.py", "--endless", "--run-dir", "record")
END_S = 100.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "squares.py").write_text(CAMPAIGN)
    return tmp_path


def rank_of(launcher: int, variable: str) -> int:
    """Return the process below a launcher that has a variable, and is the first one that has."""
    for pid in programs.family(launcher):
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        if variable.encode() in variables:
            return pid
    raise AssertionError(f"no process has {variable}")


async def test_open_mpi_goes_on_without_a_rank_if_it_is_told_to(folder: Path) -> None:
    program, *options = launch("openmpi", 3, *RUN)
    with running(program, "--enable-recovery", *options, cwd=folder) as ranks:
        ranks.wait_for("recorded 5.", END_S)
        async with steerio.connect(folder / "record") as session:
            await kill_rank_2(session, lambda: rank_of(ranks.pid, "OMPI_COMM_WORLD_RANK=2"))
            await asyncio.to_thread(ranks.status, END_S)
    assert "Squares stopped" in ranks.output or "Squares completed" in ranks.output, ranks
    assert rendezvous() == []


def test_mpich_ends_all_ranks_with_one(folder: Path) -> None:
    with running(*launch("mpich", 3, *RUN), cwd=folder) as ranks:
        ranks.wait_for("recorded 5.", END_S)
        pids = programs.family(ranks.pid)
        programs.kill(rank_of(ranks.pid, "PMI_RANK=2"))
        assert ranks.status(END_S) != 0, ranks
        programs.wait_for_end(pids, within_s=20.0)
    with running(*steerio_command("clean"), cwd=folder) as cleaning:
        assert cleaning.status() == 0, cleaning
    for file in rendezvous():
        file.unlink()
