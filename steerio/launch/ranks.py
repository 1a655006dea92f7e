"""The rank of this process in a launcher's job, if it is one.

Launchers tell ranks their numbers through the environment, which every process inherits that a rank
starts. So a process with a rank's variables may as well be a program that a rank of another MPI job
started, or one that was typed into the shell of an interactive step. No other rank waits for such a
process, and it would wait for them in vain. The processes above that have the same variables tell
to which process these belong: an MPI program, or a shell with a terminal of its own.  Of launchers
that started each other, the innermost counts.

Ranks that took each other for nothing would each run the whole campaign.  So a process that has a
number among others, without the variables that are known here, stops; and so does one whose MPI
library, if it is loaded, counts other ranks than its launcher.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from steerio.errors import UsageError

ASKED = "STEERIO_MPI"
"""The variable by which users say that this process is a rank (``yes``), or none (``no``)."""
TAKEN = "STEERIO_RANK"
"""The variable by which a rank of ours tells its children that the rank is its own."""
SPECIAL_STEP = 0xFFFF_FFF0
"""Least number of Slurm's steps that are no ranks: the batch script, an interactive shell..."""
MPI_LIBRARIES = ("/libmpi", "/libpmpi", "/libfmpi")
"""Beginnings of the names of MPI's libraries, of all implementations."""


class Rank(Struct, frozen=True):
    """This process among the ranks of its job; ``one_host``: all of them are here."""

    number: int
    size: int
    one_host: bool
    job: str


class Above(NamedTuple):
    """A process above this one that has the same rank's variables."""

    terminal: bool = False
    """Whether it leads a session with a terminal, as a shell does into which a user types."""
    mpi: bool = False
    """Whether it has loaded an MPI library, which this process has not."""


class Counted(NamedTuple):
    """This process among the ranks that an MPI library counts."""

    number: int
    size: int
    library: str
    """Its own words for itself."""

    @property
    def name(self) -> str:
        """The library's name and version."""
        return self.library.partition("\n")[0].partition(",")[0].strip(" \0")


class Variables(NamedTuple):
    """The variables of a kind of launchers: rank, size, ranks on this host, and the job's name."""

    launcher: str
    rank: str
    size: str
    local: str
    jobs: tuple[str, ...] = ()


OPEN_MPI = Variables(
    "Open MPI's mpiexec",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"),
)
MVAPICH = Variables(
    "MVAPICH's mpiexec",
    "MV2_COMM_WORLD_RANK",
    "MV2_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_LOCAL_SIZE",
)
# MPICH, Intel MPI (Hydra), Cray's PALS, Flux, and srun --mpi=pmi2
PMI = Variables(
    "a launcher of MPICH's kind",
    "PMI_RANK",
    "PMI_SIZE",
    "MPI_LOCALNRANKS",
    ("PALS_APID", "FLUX_JOB_ID"),
)
PMI_LOCAL = PMI._replace(local="PMI_LOCAL_SIZE")
SLURM = Variables("srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE")
KINDS = (OPEN_MPI, MVAPICH, PMI_LOCAL, PMI, SLURM)
NUMBERS = (
    *(kind.rank for kind in KINDS if kind is not SLURM),
    *("PMIX_RANK", "PMI_ID", "PALS_RANKID", "FLUX_TASK_RANK", "ALPS_APP_PE", "JSM_NAMESPACE_RANK"),
)
"""Variables with the number of a rank, also of launchers that do not say how many there are.

Slurm's is none of them: other processes than ranks have it, too.
"""


def find_rank(asked: bool | None = None) -> Rank | None:
    """Return this process's rank, or ``None`` if no launcher started several like it.

    Args:
        asked: whether the user says so; by default ``STEERIO_MPI`` decides.

    Raises:
        UsageError: the user says that it is one and it is not; its variables are no numbers, or
            not known here; or an MPI library that it has loaded counts other ranks.
    """
    if asked is None:
        asked = _asked(os.environ)
    if asked is False:
        return None
    kind, above, launcher = _innermost()
    rank = read_rank(os.environ, above, launcher, asked, kind)
    if asked is None and (counted := counted_by_mpi()) is not None:
        compare(rank, counted, kind.launcher if kind else "", taken=TAKEN in os.environ)
    return rank


