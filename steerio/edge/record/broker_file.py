"""The files of a standing broker: all that no client or node could tell the next one there.

A broker that begins in the run directory of one that had ended without a word takes its place. The
others tell it again of their tasks and workers; one file has the numbers that it may not give out
again. It is on the disk before a number of it is given out, so that peers on other hosts may
outlive this machine. The other, which is written often and so is not synced, has the newest
versions, whose publishers may be gone, and the pools that are paused.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Generator, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from steerio.edge.record.disk import Folder, write_whole
from steerio.edge.system.own_files import from_json, read_own, to_json, write_own
from steerio.errors import UsageError
from steerio.model.objects import Version

log = logging.getLogger("steerio.edge")

FILE = "broker.json"
KEPT_FILE = "kept.json"
NUMBERS = 1_000
"""Numbers of clients that are set aside at a time."""


@contextlib.contextmanager
def alone_in(run_dir: Path) -> Generator[None, None, None]:
    """Keep other brokers from beginning in a run directory, if its file system has locks.

    Raises:
        BlockingIOError: another one has begun there, and may not be found yet.
    """
    descriptor = os.open(run_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError as error:
            log.debug("brokers cannot exclude each other in %s: %s", run_dir, error)
        yield
    finally:
        os.close(descriptor)


class _LeftToNext(Struct, frozen=True):
    incarnation: int
    clients: int
    ended: bool = False


class _VersionsAndPauses(Struct, frozen=True):
    versions: dict[str, Version] = {}
    paused: dict[str, str] = {}


class BrokerFile:
    """The files in a run directory, for the broker that begins there.

    Args:
        run_dir: the run directory, which is there.

    Raises:
        UsageError: there is a file of this name that cannot be read, or is another's.
        OSError: it cannot be written.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path, self._kept_path = run_dir / FILE, run_dir / KEPT_FILE
        before = _read(self._path)
        self.incarnation = 1 if before is None else before.incarnation + 1
        """How many brokers have begun there."""
        self.returns = before is not None and not before.ended
        """Whether the one before ended without a word."""
        self.versions: Mapping[str, Version] = {}
        """The newest versions of all names, as far as they have been kept."""
        self.paused: Mapping[str, str] = {}
        """The pools that were paused, and why."""
        if self.returns:
            kept = _read_kept(self._kept_path)
            self.versions, self.paused = kept.versions, kept.paused
        else:
            self._kept_path.unlink(missing_ok=True)
        self._client: int = 0 if before is None else before.clients
        self._set_aside = self._client
        self._write(self._set_aside)

    def __repr__(self) -> str:
        return f"<BrokerFile {self._path}, incarnation {self.incarnation}>"

    def next_client(self) -> int:
        """Return a number that no client of this broker or an earlier one has had.

        Raises:
            OSError: the file cannot be written.
        """
        if self._client == self._set_aside:
            self._write(self._client + NUMBERS)
            self._set_aside = self._client + NUMBERS
        self._client += 1
        return self._client - 1

    def keep(self, newest: Mapping[str, Version], paused: Mapping[str, str]) -> None:
        """Keep the newest versions, and the pools that are paused.

        Raises:
            OSError: the file cannot be written.
        """
        self.versions, self.paused = newest, dict(paused)
        write_own(self._kept_path, to_json(_VersionsAndPauses(dict(newest), self.paused)))

    def close(self) -> None:
        """Note that the broker ends in good order: nothing is left for another."""
        self.versions, self.paused = {}, {}
        self._write(self._set_aside, ended=True)
        self._kept_path.unlink(missing_ok=True)

    def _write(self, set_aside: int, *, ended: bool = False) -> None:
        content = _LeftToNext(self.incarnation, set_aside, ended)
        write_whole(Folder(self._path.parent), FILE, to_json(content))


def _read(path: Path) -> _LeftToNext | None:
    """Return the content of the file; ``None``: there is none.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return from_json(read_own(path)[0], _LeftToNext)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(
            f"{path} is not the file of a broker: {error}; remove it if no client is to come back"
        ) from error


def _read_kept(path: Path) -> _VersionsAndPauses:
    """Return the versions and pauses that were kept; of a file that a machine lost none are left.

    Raises:
        UsageError: it is another's.
    """
    try:
        return from_json(read_own(path)[0], _VersionsAndPauses)
    except FileNotFoundError:
        return _VersionsAndPauses()
    except (OSError, msgspec.DecodeError) as error:
        log.error("the versions and pauses of the broker before cannot be read: %s", error)
        return _VersionsAndPauses()
