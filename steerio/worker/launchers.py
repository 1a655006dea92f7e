"""The dialects of MPI launchers: the command line by which each starts ranks on hosts.

A pure table. No launcher is asked to bind ranks to cores: they differ most in that, and none can
give each host other cores in the same words; `rank_places` does it for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from steerio.errors import UsageError


class HostRanks(NamedTuple):
    """A host, and how many ranks run on it."""

    host: str
    ranks: int


class Launch(NamedTuple):
    """A start of ranks.

    Attributes:
        hosts: in the order of the ranks; the first is that of the launcher.
        variables: names of the variables that all ranks need.
        as_root: whether this user is root.
    """

    hosts: Sequence[HostRanks]
    variables: Sequence[str] = ()
    as_root: bool = False

    @property
    def ranks(self) -> int:
        """The number of ranks."""
        return sum(each.ranks for each in self.hosts)

    @property
    def here(self) -> bool:
        """Whether all are on the launcher's own host."""
        return len(self.hosts) == 1

    @property
    def names(self) -> list[str]:
        """The names of the hosts, as the launcher is to call them."""
        return ["localhost"] if self.here else [each.host for each in self.hosts]

    @property
    def each(self) -> int | None:
        """The number of ranks on each host; ``None`` if that differs."""
        counts = {each.ranks for each in self.hosts}
        return counts.pop() if len(counts) == 1 else None


Dialect = Callable[[str, Launch], list[str]]
"""A function of the launcher's command and the start, which returns the command line before the
program."""


def openmpi(command: str, launch: Launch) -> list[str]:
    """Say it as Open MPI and PRRTE have it."""
    slots = zip(launch.names, launch.hosts, strict=True)
    line = [command, *(["--allow-run-as-root"] if launch.as_root else [])]
    line += ["-n", str(launch.ranks)]
    line += ["--host", ",".join(f"{name}:{each.ranks}" for name, each in slots)]
    line += ["--map-by", "slot", "--bind-to", "none"]
    if not launch.here:  # it passes on no variables by itself
        line += [part for name in launch.variables for part in ("-x", name)]
    return line


def mpich(command: str, launch: Launch) -> list[str]:
    """Say it as Hydra has it, the launcher of MPICH, MVAPICH and Intel MPI."""
    line = [command, "-n", str(launch.ranks)]
    if launch.each is not None:
        line += ["-hosts", ",".join(launch.names), "-ppn", str(launch.each)]
    else:
        line += ["-hosts", ",".join(f"{each.host}:{each.ranks}" for each in launch.hosts)]
    return [*line, "-bind-to", "none"]


def srun(command: str, launch: Launch) -> list[str]:
    """Say it as Slurm has it; the step shares its nodes with that of the workers."""
    line = [command, "--overlap", f"--ntasks={launch.ranks}", f"--nodes={len(launch.hosts)}"]
    hosts = [each.host for each in launch.hosts]
    if launch.each is not None:
        line += [f"--nodelist={','.join(hosts)}", f"--ntasks-per-node={launch.each}"]
        line += ["--distribution=block"]
    else:
        places = [each.host for each in launch.hosts for _ in range(each.ranks)]
        line += [f"--nodelist={','.join(places)}", "--distribution=arbitrary"]
    return [*line, "--cpu-bind=none", "--kill-on-bad-exit=1", "--export=ALL"]


def pals(command: str, launch: Launch) -> list[str]:
    """Say it as the ``mpiexec`` of HPE's PALS has it."""
    hosts = ",".join(each.host for each in launch.hosts)
    most = str(_filled(launch, "the mpiexec of PALS"))
    line = [command, "-n", str(launch.ranks), "--ppn", most, "--hosts", hosts]
    return [*line, "--cpu-bind", "none"]


def aprun(command: str, launch: Launch) -> list[str]:
    """Say it as ALPS has it."""
    hosts = ",".join(each.host for each in launch.hosts)
    line = [command, "-n", str(launch.ranks), "-N", str(_filled(launch, "aprun")), "-L", hosts]
    return [*line, "-cc", "none"]


def jsrun(command: str, launch: Launch) -> list[str]:
    """Say it as IBM's Job Step Manager has it, which chooses the hosts itself."""
    most = str(_filled(launch, "jsrun"))
    return [command, "--np", str(launch.ranks), "--rs_per_host", most, "--bind", "none"]


def flux(command: str, launch: Launch) -> list[str]:
    """Say it as Flux has it."""
    line = [command, "run", f"--nodes={len(launch.hosts)}"]
    if launch.each is None:
        raise UsageError(f"{_uneven(launch)}, which flux run cannot start: {EVEN}")
    line += [f"--tasks-per-node={launch.each}"]
    hosts = ",".join(each.host for each in launch.hosts)
    return [*line, f"--requires=host:{hosts}", "-o", "cpu-affinity=off"]


DIALECTS: Mapping[str, Dialect] = {
    "openmpi": openmpi,
    "mpich": mpich,
    "srun": srun,
    "pals": pals,
    "aprun": aprun,
    "jsrun": jsrun,
    "flux": flux,
}
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "openmpi": ("mpiexec.openmpi", "mpirun.openmpi", "mpiexec", "mpirun"),
    "mpich": ("mpiexec.mpich", "mpiexec.hydra", "mpiexec", "mpirun"),
    "srun": ("srun",),
    "pals": ("mpiexec",),
    "aprun": ("aprun",),
    "jsrun": ("jsrun",),
    "flux": ("flux",),
}
"""The names that each may have in ``PATH``, the surest first."""
OF_JOBS = {"flux": "FLUX_URI", "jsrun": "LSB_JOBID", "srun": "SLURM_JOB_ID"}
"""Launchers of batch systems, each with the variable that says that this is in a job of it."""
EVEN = "let the gang have as many workers on each host, or choose another launcher"
_SAYINGS = (
    ("openmpi", ("open mpi", "open-mpi", "openrte", "prrte", "prte")),
    ("mpich", ("hydra", "mpich", "intel(r) mpi")),
    ("pals", ("pals",)),
    ("srun", ("slurm",)),
    ("flux", ("flux",)),
)


def dialect_of(version: str) -> str | None:
    """Return the dialect of a launcher by its answer to ``--version``; ``None``: not known."""
    said = version.lower()
    for name, words in _SAYINGS:
        if any(word in said for word in words):
            return name
    return None


def _filled(launch: Launch, called: str) -> int:
    """Return the ranks per host for a launcher that fills host after host.

    Raises:
        UsageError: this would not have each host get its number of ranks.
    """
    most = launch.hosts[0].ranks
    *full, last = (each.ranks for each in launch.hosts)
    if any(ranks != most for ranks in full) or last > most:
        raise UsageError(f"{_uneven(launch)}, which {called} cannot start: {EVEN}")
    return most


def _uneven(launch: Launch) -> str:
    return "ranks on hosts: " + ", ".join(f"{each.ranks} on {each.host}" for each in launch.hosts)
