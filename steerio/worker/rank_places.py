"""The places of MPI ranks: each runs on its share of the cores and devices of a worker.

The launchers start ranks unbound, and this script stands before the program: a rank looks up its
host and its number there, takes its cores and variables, and becomes the program.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from steerio.worker.launchers import HostRanks

DEVICES = (
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
)
"""The variables that show a worker its devices."""
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""The variables that tell numeric libraries a number of threads."""
LOCAL_RANK = (
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",
    "PALS_LOCAL_RANKID",
    "JSM_NAMESPACE_LOCAL_RANK",
    "FLUX_TASK_LOCAL_ID",
    "SLURM_LOCALID",
)
"""The variables by which launchers tell a rank its number on its host."""


class MemberPlace(Struct, frozen=True):
    """The place of one worker of a gang.

    Attributes:
        rank: of the worker in the gang.
        host: its host.
        cores: the cores that it may use; empty: that is not known.
        variables: those of `DEVICES` and `THREADS` that it has.
    """

    rank: int
    host: str
    cores: list[int] = []
    variables: dict[str, str] = {}


def here(rank: int, host: str, cores: Sequence[int], environment: Mapping[str, str]) -> MemberPlace:
    """Return the place of this worker."""
    names = [name for name in (*DEVICES, *THREADS) if name in environment]
    return MemberPlace(rank, host, sorted(cores), {name: environment[name] for name in names})


def by_host(members: Sequence[MemberPlace]) -> dict[str, list[MemberPlace]]:
    """Return the places on each host, in the order of their ranks; the first's host is first."""
    hosts: dict[str, list[MemberPlace]] = {}
    for member in sorted(members, key=lambda member: member.rank):
        hosts.setdefault(member.host, []).append(member)
    return hosts


def host_ranks(members: Sequence[MemberPlace], ranks_per_worker: int) -> list[HostRanks]:
    """Return how many ranks run on each host."""
    hosts = by_host(members).items()
    return [HostRanks(host, len(there) * ranks_per_worker) for host, there in hosts]


def cores_of(members: Sequence[MemberPlace], host: str) -> set[int]:
    """Return all cores that a gang has on a host."""
    return {core for member in members if member.host == host for core in member.cores}


def shared_threads(variables: Mapping[str, str], ranks_per_worker: int) -> dict[str, str]:
    """Return the numbers of threads for each of several ranks that share a worker's place."""
    return {
        name: str(max(1, int(variables[name]) // ranks_per_worker))
        for name in THREADS
        if variables.get(name, "").isdecimal()
    }


def script_of(
    members: Sequence[MemberPlace],
    ranks_per_worker: int,
    fixed: Mapping[str, object] | None = None,
) -> str:
    """Return the shell script by which a rank takes its place and becomes its arguments.

    Args:
        members: the workers.
        ranks_per_worker: how many ranks share the place of each.
        fixed: variables that the user has set, which stay as they are.
    """
    cases = "".join(
        f"{shlex.quote(host)}:{number}) {_take(place, fixed or {})};;\n"
        for host, there in by_host(members).items()
        for number, place in enumerate(_shares(there, ranks_per_worker))
    )
    whole = "".join(  # for a launcher that does not tell its ranks their numbers
        f"{shlex.quote(host)}:) cores={_listed(cores_of(members, host))};;\n"
        for host in by_host(members)
    )
    number = "".join(f"${{{name}:-" for name in LOCAL_RANK) + "}" * len(LOCAL_RANK)
    return f'cores=\ncase "$(uname -n):{number}" in\n{cases}{whole}esac\n{_BECOME}'


_BECOME = """\
if [ -n "$cores" ] && command -v taskset >/dev/null; then exec taskset -c "$cores" "$@"; fi
exec "$@"
"""


def _shares(there: Sequence[MemberPlace], ranks_per_worker: int) -> list[MemberPlace]:
    """Return the place of each rank of a host; ranks of one worker get equal shares of cores."""
    shares: list[MemberPlace] = []
    for member in there:
        each, rest = divmod(len(member.cores), ranks_per_worker)
        for number in range(ranks_per_worker):
            mine = member.cores[number * each : (number + 1) * each]
            cores = mine if each and not rest else member.cores
            threads = shared_threads(member.variables, ranks_per_worker)
            variables = member.variables | threads
            shares.append(MemberPlace(member.rank, member.host, cores, variables))
    return shares


def _listed(cores: Iterable[int]) -> str:
    return ",".join(map(str, sorted(cores)))


def _take(place: MemberPlace, fixed: Mapping[str, object]) -> str:
    """Return shell commands that take a place."""
    said = [f"cores={_listed(place.cores)}"]
    said += [
        f"export {name}={shlex.quote(value)}"
        for name, value in place.variables.items()
        if name not in fixed
    ]
    return "; ".join(said)
