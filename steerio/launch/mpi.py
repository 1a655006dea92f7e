"""Ranks of an MPI launcher: rank 0 steers, the others become nodes.

No MPI library is used: launchers tell ranks who they are through the environment, and
rank 0 tells each of the others where the broker is through a *rendezvous* file, which
that one reads and removes.  The files are found by what the launcher's job is called;
Hydra (MPICH) gives its jobs no name, so there, on several hosts, the run directory must
be named.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

import msgspec
from msgspec import Struct, structs

from steerio.edge.connection import listens
from steerio.edge.own_files import from_json, read_own, to_json, write_own
from steerio.errors import UsageError
from steerio.launch.hosting import Hosting
from steerio.launch.walltime import find_end
from steerio.worker.setup import NodeSetup

RANK_VARIABLES = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"),
    ("PMIX_RANK", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"),
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE"),
)
"""Where Open MPI, MPICH/Intel MPI, PMIx and srun say rank, size and ranks on this host."""
JOB_VARIABLES = ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "SLURM_STEP_ID")
WAIT_S = 120.0
"""How long ranks wait for rank 0 to open its broker."""
LATE_S = 10.0
"""How long rank 0 waits, at its end, for ranks that have not begun."""
LOOK_S = 0.02
"""How often they look."""


class Rank(Struct, frozen=True):
    """This process among the ranks of its job; ``one_host``: all of them are here."""

    number: int
    size: int
    one_host: bool
    job: str


def find_rank() -> Rank | None:
    """Return this process's rank, or ``None`` where no launcher started several."""
    for rank, size, local in RANK_VARIABLES:
        if rank in os.environ and size in os.environ:
            count = int(os.environ[size])
            if count < 2 or (rank.startswith("SLURM") and "SLURM_STEP_ID" not in os.environ):
                return None
            one_host = os.environ.get(local, "") == str(count)
            return Rank(int(os.environ[rank]), count, one_host, _job(one_host))
    return None


def _job(one_host: bool) -> str:
    for variable in JOB_VARIABLES:
        if variable in os.environ:
            return f"{os.environ.get('SLURM_JOB_ID', '')}{os.environ[variable]}"
    return f"hydra-{os.getppid()}" if one_host else ""


def rendezvous_path(rank: Rank, number: int, run_dir: Path | None) -> Path:
    """Return where rank 0 tells rank ``number`` what to do.

    Raises:
        UsageError: the launcher gives the job no name and no run directory was given.
    """
    if run_dir is not None:
        return run_dir / f".rank{number}.json"
    if not rank.job:
        raise UsageError(
            "this launcher does not name its job, so the ranks cannot find each other on "
            "several hosts: say --run-dir DIR, on a file system that all of them share"
        )
    name = hashlib.sha256(f"{rank.job}-{os.getuid()}".encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) if rank.one_host else Path.cwd()
    return folder / f".steerio-{name}-rank{number}.json"


@contextlib.contextmanager
def lead_ranks(run_dir: Path | str | None) -> Generator[Followers | None, None, None]:
    """Be rank 0, or the only process there is; another rank never gets beyond this.

    Raises:
        UsageError: the ranks have no place to meet (see :func:`rendezvous_path`).
    """
    rank = find_rank()
    folder = Path(run_dir) if run_dir else None
    if rank is None:
        yield None
    elif rank.number > 0:
        _follow(rank, folder)
    else:
        with Followers(rank, folder) as followers:
            yield followers


def _follow(rank: Rank, run_dir: Path | None) -> NoReturn:
    """Be the node of a rank that does not steer, to the end of the campaign.

    It ends with 0 even if it failed: a launcher would end the whole job for anything else,
    and a campaign goes on without one of its nodes.
    """
    from steerio.worker.node_main import run_node

    setup = await_setup(rendezvous_path(rank, rank.number, run_dir), rank)
    if setup is not None and listens(setup.address):  # else the campaign has ended already
        ends = find_end(None, os.environ, time.time())
        run_node(structs.replace(setup, ends=ends), None)
    sys.exit(0)


