"""``steerio launch`` on a real Slurm: jobs whose nodes join a standing broker, and leave it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import steerio
from steerio import NodeEnding, NodeJoined, NodeLost, TaskEnded, TaskRetried
from tests.real import programs
from tests.real.programs import running, steerio_command
from tests.real.slurm_cluster import Slurm, needs_slurm, slurm_of
from tests.real.test_slurm import MOLECULES, SEARCH, assert_same_results, rank_of
from tests.real.test_standing_broker import broker_in

pytestmark = [needs_slurm, pytest.mark.timeout(400)]

END_S = 100.0
JOB = ("--scheduler", "slurm", "--cpus", "1")


@steerio.task
def wait_for(mark: Path) -> None:
    """Wait until a file is there."""
    while not mark.exists():
        time.sleep(0.01)


def launch(slurm: Slurm, folder: Path, *options: str, status: int = 0) -> str:
    """Run ``steerio launch`` for the broker in a folder; returns its output."""
    command = steerio_command("launch", "broker", *options)
    # by value goes only the campaign's own file, so nodes need to find the others beside it
    found = {"PYTHONPATH": os.pathsep.join([programs.PATH, str(MOLECULES)])}
    with running(*command, cwd=folder, env={**slurm.env, **found}) as program:
        assert program.status(END_S) == status, program
        return program.output


def jobs_of(slurm: Slurm, folder: Path) -> dict[str, dict[str, str]]:
    """Return the jobs that ``steerio launch --list`` shows, by block."""
    rows = json.loads(launch(slurm, folder, "--list", "--json"))
    return {row["name"]: row for row in rows}


async def test_nodes_of_jobs_join_a_standing_broker_and_leave_at_their_walltime(
    tmp_path: Path,
) -> None:
    with slurm_of(3) as slurm, broker_in(tmp_path):
        async with (
            steerio.connect(tmp_path / "broker") as session,
            session.events(NodeJoined, NodeEnding, NodeLost, TaskRetried) as events,
        ):
            task = session.options(retries={"lost": 0}).submit(wait_for, tmp_path / "go")
            brief = ("--nodes", "1", "--walltime", "60s")
            said = await asyncio.to_thread(launch, slurm, tmp_path, *JOB, *brief)
            assert "is submitted: block1" in said
            kinds: list[type[object]] = []
            while TaskRetried not in kinds:  # the node has left with the task
                event = await anext(events)
                kinds.append(type(event))
                if isinstance(event, NodeEnding):
                    assert event.node == "block1"
                    assert event.left_s <= 60
            assert kinds[0] is NodeJoined
            number = jobs_of(slurm, tmp_path)["block1"]["job"]
            slurm.wait_for_state(number, "COMPLETED")
            long = ("--nodes", "2", "--walltime", "10m")
            await asyncio.to_thread(launch, slurm, tmp_path, *JOB, *long)
            (tmp_path / "go").touch()
            assert (await task.result()).attempt == 2
            nodes: set[str] = set()
            while len(nodes) < 2:
                event = await anext(events)
                if isinstance(event, NodeJoined):
                    nodes.add(event.node)
                nodes |= set(await session.nodes.look())
            assert nodes == {"block2", "block2~2"}
            jobs = await asyncio.to_thread(jobs_of, slurm, tmp_path)
            assert {name: job["state"] for name, job in jobs.items()} == {
                "block1": "ended",
                "block2": "running",
            }
            said = await asyncio.to_thread(launch, slurm, tmp_path, "--cancel", "block2")
            assert said == f"job {jobs['block2']['job']} of slurm is cancelled\n"
            while await session.nodes.look():
                await anext(events)
        slurm.wait_for_state(jobs["block2"]["job"], "CANCELLED")


def test_a_script_is_printed_edited_and_submitted(tmp_path: Path) -> None:
    with slurm_of(1) as slurm, broker_in(tmp_path):
        text = launch(slurm, tmp_path, *JOB, "--walltime", "5m", "--dry-run")
        assert "#SBATCH --time=0:05:00" in text
        head, last = text.rstrip("\n").rsplit("\n", 1)
        assert "srun" in last
        (tmp_path / "edited.sh").write_text(f"{head}\necho edited by a person\n")
        options = ("--walltime", "5m", "--script", "edited.sh")
        launch(slurm, tmp_path, *JOB, *options)
        job = jobs_of(slurm, tmp_path)["block1"]["job"]
        assert slurm.wait_for_state(job, "COMPLETED", "FAILED") == "COMPLETED"
        assert "edited by a person" in (tmp_path / "broker/batch/block.out").read_text()
        wrong = ("--walltime", "5m", "--queue", "none")
        said = launch(slurm, tmp_path, *JOB, *wrong, status=1)
        assert "the batch system slurm: sbatch: error: invalid partition specified: none" in said
        assert list(jobs_of(slurm, tmp_path)) == ["block1"]


@steerio.task(pool="simulate")
def shortly(number: int) -> int:
    """Return the number, soon."""
    time.sleep(0.05)
    return number


@steerio.task(pool="simulate")
def hold() -> None:
    """Run until it is cancelled."""
    while not steerio.should_stop():
        time.sleep(0.01)


async def test_blocks_come_and_go_with_the_tasks_of_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with slurm_of(2) as slurm, broker_in(tmp_path):
        for name, value in slurm.env.items():
            monkeypatch.setenv(name, value)
        blocks = steerio.Blocks(
            scheduler="slurm",
            walltime_s=600.0,
            workers="simulate=1",
            cpus=1,
            most=2,
            idle_s=2.0,
            look_s=0.5,
        )
        async with (
            steerio.connect(tmp_path / "broker") as session,
            session.events(NodeLost) as events,
        ):
            following = asyncio.create_task(session.nodes.follow(blocks))
            tasks = session.map(shortly, range(40))
            assert await session.gather(*tasks) == list(range(40))
            await anext(events)
            unmet = session.submit(hold)
            while (await session.status()).pools["simulate"].running == 0:
                await session.pools.changed()
            following.cancel()
            await asyncio.wait([following])
            assert following.cancelled()
            while await session.nodes.look():
                await anext(events)
            unmet.cancel()
        jobs = await asyncio.to_thread(jobs_of, slurm, tmp_path)
        assert len(jobs) >= 2
        for job in jobs.values():
            slurm.wait_for_state(job["job"], "COMPLETED", "CANCELLED")


async def test_the_molecules_give_the_same_though_a_walltime_ends_and_a_node_is_killed(
    tmp_path: Path,
) -> None:
    workers = ("--workers", "simulate=1,learn=1")
    search = steerio_command(*SEARCH, "--join", "broker")
    with slurm_of(3) as slurm, broker_in(tmp_path), running(*search, cwd=tmp_path) as campaign:
        async with (
            steerio.connect(tmp_path / "broker") as session,
            session.events(TaskEnded, NodeLost, since=0) as events,
        ):
            await asyncio.to_thread(launch, slurm, tmp_path, *JOB, *workers, "--walltime", "60s")
            await anext(events)  # the first ranking, or the walltime if this machine is slow
            await session.pools.pause("simulate")  # so that the campaign cannot end before the job
            while await session.nodes.look():
                await anext(events)
            two = ("--walltime", "10m", "--nodes", "2")
            await asyncio.to_thread(launch, slurm, tmp_path, *JOB, *workers, *two)
            await session.pools.resume("simulate")
            await some_energies(events)
            programs.kill(rank_of(slurm, 1, b"steerio worker"))
            assert await asyncio.to_thread(campaign.status, 200) == 0, campaign
        assert_same_results(tmp_path)
        assert states_of_jobs(slurm, tmp_path)["block1"] == "COMPLETED", "it left in time"


async def some_energies(events: AsyncIterator[steerio.Event]) -> None:
    """Wait until some more energies are computed."""
    left = 3
    while left:
        event = await anext(events)
        left -= isinstance(event, TaskEnded) and event.pool == "simulate"


def states_of_jobs(slurm: Slurm, folder: Path) -> dict[str, str]:
    """Return the states of the jobs, as Slurm has them, by block."""
    return {name: slurm.job(job["job"])["JobState"] for name, job in jobs_of(slurm, folder).items()}
