"""The most memory that some processes and a folder in shared memory had together for a while."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

EVERY_S = 0.005
_BLOCK_BYTES = 512


class Peak:
    """Looks every few milliseconds while its block lasts; `nbytes` is the most it saw.

    What the processes have mapped of shared memory is counted once, with the files there,
    whether anybody maps them or not.
    """

    def __init__(self, pids: Sequence[int], folder: Path) -> None:
        self._pids = pids
        self._folder = folder
        self._ended = threading.Event()
        self.nbytes = 0

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.nbytes = max(self.nbytes, used_bytes(self._pids, self._folder))
            if self._ended.wait(EVERY_S):
                return


def used_bytes(pids: Sequence[int], folder: Path) -> int:
    """What some processes and a folder in shared memory have together."""
    return sum(own_bytes(pid) for pid in pids) + folder_bytes(folder)


def own_bytes(pid: int) -> int:
    """A process's proportional set size without what it maps of shared memory; 0 if it is gone."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            if name in {"Pss", "Pss_Shmem"}:
                found[name] = int(rest.split()[0]) * 1024
    return found.get("Pss", 0) - found.get("Pss_Shmem", 0)


def folder_bytes(folder: Path) -> int:
    """The memory that the files below a folder take."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.lstat().st_blocks * _BLOCK_BYTES
    return total
