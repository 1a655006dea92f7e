"""Folders of Unix sockets: made by brokers and nodes, closed to others, and removed.

A process that is killed leaves its folder behind.  The name of such a folder says on which machine
it was made, for several may share a temporary folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

from steerio.edge.system.machine import boot_id
from steerio.errors import UsageError

JUST_MADE_S = 60.0
"""Age up to which a folder of sockets is left alone: its maker may be about to listen."""
_MACHINE = f"{socket.gethostname()} {boot_id()}".encode(errors="surrogateescape")
_PREFIX = f"steerio-{hashlib.blake2b(_MACHINE, digest_size=3).hexdigest()}-"
"""Its digest tells machines apart that share a temporary folder, also cloned ones."""
LONGEST_SOCKET = 90
"""Bytes of a path that leave room for a socket's name (Linux takes 107 in all)."""


def make_folder() -> Path:
    """Make a folder for sockets, of mode 0700 and not too long a name.

    Raises:
        UsageError: it cannot be made.
    """
    folder = temporary_folder()
    if len(os.fsencode(folder)) > LONGEST_SOCKET - len(f"{_PREFIX}12345678"):
        folder = Path("/tmp")  # the folder made in it is closed to others
    try:
        return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
    except OSError as error:
        raise UsageError(
            f"no folder for sockets can be made in {folder}: {error.strerror}; name a folder that "
            "can be written to in TMPDIR, and not too long (Unix sockets take "
            f"{LONGEST_SOCKET} bytes)"
        ) from None


def temporary_folder() -> Path:
    """Return the folder of temporary files.

    Raises:
        UsageError: there is none to write to.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise UsageError(
            f"{error.strerror}: have one that can be written to and has room, and name it in TMPDIR"
        ) from None


def sweep_sockets(*, just_made_s: float = JUST_MADE_S, dry_run: bool = False) -> list[Path]:
    """Remove the folders of sockets that killed processes of this user have left.

    These are folders of nothing but sockets, or of nothing, at none of which a process listens, and
    which are not just being made.

    Args:
        just_made_s: age up to which they are left alone.
        dry_run: only return them.
    """
    swept: list[Path] = []
    for folder in {Path(tempfile.gettempdir()), Path("/tmp")}:
        for left in folder.glob(f"{_PREFIX}????????"):
            with contextlib.suppress(OSError):  # it is gone, or another's
                made = left.lstat()
                ours = made.st_uid == os.getuid() and made.st_mtime + just_made_s < time.time()
                if ours and _is_left(left):
                    swept.append(left)
                    if not dry_run:
                        shutil.rmtree(left)
    return swept


def _is_left(folder: Path) -> bool:
    """Say whether a folder has nothing but sockets, and surely no process listens at one.

    Raises:
        OSError: it is no folder that can be looked into.
    """
    return all(each.is_socket() and nobody_listens(each) for each in folder.iterdir())


def nobody_listens(place: Path) -> bool:
    """Say whether surely no process does at a socket, not even one that is slow to answer."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(place))
        except ConnectionRefusedError:
            return True
        except OSError:
            pass
    return False
