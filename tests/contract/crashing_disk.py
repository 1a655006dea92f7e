"""A folder in memory that crashes when told, and loses or reorders all that was not synced.

A disk writes blocks of 512 bytes, each as a whole, in any order; a file's length, and each change
of a name, may reach it or not, by itself.  A rename is one change.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from steerio.edge.record.frames import BLOCK

KEEPING = ("nothing", "everything", "anything")
"""How much of all that was not synced survives a crash."""


class Crashed(BaseException):
    """The machine stopped; no ``except`` of the journal may go on from here."""


@dataclass(eq=False)
class File:
    """A file's content as processes see it, and all that it may be after a crash."""

    content: bytearray = field(default_factory=bytearray)
    versions: list[bytes] = field(default_factory=lambda: [b""])
    """The content when it was last synced, and after each change since."""
    links: int = 1

    def survivor(self, keeping: str, random: Random) -> bytes:
        if keeping == "nothing":
            return self.versions[0]
        if keeping == "everything":
            return self.versions[-1]
        length = len(random.choice(self.versions))
        longest = max(map(len, self.versions))
        padded = [version.ljust(longest, b"\0") for version in self.versions]
        blocks = (random.choice(padded)[at : at + BLOCK] for at in range(0, longest, BLOCK))
        return b"".join(blocks)[:length]


Change = tuple[str | None, str | None, File]
"""A name that is taken away, one that is given, and the file."""


class CrashingDisk:
    """The folder, as a `Disk`.

    Args:
        files: their content, which is on the disk.
        crash_at: the number of the change in which the machine stops; ``None``: never.
        written: the part of it that a write had done by then; another change was done if it is
            more than a half.
    """

    where = "folder"

    def __init__(
        self, files: dict[str, bytes] | None = None, crash_at: int | None = None, written: float = 0
    ) -> None:
        self.files = {name: File(bytearray(data), [data]) for name, data in (files or {}).items()}
        self.crash_at, self.written = crash_at, written
        self.room: int | None = None
        """The bytes that may still be written before the disk is full."""
        self.failing: dict[str, int] = {}
        """Calls that fail from now on, with the number of the error."""
        self.before: Callable[[int, str], object] = lambda number, call: None
        """Called before each call, with the number of changes so far."""
        self.changes = 0
        self.calls: list[str] = []
        self._durable = dict(self.files)
        self._unsynced: list[Change] = []
        self._open: dict[int, File] = {}
        self._crashed = False

    def survivors(self, keeping: str, random: Random) -> dict[str, bytes]:
        """Return the files that are on the disk after a crash."""
        names = dict(self._durable)
        for taken, given, file in self._unsynced:
            if keeping == "nothing" or (keeping == "anything" and random.random() < 0.5):
                continue
            if taken is not None and (given is None or names.get(taken) is file):
                names.pop(taken, None)
            if given is not None:
                names[given] = file
        return {name: file.survivor(keeping, random) for name, file in names.items()}

    @property
    def crashed(self) -> bool:
        return self._crashed

    @property
    def descriptors(self) -> int:
        return len(self._open)

    # --- the calls ---

    def names(self) -> list[str]:
        self._look("names")
        return list(self.files)

    def exists(self, name: str) -> bool:
        self._look("exists")
        return name in self.files

    def read(self, name: str) -> bytes:
        self._look("read")
        self._must_exist(name)
        return bytes(self.files[name].content)

    def read_at(self, name: str, at: int, length: int) -> bytes:
        return self.read(name)[at : at + length]

    def named(self, descriptor: int) -> bool:
        self._look("named")
        return self._open[descriptor].links > 0

    def create(self, name: str) -> int:
        last = self._change("create")
        if name in self.files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        file = File()
        if not last or self.written > 0.5:
            self.files[name] = file
            self._unsynced.append((None, name, file))
        self._stop_if(last)
        descriptor = max(self._open, default=2) + 1
        self._open[descriptor] = file
        return descriptor

    def write(self, descriptor: int, pieces: Sequence[bytes], offset: int) -> int:
        last = self._change("write")
        file, data = self._open[descriptor], b"".join(pieces)
        if self.room is not None:
            data = data[: max(0, self.room)]
            self.room -= len(data)
            if not data:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if last:
            data = data[: round(self.written * len(data))]
        if offset > len(file.content):
            file.content.extend(bytes(offset - len(file.content)))
        file.content[offset : offset + len(data)] = data
        file.versions.append(bytes(file.content))
        self._stop_if(last)
        return len(data)

    def truncate(self, descriptor: int, length: int) -> None:
        last = self._change("truncate")
        file = self._open[descriptor]
        if not last or self.written > 0.5:
            del file.content[length:]
            file.versions.append(bytes(file.content))
        self._stop_if(last)

    def sync(self, descriptor: int) -> None:
        last = self._change("sync")
        file = self._open[descriptor]
        if not last or self.written > 0.5:
            file.versions = [bytes(file.content)]
        self._stop_if(last)

    def sync_folder(self) -> None:
        last = self._change("sync_folder")
        if not last or self.written > 0.5:
            self._durable, self._unsynced = dict(self.files), []
        self._stop_if(last)

    def link(self, name: str, to: str) -> None:
        last = self._change("link")
        self._must_exist(name)
        if to in self.files:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), to)
        if not last or self.written > 0.5:
            file = self.files[to] = self.files[name]
            file.links += 1
            self._unsynced.append((None, to, file))
        self._stop_if(last)

    def rename(self, name: str, to: str) -> None:
        last = self._change("rename")
        self._must_exist(name)
        if not last or self.written > 0.5:
            if to in self.files:
                self.files[to].links -= 1
            file = self.files[to] = self.files.pop(name)
            self._unsynced.append((name, to, file))
        self._stop_if(last)

    def unlink(self, name: str) -> None:
        last = self._change("unlink")
        self._must_exist(name)
        if not last or self.written > 0.5:
            file = self.files.pop(name)
            file.links -= 1
            self._unsynced.append((name, None, file))
        self._stop_if(last)

    def close(self, descriptor: int) -> None:
        self._open.pop(descriptor)

    def _look(self, call: str) -> None:
        self.before(self.changes, call)
        if self._crashed:
            raise Crashed
        if call in self.failing:
            raise OSError(self.failing[call], os.strerror(self.failing[call]))

    def _must_exist(self, name: str) -> None:
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)

    def _change(self, call: str) -> bool:
        """Count a change; say whether the machine stops in it."""
        self._look(call)
        self.changes += 1
        self.calls.append(call)
        return self.changes - 1 == self.crash_at

    def _stop_if(self, last: bool) -> None:
        if last:
            self._crashed = True
            raise Crashed
