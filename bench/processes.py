"""What the kernel knows of other processes: their memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path


def pss_bytes(pid: int) -> int:
    """Proportional set size of a process: its own pages, and its share of those it shares.

    Raises OSError when the process is gone or not ours to look at.
    """
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/{pid}/smaps_rollup has no Pss line")


def cpu_s(pid: int) -> float:
    """Seconds that all threads of a process have been on a core, to the nanosecond.

    Raises OSError when the process is gone.  Threads that have ended count no more.
    """
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((each / "schedstat").read_text().split()[0]) for each in threads) / 1e9


def total_pss_bytes(pids: Iterable[int]) -> int:
    """The memory of several processes together; those that just ended count nothing."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += pss_bytes(pid)
    return total
