"""Which machine and which space of process numbers this is: names of hosts do not tell.

Cloned containers and virtual machines have one host name, and their processes the same numbers.
"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path


@functools.cache
def boot_id() -> str:
    """Return what tells this running kernel from all others; nothing where that is not known."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def process_space() -> str:
    """Return what tells in which space process numbers are meant, of which kernel."""
    space = ""
    with contextlib.suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    return f"{boot_id()} {space}".strip()
