"""Ranks of an MPI launcher: rank 0 steers, the others become nodes.

No MPI library is needed: launchers tell ranks their numbers (see ``ranks``), and rank 0 tells each
of the others the broker's address through a file, or by MPI if it is asked for (``rendezvous``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, NoReturn, Protocol

from msgspec import structs

from steerio.edge.wire.addresses import TCP
from steerio.edge.wire.connection import listens
from steerio.errors import UsageError
from steerio.launch.job_end import node_end
from steerio.launch.mpi_rendezvous import ByMpi
from steerio.launch.ranks import TAKEN, Rank, find_rank, how_not, token
from steerio.launch.rendezvous import (
    LATE_S,
    NOTICE_S,
    ByFiles,
    Rendezvous,
    await_setup,
    by_mpi,
    rendezvous_path,
)
from steerio.model.settings import Settings
from steerio.node.launcher_variables import forget_rank
from steerio.node.setup import NodeSetup

NONE_SHARE = 0.9
"""The part of `Settings.join_s` after which rank 0 gives up if no other rank has begun."""
MOST_NAMED = 10
"""Most ranks that are named as absent."""
STAY_S = 120.0
"""How long a rank that is told to end goes on: rank 0 is told, too, and may need it to end well."""
LAUNCHER_S = 1.0
"""Time between two looks of rank 0 whether its launcher is still there."""

log = logging.getLogger("steerio.launch")
_led = False
"""Whether this process has been rank 0 of its job."""


@contextlib.contextmanager
def lead_ranks(
    run_dir: Path | str | None, asked: bool | None = None, way: str | None = None
) -> Generator[Followers | None, None, None]:
    """Be rank 0, or the only process; another rank never gets beyond this.

    Processes that this one starts are no ranks of the same job, nor is this one a second time. Nor
    is it one for an MPI library that the campaign loads, which would wait for the other ranks.

    Args:
        run_dir: of the campaign, if it is named.
        asked: whether the user says that this is a rank; ``None``: the user says nothing.
        way: in which the ranks meet, as the user says (see `by_mpi`).

    Raises:
        UsageError: the ranks have no place to meet (see `rendezvous_path`), cannot meet by MPI (see
            `ByMpi`), or as from `find_rank`.
    """
    global _led  # noqa: PLW0603 - of this process
    rank = find_rank(asked)
    folder = Path(run_dir) if run_dir else None
    if rank is None:
        if _led:
            log.warning("the other ranks have ended with the first run: this one is on its own")
        yield None
        return
    os.environ[TAKEN] = token(rank)
    mpi = ByMpi(rank) if by_mpi(rank, folder, way) else None
    if rank.number > 0:
        _follow(rank, folder, mpi)
    _led = True
    with Followers(rank, mpi or ByFiles(rank, folder)) as followers:
        forget_rank(os.environ)
        yield followers


def _follow(rank: Rank, run_dir: Path | None, mpi: ByMpi | None) -> NoReturn:
    """Be the node of a rank that does not steer, to the end of the campaign.

    It ends with 0 even if it failed: a launcher would end the whole job for anything else,
    and a campaign goes on without one of its nodes.
    """
    from steerio.node.main import run_node  # only for the other ranks

    if mpi is not None:
        setup = mpi.await_setup()
    else:
        setup = await_setup(rendezvous_path(rank, rank.number, run_dir), rank)
    if setup is not None and listens(setup.address):
        try:
            run_node(setup, None, stays_s=STAY_S)
        except UsageError:
            if listens(setup.address):
                raise
            # else the campaign has ended just now
    elif setup is not None and setup.address.startswith(TCP):  # on one host, it has ended already
        sys.stderr.write(
            f"steerio: rank {rank.number} on {socket.gethostname()} reaches no broker at "
            f"{setup.address}: the campaign has ended already, or this host does not know that "
            "one or is kept from it\n"
        )
    sys.exit(0)


class BrokerHost(Protocol):
    """Rank 0's broker: a `Hosting`, which the other ranks do not load."""

    settings: Settings
    on_stop: Callable[[str], None] | None
    broker: Any

    def setup(
        self, name: str, workers: dict[str, int], *, log: str, local: bool, pin: bool
    ) -> NodeSetup:
        """Return the setup of a node of this broker."""
        ...


