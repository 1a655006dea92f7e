"""Each batch system: the head of its scripts, and its answers as its manual and users show them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from steerio.edge.system.outside_commands import CommandAnswer, run_command
from steerio.errors import BatchFailed, UsageError
from steerio.launch import batch_jobs
from steerio.launch.batch_jobs import Launched, cancel, launch, launched_in, states_of
from steerio.launch.batch_script import Wish, script_of
from steerio.launch.batch_systems import SYSTEMS, BatchJob, batch_system
from steerio.launch.job_end import node_end
from steerio.session import blocks
from steerio.session.blocks import Blocks, RealBatch

NOW = 1_700_000_000.0

SUBMITTED = {
    "slurm": [("17\n", "17"), ("17;cluster2\n", "17")],
    "pbs": [("17.pbs01\n", "17.pbs01"), ("Welcome to a site.\n1234[].pbs01\n", "1234[].pbs01")],
    "lsf": [
        ("Job <17> is submitted to default queue <normal>.\n", "17"),
        ("Job <8697223> is submitted to default queue <research-rh74>. logs/2.out\n", "8697223"),
    ],
    "flux": [("ƒ2vYxRd7\n", "ƒ2vYxRd7"), ("f2vYxRd7\n", "f2vYxRd7")],
}

PBS_JOBS = """{
    "timestamp":1700000000,
    "pbs_version":"20.0.1",
    "pbs_server":"pbs01",
    "Jobs":{
        "17.pbs01":{
            "Job_Name":"steerio-block1",
            "job_state":"R",
            "stime":"Tue Nov 14 22:00:00 2023",
            "Resource_List":{"ncpus":2, "walltime":"01:30:00"},
            "comment":"Job run at Tue Nov 14 at 22:00 on (node1:ncpus=1)"
        },
        "18.pbs01":{
            "job_state":"Q",
            "Resource_List":{"walltime":"00:10:00"},
            "comment":"Not Running: Insufficient amount of resource: ncpus"
        },
        "19.pbs01":{"job_state":"F", "Exit_status":0}
    }
}
"""
STATES = {
    "slurm": (
        (
            "17|RUNNING|None\n18|PENDING|ReqNodeNotAvail, UnavailableNodes:node3\n"
            "19|TIMEOUT|TimeLimit\n20|COMPLETING|None\n"
        ),
        {
            "17": BatchJob("running"),
            "18": BatchJob("waiting", "ReqNodeNotAvail, UnavailableNodes:node3"),
            "19": BatchJob("ended", "TimeLimit"),
            "20": BatchJob("ended"),
        },
    ),
    "pbs": (
        PBS_JOBS,
        {
            "17.pbs01": BatchJob("running", "Job run at Tue Nov 14 at 22:00 on (node1:ncpus=1)"),
            "18.pbs01": BatchJob("waiting", "Not Running: Insufficient amount of resource: ncpus"),
            "19.pbs01": BatchJob("ended"),
        },
    ),
    "lsf": (
        "17|RUN|-\n18|PEND|Job slot limit reached;\n19|EXIT|-\n20|DONE|-\n",
        {
            "17": BatchJob("running"),
            "18": BatchJob("waiting", "Job slot limit reached;"),
            "19": BatchJob("ended"),
            "20": BatchJob("ended"),
        },
    ),
    "flux": (
        "ƒ2vYxRd7|RUN|\nƒ2vYxRd8|SCHED|\nƒ2vYxRd9|INACTIVE|resource allocation expired\n",
        {
            "ƒ2vYxRd7": BatchJob("running"),
            "ƒ2vYxRd8": BatchJob("waiting"),
            "ƒ2vYxRd9": BatchJob("ended", "resource allocation expired"),
        },
    ),
}
ENDS = {
    "slurm": [("1:30:00\n", 5400), ("1-00:00:10\n", 86_410), ("UNLIMITED\n", None), ("", None)],
    "lsf": [("1:30 L\n", 5400), ("-\n", None)],
    "flux": [("5400\n", 5400), ("infinity\n", None)],
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_number_of_a_job_is_read_from_the_answer_to_its_submission(name: str) -> None:
    for answer, job in SUBMITTED[name]:
        assert batch_system(name).submitted(answer) == job
    with pytest.raises(ValueError, match="names no job"):
        batch_system(name).submitted("error: no such queue")


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_states_of_jobs_are_read_with_their_reasons(name: str) -> None:
    answer, states = STATES[name]
    assert batch_system(name).states(answer) == states
    assert batch_system(name).states("") == {}


def test_pbs_leaves_its_jobs_out_if_there_are_none() -> None:
    told = '{"timestamp": 1788909619, "pbs_version": "2024.1.2", "pbs_server": "pbs01"}'
    assert batch_system("pbs").states(told) == {}


def test_the_end_of_a_job_is_read() -> None:
    for name, answers in ENDS.items():
        for answer, left_s in answers:
            end = None if left_s is None else NOW + left_s
            assert batch_system(name).end(answer, NOW) == end, (name, answer)
    began = time.mktime(time.strptime("2023-11-14 22:00", "%Y-%m-%d %H:%M"))
    assert batch_system("pbs").end(PBS_JOBS, NOW) == began + 5400
    assert batch_system("pbs").end("", NOW) is None
    with pytest.raises(ValueError, match="no JSON"):
        batch_system("pbs").end("{", NOW)


HEADS = {
    "slurm": ["--nodes=2", "--time=2:00:00", "--partition=debug", "--account=me", "--exclusive"],
    "pbs": ["-l select=2:mpiprocs=1", "-l walltime=2:00:00", "-q debug", "-A me"],
    "lsf": ["-n 2", "-W 2:00", "-q debug", "-P me", "-x"],
    "flux": ["--nodes=2", "--time-limit=7200s", "--queue=debug", "--bank=me", "--exclusive"],
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_script_asks_for_the_wish_and_starts_one_process_on_each_node(
    name: str, tmp_path: Path
) -> None:
    system = batch_system(name)
    wish = Wish(nodes=2, walltime_s=7200.0, queue="debug", account="me", setup=["module load gcc"])
    wish.check()
    text = script_of(system, wish, "block1", tmp_path, tmp_path / "block1.out")
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    for asked in HEADS[name]:
        assert system.mark + asked in lines
    assert "module load gcc" in lines
    assert lines[-1].startswith(system.start(2))
    assert lines[-1].endswith(f"worker --join {tmp_path} --workers default=1 --name block1")
    own = Wish(walltime_s=60.5, cpus=4, launcher="aprun -N 1", options=["--own"])
    lines = script_of(system, own, "block1", tmp_path, tmp_path / "block1.out").splitlines()
    assert lines[-1].startswith("aprun -N 1 ")
    assert system.mark + "--own" in lines
    assert system.mark + HEADS[name][-1] not in lines or name == "pbs"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"nodes": 0}, "nodes is a whole number from 1"),
        ({"walltime_s": 0.0}, "walltime_s is a number of seconds above 0"),
        ({"cpus": -1}, "cpus is a whole number from 0"),
        ({"queue": "a b"}, "is no name of a batch system"),
        ({"setup": ["a\nb"]}, "is more than one line"),
        ({"workers": "x=y"}, "x=y"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Wish(**{"walltime_s": 60.0, **wrong}).check()  # type: ignore[arg-type]


def command(folder: Path, name: str, *lines: str) -> None:
    """Put a program into a folder that stands for a batch system's."""
    file = folder / name
    file.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    file.chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    return folder


