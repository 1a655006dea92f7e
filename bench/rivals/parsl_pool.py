"""Parsl by itself, as its documentation has it for one machine: two worker processes.

`python -m bench.rivals.parsl_pool CONTROL_FD`
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Generator
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial

from bench.contestant import ROOT, serve
from bench.floors.bodies import noop
from bench.floors.pool import WORKERS, at_once

START_S = 180.0
"""Longest start of Parsl, on a machine with other work."""


@contextmanager
def parsl_pool() -> Generator[Executor]:
    """Open Parsl's pool of processes on this machine; its files go when it is closed."""
    from parsl.concurrent import ParslPoolExecutor
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    logging.getLogger("parsl").setLevel(logging.ERROR)
    os.environ["PYTHONPATH"] = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        htex = HighThroughputExecutor(
            address="127.0.0.1",
            max_workers_per_node=WORKERS,
            cores_per_worker=1e-6,
            provider=LocalProvider(init_blocks=1, max_blocks=1),
        )
        config = Config(executors=[htex], run_dir=folder, initialize_logging=False)
        with ParslPoolExecutor(config) as pool:
            pool.submit(noop, 0).result(START_S)  # its processes come when the first call does
            yield pool


def main() -> None:
    """Start Parsl and obey orders until there are no more."""
    control_fd = int(sys.argv[1])
    with parsl_pool() as pool:
        serve(control_fd, {"at_once": partial(at_once, pool)})


if __name__ == "__main__":
    main()