class Followers:
    """Rank 0's side, which tells each of the other ranks what to do and leaves none waiting.

    A context manager: whatever happens inside, at its end it tells the ranks that it told nothing
    that there is nothing to do. Not every launcher ends a job when one rank fails.

    Args:
        rank: of this process.
        meets: by which it tells them.
    """

    def __init__(self, rank: Rank, meets: Rendezvous) -> None:
        self.rank = rank
        self._meets = meets
        self._parent = os.getppid()
        self._looks: list[asyncio.TimerHandle] = []
        self._next_look: asyncio.TimerHandle | None = None
        self._alone = False
        self._ends = node_end(None, os.environ, time.time())
        """The end of the job, for all: if each rank asked the batch system, it would not answer."""

    def __enter__(self) -> Followers:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Dismiss the ranks that have not begun, and wait until they know, but not for ever."""
        for look in (*self._looks, self._next_look):
            if look is not None:
                look.cancel()
        self._meets.close(0.0 if self._alone else LATE_S)

    @property
    def host(self) -> str | None:
        """The host name on which the broker must listen for them; ``None``: no network."""
        return None if self.rank.one_host else socket.gethostname()

    @property
    def shares_files(self) -> bool:
        """Whether the other ranks see the files of this one."""
        return self.rank.one_host or self._meets.shares_files

    def count(self, workers: dict[str, int], *, fill: bool) -> dict[str, int]:
        """Return the number of workers that pools will have in all, once all ranks were told."""
        total: Counter[str] = Counter(dict.fromkeys(workers, 0))
        for share in deal_workers(workers, self.rank.size - 1, fill=fill):
            total.update(share)
        return dict(total)

    def tell_all(self, hosting: BrokerHost, workers: dict[str, int], *, fill: bool) -> None:
        """Tell all ranks of the broker, and which workers they have (see `deal_workers`)."""
        shares = deal_workers(workers, self.rank.size - 1, fill=fill)
        told: dict[int, NodeSetup | None] = {}
        for number, share in enumerate(shares, 1):
            log = f"workers-rank{number}.log"
            # the launcher binds its ranks to cores
            setup = hosting.setup(
                f"rank{number}", share, log=log, local=self.rank.one_host, pin=False
            )
            if not self.shares_files:
                setup = structs.replace(setup, log="", work="")
            told[number] = structs.replace(setup, ends=self._ends) if share else None
        self._meets.tell(told)
        loop = asyncio.get_running_loop()
        self._looks = [
            loop.call_later(NOTICE_S, self._tell_of_absent),
            loop.call_later(NONE_SHARE * hosting.settings.join_s, self._give_up, hosting),
        ]
        self._look_for_launcher(hosting)

    def _look_for_launcher(self, hosting: BrokerHost) -> None:
        """End the campaign, in order, if its launcher is gone, for some leave their ranks behind.

        Open MPI's does if it is told to end twice at once, as by ``timeout mpiexec ...``.
        """
        if os.getppid() == self._parent:
            loop = asyncio.get_running_loop()
            self._next_look = loop.call_later(LAUNCHER_S, self._look_for_launcher, hosting)
        elif hosting.on_stop is not None:
            hosting.on_stop("the launcher of its ranks is gone")

    def _absent(self) -> str:
        """Return the names of the ranks that have not begun; ``""`` if all have."""
        absent = self._meets.absent()
        numbers = ", ".join(map(str, absent[:MOST_NAMED])) + ("..." * (len(absent) > MOST_NAMED))
        return f"{len(absent)} of {self.rank.size} ranks ({numbers})" if absent else ""

    def _tell_of_absent(self) -> None:
        if absent := self._absent():
            log.warning("%s have not begun to run steerio yet; %s", absent, how_not())

    def _give_up(self, hosting: BrokerHost) -> None:
        """Have the pools fail if no rank has come: nothing else would say why they stay empty."""
        count = self.rank.size - 1
        if len(self._meets.absent()) == count:
            self._alone = True
            none = (
                "the other rank has not" if count == 1 else f"none of the other {count} ranks has"
            )
            hosting.broker.fail_pools(
                f"{none} begun to run steerio within "
                f"{NONE_SHARE * hosting.settings.join_s:g} s; {how_not()}"
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
