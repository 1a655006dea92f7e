"""The command ``steerio worker``: a node of a standing broker, and of any that takes its place.

A node whose broker is gone without a word waits for another in the same run directory. The node
goes on at that broker if the store is the same; with another store, or with ``--direct``, it begins
anew, as a fresh process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from steerio.edge.store.folders import share_folder, sweep_stale
from steerio.edge.system.descriptors import need_descriptors
from steerio.edge.system.own_files import from_json, to_json
from steerio.edge.wire.addresses import is_local
from steerio.edge.wire.connection import Connection
from steerio.edge.wire.keys import NODE
from steerio.errors import BrokerLost, UsageError
from steerio.launch.broker_setup import search_path, working_folder
from steerio.launch.finding import find_broker, folder_of
from steerio.launch.hosting import CAMPAIGNS_CORES
from steerio.launch.job_end import node_end
from steerio.launch.ranks import is_rank
from steerio.launch.stores import check_pickleless
from steerio.launch.workers import check_workers, needs_of, parse_workers
from steerio.model.allowed import parse_allowed
from steerio.model.bounds import named
from steerio.node.finding_again import FoundBroker
from steerio.node.main import BROKER_GONE, run_node
from steerio.node.setup import WORK, NodeSetup, clear_up_after_broker

AGAIN = "STEERIO_NODE_AGAIN"
"""The variable with the memory of a node that begins again."""
LOOK_S = 0.5
"""Time between two looks of a node for another broker."""


def run_worker(
    run_dir: str,
    workers: str,
    preload: str,
    name: str | None,
    walltime: str | None,
    pin: bool,
    direct: bool,
    allow: str | None,
) -> int:
    """Be a node of a running broker; return the exit code.

    Args:
        run_dir: of the broker.
        workers: the workers for each pool, as on the command line.
        preload: modules to import once, with commas between them.
        name: of the node; by default the host's.
        walltime: how long it may run, as on the command line.
        pin: whether each worker gets cores of its own.
        direct: whether workers speak to a broker on this host themselves.
        allow: the functions that they may run, with commas between them; by default those that the
            broker allows.

    Raises:
        UsageError: one of these cannot be read, or no broker runs there.
    """
    ends = node_end(walltime, os.environ, time.time())
    asked = parse_workers(workers)
    counts = check_workers(asked)
    need_descriptors()
    name = named(name or socket.gethostname().split(".")[0], "--name")
    again = os.environ.pop(AGAIN, "")
    if again:  # this process was a node before
        before = from_json(again.encode(), _Before)
        ends = before.ends
        connection = _wait_for_broker(run_dir, name, before)
    else:
        connection = find_broker(run_dir)
    allowed = parse_allowed(allow)
    if allowed is None:
        allowed = connection.allow
    if allowed is not None:
        check_pickleless(connection.store)
    address, keys = connection.reach(NODE)
    local = is_local(address)
    direct = direct and local
    modules = [module.strip() for module in preload.split(",") if module.strip()]
    setup = NodeSetup(
        name=name,
        address=address,
        worker_address=connection.workers if direct else "",
        keys=keys,
        workers=counts,
        needs=needs_of(asked),
        preload=dict.fromkeys(counts, modules),
        path=[*working_folder(), *search_path()],
        pin=pin and not is_rank(),  # a launcher binds its ranks to cores
        spare_cores=CAMPAIGNS_CORES if local else 0,
        work=_work_folder(run_dir, connection),
        ends=ends,
        folder=connection.folder if local else "",
        store=connection.store,
        objects=connection.objects if local else "",
        random_seed=connection.random_seed,
        again=bool(again),
        allow=allowed,
    )

    def tell(what: str) -> None:
        with contextlib.suppress(OSError):  # there is no reader any more
            encoding = sys.stdout.encoding if sys.stdout else "utf-8"  # none if it is closed
            click.echo(what.encode(encoding, "backslashreplace").decode(encoding))

    signals = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def look() -> FoundBroker | None:
        found = _found(run_dir)
        if found is None:
            return None
        same_store = (found.store, found.objects) == (connection.store, connection.objects)
        return FoundBroker(*found.reach(NODE), goes_on=same_store and not direct)

    status = run_node(setup, None, tell, look=look)
    if status not in (0, BROKER_GONE):
        sweep_stale()  # none waits for the next broker any more, as far as this process knows
    if status == BROKER_GONE:
        tell(f"node {name}: another broker is there; it begins anew with that")
        for number, handler in signals.items():
            signal.signal(number, handler)
        within_s = connection.rejoin_s if ends is None else ends - time.time()
        _begin_again(
            _Before(time.time() + within_s, ends, setup.objects, setup.folder, setup.address)
        )
    return status


def _work_folder(run_dir: str, connection: Connection) -> str:
    """Return the folder for those of programs; ``""``: the temporary one.

    A holder may have the file of a key of its own anywhere, so no run is taken to be beside that.
    """
    return str(folder_of(run_dir).absolute() / WORK) if connection.local else ""


def _found(run_dir: str) -> Connection | None:
    try:
        return find_broker(run_dir)
    except UsageError:
        return None


class _Before(msgspec.Struct, frozen=True, array_like=True):
    """The memory of a node that begins again.

    Attributes:
        until: how long it waits for a broker, in Unix seconds.
        ends: when its walltime is over, if ever.
        objects, folder, address: the folders of the last broker's objects and sockets, and its
            address.
    """

    until: float
    ends: float | None
    objects: str
    folder: str
    address: str


def _wait_for_broker(run_dir: str, name: str, before: _Before) -> Connection:
    """Return the connection of the broker that takes the place of one that is gone.

    Raises:
        BrokerLost: none has in time.
    """
    objects = before.objects
    # shared so that none sweeps it: the next broker takes it over
    with share_folder(Path(objects)) if objects else contextlib.nullcontext():
        while (connection := _found(run_dir)) is None and time.time() < before.until:
            time.sleep(LOOK_S)
    if connection is None:
        clear_up_after_broker(before.folder, before.address, objects=before.objects)
        raise BrokerLost(f"node {name} has waited for a broker in {run_dir}: none has begun")
    return connection


def _begin_again(before: _Before) -> NoReturn:
    """Be a node of another broker, in a fresh process: nothing that the last one told is of use."""
    os.environ[AGAIN] = to_json(before).decode()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
