"""The file ``attach.json`` of a run directory: the socket at which prompts attach to a campaign.

It is there only while a campaign takes statements, or was killed while it did.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import msgspec
from msgspec import Struct

from steerio.edge.system.machine import boot_id, process_space
from steerio.edge.system.own_files import from_json, read_own, to_json, write_own
from steerio.edge.wire.socket_folders import nobody_listens
from steerio.errors import UsageError

PLACE_FILE = "attach.json"
CONNECT_S = 10.0
"""Longest wait for a campaign to take a connection."""


class PromptPlace(Struct, frozen=True):
    """The socket at which a campaign takes prompts, and its process.

    Attributes:
        host, pid: the machine and process of the campaign.
        path: of the socket there.
        space: the space of process numbers in which ``pid`` counts (`process_space`).
    """

    host: str
    pid: int
    path: str
    space: str = ""

    @property
    def here(self) -> bool:
        """Whether it is on this machine, as far as can be told."""
        kernel = self.space.partition(" ")[0]
        return self.host == socket.gethostname() and kernel in ("", boot_id())

    def write(self, run_dir: Path) -> None:
        """Tell of it in a run directory.

        Raises:
            OSError: it cannot be written.
        """
        write_own(run_dir / PLACE_FILE, to_json(self))

    def remove(self, run_dir: Path) -> None:
        """Tell of it no more, unless a successor tells of its own by now."""
        with contextlib.suppress(OSError, UsageError):
            if read_place(run_dir) == self:
                (run_dir / PLACE_FILE).unlink()

    def connect(self) -> socket.socket:
        """Return a connection to the campaign.

        Raises:
            UsageError: it is elsewhere, has ended, or is another user's.
        """
        process = f"process {self.pid} on {self.host}"
        if not self.here:
            raise UsageError(f"the campaign is {process}: attach from that machine")
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.settimeout(CONNECT_S)
            connected.connect(self.path)
            connected.settimeout(None)
        except (FileNotFoundError, ConnectionRefusedError):
            connected.close()
            raise UsageError(
                f"the campaign ({process}) has ended, and was cut off before it could take "
                f"{PLACE_FILE} away: to go on with it, steerio resume"
            ) from None
        except OSError as error:
            connected.close()
            raise UsageError(
                f"the campaign ({process}) cannot be reached: {error.strerror or error}"
            ) from None
        return connected


def place_of(path: str) -> PromptPlace:
    """Return the place of a socket of this process."""
    return PromptPlace(socket.gethostname(), os.getpid(), path, process_space())


def read_place(run_dir: Path) -> PromptPlace | None:
    """Return the place that a run directory tells of; ``None``, if it tells of none.

    Raises:
        UsageError: it cannot be read, or another user may have written it.
    """
    path = run_dir / PLACE_FILE
    try:
        data, _ = read_own(path)
        return from_json(data, PromptPlace)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise UsageError(f"{path} is not the file of a campaign: {error}") from None


def forget_place(run_dir: Path) -> None:
    """Remove the file of a campaign that was cut off, and its socket: another has the run now."""
    with contextlib.suppress(OSError, UsageError):
        place = read_place(run_dir)
        if place is None:
            return
        (run_dir / PLACE_FILE).unlink()
        left = Path(place.path)
        if place.here and nobody_listens(left):
            left.unlink()
            left.parent.rmdir()
