"""The user whose process is at the other end of a Unix socket, as the kernel knows it."""

from __future__ import annotations

import os
import pwd
import socket
import struct

_LINUX = struct.Struct("3i")
"""``struct ucred``: the numbers of the process, the user and the group."""
_LINUX_OPTION: int | None = getattr(socket, "SO_PEERCRED", None)
_BSD = struct.Struct("=IIh2x16I")
"""``struct xucred``: version, user, number of groups, groups."""
_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1


def peer_user(connected: socket.socket) -> int | None:
    """Return the number of that user; ``None`` if the system does not say."""
    try:
        if _LINUX_OPTION is not None:
            option = connected.getsockopt(socket.SOL_SOCKET, _LINUX_OPTION, _LINUX.size)
            return int(_LINUX.unpack(option)[1])
        # as getpeereid() does on macOS and FreeBSD; Python has no call for it
        option = connected.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _BSD.size)
        return int(_BSD.unpack(option)[1])
    except (OSError, struct.error):
        return None


def own_name() -> str:
    """Return this user and host in words, as ``USER@HOST``."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a user without a name, in a container
        name = f"user {os.geteuid()}"
    return f"{name}@{socket.gethostname()}"