def test_a_job_is_submitted_asked_for_and_cancelled(tmp_path: Path, bin_folder: Path) -> None:
    command(bin_folder, "bsub", f"cat > {tmp_path}/read", "echo 'Job <17> is submitted to <q>.'")
    command(bin_folder, "bjobs", "echo '17|PEND|full'")
    command(bin_folder, "bkill", f"echo $@ > {tmp_path}/killed")
    job = launch(tmp_path, batch_system("lsf"), Wish(walltime_s=60.0))
    assert (job.job, job.name) == ("17", "block1")
    assert (tmp_path / "read").read_text() == (tmp_path / "batch/block1.sh").read_text()
    assert launched_in(tmp_path) == [job]
    assert states_of([job]) == {"17": BatchJob("waiting", "full")}
    cancel([job])
    assert (tmp_path / "killed").read_text() == "17\n"
    command(bin_folder, "bjobs", "echo 'Job <17> is not found' >&2", "exit 255")
    assert states_of([job]) == {"17": BatchJob("ended")}
    command(bin_folder, "bkill", "echo 'Job <17>: Job has already finished' >&2", "exit 255")
    cancel([job])
    command(bin_folder, "bjobs", "echo 'LSF is down' >&2", "exit 255")
    with pytest.raises(BatchFailed, match="LSF is down"):
        states_of([job])


