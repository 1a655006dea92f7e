"""The facts on objects of the store: clients and ledgers that hold them, and published versions."""

from __future__ import annotations

from collections.abc import Iterable

from steerio.core import kept_results
from steerio.core.newest_versions import VersionWaiter
from steerio.core.shown_state import ShownState
from steerio.model.objects import StoredObject, Version


class ObjectFacts(ShownState):
    """The part of `Core` that takes in which objects are needed."""

    def hold(self, stored: StoredObject, client: int) -> None:
        """A client needs an object, once more if it does already."""
        self.cluster.holdings.hold(stored, ("client", client))

    def let_go(self, name: bytes, client: int) -> bool:
        """A client needs an object once less; ``False`` if it did not need it."""
        return self.cluster.holdings.let_go(name, ("client", client))

    def refuse(self, name: bytes) -> None:
        """An object came with a message that is dropped: it is freed, unless it is needed."""
        self.cluster.holdings.refuse(name)

    # -- results of detached clients --------------------------------------------------------------

    def keep_result(self, client: int, task_id: int, stored: StoredObject) -> None:
        """A detached client's task ended with this value under an earlier broker."""
        kept_results.keep(self.cluster, client, task_id, stored)

    def give_again(self, client: int, task_id: int) -> None:
        """A detached client is back, and is given the result of a task again."""
        kept_results.give_again(self.cluster, client, task_id)

    def forget_results(self, client: int, task_ids: Iterable[int]) -> None:
        """A detached client will not ask for the results of these tasks again."""
        kept_results.forget(self.cluster, client, task_ids)

    # -- versions of names ------------------------------------------------------------------------

    def publish_version(
        self, name: str, stored: StoredObject, by: str, now: float, number: int = 1
    ) -> tuple[Version, list[VersionWaiter]]:
        """Make an object the newest version of a name; returns that, and the clients to be told."""
        served = self.cluster.versions.publish(name, stored, by, now, number)
        return self.cluster.versions.newest[name], served

    def ask_version(self, name: str, waiter: VersionWaiter) -> Version | None:
        """Return the version that a client asks for, which it then holds; ``None``: it waits."""
        return self.cluster.versions.ask(name, waiter)
