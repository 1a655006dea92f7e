"""How rank 0 tells the other ranks what to do: by files that they see, or by MPI.

Each file is for one rank, which reads and removes it.  The name of the launcher's job gives the
files their names; Hydra (MPICH) gives its jobs no name, so under it, on several hosts, the run
directory must be named, or MPI used.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from steerio.edge.system.own_files import (
    from_json,
    make_own_folder,
    read_own,
    to_json,
    write_own,
)
from steerio.edge.wire.connection import listens
from steerio.errors import UsageError
from steerio.launch.ranks import Rank, how_not
from steerio.node.setup import NodeSetup

WAYS = ("file", "mpi")
"""The ways in which ranks can meet."""
ASKED = "STEERIO_RENDEZVOUS"
"""The variable by which users say in which."""
WAIT_S = 120.0
"""How long ranks wait for rank 0 to open its broker."""
LATE_S = 10.0
"""How long rank 0 waits, at its end, for ranks that have not begun."""
NOTICE_S = 10.0
"""Wait after which a rank says which ranks it waits for."""
LOOK_S = 0.02
"""Time between two looks for a file."""


class Rendezvous(Protocol):
    """Rank 0's side of it."""

    @property
    def shares_files(self) -> bool:
        """Whether the other ranks see the files that this one writes."""
        ...

    def tell(self, setups: Mapping[int, NodeSetup | None]) -> None:
        """Tell ranks, by number, what to do; ``None``: nothing."""
        ...

    def absent(self) -> list[int]:
        """Return the numbers of the ranks that have been told, and have not heard it yet."""
        ...

    def close(self, wait_s: float) -> None:
        """Tell the ranks that do not know better that there is nothing to do, and wait for them."""
        ...


def by_mpi(rank: Rank, run_dir: Path | None, asked: str | None) -> bool:
    """Say whether the ranks meet by MPI: if it was asked for, or there is no other way.

    Args:
        rank: of this process.
        run_dir: of the campaign, if it is named.
        asked: the way that the user asks for; by default that of ``STEERIO_RENDEZVOUS``.

    Raises:
        UsageError: there is no such way.
    """
    way = asked or os.environ.get(ASKED, "").strip().lower()
    if way not in ("", *WAYS):
        raise UsageError(f"{ASKED}={way} is none of {' and '.join(WAYS)}")
    if way:
        return way == "mpi"
    nameless = run_dir is None and not rank.job
    return nameless and importlib.util.find_spec("mpi4py") is not None


def rendezvous_path(rank: Rank, number: int, run_dir: Path | None) -> Path:
    """Return the path of the file in which rank 0 tells rank ``number`` what to do.

    Raises:
        UsageError: the launcher gives the job no name and no run directory was given.
    """
    if run_dir is not None:
        return run_dir / f".rank{number}.json"
    if not rank.job:
        raise UsageError(
            "this launcher does not name its job, so the ranks cannot find each other on "
            "several hosts: say --run-dir DIR, on a file system that all of them share, or "
            "install mpi4py, for the MPI of this launcher"
        )
    name = hashlib.sha256(f"{rank.job}-{os.getuid()}".encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) if rank.one_host else Path.cwd()
    return folder / f".steerio-{name}-rank{number}.json"


class ByFiles:
    """Rank 0's side of a rendezvous by files.

    Raises:
        UsageError: there is no place to meet (see `rendezvous_path`).
    """

    shares_files = True

    def __init__(self, rank: Rank, run_dir: Path | None) -> None:
        self._paths = {
            number: rendezvous_path(rank, number, run_dir) for number in range(1, rank.size)
        }
        self._told: set[int] = set()

    def tell(self, setups: Mapping[int, NodeSetup | None]) -> None:
        """Write the files of these ranks."""
        for number, setup in setups.items():
            _write(self._paths[number], setup)
            self._told.add(number)

    def absent(self) -> list[int]:
        """Return the numbers of the ranks whose file is still there."""
        return sorted(n for n in self._told if self._paths[n].exists())

    def close(self, wait_s: float) -> None:
        """Dismiss the ranks that have not begun, and wait until they know, but not for ever."""
        late = [p for n, p in self._paths.items() if n not in self._told or p.exists()]
        for path in late:
            _write(path, None)
        until = time.monotonic() + wait_s
        while any(path.exists() for path in late) and time.monotonic() < until:
            time.sleep(LOOK_S)
        if not wait_s:
            for path in late:
                path.unlink(missing_ok=True)


class _Told(Struct):
    """The content of a rendezvous file, and of a message to a rank."""

    setup: NodeSetup | None


def told_as_json(setup: NodeSetup | None) -> bytes:
    """Return the words to a rank, without a line's end."""
    return to_json(_Told(setup))


def read_told(data: bytes) -> NodeSetup | None:
    """Read the words to a rank.

    Raises:
        msgspec.DecodeError: they are none.
    """
    return from_json(data, _Told).setup


def _write(path: Path, setup: NodeSetup | None) -> None:
    """Write a rendezvous file, readable by its owner alone."""
    make_own_folder(path.parent)
    write_own(path, told_as_json(setup))


def await_setup(path: Path, rank: Rank, timeout_s: float = WAIT_S) -> NodeSetup | None:
    """Wait for rank 0 to say what this rank shall do; ``None``: nothing.

    Raises:
        UsageError: rank 0 said nothing in time.
    """
    began = time.time()
    until, notice = time.monotonic() + timeout_s, time.monotonic() + NOTICE_S
    while time.monotonic() < until:
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            data, found = read_own(path, secret=True)
            setup = read_told(data)
            # an earlier file may be of a job that was killed
            if setup is None or found.st_mtime > began or listens(setup.address):
                path.unlink(missing_ok=True)
                return setup
        if time.monotonic() > notice:
            notice = until
            sys.stderr.write(
                f"steerio: rank {rank.number} waits for rank 0 of {rank.size} to run steerio as "
                f"well ({path}), {timeout_s:g} s at most; {how_not()}\n"
            )
        time.sleep(LOOK_S)
    shared = "" if rank.one_host else ", and all hosts share that folder (else: --rendezvous mpi)"
    raise UsageError(
        f"rank {rank.number} heard nothing from rank 0 of {rank.size} within {timeout_s:g} s "
        f"(waiting for {path}): have rank 0 run steerio as well{shared}; {how_not()}"
    )