def is_rank() -> bool:
    """Return whether a launcher started this process as one of several, known here or not.

    Raises:
        UsageError: its variables are no numbers.
    """
    asked = _asked(os.environ)
    if asked is not None:
        return asked
    kind, above, launcher = _innermost()
    if kind is None:
        return any(variable in os.environ for variable in NUMBERS)
    return read_rank(os.environ, above, launcher, kind=kind) is not None


def read_rank(
    environment: Mapping[str, str],
    above: Sequence[Above] = (),
    launcher: int = 0,
    asked: bool | None = None,
    kind: Variables | None = None,
) -> Rank | None:
    """Return the rank that variables tell of, if it is this process's.

    Args:
        environment: of this process.
        above: the processes above it that have the same rank's variables.
        launcher: the process above those.
        asked: whether the user says that it is one; ``None``: the user says nothing.
        kind: the variables; by default the first that are there.

    Raises:
        UsageError: as from `find_rank`.
    """
    kind = kind or next(iter(_kinds(environment)), None)
    if kind is None:
        if TAKEN in environment:  # it was one, or a rank started it
            return None
        if asked:
            raise UsageError(
                "this process is said to be a rank, and no launcher has told it which: start it "
                "with mpiexec or srun, or leave out --mpi and STEERIO_MPI"
            )
        _refuse_unknown(environment)
        return None
    number, size = _number(environment, kind.rank), _number(environment, kind.size)
    if number >= size:
        raise UsageError(f"{kind.rank}={number} is no rank of {kind.size}={size}; {_HOW_NOT}")
    one_host = _is_on_one_host(environment, kind, size)
    rank = Rank(number, size, one_host, _job(environment, kind, one_host, launcher))
    if size < 2 or environment.get(TAKEN) == token(rank):
        return None
    if not asked and any(each.terminal or each.mpi for each in above):
        return None
    return rank


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    """Refuse to be one of several that do not know of each other.

    Raises:
        UsageError: this is one, but the first, which cannot tell.
    """
    for variable in NUMBERS:
        said = environment.get(variable, "")
        if said.isascii() and said.isdecimal() and said.strip("0"):
            raise UsageError(
                f"{variable}={said} says that this process is one of several, and not of how many: "
                "each of them would run the whole campaign. "
                f"{_KNOWN}; {_HOW_NOT}"
            )


def compare(rank: Rank | None, counted: Counted, launcher: str, *, taken: bool) -> None:
    """Compare the ranks that a launcher and an MPI library count.

    Args:
        rank: of this process, by its launcher's variables.
        counted: by the library.
        launcher: that started this process; ``""``: none that is known.
        taken: whether this process has been a rank, or a rank started it.

    Raises:
        UsageError: they differ.
    """
    if rank is not None and (rank.number, rank.size) != (counted.number, counted.size):
        raise UsageError(
            f"{mixed_up(rank, counted, launcher)}; if its ranks need no MPI beside steerio, say "
            "--mpi or STEERIO_MPI=yes"
        )
    if rank is None and not launcher and counted.size > 1 and not taken:
        raise UsageError(
            f"the MPI library that this process has loaded ({counted.name}) says rank "
            f"{counted.number} of {counted.size}, and its launcher has set no variables that "
            f"steerio knows: each rank would run the whole campaign. {_KNOWN}; if each shall run a "
            "campaign by itself, say --no-mpi or STEERIO_MPI=no"
        )


def mixed_up(rank: Rank, counted: Counted, launcher: str) -> str:
    """Return the explanation that the MPIs of a launcher and of a library are two."""
    return (
        f"two MPIs are mixed up: {launcher} started this process as rank {rank.number} of "
        f"{rank.size}, and its MPI library ({counted.name}) says rank {counted.number} of "
        f"{counted.size}. Use the mpiexec of that MPI, or an mpi4py for that of the launcher (its "
        "wheels know both: MPI4PY_MPIABI=openmpi or mpich)"
    )


def counted_by_mpi() -> Counted | None:
    """Return the place of this process by mpi4py, if it has started MPI already."""
    mpi: Any = sys.modules.get("mpi4py.MPI")
    if mpi is None or not mpi.Is_initialized() or mpi.Is_finalized():
        return None
    return Counted(mpi.COMM_WORLD.rank, mpi.COMM_WORLD.size, mpi.Get_library_version())


