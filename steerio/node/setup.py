"""What a node is told when it is started, as one value that travels as JSON."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from msgspec import Struct, structs

from steerio.edge.store.folders import sweep_stale
from steerio.edge.wire.connection import listens
from steerio.edge.wire.keys import ClientKeys
from steerio.model.objects import StoreSetting
from steerio.model.places import Topology, WorkerNeeds
from steerio.model.settings import Settings

SOCKETS = "steerio-"
"""How names of folders of sockets begin."""
LOOK_S = 0.05
"""How often it is looked whether a broker has ended."""
ORIGINAL_PATH = "STEERIO_ORIGINAL_PYTHONPATH"
"""How a fresh interpreter learns of the ``PYTHONPATH`` that is to reach the tasks."""
SAME_S = 0.3
"""Signals that follow one within so many seconds are the same request, and count once."""


class NodeSetup(Struct, frozen=True, kw_only=True):
    """How to start a node.

    Attributes:
        name: of the node; the broker makes it unique.
        address, keys: how to reach the broker; local (``ipc://``) addresses need no keys.
        worker_address: where workers reach it, if elsewhere (a Unix stream on its own host).
        workers: how many workers to offer for each pool.
        needs: what each worker of a pool needs; of pools that are not named: one core.
        preload: modules that the workers of a pool need, imported once per node.
        files: Python files to load once per node, as module name and path.
        path: what to put in front of ``sys.path``.
        pin: whether each worker gets cores of its own, where there are enough.
        topology: what the node has, where that is not to be read from the machine.
        spare_cores: cores to leave to others (the campaign's own process) when pinning.
        log: file for what workers print; empty to leave it where the node's goes.
        folder: where the broker has its sockets; to be removed if it ends without doing so.
        ends: when its walltime is over, in Unix seconds, where it has one.
        settings: the bounds that the broker goes by.
        store: where large values are; ``None``: none go there.
        objects: the folder of them, or of the copies of them that this host keeps.
        random_seed: of the run, which its workers' random numbers follow from.
    """

    name: str
    address: str
    workers: dict[str, int]
    keys: ClientKeys | None = None
    worker_address: str = ""
    needs: dict[str, WorkerNeeds] = {}
    preload: dict[str, list[str]] = {}
    files: list[tuple[str, str]] = []
    path: list[str] = []
    pin: bool = True
    topology: Topology | None = None
    spare_cores: int = 0
    log: str = ""
    folder: str = ""
    ends: float | None = None
    settings: Settings = Settings()
    store: StoreSetting | None = None
    objects: str = ""
    random_seed: int = 0

    @property
    def requires(self) -> dict[str, list[str]]:
        """What a process needs to serve each pool, in words that are compared."""
        default = WorkerNeeds()
        required = {pool: list(modules) for pool, modules in self.preload.items()}
        for pool, needs in self.needs.items():
            required.setdefault(pool, []).extend(
                f"{name}={value}"
                for name, value in structs.asdict(needs).items()
                if value != getattr(default, name)
            )
        return required


def clear_up_after_broker(folder: str, address: str, within_s: float = 0.0) -> None:
    """Remove the broker's sockets if it ended without doing so, now or ``within_s`` seconds.

    Nothing else is removed: the folder's name may come from a file.
    """
    if not Path(folder).name.startswith(SOCKETS):
        return
    until = time.monotonic() + within_s
    while folder and Path(folder).exists():
        if not listens(address):
            shutil.rmtree(folder, ignore_errors=True)
            sweep_stale()  # the objects of the broker, too
        if time.monotonic() >= until:
            return
        time.sleep(LOOK_S)
