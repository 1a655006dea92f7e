"""The setup of a node, as one value that travels as JSON."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from msgspec import Struct, structs

from steerio.edge.store.folders import sweep_stale
from steerio.edge.wire.addresses import is_local
from steerio.edge.wire.connection import listens
from steerio.edge.wire.keys import ClientKeys
from steerio.model.objects import StoreSetting
from steerio.model.places import Topology, WorkerNeeds
from steerio.model.settings import Settings

SOCKETS = "steerio-"
"""Beginning of the names of folders of sockets."""
WORK = "work"
"""The folder for those of programs in a run directory."""
LOOK_S = 0.05
"""Time between two looks whether a broker has ended."""
ORIGINAL_PATH = "STEERIO_ORIGINAL_PYTHONPATH"
"""The variable with the ``PYTHONPATH`` for the tasks, for a fresh interpreter."""
GOODBYE = b"end"
"""The last word on the lifeline of a node from the process that started it, unless that dies."""
GONE_S = 1.0
"""How long those that outlive a broker wait for its sockets and locks to be let go."""
SAME_S = 0.3
"""Signals that follow one within so many seconds are the same request, and count once."""


class NodeSetup(Struct, frozen=True, kw_only=True):
    """The settings and addresses with which a node starts.

    Attributes:
        name: of the node; the broker makes it unique.
        address, keys: of the broker; local (``unix://``) addresses need no keys.
        worker_address: of the broker for workers, if it is on this host; without one, workers speak
            to the node, which speaks to the broker for them.
        workers: the number of workers to offer for each pool.
        needs: the needs of each worker, by pool; without any: one core.
        preload: modules that the workers of a pool need, imported once per node.
        files: Python files to load once per node, as module name and path.
        path: folders to put in front of ``sys.path``.
        pin: whether each worker gets cores of its own, if there are enough.
        topology: of the node; by default it is read from the machine.
        spare_cores: the number of cores to leave to the campaign's own process when pinning.
        work: the folder for those of programs; without one, they are in the temporary folder.
        log: file for the output of workers; by default it goes where the node's goes.
        folder: of the broker's sockets; the node removes it if the broker ends without doing so.
        ends: when its walltime is over, in Unix seconds, if it has one.
        settings: the broker's bounds.
        store: of large values; ``None``: none go by reference.
        objects: the folder of the store, or of the copies that this host keeps.
        random_seed: of the run; its workers' random numbers follow from it.
        sockets: the folder of the node's own socket for workers; the node itself says which.
        again: whether it was a node of another broker before, in this one's place.
        allow: the functions that its workers may run, which then read no pickle; ``None``: any.
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
    work: str = ""
    log: str = ""
    folder: str = ""
    ends: float | None = None
    settings: Settings = Settings()
    store: StoreSetting | None = None
    objects: str = ""
    random_seed: int = 0
    sockets: str = ""
    again: bool = False
    allow: tuple[str, ...] | None = None

    @property
    def requires(self) -> dict[str, list[str]]:
        """The needs of a process that serves each pool, in words that are compared."""
        default = WorkerNeeds()
        required = {pool: list(modules) for pool, modules in self.preload.items()}
        for pool, needs in self.needs.items():
            required.setdefault(pool, []).extend(
                f"{name}={value}"
                for name, value in structs.asdict(needs).items()
                if value != getattr(default, name)
            )
        return required


def remove_sockets(folder: str) -> None:
    """Remove the folder of a node's own socket."""
    if Path(folder).name.startswith(SOCKETS):
        shutil.rmtree(folder, ignore_errors=True)


def clear_up_after_broker(
    folder: str, address: str, within_s: float = 0.0, *, objects: str = ""
) -> None:
    """Remove the broker's sockets if it ended without doing so, now or ``within_s`` seconds.

    Nothing else is removed, for the folder's name may come from a file: of ``objects``, the folder
    of the broker's store, no more than no process has any more.  A process that is killed lets go
    of its sockets and of the locks of its folders one after the other, so this may take a moment.
    """
    if not Path(folder).name.startswith(SOCKETS):
        return
    if not is_local(address):
        objects = ""  # the store of a broker elsewhere is not here: this is a folder of copies
    until = time.monotonic() + within_s
    while Path(folder).exists() or (objects and Path(objects).exists()):
        if not listens(address):
            shutil.rmtree(folder, ignore_errors=True)
            if objects:
                sweep_stale()
        if time.monotonic() >= until:
            return
        time.sleep(LOOK_S)