_KNOWN = "Use srun, or the mpiexec of Open MPI, MPICH, Intel MPI, MVAPICH or PALS"
_HOW_NOT = "if this process is no rank that a launcher started, say --no-mpi or STEERIO_MPI=no"


def how_not() -> str:
    """Return advice for a process that was wrongly taken for a rank."""
    return _HOW_NOT


def launcher_name() -> str:
    """Return the name of the launcher that made this process a rank."""
    kind, _, _ = _innermost()
    return "the launcher" if kind is None else kind.launcher


def token(rank: Rank) -> str:
    """Return a name that no rank of another job has, for ``STEERIO_RANK``."""
    return f"{rank.job}:{rank.number}/{rank.size}"


def _asked(environment: Mapping[str, str]) -> bool | None:
    """Return whether the user says that this is a rank.

    Raises:
        UsageError: it is neither yes nor no.
    """
    said = environment.get(ASKED, "").strip().lower()
    if said in ("", "auto"):
        return None
    if said in ("1", "yes", "true", "on"):
        return True
    if said in ("0", "no", "false", "off"):
        return False
    raise UsageError(f"{ASKED}={said} is none of yes, no and auto")


def _kinds(environment: Mapping[str, str]) -> list[Variables]:
    """Return the kinds of launchers whose variables are there."""
    found = [kind for kind in KINDS if kind.rank in environment and kind.size in environment]
    if SLURM in found and not _is_step(environment):
        found.remove(SLURM)
    if PMI_LOCAL in found:
        found.remove(PMI if PMI_LOCAL.local in environment else PMI_LOCAL)
    return found


def _innermost() -> tuple[Variables | None, list[Above], int]:
    """Return the launcher that is nearest above this process, and the processes on the way."""
    found = [(kind, *_processes_above(kind)) for kind in _kinds(os.environ)]
    return min(found, key=lambda each: len(each[1])) if found else (None, [], 0)


def _is_step(environment: Mapping[str, str]) -> bool:
    """Say whether this is a step that srun started, and not Slurm's batch script or shell."""
    step = environment.get("SLURM_STEP_ID", "")
    return step.isdecimal() and int(step) < SPECIAL_STEP


def _number(environment: Mapping[str, str], variable: str) -> int:
    said = environment[variable]
    if not (said.isascii() and said.isdecimal() and len(said) < 10):
        raise UsageError(f"{variable}={said} is no number, as launchers say it; {_HOW_NOT}")
    return int(said)


def _is_on_one_host(environment: Mapping[str, str], kind: Variables, size: int) -> bool:
    if kind is SLURM and environment.get("SLURM_STEP_NUM_NODES", "") == "1":
        return True
    return environment.get(kind.local, "") == str(size)


def _job(environment: Mapping[str, str], kind: Variables, one_host: bool, launcher: int) -> str:
    """Return the launcher's name of the job, or one that no other on this host has."""
    allocation = environment.get("SLURM_JOB_ID", "")
    for variable in kind.jobs:
        if variable in environment:
            return f"{allocation}{environment[variable]}"
    if one_host and kind is not SLURM:
        return f"launcher-{launcher}"  # Hydra gives its jobs no name
    return f"{allocation}{environment['SLURM_STEP_ID']}" if _is_step(environment) else ""


def _processes_above(kind: Variables) -> tuple[list[Above], int]:
    """Return those with the same rank's variables, and the first without them: the launcher."""
    names = (kind.rank, kind.size, *kind.jobs)
    wanted = {f"{name}={os.environ[name]}".encode() for name in names if name in os.environ}
    above: list[Above] = []
    pid = os.getppid()
    preloaded = _has_loaded_mpi("self")  # by a profiler, say, into every program
    while sys.platform == "linux" and pid > 1:
        process = Path(f"/proc/{pid}")
        try:
            if not wanted <= set((process / "environ").read_bytes().split(b"\0")):
                break
            fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
            parent, session, terminal = int(fields[1]), int(fields[3]), int(fields[4])
            mpi = not preloaded and _has_loaded_mpi(str(pid))
        except (OSError, ValueError, IndexError):
            break  # another user's, or gone
        above.append(Above(terminal != 0 and session == pid, mpi))
        pid = parent
    return above, pid


def _has_loaded_mpi(process: str) -> bool:
    try:
        maps = Path(f"/proc/{process}/maps").read_text(errors="replace")
    except OSError:
        return False
    return any(name in maps for name in MPI_LIBRARIES)
