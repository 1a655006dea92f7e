"""`concurrent.futures.ProcessPoolExecutor`, as most people would use it.

`python -m bench.floors.pool CONTROL_FD`
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from functools import partial
from queue import SimpleQueue

from bench.contestant import Round, serve
from bench.floors.bodies import Nap, busy_share, nap, noop

WORKERS = 2
RESULT_TIMEOUT_S = 30.0


def at_once(pool: Executor, order: Round) -> dict[str, list[float]]:
    """Submit all, then take the results in order: cheaper than its `as_completed`."""
    began = time.perf_counter()
    futures = [pool.submit(noop, task) for task in range(order.tasks)]
    for future in futures:
        future.result(RESULT_TIMEOUT_S)
    return {"tasks_per_s": [order.tasks / (time.perf_counter() - began)]}


def two_outstanding(pool: ProcessPoolExecutor, order: Round) -> dict[str, list[float]]:
    """Keep two tasks outstanding for each worker, the next submitted as one ends."""
    done: SimpleQueue[Future[Nap]] = SimpleQueue()
    naps: list[Nap] = []
    sent = 0
    while len(naps) < order.tasks:
        while sent < min(order.tasks, len(naps) + 2 * WORKERS):
            pool.submit(nap, order.task_s).add_done_callback(done.put)
            sent += 1
        naps.append(done.get(timeout=RESULT_TIMEOUT_S).result())
    return {"busy_share": [busy_share(naps)]}


def main() -> None:
    """Start the executor and obey orders until there are no more."""
    control_fd = int(sys.argv[1])
    with ProcessPoolExecutor(WORKERS) as pool:
        rounds = {
            "at_once": partial(at_once, pool),
            "two_outstanding": partial(two_outstanding, pool),
        }
        serve(control_fd, rounds)


if __name__ == "__main__":
    main()
