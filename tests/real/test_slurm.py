"""Campaigns, nodes and walltimes on a Slurm of three nodes, by srun, sbatch and salloc."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import signal
import time
from pathlib import Path

import pytest

import steerio
from steerio import NodeEnding, TaskProgress, TaskRetried
from steerio.launch.walltime import END_VARIABLES
from tests.real.programs import PATH, REPOSITORY, Program, running, steerio_command
from tests.real.slurm_cluster import Slurm, needs_slurm, slurm_of
from tests.real.striking import kill_rank_2
from tests.real.tables import read_table
from tests.real.test_mpi import CAMPAIGN, LAUNCHERS, launch, rendezvous
from tests.real.test_standing_broker import broker_in

pytestmark = [needs_slurm, pytest.mark.timeout(400)]

MOLECULES = REPOSITORY / "examples/molecules"
COUNT = 16
SEARCH = (
    "run",
    str(MOLECULES / "search.py"),
    *("--molecules", str(COUNT), "--budget", str(COUNT), "--reference", str(COUNT)),
    *("--run-dir", "record"),
)
"""The search among so few molecules that all are computed, whatever the order."""


def energies(folder: Path) -> dict[str, float]:
    """Return the energies that a search has written."""
    with (folder / "record/molecules.csv").open(newline="") as file:
        return {row["smiles"]: float(row["ionization_energy_ev"]) for row in csv.DictReader(file)}


def known_energies() -> dict[str, float]:
    """Return those that were computed once, for the repository."""
    with (MOLECULES / "recorded.csv").open(newline="") as file:
        return {row["smiles"]: float(row["ionization_energy_ev"]) for row in csv.DictReader(file)}


def assert_same_results(folder: Path) -> None:
    """Hold the energies of a search against those that are known."""
    computed, known = energies(folder), known_energies()
    assert len(computed) == COUNT
    assert computed == pytest.approx({smiles: known[smiles] for smiles in computed}, abs=0.01)


def step(slurm: Slurm, ranks: int, *command: str, folder: Path) -> Program:
    """Start a step of as many ranks as nodes; the command may begin with more options."""
    options = (f"-N{ranks}", f"-n{ranks}", "--time=10")
    return Program("srun", *options, *command, cwd=folder, env=slurm.env)


def script(folder: Path, *lines: str) -> str:
    """Write a batch script, for nodes that know nothing of this process."""
    file = folder / "job.sh"
    head = ("#!/bin/bash", f"export PYTHONPATH={PATH}", "set -e")
    file.write_text("\n".join([*head, *lines]) + "\n")
    return str(file)


def submit(slurm: Slurm, folder: Path, *options: str) -> str:
    """Submit a batch script; returns the number of the job."""
    said = slurm.command("sbatch", "--parsable", "--output=job.out", *options, cwd=folder)
    return said.strip()


def in_shell(*arguments: str) -> str:
    """Return steerio's command for a script."""
    return " ".join(steerio_command(*arguments))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "squares.py").write_text(CAMPAIGN)
    return tmp_path


def test_the_molecules_give_the_same_under_srun_and_sbatch(tmp_path: Path) -> None:
    with slurm_of(3) as slurm:
        (tmp_path / "step").mkdir()
        program = step(slurm, 3, *steerio_command(*SEARCH), folder=tmp_path / "step")
        try:
            assert program.status(within_s=200) == 0, program
        finally:
            program.close()
        assert_same_results(tmp_path / "step")
        tasks = read_table(tmp_path / "step/record/tasks.jsonl")
        assert set(tasks.node.dropna()) <= {"rank1", "rank2"}  # cancelled ones have none
        (tmp_path / "job").mkdir()
        lines = script(tmp_path, f"srun {in_shell(*SEARCH)}")
        number = submit(slurm, tmp_path / "job", "-N3", "--ntasks-per-node=1", lines)
        slurm.wait_for_state(number, "COMPLETED", "FAILED", "NODE_FAIL", within_s=200.0)
        assert slurm.job(number)["JobState"] == "COMPLETED", (tmp_path / "job/job.out").read_text()
        assert_same_results(tmp_path / "job")
    assert rendezvous() == []


def rank_of(slurm: Slurm, number: int, word: bytes) -> int:
    """Return the process of a rank, found by its variables and a word of its command.

    Its children have them, too; it began first.
    """
    config = f"SLURM_CONF={slurm.env['SLURM_CONF']}".encode()
    wanted = {f"SLURM_PROCID={number}".encode(), config}
    found: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            variables = set((process / "environ").read_bytes().split(b"\0"))
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
            if wanted <= variables and word in command:
                found.append(int(process.name))
    return min(found)


