"""What a process holds of resources: in which order it came, what needs what, how it goes.

It belongs to one process.  One that was forked from a process that held something begins
with nothing, so that nobody shares a connection, or gives back a licence, that is
another's.
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
"""Of a value: its resource's token, and its arguments."""


class Entry:
    """One value, and how to release it; not ``ready`` while it is being set up."""

    __slots__ = ("keep", "name", "needs", "ready", "release", "value")

    def __init__(self, name: str, keep: int) -> None:
        self.name = name
        self.keep = keep
        self.value: Any = None
        self.release: Callable[[], object] | None = None
        self.ready = False
        self.needs: set[Key] = set()
        """What its own set-up used, which must outlast it."""

    def __str__(self) -> str:
        return self.name


class Held:
    """All that one process holds, in the order in which it was ready.

    One thread at a time sets up: two that ask for the same value get the same one.  (So a
    set-up must not wait for a thread of its own that asks for another resource.)
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.entries: dict[Key, Entry] = {}
        self.used: dict[Key, None] = {}
        """The same keys in the order of their last use."""
        self.being_set_up: list[Entry] = []
        self.crowded = False
        """Whether a resource may have more entries than it keeps."""
        self.belongings: set[int] = set()
        """Child processes and threads of set-ups, or that were there after a task."""
        self.on_change: Callable[[int], None] | None = None
        """Told the number of entries that have something to be done on their release."""
        self.keeping: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
        """Set-ups and releases happen in it: what they change of their process stays."""

    def changed(self) -> None:
        """Tell whoever watches."""
        if self.on_change is not None:
            self.on_change(sum(entry.release is not None for entry in self.entries.values()))

    def use(self, key: Key, entry: Entry) -> None:
        """Note that an entry is used, be it by another's set-up.

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
        """Release entries and whatever needs them, newest first; the lock is held.

        The error of one is told, and keeps none of the others from its release.
        """
        going = set(keys)
        for key, entry in self.entries.items():  # what needs others is newer than they are
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
            except BaseException:  # noqa: BLE001 - a release may raise whatever it likes
                told = f"steerio: releasing {entry} failed:\n{traceback.format_exc()}"
                with contextlib.suppress(OSError, ValueError):  # the task may have closed it
                    sys.stderr.write(told)
            self.changed()

    def drop_crowded(self) -> None:
        """Release what each resource has beyond what it keeps; the lock is held.

        What others were set up from stays until these are gone.  What a signal has left of a
        set-up that it struck goes, too.
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


held = Held()
_inherited: list[Held] = []
"""What processes above this one held.  Kept: to drop a generator would run its ``finally``."""


def _begin_anew() -> None:
    """In a process that was just forked: hold nothing."""
    global held  # noqa: PLW0603 - it is the process's
    _inherited.append(held)
    held = Held()


os.register_at_fork(after_in_child=_begin_anew)


def here() -> Held:
    """Return what this process holds."""
    return held


def watch(on_change: Callable[[int], None]) -> None:
    """Have this process say how many of the values that it holds need a release."""
    held.on_change = on_change
    held.changed()


def keep_changes_with(keeping: Callable[[], AbstractContextManager[None]]) -> None:
    """Have what set-ups and releases change of this process stay, though a task's is set back."""
    held.keeping = keeping


def end_task() -> None:
    """Release what is more than each resource keeps (the worker calls it after each task)."""
    if held.crowded or held.being_set_up:
        with held.lock:
            held.drop_crowded()
    if held.entries:  # what is here now was not left by the next task
        held.belongings = below()


def below() -> set[int]:
    """Return the child processes, and the threads to be waited for, as the system numbers them."""
    found = {pid for pid in descendants.children() if not descendants.is_tracker(pid)}
    return {*found, *_threads()}


def left_by_task() -> bool:
    """Whether anything is below this process that belongs to no resource."""
    return not below() <= held.belongings


def _threads() -> Iterator[int]:
    """Yield the threads that somebody meant to wait for."""
    main = threading.main_thread()
    for thread in threading.enumerate():
        if thread is not main and not thread.daemon:
            yield thread.native_id or 0


def release_all() -> None:
    """Release everything that this process holds, newest first."""
    with held.lock:
        held.drop(list(held.entries))


@functools.cache
def release_at_exit() -> None:
    """See to it that a process that is no worker releases what it holds."""
    atexit.register(release_all)
