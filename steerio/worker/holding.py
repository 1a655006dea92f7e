"""The resource values of a process: their order, their needs of each other, their release.

They belong to one process. A fork of it begins with none, so that no process shares another's
connection, or gives back its licence.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
import threading
import traceback
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from steerio.edge.system import descendants
from steerio.errors import TaskStopped, UsageError

Key = tuple[Hashable, Hashable]
"""The key of a value: its resource's token, and its arguments."""


class HeldValue:
    """One value, and the function that releases it; not ``ready`` while it is being set up."""

    __slots__ = ("keep", "name", "needs", "ready", "release", "value")

    def __init__(self, name: str, keep: int) -> None:
        self.name = name
        self.keep = keep
        self.value: Any = None
        self.release: Callable[[], object] | None = None
        self.ready = False
        self.needs: set[Key] = set()
        """The values that its own set-up used, which must outlast it."""

    def __str__(self) -> str:
        return self.name


class HeldValues:
    """All values that one process holds, in the order in which they were ready.

    One thread at a time sets up: two that ask for the same value get the same one.  (So a
    set-up must not wait for a thread of its own that asks for another resource.)
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.entries: dict[Key, HeldValue] = {}
        self.used: dict[Key, None] = {}
        """The same keys in the order of their last use."""
        self.being_set_up: list[HeldValue] = []
        self.crowded = False
        """Whether a resource may have more entries than it keeps."""
        self.belongings: set[int] = set()
        """Child processes and threads that set-ups started, or that were there after a task."""
        self.on_change: Callable[[int], None] | None = None
        """Called with the number of entries that must be released."""
        self.keeping: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
        """The context of set-ups and releases, in which changes to the process stay."""

    def changed(self) -> None:
        """Tell the watcher, if there is one."""
        if self.on_change is not None:
            self.on_change(sum(entry.release is not None for entry in self.entries.values()))

    def use(self, key: Key, entry: HeldValue) -> None:
        """Note that an entry is used, perhaps by another's set-up.

        Raises:
            UsageError: it is being set up itself, and this is how it would need itself.
        """
        if not entry.ready:
            chain = " > ".join(map(str, [*self.being_set_up, entry]))
            raise UsageError(f"setting up {entry} needs {entry} itself: {chain}")
        self.used.pop(key, None)
        self.used[key] = None
        if self.being_set_up:
            self.being_set_up[-1].needs.add(key)

    def drop(self, keys: Iterable[Key]) -> None:
        """Release entries and all that need them, newest first; the caller holds the lock.

        The error of one release is printed, and stops none of the others.
        """
        going = set(keys)
        for key, entry in self.entries.items():  # an entry is newer than those it needs
            if entry.needs & going:
                going.add(key)
        for key in [key for key in reversed(self.entries) if key in going]:
            entry = self.entries.pop(key)
            self.used.pop(key, None)
            try:
                if entry.release is not None:
                    with self.keeping():
                        entry.release()
            except (TaskStopped, KeyboardInterrupt):
                raise
            except BaseException:  # noqa: BLE001 - a release may raise anything
                told = f"steerio: releasing {entry} failed:\n{traceback.format_exc()}"
                with contextlib.suppress(OSError, ValueError):  # the task may have closed it
                    sys.stderr.write(told)
            self.changed()

    def drop_crowded(self) -> None:
        """Release the values of each resource beyond those it keeps; the caller holds the lock.

        A value that others were set up from stays until these are gone. The rest of a set-up that a
        signal struck goes, too.
        """
        self.crowded = False
        self.being_set_up.clear()
        self.entries = {key: entry for key, entry in self.entries.items() if entry.ready}
        self.used = {key: None for key in self.used if key in self.entries}
        needed = {key for entry in self.entries.values() for key in entry.needs}
        of: dict[Hashable, list[Key]] = {}
        for key in self.used:
            of.setdefault(key[0], []).append(key)
        for keys in of.values():
            surplus = keys[: -self.entries[keys[0]].keep]
            self.drop(key for key in surplus if key not in needed)
            self.crowded |= not needed.isdisjoint(surplus)


held = HeldValues()
_inherited: list[HeldValues] = []
"""Values of processes above.  Kept, as dropping a generator would run its ``finally``."""


def _begin_anew() -> None:
    """In a process that was just forked, hold nothing."""
    global held  # noqa: PLW0603 - it is the process's
    _inherited.append(held)
    held = HeldValues()


os.register_at_fork(after_in_child=_begin_anew)


def here() -> HeldValues:
    """Return the values of this process."""
    return held


def watch(on_change: Callable[[int], None]) -> None:
    """Have this process tell how many of its values need a release."""
    held.on_change = on_change
    held.changed()


def keep_changes_with(keeping: Callable[[], AbstractContextManager[None]]) -> None:
    """Set the context in which set-ups and releases change this process for good."""
    held.keeping = keeping


def end_task() -> None:
    """Release the values beyond those each resource keeps (the worker calls it after each task)."""
    if held.crowded or held.being_set_up:
        with held.lock:
            held.drop_crowded()
    if held.entries:  # the next task will not have left these
        held.belongings = below()


def below() -> set[int]:
    """Return the child processes, and the threads to be waited for, as the system numbers them."""
    found = {pid for pid in descendants.children() if not descendants.is_tracker(pid)}
    return {*found, *_threads()}


def left_by_task() -> bool:
    """Say whether a process or thread is below this one that belongs to no resource."""
    return not below() <= held.belongings


def _threads() -> Iterator[int]:
    """Yield the threads that are not daemons, which are meant to be waited for."""
    main = threading.main_thread()
    for thread in threading.enumerate():
        if thread is not main and not thread.daemon:
            yield thread.native_id or 0


def release_all() -> None:
    """Release all values of this process, newest first."""
    with held.lock:
        held.drop(list(held.entries))


@functools.cache
def release_at_exit() -> None:
    """See to it that a process that is no worker releases its values."""
    atexit.register(release_all)