def test_a_cancellation_and_the_question_after_it_share_one_limit(
    tmp_path: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Launched("17", "block1", "lsf", 1, 0.0)
    command(bin_folder, "bkill", "echo 'Job <17>: not now' >&2", "exit 255")
    limits: list[float] = []

    def noted(command: Sequence[str], within_s: float, given: Path | None = None) -> CommandAnswer:
        limits.append(within_s)
        return run_command(command, within_s, given)

    monkeypatch.setattr(batch_jobs, "run_command", noted)
    command(bin_folder, "bjobs", "echo '17|RUN|-'")
    with pytest.raises(BatchFailed, match="not now"):
        cancel([job], 30.0)
    assert limits[0] == 30.0
    assert 0 < limits[1] < 30.0
    os.mkfifo(tmp_path / "never")
    command(bin_folder, "bkill", f"cat {tmp_path / 'never'}")
    command(bin_folder, "bjobs", f"touch {tmp_path / 'asked'}")
    with pytest.raises(BatchFailed, match="no answer within"):
        cancel([job], 0.1)
    assert not (tmp_path / "asked").exists(), "no time was left"


def test_a_job_that_is_submitted_after_the_last_were_cancelled_is_cancelled_too(
    tmp_path: Path, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go, cancelled = (tmp_path / name for name in ("begun", "go", "cancelled"))
    os.mkfifo(begun)
    os.mkfifo(go)
    command(bin_folder, "sbatch", f"echo > {begun}", f"read word < {go}", "echo 17")
    command(bin_folder, "scancel", f"echo $@ >> {cancelled}")
    monkeypatch.setattr(blocks, "CANCEL_S", 60.0)
    monkeypatch.setattr(blocks, "SUBMITTING_S", 0.01)
    batch = RealBatch(Blocks(scheduler="slurm", walltime_s=60.0), tmp_path)

    async def play() -> None:
        launching = asyncio.create_task(batch.launch())
        await asyncio.to_thread(begun.read_text)
        batch.cancel_at_once([Launched("16", "block0", "slurm", 1, 0.0)])
        assert cancelled.read_text() == "16\n"
        await asyncio.to_thread(go.write_text, "go\n")
        assert (await launching).job == "17"
        assert cancelled.read_text() == "16\n17\n"
        with pytest.raises(BatchFailed, match="no more blocks"):
            await batch.launch()

    asyncio.run(play())


def test_a_batch_system_that_refuses_or_is_absent_is_quoted(
    tmp_path: Path, bin_folder: Path
) -> None:
    with pytest.raises(BatchFailed, match="there is no command 'qsub' here"):
        launch(tmp_path, batch_system("pbs"), Wish(walltime_s=60.0))
    command(bin_folder, "qsub", "echo 'qsub: Unknown queue' >&2", "exit 1")
    with pytest.raises(BatchFailed, match="the batch system pbs: qsub: Unknown queue"):
        launch(tmp_path, batch_system("pbs"), Wish(walltime_s=60.0))
    command(bin_folder, "qsub", "echo thanks")
    with pytest.raises(BatchFailed, match="names no job"):
        launch(tmp_path, batch_system("pbs"), Wish(walltime_s=60.0))
    assert launched_in(tmp_path) == []
    assert list((tmp_path / "batch").glob("*.sh")) == []
    with pytest.raises(UsageError, match="'lfs' is no batch system: say one of slurm"):
        batch_system("lfs")


def test_a_node_asks_for_the_end_of_its_job_if_no_variable_says_it(bin_folder: Path) -> None:
    command(bin_folder, "squeue", "[ $2 = --jobs=17 ] && echo 10:00")
    job = {"SLURM_JOB_ID": "17"}
    assert node_end(None, job, NOW) == NOW + 600
    assert node_end("none", job, NOW) is None
    assert node_end("5m", job, NOW) == NOW + 300
    assert node_end(None, {"SLURM_JOB_ID": "18"}, NOW) is None
    assert node_end(None, {"PBS_JOBID": "17.pbs01"}, NOW) is None  # there is no qstat here
    assert node_end(None, {}, NOW) is None
