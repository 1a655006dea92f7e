"""`concurrent.futures.ProcessPoolExecutor`, as most people would use it.

`python -m bench.floors.pool CONTROL_FD`
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ProcessPoolExecutor

from bench.contestant import Round, serve
from bench.floors.bodies import noop

RESULT_TIMEOUT_S = 30.0


def at_once(pool: ProcessPoolExecutor, order: Round) -> dict[str, list[float]]:
    """Submit all, then take the results in order: cheaper than its `as_completed`."""
    began = time.perf_counter()
    futures = [pool.submit(noop, task) for task in range(order.tasks)]
    for future in futures:
        future.result(RESULT_TIMEOUT_S)
    return {"tasks_per_s": [order.tasks / (time.perf_counter() - began)]}


def main() -> None:
    """Start the executor and obey orders until there are no more."""
    control_fd, workers = int(sys.argv[1]), 2
    with ProcessPoolExecutor(workers) as pool:
        serve(control_fd, {"at_once": lambda order: at_once(pool, order)})


if __name__ == "__main__":
    main()