class Followers:
    """Rank 0's side: tells each of the other ranks what to do, and none is left waiting.

    A context manager: whatever happens inside, at its end those that were told nothing are
    told that there is nothing to do.  Not every launcher ends a job when one rank fails.

    Raises:
        UsageError: there is no place to meet (see :func:`rendezvous_path`).
    """

    def __init__(self, rank: Rank, run_dir: Path | None) -> None:
        self.rank = rank
        self._paths = {
            number: rendezvous_path(rank, number, run_dir) for number in range(1, rank.size)
        }
        self._told: set[int] = set()

    def __enter__(self) -> Followers:
        """Begin to see to them."""
        return self

    def __exit__(self, *_: object) -> None:
        """Dismiss those who have not begun, and wait until they know, but not for ever."""
        late = [p for n, p in self._paths.items() if n not in self._told or p.exists()]
        for path in late:
            _write(path, None)
        until = time.monotonic() + LATE_S
        while any(path.exists() for path in late) and time.monotonic() < until:
            time.sleep(LOOK_S)

    @property
    def host(self) -> str | None:
        """What the broker must listen on for them: this host's name, or no network."""
        return None if self.rank.one_host else socket.gethostname()

    def count(self, workers: dict[str, int], *, fill: bool) -> dict[str, int]:
        """Return how many workers pools will have in all, once all ranks were told."""
        total: Counter[str] = Counter(dict.fromkeys(workers, 0))
        for share in deal_workers(workers, self.rank.size - 1, fill=fill):
            total.update(share)
        return dict(total)

    def tell_all(self, hosting: Hosting, workers: dict[str, int], *, fill: bool) -> None:
        """Tell all ranks of the broker, and which workers they have (see `deal_workers`)."""
        shares = deal_workers(workers, self.rank.size - 1, fill=fill)
        for number, share in enumerate(shares, 1):
            log = f"workers-rank{number}.log"
            # the launcher binds its ranks to cores
            setup = hosting.setup(
                f"rank{number}", share, log=log, local=self.rank.one_host, pin=False
            )
            _write(self._paths[number], setup if share else None)
            self._told.add(number)


class _Told(Struct):
    """What a rendezvous file says."""

    setup: NodeSetup | None


def _write(path: Path, setup: NodeSetup | None) -> None:
    """Write a rendezvous file, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_own(path, to_json(_Told(setup)))


def await_setup(path: Path, rank: Rank, timeout_s: float = WAIT_S) -> NodeSetup | None:
    """Wait for rank 0 to say what this rank shall do; ``None``: nothing.

    Raises:
        UsageError: rank 0 said nothing in time.
    """
    began = time.time()
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            data, found = read_own(path)
            setup = from_json(data, _Told).setup
            # what was there before us may be of a job that was killed
            if setup is None or found.st_mtime > began or listens(setup.address):
                path.unlink(missing_ok=True)
                return setup
        time.sleep(LOOK_S)
    raise UsageError(
        f"rank {rank.number} heard nothing from rank 0 within {timeout_s:g} s "
        f"(waiting for {path}); do all hosts share that folder?"
    )


def deal_workers(workers: dict[str, int], ranks: int, *, fill: bool) -> list[dict[str, int]]:
    """Deal workers out to the ranks that do not steer, one after the other.

    With ``fill`` every rank gets at least one: the list of workers is gone through again
    until each has.
    """
    flat = [pool for pool, count in workers.items() for _ in range(count)]
    total = max(len(flat), ranks) if fill else len(flat)
    dealt: list[dict[str, int]] = [{} for _ in range(ranks)]
    for index in range(total):
        pool = flat[index % len(flat)]
        share = dealt[index % ranks]
        share[pool] = share.get(pool, 0) + 1
    return dealt
