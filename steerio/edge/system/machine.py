"""Names for this machine and its space of process numbers, as host names are not unique.

Cloned containers and virtual machines have one host name, and their processes the same numbers.
"""

from __future__ import annotations

import contextlib
import functools
import getpass
import socket
from pathlib import Path


@functools.cache
def boot_id() -> str:
    """Return a name of this running kernel that no other has; ``""`` if it is not known."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def process_space() -> str:
    """Return a name for the space in which process numbers count, and for its kernel."""
    space = ""
    with contextlib.suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    return f"{boot_id()} {space}".strip()


def user_at_host() -> str:
    """Return USER@HOST, the name under which a person of this process gives orders."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        user = "someone"
    return f"{user}@{socket.gethostname()}"
