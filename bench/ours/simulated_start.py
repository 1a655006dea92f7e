"""The start of a simulated cluster: real broker, nodes and relays, on memory links and one thread.

`python -m bench.ours.simulated_start NODES WORKERS`: so many nodes of so many workers each.  First
all join; then a client submits a task for each worker, until all of these run.  Prints `Figures` as
JSON.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from bench.peak import own_bytes
from steerio.model import messages as ms
from steerio.model.tasks import TaskOptions, TaskSpec, task_id
from steerio.testing import Model, SimulatedCluster, run_virtual
from steerio.worker.loading import LoadedType

POOL = "default"
TASK_S = 3600.0
"""Virtual seconds: no task ends."""
LOOKS, LOOK_S = 100, 0.01
"""All that has to happen happens before the first look, for nothing in it takes virtual time."""
WALL_LIMIT_S = 3600.0


class Figures(msgspec.Struct):
    """Seconds of the broker's own code for each worker, and bytes of the whole process for each."""

    join_s: float
    busy_s: float
    garbage_s: float
    """Of both: seconds in which Python looked for garbage."""
    join_bytes: float
    busy_bytes: float
    all_s: float
    """Processor seconds of the whole process, simulated nodes included, for all workers."""


class OwnTime:
    """The processor time of this thread in the broker's steps, without that of nodes in them.

    A simulated node is woken from inside the broker's flush, so its time is taken off again.
    """

    def __init__(self) -> None:
        self.seconds = self.garbage_s = 0.0
        self._inside = False
        self._began = 0.0
        gc.callbacks.append(self._collects)

    def inside(self, step: Callable[[], Any]) -> Callable[[], Any]:
        """Return the broker's step, which counts."""

        def counted() -> Any:
            self._inside, began = True, time.thread_time()
            try:
                return step()
            finally:
                self.seconds += time.thread_time() - began
                self._inside = False

        return counted

    def outside(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Return a node's function, which does not count."""

        def not_counted() -> None:
            was, self._inside, began = self._inside, False, time.thread_time()
            try:
                wake()
            finally:
                if was:
                    self.seconds -= time.thread_time() - began
                self._inside = was

        return not_counted

    def _collects(self, phase: str, about: object) -> None:
        del about
        if phase == "start":
            self._began = time.thread_time()
        elif self._inside:
            self.garbage_s += time.thread_time() - self._began


async def start(nodes: int, each: int) -> Figures:
    """Have all workers join, and all work."""
    workers = nodes * each
    own, before = OwnTime(), own_bytes(os.getpid())
    cluster = SimulatedCluster({POOL: workers}, model=Model(TASK_S), nodes=nodes)
    broker = cluster.broker
    vars(broker)["step"] = own.inside(broker.step)
    pool = broker.core.pools[POOL]
    all_began = time.process_time()
    await cluster.__aenter__()
    for node in cluster.nodes.values():
        link: Any = node._link
        link._at_once = own.outside(link._at_once)
    await _until(lambda: pool.ready == workers)
    joined, join_bytes = own.seconds, own_bytes(os.getpid())
    client = cluster._local.link()
    client.send(ms.JoinClient(ms.PROTOCOL, "client"))
    spec, options = TaskSpec("bench.ours.tasks:keep", POOL), TaskOptions()
    body, _ = LoadedType(spec).codec.pack((), {})
    client.send(ms.DefineTask(1, spec))
    for number in range(1, workers + 1):
        client.send(ms.SubmitTask(task_id(0, number), 1, 0.0, body, 0, options, None, ""))
    await _until(lambda: pool.running == workers)
    return Figures(
        joined / workers,
        (own.seconds - joined) / workers,
        own.garbage_s / workers,
        (join_bytes - before) / workers,
        (own_bytes(os.getpid()) - join_bytes) / workers,
        time.process_time() - all_began,
    )


async def _until(done: Callable[[], bool]) -> None:
    for _ in range(LOOKS):
        if done():
            return
        await asyncio.sleep(LOOK_S)
    raise RuntimeError("not all workers have joined, or not all work")


async def told(nodes: int, each: int) -> None:
    """Print the figures and end at once: nothing is outside this process, and much is in it."""
    print(msgspec.json.encode(await start(nodes, each)).decode(), flush=True)
    os._exit(0)


if __name__ == "__main__":
    run_virtual(told(int(sys.argv[1]), int(sys.argv[2])), wall_limit_s=WALL_LIMIT_S)
