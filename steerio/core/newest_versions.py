"""Versions: names whose value changes, such as a model that is trained again and again.

The newest version of a name is held; an older one only by the tasks that use it, and by
clients that have a reference to it.  A task that takes the *latest* is given the one that is
newest when an attempt of it is sent, so that a retry may get a newer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from steerio.core.eventlog import EventLog
from steerio.core.holdings import Holdings
from steerio.model.events import VersionPublished
from steerio.model.objects import StoredObject, Version


class VersionWaiter(Struct, frozen=True):
    """A client that asked, under this number, for a version newer than ``after``."""

    client: int
    request: int
    after: int


class NewestVersions:
    """The newest version of each name, and the clients that wait for the next."""

    def __init__(self, holdings: Holdings, log: EventLog) -> None:
        self.newest: dict[str, Version] = {}
        self.published = 0
        """How many versions were published, of all names."""
        self._restored: dict[str, bytes] = {}
        """The objects of versions that an earlier broker had, until others are published."""
        self._holdings = holdings
        self._log = log
        self._waiting: dict[str, dict[VersionWaiter, None]] = {}
        self._asked: dict[int, dict[tuple[str, VersionWaiter], None]] = {}
        """The same by client."""

    def publish(
        self, name: str, stored: StoredObject, by: str, now: float, number: int = 1
    ) -> list[VersionWaiter]:
        """Make an object the newest version of a name; return the clients that waited for it.

        Its number is ``number`` or more.
        """
        before = self.newest.get(name)
        if before is not None and self._restored.pop(name, b"") == stored.name:
            return []  # published already: the broker before this one could not answer
        self.published += 1
        number = max(number, before.number + 1 if before else 1)
        version = self.newest[name] = Version(number, stored)
        holder = ("version", name)
        self._holdings.hold(stored, holder)
        if before is not None:
            self._holdings.let_go(before.stored.name, holder)
        self._log.emit(VersionPublished, now, name, number, stored.nbytes, by)
        served = [waiter for waiter in self._waiting.get(name, ()) if waiter.after < number]
        for waiter in served:
            self._wait_no_more(name, waiter)
            self._holdings.hold(version.stored, ("client", waiter.client))
        return served

    def restore(self, newest: Mapping[str, Version]) -> None:
        """Have these versions, which an earlier broker had: no event tells of them again."""
        for name, version in newest.items():
            self.newest[name] = version
            self._restored[name] = version.stored.name
            self._holdings.hold(version.stored, ("version", name))

    def ask(self, name: str, waiter: VersionWaiter) -> Version | None:
        """Return the version that a client asks for, and then holds; ``None``: it waits for it."""
        version = self.newest.get(name)
        if version is None or version.number <= waiter.after:
            self._waiting.setdefault(name, {})[waiter] = None
            self._asked.setdefault(waiter.client, {})[name, waiter] = None
            return None
        self._holdings.hold(version.stored, ("client", waiter.client))
        return version

    def forget(self, client: int) -> None:
        """Have a client that is gone wait no more."""
        for name, waiter in list(self._asked.get(client, ())):
            self._wait_no_more(name, waiter)

    def _wait_no_more(self, name: str, waiter: VersionWaiter) -> None:
        waiting, asked = self._waiting[name], self._asked[waiter.client]
        del waiting[waiter], asked[name, waiter]
        if not waiting:
            del self._waiting[name]
        if not asked:
            del self._asked[waiter.client]

    def missing(self, names: Iterable[str]) -> str | None:
        """Return the first of these names that has no version, or ``None``."""
        return next((name for name in names if name not in self.newest), None)

    def take(self, names: Iterable[str]) -> dict[str, Version]:
        """Return the newest versions of names, which a task then holds."""
        taken = {name: self.newest[name] for name in names}
        for version in taken.values():
            self._holdings.hold_for_task(version.stored)
        return taken

    def give_back(self, taken: dict[str, Version]) -> None:
        """Take back the versions of an attempt."""
        for version in taken.values():
            self._holdings.task_lets_go(version.stored.name)
