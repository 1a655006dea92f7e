"""The owner of a journal: the one process that may write to it, without locks and without clocks.

Each process that wants to write takes the next *incarnation*, by creating the file of that number,
which can be created once. So of several exactly one wins. A process that was taken over from finds
the file of its successor before it says that anything is synced, and ends. Files of owners are
never changed but to say that the owner has given it up.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from steerio.edge.record.disk import Disk, write_new
from steerio.edge.record.journal_segments import FRESH, find_segments
from steerio.edge.system.machine import boot_id, process_space
from steerio.edge.system.own_files import from_json, to_json
from steerio.errors import JournalFenced, JournalTaken

_NAME = re.compile(r"(\d{6,})\.owner")
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""Errors of file systems on which a file has one name only."""
TRIES = 5
"""Times that an opener tries to do a thing that others disturb as they begin or end."""
UNKNOWN = "an unknown host"
_held: set[str] = set()
"""The tokens of owners in this process that may write; of others it has given up the right."""


class Identity(Struct, frozen=True):
    """A process, as others can find out whether it lives."""

    host: str
    machine: str
    """The installation of the machine, which outlives its boots; ``""`` if that is not known."""
    boot: str
    space: str
    """In which its number counts."""
    pid: int
    ticks: int
    """When it started, as its kernel counts: with it a number that is used again is another."""
    started: str
    """The same for people."""


class OwnerFile(Struct, frozen=True):
    """The content of the file of an owner."""

    identity: Identity
    token: str
    released: bool = False


