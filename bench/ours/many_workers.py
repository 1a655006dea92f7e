"""A session whose workers are stand-ins behind nodes that are elsewhere, over TCP with CURVE.

`python -m bench.ours.many_workers CONTROL_FD NODES WORKERS`: so many nodes, in two processes, of so
many workers each.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import uvloop

import steerio
from bench.contestant import Round, serve_async
from bench.ours.far_workers import hosted
from bench.ours.tasks import keep, noop
from steerio.edge.system.own_files import to_json
from steerio.launch.hosting import Hosting

PROCESSES = 2
WAIT_S = 60.0
LOOK_S = 0.002
Figures = dict[str, list[float]]


class ManyWorkers:
    """The rounds."""

    def __init__(self, session: steerio.Session, hosting: Hosting, nodes: int, each: int) -> None:
        self._session = session
        self._hosting = hosting
        self._nodes, self._each = nodes, each
        self._running: list[subprocess.Popen[str]] = []

    async def join(self, order: Round) -> Figures:
        """Have the nodes join, with a task queued for each worker, until all of these run."""
        del order
        processes = min(PROCESSES, self._nodes)
        for number in range(processes):
            nodes = self._nodes // processes + (number < self._nodes % processes)
            process = subprocess.Popen(  # noqa: ASYNC220 - before anything is measured
                [sys.executable, "-m", "bench.ours.light_nodes", str(nodes), str(self._each)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self._running.append(process)
            setup = self._hosting.setup("light", {}, log="", local=False)
            self._say(process, to_json(setup).decode())
        for process in self._running:
            assert process.stdout is not None
            await asyncio.to_thread(process.stdout.readline)
        workers = self._nodes * self._each
        held = self._session.map(keep, [()] * workers)
        await self._session.status()
        pool = self._hosting.broker.core.pools["default"]
        began = time.perf_counter()
        for process in self._running:
            self._say(process, "")
        async with asyncio.timeout(WAIT_S):
            while pool.running < workers:  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(LOOK_S)
            took_s = time.perf_counter() - began
            self._session.cancel(held)
            for task in held:
                await task.result()
        return {"seconds": [took_s]}

    async def at_once(self, order: Round) -> Figures:
        """No-op tasks, submitted at once."""
        began = time.perf_counter()
        async with asyncio.timeout(WAIT_S):
            total = sum(await self._session.gather(*self._session.map(noop, range(order.tasks))))
        if total != sum(range(order.tasks)):
            raise AssertionError("the values that came back are not those that were sent")
        return {"tasks_per_s": [order.tasks / (time.perf_counter() - began)]}

    def close(self) -> None:
        """End the nodes."""
        for process in self._running:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.stdout.close()
            process.wait()

    @staticmethod
    def _say(process: subprocess.Popen[str], line: str) -> None:
        assert process.stdin is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()


async def steer(control_fd: int, nodes: int, each: int) -> None:
    """Obey orders until there are no more."""
    async with hosted({"default": nodes * each}, encrypted=True) as (session, hosting):
        side = ManyWorkers(session, hosting, nodes, each)
        try:
            await serve_async(control_fd, {"join": side.join, "at_once": side.at_once})
        finally:
            side.close()


def main() -> None:
    """Run it on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(steer(*map(int, sys.argv[1:4])))


if __name__ == "__main__":
    main()
