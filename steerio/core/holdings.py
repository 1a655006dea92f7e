"""Holdings: who needs which object of the store, and what nobody needs any more.

An object is *held* by tasks that are not settled, by clients that have a reference or have
not fetched a value yet, and by the versions that are the newest of their name.  It is freed
when the last of them lets go, and never before: whoever puts one in tells of it in the
message that also names its first holder.

Of tasks only their number is kept for each object, for there may be a million of them, and
each task's record says what it holds.

Invariant: what is freed is not held, also where it was let go and held again in one step.

Each operation costs a few dictionary look-ups, whatever the number of objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from steerio.model.objects import StoredObject

Holder = tuple[str, int | str]
"""Who holds, but for tasks: ``client`` with its peer number, ``version`` with its name."""


class Holdings:
    """All objects that the broker knows of, and who holds them."""

    def __init__(self) -> None:
        self.sizes: dict[bytes, int] = {}
        """Bytes of every object that is held."""
        self.freed: dict[bytes, None] = {}
        """What nobody holds any more, since it was last taken, in that order."""
        self._tasks: dict[bytes, int] = {}
        """How often tasks hold an object."""
        self._others: dict[bytes, int] = {}
        """How often all others do."""
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
        """Note that a holder needs an object, once more if it does already.

        A client that is not there needs nothing: what it alone would hold is freed.
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
        """Take back one hold; ``False`` where there was none."""
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
        """Take back what ``hold_for_task`` has noted, once."""
        if name in self._tasks:  # else all was freed
            self._drop(name, self._tasks)

    def refuse(self, name: bytes) -> None:
        """Free an object that came with something that is dropped, unless it is held."""
        if name not in self.sizes:
            self.freed[name] = None

    def free_all(self) -> None:
        """Free everything, whoever holds it: nobody is served any more."""
        self.freed |= dict.fromkeys(self.sizes)
        for everything in (self.sizes, self._tasks, self._others, self._holds):
            everything.clear()
        self._clients.clear()

    def tasks(self, name: bytes) -> int:
        """Return how often tasks hold an object."""
        return self._tasks.get(name, 0)

    def take_freed(self) -> list[bytes]:
        """Return what was freed since the last call."""
        freed, self.freed = list(self.freed), {}
        return freed

    def bytes_by_tasks(self) -> int:
        """Return how many bytes tasks hold, each time that one does."""
        return sum(times * self.sizes[name] for name, times in self._tasks.items())

    def bytes_by_holder(self) -> dict[Holder, int]:
        """Return how many bytes each other holder holds."""
        return {
            holder: sum(self.sizes[name] for name in held) for holder, held in self._holds.items()
        }

    def differs(
        self,
        by_tasks: Counter[bytes],
        by_versions: Mapping[Holder, Counter[bytes]],
        clients: Collection[int],
    ) -> bool:
        """Whether anything is held but by these tasks and versions, and by clients that are there.

        Or held by these and not known here; or freed and held.
        """
        others = {holder: held for holder, held in self._holds.items() if holder[0] != "client"}
        of_clients = {holder[1] for holder in self._holds if holder[0] == "client"}
        return (
            others != by_versions
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
