"""Ray's object store, where Ray is installed.

`python -m bench.rivals.ray CONTROL_FD`
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

from bench.contestant import serve
from bench.rivals.side import StoreSide, timed_read

ray: Any = importlib.import_module("ray")  # may be missing, and the bench then says so

STORE_BYTES = 2 * 2**30


@ray.remote
def read(held: list[Any]) -> tuple[float, float]:
    """Read in the worker; a reference inside a list is not fetched for the task."""
    return timed_read(ray.get, held[0])


def main() -> None:
    """Obey orders until there are no more."""
    ray.init(
        num_cpus=2,
        object_store_memory=STORE_BYTES,
        include_dashboard=False,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    try:
        side = StoreSide(
            put=ray.put,
            get=ray.get,
            evict=lambda key: None,  # with its last reference
            read=lambda key: ray.get(read.remote([key])),
        )
        serve(int(sys.argv[1]), side.rounds())
    finally:
        ray.shutdown()


if __name__ == "__main__":
    main()
