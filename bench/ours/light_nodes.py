"""Nodes whose workers are light stand-ins: objects on one loop, which run no-op tasks over streams.

`python -m bench.ours.light_nodes NODES WORKERS`: so many nodes of so many workers each.  The first
line of its input is a `NodeSetup` as JSON, the second has all nodes join, the end of it is theirs.

To the broker they are as real nodes on other hosts: each has one link, and its workers' streams.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import uvloop

from steerio.edge.system.descriptors import allow_descriptors
from steerio.edge.system.own_files import from_json
from steerio.edge.wire.blocking_link import StreamLink
from steerio.edge.wire.contexts import Context
from steerio.edge.wire.relaying import WorkerStreams
from steerio.edge.wire.zeromq_link import ZmqLink
from steerio.model import messages as ms
from steerio.node.node import Node
from steerio.node.relay import Relay
from steerio.node.setup import NodeSetup
from steerio.worker.loading import LoadedType

HELD = "bench.ours.tasks:keep"
"""The task type whose tasks a stand-in keeps until another task comes."""


class StandIn:
    """A worker that runs its tasks at once, in this process."""

    def __init__(self, name: str, address: str) -> None:
        self.begun = self.ended = 0
        self._link = StreamLink(address, "worker")
        self._types: dict[int, LoadedType] = {}
        self._held: list[int] = []
        asyncio.get_running_loop().add_reader(self._link._socket.fileno(), self._wake)
        self._link.send(ms.JoinWorker(ms.PROTOCOL, name, os.getpid()))
        self._link.flush()

    def _wake(self) -> None:
        try:
            arrived = self._link.receive_within(0)
        except OSError:
            asyncio.get_running_loop().remove_reader(self._link._socket.fileno())
            self._link.close()
            return
        for message, frames in arrived:
            if isinstance(message, ms.DefineTask):
                self._types[message.type_id] = LoadedType(message.spec)
            elif isinstance(message, ms.RunTask):
                self._run(message, frames)
        self._link.flush()

    def _run(self, task: ms.RunTask, frames: tuple[Any, ...]) -> None:
        kind, self.begun = self._types[task.type_id], task.run
        if kind.spec.name == HELD:
            self._held.append(task.run)
            return
        began = time.monotonic()
        args, kwargs = kind.codec.unpack(task.body, frames)
        body, _ = kind.codec.result.pack(kind.function(*args, **kwargs), "the value")
        self.ended, ended = task.run, time.monotonic()
        self._link.send(ms.Report(task.run, "succeeded", began, ended, body, 0, None))

    def let_go(self, run: int) -> None:
        """End a task that was kept."""
        if run in self._held:
            self._held.remove(run)
            now = time.monotonic()
            self.ended = run
            self._link.send(ms.Report(run, "cancelled", now, now, b"", 0, None))
            self._link.flush()


class LightForker:
    """Starts stand-ins."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.workers: dict[str, StandIn] = {}

    def watch(self, on_exit: Callable[[str, int, str], None]) -> None:
        """Do nothing: none of them exits."""

    def fork(self, worker: str, pool: str) -> None:
        """Start a stand-in, which comes to work at once."""
        del pool
        self.workers[worker] = StandIn(worker, self._address)

    def ask_to_stop(self, worker: str, run: int) -> None:
        """End a task that is kept."""
        self.workers[worker].let_go(run)

    def recall(self, worker: str, run: int) -> None:
        """Do nothing: it has begun."""

    def begun(self, worker: str) -> int | None:
        """Return the run that a stand-in began last."""
        return self.workers[worker].begun if worker in self.workers else None

    def works_on(self, worker: str) -> int:
        """Return the run that it has begun and not ended."""
        its = self.workers[worker]
        return its.begun if its.begun > its.ended else 0

    def reported(self, worker: str) -> int:
        """Return the run of which it reported the end last."""
        return self.workers[worker].ended

    def signal(self, worker: str, run: int, name: str) -> None:
        """End a task that is kept: the order to ask came before it."""
        del name
        self.workers[worker].let_go(run)

    async def close(self) -> None:
        """Do nothing: the process ends."""


async def serve(setup: NodeSetup, nodes: int, workers: int) -> None:
    """Be these nodes until the input ends."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="light-"))
        context = Context()
        opened.callback(context.end)
        made: list[Node] = []
        for number in range(nodes):
            streams = WorkerStreams(f"{folder}/{number}")
            opened.callback(streams.close)
            identity = f"light-{os.getpid()}-{number}".encode()
            link = ZmqLink(context, setup.address, identity, setup.keys, "node", copies=False)
            opened.callback(link.close)
            forker = LightForker(streams.address)
            joins = ms.JoinNode(ms.PROTOCOL, f"light-{number}", "far", 1, {"default": workers})
            made.append(
                Node(
                    link,
                    forker,
                    joins,
                    settings=setup.settings,
                    same_clock=False,
                    relay=Relay(streams, forker),
                )
            )
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        for node in made:
            node.start()
        await loop.run_in_executor(None, sys.stdin.readline)
        for node in made:
            node.leave("the measurement is over")


def main() -> None:
    """Run it on uvloop."""
    allow_descriptors()
    setup = from_json(sys.stdin.readline().encode(), NodeSetup)
    uvloop.run(serve(setup, int(sys.argv[1]), int(sys.argv[2])))


if __name__ == "__main__":
    main()
