"""Keeping nodes of one machine off each other's accelerators.

Ranks of an MPI job on one host are nodes that know nothing of each other, as are several
``steerio worker``.  So whoever gives out a device locks a file named after it; a lock ends
with the process that holds it, however that ends.  Sharers of a device hold a shared lock
of it, and each one of as many files as there are shares.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path


class Claims:
    """What this node's workers have of the machine's accelerators."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir()) / f"steerio-devices-{os.getuid()}"
        self._held: dict[str, list[int]] = {}

    def take(self, worker: str, devices: Iterable[str], sharers: int) -> set[str]:
        """Claim devices for a worker: all, or none.

        Returns:
            those that others have; nothing if they were claimed.
        """
        held: list[int] = []
        others: set[str] = set()
        for device in devices:
            locks = self._lock_device(re.sub(r"[^\w.-]", "_", device), sharers)
            if locks is None:
                others.add(device)
            else:
                held += locks
        self._held[worker] = held
        if others:
            self.release(worker)
        return others

    def release(self, worker: str) -> None:
        """Let go of what a worker had; of one that had nothing, nothing."""
        for descriptor in self._held.pop(worker, []):
            os.close(descriptor)

    def close(self) -> None:
        """Let go of everything."""
        for worker in list(self._held):
            self.release(worker)

    def _lock_device(self, name: str, sharers: int) -> list[int] | None:
        if not self._have_folder():
            return []  # somebody else has a folder of that name: there is no way to agree
        device = self._lock(name, fcntl.LOCK_EX if sharers == 1 else fcntl.LOCK_SH)
        if device is None or sharers == 1:
            return None if device is None else [device]
        for share in range(sharers):
            lock = self._lock(f"{name}.{share}-of-{sharers}", fcntl.LOCK_EX)
            if lock is not None:
                return [device, lock]
        os.close(device)
        return None

    def _lock(self, name: str, how: int) -> int | None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(self._folder / name, flags, 0o600)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return descriptor
        os.close(descriptor)
        return None

    def _have_folder(self) -> bool:
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            return self._folder.stat().st_uid == os.getuid() and not self._folder.is_symlink()
        return False
