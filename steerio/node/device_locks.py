"""Locks that keep nodes of one machine off each other's accelerators.

Ranks of an MPI job on one host are nodes that know nothing of each other, as are several
``steerio worker``.  So a node that gives out a device locks a file named after it; a lock ends with
the process that holds it, however that ends. Sharers of a device hold a shared lock of its file,
and each holds one of as many files as there are shares.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from stat import S_ISDIR
from typing import NamedTuple


class Claims:
    """The accelerators of the machine that this node's workers have.

    Args:
        folder: of the locks; by default one of this user's.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or Path(tempfile.gettempdir()) / f"steerio-devices-{os.getuid()}"
        self._held: dict[str, list[Lock]] = {}

    def take(self, worker: str, devices: Iterable[str], sharers: int) -> set[str]:
        """Claim devices for a worker: all, or none.

        Returns:
            those that other nodes have; none if all were claimed.
        """
        held: list[Lock] = []
        self._held[worker] = held
        others: set[str] = set()
        for device in devices:
            locks = self._lock_device(re.sub(r"[^\w.-]", "_", device), sharers)
            if locks is None:
                others.add(device)
            else:
                held += locks
        if others:
            self.release(worker)
        return others

    def release(self, worker: str) -> None:
        """Let go of the devices of a worker, if it had any."""
        held = self._held.pop(worker, [])
        for lock in reversed(held):
            _unlock(lock)
        if held:
            with contextlib.suppress(OSError):  # there are others' in it
                self._folder.rmdir()

    def close(self) -> None:
        """Let go of everything."""
        for worker in list(self._held):
            self.release(worker)

    def _lock_device(self, name: str, sharers: int) -> list[Lock] | None:
        if not self._have_folder():
            return []  # another user has a folder of that name: there is no way to agree
        device = self._lock(name, fcntl.LOCK_EX if sharers == 1 else fcntl.LOCK_SH)
        if device is None or sharers == 1:
            return None if device is None else [device]
        for share in range(sharers):
            lock = self._lock(f"{name}.{share}-of-{sharers}", fcntl.LOCK_EX)
            if lock is not None:
                return [device, lock]
        _unlock(device)
        return None

    def _lock(self, name: str, how: int) -> Lock | None:
        path = self._folder / name
        while self._have_folder():
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            except FileNotFoundError:
                continue  # the last user of the folder removed it meanwhile
            lock = Lock(descriptor, path)
            try:
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            if lock.stands():
                return lock
            os.close(descriptor)
        return None

    def _have_folder(self) -> bool:
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, exist_ok=True)
            stat = self._folder.lstat()
            return stat.st_uid == os.getuid() and S_ISDIR(stat.st_mode)
        return False


class Lock(NamedTuple):
    """A locked file."""

    descriptor: int
    path: Path

    def stands(self) -> bool:
        """Whether the file was not removed before it was locked."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(self.descriptor), self.path.lstat())
        return False


def _unlock(lock: Lock) -> None:
    """Let go of a file; the last process to do so removes it."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if lock.stands():
            lock.path.unlink()
    os.close(lock.descriptor)