async def test_a_rank_that_is_killed_does_not_take_the_campaign_along(folder: Path) -> None:
    command = steerio_command("run", "squares.py", "--endless", "--run-dir", "record")
    with slurm_of(3) as slurm:
        program = step(slurm, 3, "--kill-on-bad-exit=0", *command, folder=folder)
        try:
            program.wait_for("recorded 5.")
            async with steerio.connect(folder / "record") as session:
                await kill_rank_2(session, lambda: rank_of(slurm, 2, b"squares.py"))
                await asyncio.to_thread(program.status, 100)
        finally:
            program.close()
        assert "slurmstepd" not in program.output, program  # which would have ended the step
        tasks = read_table(folder / "record/tasks.jsonl")
        assert "failed" not in set(tasks.ended_as)
    assert rendezvous() == []


@steerio.task
def wait_for(mark: Path) -> None:
    """Say that it began, and wait until a file is there."""
    steerio.report(message="began")
    while not mark.exists():
        time.sleep(0.01)


async def test_a_node_leaves_before_slurm_ends_its_job_and_its_task_goes_on_in_the_next(
    tmp_path: Path,
) -> None:
    worker = f"srun {in_shell('worker', '--join', 'broker', '--name', '$SLURM_JOB_ID')}"
    lines = script(tmp_path, f"unset {' '.join(END_VARIABLES)}", worker)  # as older Slurms do
    with slurm_of(3) as slurm, broker_in(tmp_path) as broker:
        first = submit(slurm, tmp_path, "-N1", "--time=1", lines)
        async with (
            steerio.connect(tmp_path / "broker") as session,
            session.events(TaskProgress, NodeEnding, TaskRetried) as events,
        ):
            task = session.options(retries={"lost": 0}).submit(wait_for, tmp_path / "go")
            ending = await anext(events)
            assert isinstance(ending, NodeEnding), "a minute is less than the time of the notice"
            assert ending.node == first
            assert 0 < ending.left_s <= 60
            assert isinstance(await anext(events), TaskProgress)
            second = submit(slurm, tmp_path, "-N1", "--time=10", lines)
            retried = await anext(events)
            while not isinstance(retried, TaskRetried):
                retried = await anext(events)
            assert retried.reason.startswith("preempted: ")
            state = await asyncio.to_thread(slurm.wait_for_state, first, "COMPLETED", "TIMEOUT")
            assert state == "COMPLETED", "its node has left in time"
            (tmp_path / "go").touch()
            assert (await task.result()).attempt == 2
            nodes = await session.nodes.look()
            assert list(nodes) == [second]
            left_s = nodes[second].left_s
            assert left_s is not None
            assert 60 < left_s <= 600
        broker.signal(signal.SIGTERM)
        assert await asyncio.to_thread(broker.status, 20) == 0, broker
        assert slurm.wait_for_state(second, "COMPLETED", "FAILED") == "COMPLETED"


def test_a_shell_of_salloc_has_workers_of_its_own_and_starts_steps(folder: Path) -> None:
    with slurm_of(3) as slurm:
        alone = steerio_command("run", "squares.py", "--workers", "default=1")
        shell = ("salloc", "-N2", "--time=5", *alone)
        with running(*shell, cwd=folder, env=slurm.env) as program:
            assert program.status(within_s=100) == 0, program
        assert "from 1 workers" in program.output
        steps = ("salloc", "-N3", "--time=5", "srun", *steerio_command("run", "squares.py"))
        with running(*steps, cwd=folder, env=slurm.env) as program:
            assert program.status(within_s=100) == 0, program
        assert "sum 20540 from" in program.output


@pytest.mark.parametrize("name", LAUNCHERS)
def test_mpiexec_in_a_batch_job_starts_ranks(folder: Path, name: str) -> None:
    run = steerio_command("run", "squares.py", "--run-dir", "record")
    options = {"openmpi": ("--allow-run-as-root",), "mpich": ()}[name]
    program, *rest = launch(name, 3, *run)
    with slurm_of(3) as slurm:
        line = " ".join([program, *options, *rest])
        number = submit(slurm, folder, "-N3", "--ntasks-per-node=1", script(folder, line))
        state = slurm.wait_for_state(number, "COMPLETED", "FAILED")
        assert state == "COMPLETED", (folder / "job.out").read_text()
    assert "sum 20540 from" in (folder / "job.out").read_text()
