"""Holdings: the holders of each object of the store, and the objects without any.

An object is *held* by tasks that are not settled, by clients that have a reference or have
not fetched a value yet, and by the versions that are the newest of their name.  It is freed when
the last of them lets go, and never before: the message that tells of a new object also names its
first holder.

For tasks only their number is kept with each object, for there may be a million of them, and each
task's record lists its objects.

Invariant: a freed object is not held, even if it was let go and held again in one step.

Each operation costs a few dictionary look-ups, whatever the number of objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from steerio.model.objects import StoredObject

Holder = tuple[str, int | str]
"""A holder that is no task: ``client`` or ``ledger`` with a peer's number, or ``version`` with a
name."""


class Holdings:
    """All objects that the broker knows of, and their holders."""

    def __init__(self) -> None:
        self.sizes: dict[bytes, int] = {}
        """Bytes of every object that is held."""
        self.freed: dict[bytes, None] = {}
        """Objects that lost their last holder since the last `take_freed`, in order."""
        self._tasks: dict[bytes, int] = {}
        """The number of holds that tasks have on each object."""
        self._others: dict[bytes, int] = {}
        """The number of holds of all others."""
        self._holds: dict[Holder, Counter[bytes]] = {}
        self._clients: set[int] = set()

    def join(self, client: int) -> None:
        """Let a client hold objects."""
        self._clients.add(client)

    def leave(self, client: int) -> None:
        """Let go of all that a client holds; it will hold nothing any more."""
        self._clients.discard(client)
        self._let_all_go(("client", client))

    def hold(self, stored: StoredObject, holder: Holder) -> None:
        """Note that a holder needs an object, once more if it already does.

        A client that is not there needs nothing: an object that it alone would hold is freed.
        """
        if holder[0] == "client" and holder[1] not in self._clients:
            self.refuse(stored.name)
            return
        self._add(stored, self._others)
        held = self._holds.get(holder)
        if held is None:
            held = self._holds[holder] = Counter()
        held[stored.name] += 1

    def let_go(self, name: bytes, holder: Holder) -> bool:
        """Take back one hold; ``False`` if there was none."""
        held = self._holds.get(holder)
        if held is None or name not in held:
            return False
        held[name] -= 1
        if not held[name]:
            del held[name]
        if not held:
            del self._holds[holder]
        self._drop(name, self._others)
        return True

    def hold_for_task(self, stored: StoredObject) -> None:
        """Note that one more task needs an object, or that one needs it once more."""
        self._add(stored, self._tasks)

    def task_lets_go(self, name: bytes) -> None:
        """Take back one hold of ``hold_for_task``."""
        if name in self._tasks:  # else all was freed
            self._drop(name, self._tasks)

    def refuse(self, name: bytes) -> None:
        """Free an object that came with a dropped message, unless it is held."""
        if name not in self.sizes:
            self.freed[name] = None

    def free_all(self) -> None:
        """Free everything, held or not: the broker serves no peer any more."""
        self.freed |= dict.fromkeys(self.sizes)
        for everything in (self.sizes, self._tasks, self._others, self._holds):
            everything.clear()
        self._clients.clear()

    def tasks(self, name: bytes) -> int:
        """Return the number of holds that tasks have on an object."""
        return self._tasks.get(name, 0)

    def take_freed(self) -> list[bytes]:
        """Return the objects that were freed since the last call."""
        freed, self.freed = list(self.freed), {}
        return freed

    def bytes_by_tasks(self) -> int:
        """Return the bytes that tasks hold, counted for each hold."""
        return sum(times * self.sizes[name] for name, times in self._tasks.items())

    def bytes_by_holder(self) -> dict[Holder, int]:
        """Return the bytes that each other holder holds."""
        return {
            holder: sum(self.sizes[name] for name in held) for holder, held in self._holds.items()
        }

    def differs(
        self,
        by_tasks: Counter[bytes],
        by_others: Mapping[Holder, Counter[bytes]],
        clients: Collection[int],
    ) -> bool:
        """Say whether objects are held by others than these tasks, holders, and present clients.

        Also whether these hold one that is not known here, or one is both freed and held.
        """
        others = {holder: held for holder, held in self._holds.items() if holder[0] != "client"}
        of_clients = {holder[1] for holder in self._holds if holder[0] == "client"}
        return (
            others != by_others
            or self._tasks != by_tasks
            or self._others != sum(self._holds.values(), Counter[bytes]())
            or self.sizes.keys() != self._tasks.keys() | self._others.keys()
            or not self.freed.keys().isdisjoint(self.sizes)
            or self._clients != set(clients)
            or not of_clients <= self._clients
        )

    def _add(self, stored: StoredObject, counts: dict[bytes, int]) -> None:
        name = stored.name
        if name not in self.sizes:
            self.sizes[name] = stored.nbytes
            self.freed.pop(name, None)
        counts[name] = counts.get(name, 0) + 1

    def _let_all_go(self, holder: Holder) -> None:
        for name in self._holds.pop(holder, Counter[bytes]()).elements():
            self._drop(name, self._others)

    def _drop(self, name: bytes, counts: dict[bytes, int]) -> None:
        counts[name] -= 1
        if not counts[name]:
            del counts[name]
            if name not in self._tasks and name not in self._others:
                del self.sizes[name]
                self.freed[name] = None
