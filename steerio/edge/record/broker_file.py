"""The file of a standing broker: all that no client or node could tell the next one there.

A broker that begins in the run directory of one that had ended without a word takes its place. The
others tell it again of their tasks and workers; the file has the numbers that it may not give out
again, and the newest versions, whose publishers may be gone. It is on the disk before a number of
it is given out, so that peers on other hosts may outlive this machine.
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
from steerio.edge.system.own_files import from_json, read_own, to_json
from steerio.errors import UsageError
from steerio.model.objects import Version

log = logging.getLogger("steerio.edge")

FILE = "broker.json"
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
    versions: dict[str, Version] = {}
    paused: dict[str, str] = {}
    ended: bool = False


class BrokerFile:
    """The file in a run directory, for the broker that begins there.

    Args:
        run_dir: the run directory, which is there.

    Raises:
        UsageError: there is a file of this name that cannot be read, or is another's.
        OSError: it cannot be written.
    """

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FILE
        before = _read(self._path)
        self.incarnation = 1 if before is None else before.incarnation + 1
        """How many brokers have begun there."""
        self.returns = before is not None and not before.ended
        """Whether the one before ended without a word."""
        self.versions: Mapping[str, Version] = {}
        """The newest versions of all names, as far as they have been kept."""
        self.paused: Mapping[str, str] = {}
        """The pools that were paused, and why."""
        if before is not None and self.returns:
            self.versions, self.paused = before.versions, before.paused
        self._client: int = 0 if before is None else before.clients
        self._set_aside = self._client
        self._write()

    def __repr__(self) -> str:
        return f"<BrokerFile {self._path}, incarnation {self.incarnation}>"

    def next_client(self) -> int:
        """Return a number that no client of this broker or an earlier one has had.

        Raises:
            OSError: the file cannot be written.
        """
        if self._client == self._set_aside:
            self._set_aside += NUMBERS
            self._write()
        self._client += 1
        return self._client - 1

    def keep(self, newest: Mapping[str, Version], paused: Mapping[str, str]) -> None:
        """Keep the newest versions, and the pools that are paused.

        Raises:
            OSError: the file cannot be written.
        """
        self.versions, self.paused = newest, dict(paused)
        self._write()

    def close(self) -> None:
        """Note that the broker ends in good order: nothing is left for another."""
        self.versions, self.paused = {}, {}
        self._write(ended=True)

    def _write(self, *, ended: bool = False) -> None:
        content = _LeftToNext(
            self.incarnation, self._set_aside, dict(self.versions), dict(self.paused), ended
        )
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
