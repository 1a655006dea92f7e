"""The free space of a folder: the bytes that may be written there without getting killed.

Files in shared memory are memory. If that runs out, the kernel does not refuse the write: it kills
a process. So besides the file system, this module looks at the machine's free memory, and at that
of the control groups this process is in, and leaves a part of each alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SPARE = 1 / 20
"""The part of memory that is left to others."""
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_USED = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Files of a control group, version 2 and 1: its limit, its use, and the part to be had back."""


class Free(NamedTuple):
    """A number of free bytes, and the name of the thing that bounds them."""

    nbytes: int
    where: str


class Space:
    """The space for the files of one folder."""

    def __init__(self, folder: Path, root: Path = Path("/")) -> None:
        self.folder = folder
        self.in_memory = lies_in_memory(folder, root)
        self._root = root

    def free(self) -> Free:
        """Return the free bytes by the tightest bound."""
        there = os.statvfs(self.folder)
        found = [Free(there.f_bavail * there.f_frsize, str(self.folder))]
        if self.in_memory:
            found += _memory(self._root)
        return min(found)


def lies_in_memory(folder: Path, root: Path = Path("/")) -> bool:
    """Say whether the files of a folder are in memory (as far as the system says)."""
    kind, longest = "", -1
    with contextlib.suppress(OSError):
        real = folder.resolve()
        for line in (root / "proc/mounts").read_text(errors="replace").splitlines():
            words = line.split()
            place = Path(words[1].replace("\\040", " "))
            # a later mount hides an earlier one at the same place
            if real.is_relative_to(place) and len(place.parts) >= longest:
                kind, longest = words[2], len(place.parts)
    return kind in _IN_MEMORY


def control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Return the folders of this process's control group, innermost first, in v1 and v2.

    In a container the path may be that of the host: then the top folder is the container's group.
    """
    paths: dict[str, str] = {}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        paths |= dict.fromkeys(controllers.split(","), path)
    groups = root / "sys/fs/cgroup"
    for top, key in ((groups, ""), (groups / "unified", ""), (groups / controller, controller)):
        if key not in paths:
            continue
        folder = top
        if ".." not in paths[key]:  # outside of the container's own control groups
            folder = top / paths[key].strip("/")
        for place in (folder, *folder.parents):
            if place.is_relative_to(top) and place.is_dir():
                yield place


def _memory(root: Path) -> Iterator[Free]:
    machine = _fields(root / "proc/meminfo")
    total, available = machine.get("MemTotal"), machine.get("MemAvailable")
    if total is not None and available is not None:
        left = 1024 * (available - int(SPARE * total))
        yield Free(max(0, left), "this machine's memory")
    for group in control_groups(root, "memory"):
        for limit_file, used_file, regained in _USED:
            limit, used = _text(group / limit_file), _text(group / used_file)
            if limit.strip().isdigit() and used.strip().isdigit():
                left = int(limit) - int(SPARE * int(limit)) - int(used)
                left += _fields(group / "memory.stat").get(regained, 0)
                yield Free(max(0, left), f"the memory of control group {group}")


def _fields(file: Path) -> dict[str, int]:
    """Return the numbers of a file of names and numbers, one a line."""
    lines = (line.replace(":", " ").split() for line in _text(file).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
