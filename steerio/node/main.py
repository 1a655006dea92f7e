"""The process of a node: ``python -m steerio.node.main``, or a fork that calls ``main``.

The first line of its input is a `NodeSetup` as JSON. The input stays open as long as the process
lives that started the node; its end is the order to end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from msgspec import structs

from steerio.edge.store.folders import open_folder, share_folder
from steerio.edge.store.opening_stores import open_store
from steerio.edge.system import descendants, inheritance
from steerio.edge.system.descriptors import allow_descriptors
from steerio.edge.system.own_files import from_json
from steerio.edge.wire.addresses import UNIX, is_local, resolve_address, socket_path
from steerio.edge.wire.connection import WORKERS
from steerio.edge.wire.endpoint import LinkEndpoint
from steerio.edge.wire.headers import prepare_to_hear
from steerio.edge.wire.links import open_link
from steerio.edge.wire.relaying import WorkerStreams
from steerio.edge.wire.socket_folders import make_folder, sweep_sockets
from steerio.model import messages as ms
from steerio.model.places import Topology
from steerio.node.children import RETIRED
from steerio.node.finding_again import FindsAgain, FoundBroker
from steerio.node.forker import ZygoteForker
from steerio.node.node import Node
from steerio.node.object_cache import Copies
from steerio.node.probe import probe
from steerio.node.relay import Relay
from steerio.node.setup import (
    GONE_S,
    ORIGINAL_PATH,
    SAME_S,
    NodeSetup,
    clear_up_after_broker,
    remove_sockets,
)

END_CHILDREN_S = 1.0
"""Longest wait for processes to be gone whose parents all ended."""
LOOK_AROUND_S = 3.0
"""Time between two looks for another broker while one is silent, and after which one is."""
BROKER_GONE = 75
"""Exit status of a node that has to begin as a fresh process (EX_TEMPFAIL of sysexits.h)."""
MOST_TOLD = 10
"""Most reasons for the end of workers that a node tells its starter."""


def main(descriptor: int = 0) -> int:
    """Be a node until told to end; returns the exit status."""
    # in the time that the process which started us needs to get ready
    prepare_to_hear()
    found = probe(accelerators=False)
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(descriptor, 65536)
        if not part:
            return 0  # the process that started us ended before it told us anything
        line += part
    setup = from_json(line, NodeSetup)
    return run_node(setup, descriptor, found=found)


def run_node(
    setup: NodeSetup,
    lifeline: int | None,
    tell: Callable[[str], None] | None = None,
    *,
    stays_s: float = 0.0,
    found: Topology | None = None,
    look: Callable[[], FoundBroker | None] | None = None,
) -> int:
    """Be a node of this setup, and return the exit status.

    Args:
        setup: of the node.
        lifeline: a descriptor; the node ends when its other end closes.
        tell: called with words when it has joined, when a worker does not come to work, and when it
            leaves.
        stays_s: how long it goes on after a first signal, unless the broker ends before.
        found: the topology of this machine without accelerators, if it is known already.
        look: returns the broker that is there when that of the setup is gone without a word; if
            nothing of this node can go on with it `BROKER_GONE` is returned.

    Raises:
        UsageError: this machine does not know the name of the broker's, or has no folder for the
            socket of the workers.
    """
    inheritance.own_standard()
    setup = structs.replace(setup, address=resolve_address(setup.address))
    sys.path[:0] = [entry for entry in setup.path if entry not in sys.path]
    descendants.adopt_orphans()
    with contextlib.ExitStack() as opened:
        store, own = setup.store, not setup.objects
        if store is not None and own:
            folder = opened.enter_context(open_folder())
            setup = structs.replace(setup, objects=str(folder.path))
        if not setup.worker_address:  # they speak to this node, and it to the broker
            sweep_sockets()
            sockets = str(make_folder())
            opened.callback(remove_sockets, sockets)
            setup = structs.replace(
                setup, sockets=sockets, worker_address=f"{UNIX}{sockets}/{WORKERS}"
            )
        try:
            forker = ZygoteForker(setup, found)  # forks, so before anything makes a thread
        except OSError as error:
            sys.stderr.write(f"steerio node {setup.name}: no zygote can be started: {error}\n")
            return 1
        if look is not None and setup.objects and not own:
            # its workers, which were forked from the zygote, have no part in that
            opened.enter_context(share_folder(Path(setup.objects)))
        try:
            copies = None
            if store is not None and store.remote:
                copies = Copies(open_store(store, Path(setup.objects), ""), own=own)
            return asyncio.run(_serve(setup, forker, copies, lifeline, tell, stays_s, look))
        finally:
            descendants.end_children(END_CHILDREN_S)


async def _serve(
    setup: NodeSetup,
    forker: ZygoteForker,
    copies: Copies | None,
    lifeline: int | None,
    tell: Callable[[str], None] | None,
    stays_s: float,
    look: Callable[[], FoundBroker | None] | None,
) -> int:
    opened = contextlib.ExitStack()
    broker_gone = killed = False
    try:
        # clones of a machine may have the same host's name and process's number
        identity = f"node-{setup.name}-{socket.gethostname()}-{os.getpid()}-{os.urandom(6).hex()}"

        def way_to(found: FoundBroker) -> LinkEndpoint:
            return open_link(found.address, identity, found.keys, "node", opened, copies=False)

        first = FoundBroker(setup.address, setup.keys, goes_on=True)
        link = way_to(first)
        find = None if look is None else FindsAgain(look, first, link, way_to)
        relay = None
        if setup.sockets:
            allow_descriptors()
            streams = WorkerStreams(str(socket_path(setup.worker_address)))
            opened.callback(streams.close)
            relay = Relay(streams, forker)
        joins = ms.JoinNode(
            ms.PROTOCOL,
            setup.name,
            socket.gethostname(),
            os.getpid(),
            setup.workers,
            setup.requires,
            setup.needs,
            None if setup.ends is None else setup.ends - time.time(),
        )
        node = Node(
            link,
            forker,
            joins,
            settings=setup.settings,
            same_clock=is_local(setup.address),
            copies=copies,
            relay=relay,
            again=setup.again,
            find=find,
        )
        forker.watch(node.worker_exited if tell is None else _telling(node, tell))
        if tell is not None:
            node.on_joined = lambda: tell(f"node {node.name} has joined the broker")
        with _told_to_end(node, lifeline, stays_s) as asked:
            node.start()
            forker.survey()  # while its first message is on its way
            lost = asyncio.ensure_future(forker.wait_lost())
            ends: list[asyncio.Future[Any]] = [node.ended, lost]
            watching = asyncio.ensure_future(_watch_silence(node, find))
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            watching.cancel()
            if not lost.cancel():
                node.fail(f"its zygote, which forks the workers, ended{forker.failure}")
            if tell is not None and not node.failed:
                tell(f"node {node.name} leaves the broker: {node.ended.result()}")
            broker_gone, killed = node.broker_gone, node.failed or asked.orphaned
        link.close()
    finally:
        await forker.close()
        opened.close()
        if copies is not None:
            copies.close()
        if not broker_gone:
            within_s = GONE_S if killed else 0.0
            clear_up_after_broker(setup.folder, setup.address, within_s, objects=setup.objects)
    if broker_gone:
        return BROKER_GONE
    if node.failed and not _has_ended(lifeline):
        sys.stderr.write(f"steerio node {setup.name}: {node.ended.result()}\n")
    return int(node.failed)


async def _watch_silence(node: Node, find: FindsAgain | None) -> None:
    """Tell the node if another broker has the place of one that has long been silent."""
    while find is not None:
        await asyncio.sleep(LOOK_AROUND_S)
        if node.silent_s > LOOK_AROUND_S and await find.is_another():
            node.lose_broker("another broker has the place of the one that had let it in")


def _has_ended(lifeline: int | None) -> bool:
    """Say whether the process that started the node has ended, which then reads no words."""
    if lifeline is None:
        return False
    poller = select.poll()
    poller.register(lifeline)
    return bool(poller.poll(0))


def _telling(node: Node, tell: Callable[[str], None]) -> Callable[[str, int, str], None]:
    """Return a callback for workers that ended, which tells of those that did not come to work.

    Each reason is told once, and only the first few: the reader may be slow.
    """
    told = {RETIRED}

    def exited(worker: str, run: int, reason: str) -> None:
        node.worker_exited(worker, run, reason)
        if not run and reason not in told and len(told) <= MOST_TOLD and not node.ended.done():
            told.add(reason)
            tell(f"worker {worker} has ended before it began a task: {reason}")

    return exited


class _Asked:
    """The signals to a node: it leaves at the first or, if it stays for a while, at the second."""

    def __init__(self, node: Node, stays_s: float) -> None:
        self.orphaned = False
        """Whether the process that started the node ended without a word."""
        self._node, self._stays_s = node, stays_s
        self._loop = asyncio.get_running_loop()
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def heed(self, number: signal.Signals) -> None:
        """Take in a signal."""
        now, reason = self._loop.time(), f"signal {number.name}"
        if self._stays_s and self._timer is None:
            self._at = now
            self._timer = self._loop.call_later(self._stays_s, self._node.leave, reason)
        elif self._timer is None or now > self._at + SAME_S:
            self._node.leave(reason)

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()


@contextlib.contextmanager
def _told_to_end(node: Node, lifeline: int | None, stays_s: float) -> Generator[_Asked, None, None]:
    """Watch the lifeline, and signals, while the node is up."""
    loop = asyncio.get_running_loop()
    heard = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    numbers = [n for n in heard if signal.getsignal(n) != signal.SIG_IGN]  # as under nohup

    def check_lifeline(descriptor: int) -> None:
        asked.orphaned = not os.read(descriptor, 4096)
        loop.remove_reader(descriptor)
        node.leave("the process that started it ended")

    asked = _Asked(node, stays_s)
    for number in numbers:
        loop.add_signal_handler(number, asked.heed, number)
    if lifeline is not None:
        loop.add_reader(lifeline, check_lifeline, lifeline)
    try:
        yield asked
    finally:
        asked.close()
        if lifeline is not None:
            loop.remove_reader(lifeline)
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # it is ending, which takes a moment


if __name__ == "__main__":
    if ORIGINAL_PATH in os.environ:
        original = os.environ.pop(ORIGINAL_PATH)
        os.environ.pop("PYTHONPATH", None)
        if original:
            os.environ["PYTHONPATH"] = original
    sys.exit(main())
