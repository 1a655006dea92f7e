"""A script of one task that does nothing, with ProcessPoolExecutor."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def noop(value: int) -> int:
    """Nothing."""
    return value


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        pool.submit(noop, 1).result(30)
        Path(os.environ["BENCH_FIRST_RESULT"]).write_text(repr(time.time()), encoding="ascii")
