"""Holdings: who needs which object of the store, and what nobody needs any more.

An object is *held* by tasks that are not settled, by clients that have a reference or have
not fetched a value yet, and by the versions that are the newest of their name.  It is freed
when the last of them lets go, and never before: whoever puts one in tells of it in the
message that also names its first holder.

Invariant: what is freed is not held, also where it was let go and held again in one step.

Each operation costs a few dictionary look-ups, whatever the number of objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from steerio.model.objects import StoredObject

Holder = tuple[str, int | str]
"""What holds: ``task`` with its id, ``client`` with its peer number, ``version`` with its name."""


class Holdings:
    """All objects that the broker knows of, and who holds them."""

    def __init__(self) -> None:
        self.sizes: dict[bytes, int] = {}
        """Bytes of every object that is held."""
        self.freed: dict[bytes, None] = {}
        """What nobody holds any more, since it was last taken, in that order."""
        self._holds: dict[Holder, Counter[bytes]] = {}
        self._counts: dict[bytes, int] = {}
        self._clients: set[int] = set()

    def join(self, client: int) -> None:
        """Let a client hold objects."""
        self._clients.add(client)

    def leave(self, client: int) -> None:
        """Let go of all that a client holds; it will hold nothing any more."""
        self._clients.discard(client)
        self.let_all_go(("client", client))

    def hold(self, stored: StoredObject, holder: Holder) -> None:
        """Note that somebody needs an object, once more if he does already.

        A client that is not there needs nothing: what only he would hold is freed.
        """
        if holder[0] == "client" and holder[1] not in self._clients:
            self.refuse(stored)
            return
        name = stored.name
        times = self._counts.get(name, 0)
        if not times:
            self.sizes[name] = stored.nbytes
            self.freed.pop(name, None)
        self._counts[name] = times + 1
        held = self._holds.get(holder)
        if held is None:
            held = self._holds[holder] = Counter()
        held[name] += 1

    def refuse(self, stored: StoredObject) -> None:
        """Free an object that came with something that is dropped, unless it is held."""
        if stored.name not in self._counts:
            self.freed[stored.name] = None

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
        self._drop(name, 1)
        return True

    def let_all_go(self, holder: Holder) -> None:
        """Take back all that a holder holds."""
        for name, times in self._holds.pop(holder, Counter[bytes]()).items():
            self._drop(name, times)

    def free_all(self) -> None:
        """Free everything, whoever holds it: nobody is served any more."""
        for holder in list(self._holds):
            self.let_all_go(holder)
        self._clients.clear()

    def _drop(self, name: bytes, times: int) -> None:
        self._counts[name] -= times
        if not self._counts[name]:
            del self._counts[name]
            del self.sizes[name]
            self.freed[name] = None

    def count(self, name: bytes) -> int:
        """Return how often an object is held."""
        return self._counts.get(name, 0)

    def held(self, holder: Holder) -> Iterable[bytes]:
        """Return the names of what somebody holds."""
        return self._holds.get(holder, ())

    def take_freed(self) -> list[bytes]:
        """Return what was freed since the last call."""
        freed, self.freed = list(self.freed), {}
        return freed

    def bytes_by_holder(self) -> Counter[Holder]:
        """Return how many bytes each holder holds."""
        total: Counter[Holder] = Counter()
        for holder, held in self._holds.items():
            total[holder] = sum(self.sizes[name] for name in held)
        return total
