"""The pipe floor: `multiprocessing.Pipe` to each worker, no broker between.

`python -m bench.floors.pipe CONTROL_FD`
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing.connection import Connection, wait

from bench.contestant import Round, serve
from bench.floors.bodies import Nap, busy_share, nap

REPLY_TIMEOUT_S = 30.0
AHEAD = 2
"""Tasks in a worker's pipe while work is queued: one that runs and one that waits there."""


def run_worker(connection: Connection) -> None:
    """Nap as long as told, and say so."""
    while True:
        connection.send(nap(connection.recv()))


class PipeClient:
    """Keeps each worker's pipe filled up to a depth."""

    def __init__(self, connections: list[Connection]) -> None:
        self._connections = connections

    def naps(self, order: Round, depth: int) -> dict[str, list[float]]:
        """Keep `depth` tasks in each pipe until the round's are done."""
        sent = 0
        for _ in range(depth):
            for connection in self._connections:
                connection.send(order.task_s)
                sent += 1
        naps: list[Nap] = []
        while len(naps) < order.tasks:
            ready = wait(self._connections, timeout=REPLY_TIMEOUT_S)
            if not ready:
                raise TimeoutError(f"no reply within {REPLY_TIMEOUT_S:g} s")
            for connection in self._connections:
                if connection not in ready:
                    continue
                naps.append(connection.recv())
                if sent < order.tasks:
                    connection.send(order.task_s)
                    sent += 1
        return {"busy_share": [busy_share(naps)]}

    def one_outstanding(self, order: Round) -> dict[str, list[float]]:
        """A worker waits for the client between two tasks."""
        return self.naps(order, depth=1)

    def queued(self, order: Round) -> dict[str, list[float]]:
        """A worker finds its next task in its pipe."""
        return self.naps(order, depth=AHEAD)

    def two_outstanding(self, order: Round) -> dict[str, list[float]]:
        """A worker has one task, and finds its next in its pipe."""
        return self.naps(order, depth=2)


def main() -> None:
    """Start the workers and obey orders until there are no more."""
    control_fd, workers = int(sys.argv[1]), 2
    fork = multiprocessing.get_context("fork")
    connections: list[Connection] = []
    processes = []
    for _ in range(workers):
        here, there = fork.Pipe()
        process = fork.Process(target=run_worker, args=(there,), daemon=True)
        process.start()
        there.close()
        connections.append(here)
        processes.append(process)
    client = PipeClient(connections)
    try:
        rounds = {
            "one_outstanding": client.one_outstanding,
            "two_outstanding": client.two_outstanding,
            "queued": client.queued,
        }
        serve(control_fd, rounds)
    finally:
        for process in processes:
            process.kill()
            process.join(5)


if __name__ == "__main__":
    main()