def this_process() -> Identity:
    """Return the identity of this process."""
    machine = ""
    with contextlib.suppress(OSError):
        machine = Path("/etc/machine-id").read_text().strip()
    return Identity(
        host=socket.gethostname(),
        machine=machine,
        boot=boot_id(),
        space=process_space(),
        pid=os.getpid(),
        ticks=_ticks(os.getpid()) or 0,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def is_gone(owner: Identity, me: Identity) -> bool:
    """Say whether it is certain, from here, that a process has ended."""
    if not owner.boot or not me.boot:
        return False
    if owner.boot != me.boot:
        # the same installation, started again since; names of hosts alone may be those of clones
        return bool(owner.machine) and (owner.machine, owner.host) == (me.machine, me.host)
    if owner.space != me.space:
        return False
    ticks = _ticks(owner.pid)
    return ticks != owner.ticks and (ticks is not None or not _hidden(owner.pid))


Hold = Literal["free", "held", "unknown"]
"""Whether a process may write to a journal: none does, one of this machine does, one may."""


def look(
    disk: Disk, me: Identity, gone: Callable[[Identity, Identity], bool] = is_gone
) -> tuple[Hold, int, OwnerFile | None]:
    """Return whether a journal is held, its newest incarnation, and the file of that.

    Raises:
        OSError: the folder cannot be read.
    """
    newest = max(_incarnations(disk), default=0)
    if newest == 0:
        return "free", 0, None
    file = _read(disk, newest)
    if file is None:
        return "unknown", newest, None
    if file.released or _given_up(file, me):
        return "free", newest, file
    return hold_of(file.identity, me, gone), newest, file


def hold_of(
    owner: Identity, me: Identity, gone: Callable[[Identity, Identity], bool] = is_gone
) -> Hold:
    """Say whether a process that has given nothing up still holds it."""
    if gone(owner, me):
        return "free"
    return "held" if (owner.boot, owner.space) == (me.boot, me.space) else "unknown"


class Owner:
    """This process's right to write to a journal.

    Args:
        disk: the folder.
        incarnation: its number.
        file: the content of its file.
    """

    def __init__(self, disk: Disk, incarnation: int, file: OwnerFile) -> None:
        self.incarnation = incarnation
        self._disk, self._file, self._data = disk, file, to_json(file)

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return _name(self.incarnation)

    def check(self) -> None:
        """Look whether another process has taken over.

        Raises:
            JournalFenced: one has.
            OSError: the folder cannot be read.
        """
        # in this order: owners before the last but one are removed, the oldest first
        taken = self._disk.exists(_name(self.incarnation + 1))
        if taken or not self._is_there():
            self.refuse()

    def _is_there(self) -> bool:
        try:  # by its content: a process that was stopped may have made a file of this name again
            return self._disk.read(_name(self.incarnation)) == self._data
        except FileNotFoundError:
            return False

    def refuse(self) -> None:
        """Raise the error of a process that was taken over from."""
        newest = max(_incarnations(self._disk), default=0)
        file = _read(self._disk, newest)
        by = "another process"
        if file is not None and newest > self.incarnation:
            by = f"process {file.identity.pid} on {file.identity.host} (incarnation {newest})"
        raise JournalFenced(self._disk.where, self.incarnation, by)

    def release(self) -> None:
        """Give the right up: anyone may take it.

        Raises:
            JournalFenced: another process has taken it already.
            OSError: others will know once this process has ended; this one may take it again.
        """
        try:
            self.check()
            name = _name(self.incarnation)
            fresh = f"{name}.{self._file.token}{FRESH}"
            data = to_json(msgspec.structs.replace(self._file, released=True))
            write_new(self._disk, fresh, [data])
            self._disk.rename(fresh, name)
            self._disk.sync_folder()
        finally:
            _held.discard(self._file.token)


def take(
    disk: Disk,
    me: Identity,
    *,
    take_over: bool,
    gone: Callable[[Identity, Identity], bool] = is_gone,
) -> Owner:
    """Become the owner of a journal.

    Args:
        disk: the folder.
        me: this process.
        take_over: also from an owner that may be alive.
        gone: says whether an owner has ended.

    Raises:
        JournalTaken: there is an owner that may be alive; or another process was faster.
        OSError: the folder cannot be written to.
    """
    # Beyond the segments, in case someone has removed the files of owners. These come second: an
    # owner makes its file before any segment, so its file is seen if one of them was.
    segments = itertools.chain(*find_segments(disk))
    used = max((max(it.incarnation, it.compacted_by) for it in segments), default=0)
    hold, newest, before = look(disk, me, gone)
    if hold != "free" and not take_over:
        reason = "its process lives" if hold == "held" else "it may be alive"
        raise _taken(disk, newest, before, reason)
    incarnation = max(newest, used) + 1
    file = OwnerFile(me, os.urandom(8).hex())
    _held.add(file.token)  # before the file is seen: another thread would find it given up
    try:
        if not _create(disk, _name(incarnation), file):
            raise _taken(disk, incarnation, _read(disk, incarnation), "it was faster")
        newest = max(_incarnations(disk), default=0)
        if newest > incarnation:  # others came and went since we looked, and ours had been removed
            raise _taken(disk, newest, _read(disk, newest), "it was faster")
        disk.sync_folder()
    except BaseException:
        _held.discard(file.token)
        raise
    return Owner(disk, incarnation, file)


def forget_earlier(disk: Disk, owner: Owner) -> None:
    """Remove the files of owners before the last but one, the oldest first."""
    for incarnation in sorted(_incarnations(disk)):
        if incarnation < owner.incarnation - 1:
            disk.unlink(_name(incarnation))
            disk.sync_folder()


def _create(disk: Disk, name: str, file: OwnerFile) -> bool:
    """Make the file of an owner, whole, if there is none; say whether the one there is ours."""
    data = to_json(file)
    for _ in range(TRIES):
        try:
            _name_at_once(disk, name, data, f"{name}.{file.token}{FRESH}")
        except FileExistsError:
            break
        except FileNotFoundError:
            continue  # another opener removed the fresh file, with all that looked left behind
        break
    # by its content: over a network the answer to a call that did its work may be lost
    return _read(disk, int(name.partition(".")[0])) == file


def _name_at_once(disk: Disk, name: str, data: bytes, fresh: str) -> None:
    """Make a file that has its whole content as soon as it has its name."""
    write_new(disk, fresh, [data])
    try:
        disk.link(fresh, name)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        write_new(disk, name, [data])  # its content is not there at once, then
    finally:
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(fresh)


def _incarnations(disk: Disk) -> list[int]:
    matches = map(_NAME.fullmatch, disk.names())
    return [int(match[1]) for match in matches if match is not None]


def _read(disk: Disk, incarnation: int) -> OwnerFile | None:
    """Return the content of an owner's file; ``None``: it cannot be told."""
    try:
        return from_json(disk.read(_name(incarnation)), OwnerFile)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _name(incarnation: int) -> str:
    return f"{incarnation:06d}.owner"


def _taken(disk: Disk, incarnation: int, file: OwnerFile | None, reason: str) -> JournalTaken:
    if file is None:
        return JournalTaken(disk.where, incarnation, UNKNOWN, 0, "an unknown time", reason)
    owner = file.identity
    return JournalTaken(disk.where, incarnation, owner.host, owner.pid, owner.started, reason)


def _given_up(file: OwnerFile, me: Identity) -> bool:
    """Say whether this process was the owner and could not say that it no longer is."""
    return (
        msgspec.structs.replace(file.identity, started=me.started) == me and file.token not in _held
    )


def _ticks(pid: int) -> int | None:
    """Return when a process started; ``None`` if it has ended, or ends."""
    try:
        data = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = data.rpartition(b")")[2].split()
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _hidden(pid: int) -> bool:
    """Say whether there is a process of another user, which the system may not show."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return False
