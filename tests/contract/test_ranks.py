"""Which processes are ranks: environments as launchers make them, and who inherits them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from steerio.errors import UsageError
from steerio.launch import mpi_rendezvous
from steerio.launch.ranks import (
    NUMBERS,
    TAKEN,
    Above,
    Counted,
    Rank,
    compare,
    find_rank,
    is_rank,
    read_rank,
    token,
)
from steerio.launch.rendezvous import await_setup, by_mpi, rendezvous_path
from steerio.node.launcher_variables import forget_rank

pytestmark = pytest.mark.borders

OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "PMIX_NAMESPACE": "461570049",
    "PMIX_RANK": "1",
}
HYDRA = {"PMI_RANK": "1", "PMI_SIZE": "4", "MPI_LOCALNRANKS": "4", "PMI_FD": "6"}
HYDRA_ON_TWO_HOSTS = {**HYDRA, "MPI_LOCALNRANKS": "2"}
PALS = {
    "PMI_RANK": "5",
    "PMI_SIZE": "8",
    "PMI_LOCAL_SIZE": "4",
    "PALS_APID": "1a2b",
    "PALS_RANKID": "5",
}
MVAPICH = {
    "MV2_COMM_WORLD_RANK": "0",
    "MV2_COMM_WORLD_SIZE": "2",
    "MV2_COMM_WORLD_LOCAL_SIZE": "2",
}
JOB = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "4", "SLURM_JOB_NUM_NODES": "2"}
BATCH = {**JOB, "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
SRUN = {
    **JOB,
    "SLURM_PROCID": "3",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}
SRUN_ON_ONE_HOST = {**SRUN, "SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_TASKS_PER_NODE": "4"}
SHELL_STEP = {**SRUN, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}
INTERACTIVE = {**SRUN, "SLURM_PROCID": "0", "SLURM_STEP_ID": "4294967290"}
BATCH_STEP = {**SRUN, "SLURM_PROCID": "0", "SLURM_STEP_ID": "4294967291"}
EXTERN = {**SRUN, "SLURM_PROCID": "0", "SLURM_STEP_ID": "4294967292"}
PMI2 = {**SRUN, "PMI_RANK": "3", "PMI_SIZE": "4", "PMI_JOBID": "77.0"}

RANKS = {
    "Open MPI": (OPEN_MPI, Rank(1, 4, True, "461570049")),
    "Open MPI in a Slurm job": ({**OPEN_MPI, **BATCH}, Rank(1, 4, True, "77461570049")),
    "Hydra": (HYDRA, Rank(1, 4, True, "launcher-42")),
    "Hydra on two hosts": (HYDRA_ON_TWO_HOSTS, Rank(1, 4, False, "")),
    "Hydra in an interactive step": ({**HYDRA, **SHELL_STEP}, Rank(1, 4, True, "launcher-42")),
    "PALS": (PALS, Rank(5, 8, False, "1a2b")),
    "MVAPICH": (MVAPICH, Rank(0, 2, True, "launcher-42")),
    "srun": (SRUN, Rank(3, 4, False, "770")),
    "srun on one host": (SRUN_ON_ONE_HOST, Rank(3, 4, True, "770")),
    "srun --mpi=pmi2": (PMI2, Rank(3, 4, False, "770")),
    "srun --mpi=pmix": ({**SRUN, "PMIX_RANK": "3"}, Rank(3, 4, False, "770")),
}
NO_RANKS = {
    "nothing": {},
    "one rank": {**OPEN_MPI, "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1"},
    "one of Hydra": {"PMI_RANK": "0", "PMI_SIZE": "1"},
    "a size without a rank": {"PMI_SIZE": "x", "OMPI_COMM_WORLD_SIZE": "4"},
    "salloc": JOB,
    "a batch script": BATCH,
    "a batch step": BATCH_STEP,
    "an interactive step": INTERACTIVE,
    "an extern step": EXTERN,
    "a shell's step": SHELL_STEP,
    "variables of a step that say no size": {**JOB, "SLURM_PROCID": "0", "SLURM_STEP_ID": "0"},
    "an odd step": {**SRUN, "SLURM_STEP_ID": "TBD"},
}
BROKEN = [
    {"PMI_RANK": "0", "PMI_SIZE": "x"},
    {"PMI_RANK": "", "PMI_SIZE": "2"},
    {"PMI_RANK": "-1", "PMI_SIZE": "2"},
    {"PMI_RANK": "2", "PMI_SIZE": "2"},
    {"OMPI_COMM_WORLD_RANK": "1e3", "OMPI_COMM_WORLD_SIZE": "4"},
    {"OMPI_COMM_WORLD_RANK": "٣", "OMPI_COMM_WORLD_SIZE": "4"},
    {"OMPI_COMM_WORLD_RANK": "9" * 5000, "OMPI_COMM_WORLD_SIZE": "4"},
    {**SRUN, "SLURM_STEP_NUM_TASKS": "4(x2)"},
]


@pytest.mark.parametrize(("environment", "rank"), RANKS.values(), ids=RANKS.keys())
def test_a_launcher_tells_a_rank_which_it_is(environment: dict[str, str], rank: Rank) -> None:
    assert read_rank(environment, launcher=42) == rank
    wrapped = [Above(), Above()]  # shells and other programs that start it in a script
    assert read_rank(environment, wrapped, 42) == rank
    assert read_rank(environment, [Above(mpi=True)], 42, asked=True) == rank


@pytest.mark.parametrize("environment", NO_RANKS.values(), ids=NO_RANKS.keys())
def test_what_has_no_ranks_beside_it_waits_for_none(environment: dict[str, str]) -> None:
    assert read_rank(environment) is None


@pytest.mark.parametrize("environment", [each for each, _ in RANKS.values()], ids=RANKS.keys())
def test_what_a_rank_starts_is_none(environment: dict[str, str]) -> None:
    for above in (
        [Above(mpi=True)],  # a rank of somebody else's job
        [Above(), Above(mpi=True), Above()],
        [Above(terminal=True)],  # a shell that somebody types into
        [Above(), Above(terminal=True)],
    ):
        assert read_rank(environment, above, 42) is None
    rank = read_rank(environment, launcher=42)
    assert rank is not None
    assert read_rank({**environment, TAKEN: token(rank)}, launcher=42) is None
    other = {**environment, TAKEN: token(Rank(rank.number, rank.size, rank.one_host, "other"))}
    assert read_rank(other, launcher=42) == rank, "a job of its own that a rank has started"


@pytest.mark.parametrize("environment", BROKEN)
def test_a_number_that_is_none_is_said_with_its_variable(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"(RANK|SIZE|TASKS)=.*--no-mpi"):
        read_rank(environment)


@pytest.mark.parametrize("variable", ["PMIX_RANK", "PMI_RANK", "ALPS_APP_PE", "FLUX_TASK_RANK"])
def test_one_of_several_whose_number_is_unknown_does_not_run_alone(variable: str) -> None:
    with pytest.raises(UsageError, match=rf"{variable}=3 .* one of several.*STEERIO_MPI=no"):
        read_rank({variable: "3"})
    assert read_rank({variable: "0"}) is None, "it may be the only one"
    assert read_rank({variable: "3", TAKEN: "job:3/4"}) is None, "a rank started it"


def test_a_worker_of_an_unknown_launcher_is_one_of_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in NUMBERS:
        monkeypatch.delenv(variable, raising=False)
    assert not is_rank()
    monkeypatch.setenv("PMIX_RANK", "3")
    assert is_rank()
    monkeypatch.setenv("STEERIO_MPI", "no")
    assert not is_rank()


def test_ranks_that_have_started_mpi_do_not_meet_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mpi_rendezvous, "counted_by_mpi", lambda: Counted(1, 4, MPICH))
    with pytest.raises(UsageError, match=r"has started MPI already.*--run-dir DIR"):
        mpi_rendezvous.ByMpi(Rank(1, 4, False, "job"))


def test_what_a_step_says_of_devices_is_not_forgotten_with_the_rank() -> None:
    environment = {**SRUN, "SLURM_STEP_GPUS": "0,1"}
    forget_rank(environment)
    assert environment == {**JOB, "SLURM_STEP_GPUS": "0,1"}


MPICH = "MPICH Version:      4.2.0\nMPICH Release date: ...\n"


def test_a_library_that_counts_other_ranks_than_the_launcher_is_refused() -> None:
    rank = Rank(1, 4, True, "job")
    compare(rank, Counted(1, 4, MPICH), "srun", taken=False)
    compare(None, Counted(0, 1, MPICH), "", taken=False)
    compare(None, Counted(1, 4, MPICH), "", taken=True)
    compare(None, Counted(1, 4, MPICH), "srun", taken=False)  # a shell's, say
    with pytest.raises(UsageError, match=r"srun started .* 1 of 4, .*\(MPICH.*\) says rank 0 of 1"):
        compare(rank, Counted(0, 1, MPICH), "srun", taken=False)
    with pytest.raises(UsageError, match=r"rank 1 of 4, and its launcher .* no variables"):
        compare(None, Counted(1, 4, MPICH), "", taken=False)


def test_ranks_meet_by_mpi_if_asked_to_or_if_there_is_no_other_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("STEERIO_RENDEZVOUS", raising=False)
    named, nameless = Rank(1, 4, False, "job"), Rank(1, 4, False, "")
    assert not by_mpi(named, None, None)
    assert not by_mpi(nameless, tmp_path, None)
    assert by_mpi(nameless, None, None) is (importlib.util.find_spec("mpi4py") is not None)
    assert by_mpi(named, tmp_path, "mpi")
    monkeypatch.setenv("STEERIO_RENDEZVOUS", "MPI")
    assert by_mpi(named, tmp_path, None)
    assert not by_mpi(named, tmp_path, "file")
    monkeypatch.setenv("STEERIO_RENDEZVOUS", "smoke")
    with pytest.raises(UsageError, match="STEERIO_RENDEZVOUS=smoke is none of file and mpi"):
        by_mpi(named, None, None)


def test_what_the_user_says_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in {name for each, _ in RANKS.values() for name in each}:
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(UsageError, match="no launcher has told it"):
        find_rank(True)
    for variable, value in OPEN_MPI.items():
        monkeypatch.setenv(variable, value)
    assert find_rank() == find_rank(True) == Rank(1, 4, True, "461570049")
    assert find_rank(False) is None
    for said, found in (("no", False), ("0", False), ("yes", True), ("auto", True), ("", True)):
        monkeypatch.setenv("STEERIO_MPI", said)
        assert (find_rank() is not None) is found
    monkeypatch.setenv("STEERIO_MPI", "perhaps")
    with pytest.raises(UsageError, match="STEERIO_MPI=perhaps is none of yes, no and auto"):
        find_rank()


def test_a_rank_that_waits_in_vain_says_for_whom(tmp_path: Path) -> None:
    rank = Rank(2, 4, True, "job")
    path = rendezvous_path(rank, 2, tmp_path)
    with pytest.raises(UsageError, match=r"rank 2 heard nothing from rank 0 of 4 .*--no-mpi"):
        await_setup(path, rank, timeout_s=0.0)


def test_a_place_to_meet_that_is_somebody_elses_is_refused(tmp_path: Path) -> None:
    rank = Rank(1, 2, True, "job")
    path = rendezvous_path(rank, 1, tmp_path)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is a link"):
        await_setup(path, rank)
