"""The setup of a broker on this machine: its pools, its record, its address, its store."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from steerio.edge.wire.connection import Connection
from steerio.launch.on_executor import OnExecutor
from steerio.model.objects import StoreSetting
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings


class BrokerSetup(Struct, frozen=True, kw_only=True):
    """The settings with which a broker starts, and with which its nodes do.

    Attributes:
        workers: workers to start on this machine, by pool.
        needs: the needs of each worker of a pool, here and on nodes that are told of them.
        pools: pools that exist beside those (for workers that join from elsewhere), and the numbers
            of workers they will have. One that will have none waits for moves.
        closed: whether there are no other pools.
        run_dir: the folder for the record and the connection file, if any; a missing one is made
            once the store has proved to work.
        shared: whether other hosts see that folder.
        host, port: the TCP address to listen on; ``None`` for this machine only.
        encrypted: whether TCP speaks CURVE.
        preload: modules that the workers of a pool need, imported once per node.
        files: Python files to load once per node, as module name and path.
        pin: whether each worker on this machine gets cores of its own, if there are enough.
        settings: bounds and leases.
        store: the store of large values; by default shared memory or, if there are workers on other
            hosts, files in the run directory.
        random_seed: the seed of the workers' random numbers; drawn if none is given.
        on_executors: pools among ``pools`` whose tasks executors of other programs run.
        before: the connection of the broker that had ended without a word, whose place this takes.
        allow: the functions that workers may run, which then read no pickle; ``None``: any.
    """

    workers: dict[str, int]
    needs: dict[str, WorkerNeeds] = {}
    pools: Mapping[str, int] = {}
    closed: bool = True
    run_dir: Path | None = None
    shared: bool = True
    host: str | None = None
    port: int | None = None
    encrypted: bool = True
    preload: dict[str, list[str]] = {}
    files: list[tuple[str, str]] = []
    pin: bool = True
    settings: Settings = Settings()
    store: StoreSetting | None = None
    random_seed: int | None = None
    on_executors: Mapping[str, OnExecutor] = {}
    before: Connection | None = None
    allow: tuple[str, ...] | None = None

    @property
    def all_pools(self) -> dict[str, int]:
        """All pools that exist from the start, and the number of workers each will have."""
        return {**self.pools, **self.workers}


def search_path() -> list[str]:
    """Return the folders in which this process finds modules, for its workers."""
    entries: list[object] = [*sys.path]
    found: list[str] = []
    for entry in entries:
        if entry == "":
            found += working_folder()
        elif isinstance(entry, str):  # the finders pass over anything else, too
            found.append(entry)
    return found


def working_folder() -> list[str]:
    """Return the working directory, if it is still there."""
    try:
        return [str(Path.cwd())]
    except FileNotFoundError:
        return []
