"""The state of the core, to be read: a broker, a simulation or a test looks at it here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from steerio.core import checks, stories
from steerio.core.cluster import Cluster
from steerio.core.records import (
    ClientRecord,
    KeptAttempt,
    MoveRecord,
    NodeRecord,
    TaskRecord,
    TypeRecord,
    WorkerRecord,
)
from steerio.core.roster import Pool
from steerio.model.events import AnyEvent
from steerio.model.objects import StoreLoad, Version
from steerio.model.settings import Settings
from steerio.model.tasks import CLIENT_BITS


class ShownState:
    """The part of `Core` that changes nothing.  Its mappings are views: they show later changes.

    Args:
        cluster: all state.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @property
    def settings(self) -> Settings:
        """Bounds and leases."""
        return self.cluster.settings

    @property
    def closed(self) -> bool:
        """Whether there are no other pools, ever."""
        return self.cluster.roster.closed

    @property
    def pools(self) -> Mapping[str, Pool]:
        """All pools, by name."""
        return self.cluster.roster.pools

    @property
    def workers(self) -> Mapping[str, WorkerRecord]:
        """All workers, by name."""
        return self.cluster.roster.workers

    @property
    def nodes(self) -> Mapping[int, NodeRecord]:
        """All nodes, by the numbers of their peers."""
        return self.cluster.nodes

    @property
    def clients(self) -> Mapping[int, ClientRecord]:
        """All clients, by the numbers of their peers."""
        return self.cluster.clients

    @property
    def tasks(self) -> Mapping[int, TaskRecord]:
        """The tasks that have not ended, by their ids."""
        return self.cluster.tasks

    def tasks_of(self, client: int) -> Iterable[TaskRecord]:
        """Return a client's tasks that have not ended."""
        return self.cluster.tasks_of.get(client, {}).values()

    def has_tasks_of(self, number: int) -> bool:
        """Say whether tasks are left whose ids are by this number of a client."""
        firsts = (next(iter(tasks)) for tasks in self.cluster.tasks_of.values())
        return any(first >> CLIENT_BITS == number for first in firsts)

    @property
    def pauses(self) -> int:
        """How often pools were paused and resumed."""
        return self.cluster.pauses

    @property
    def paused(self) -> Mapping[str, str]:
        """The pools that are paused, and why."""
        return {name: pool.paused for name, pool in self.pools.items() if pool.paused}

    @property
    def newest_versions(self) -> Mapping[str, Version]:
        """The newest version of each name."""
        return self.cluster.versions.newest

    @property
    def versions_published(self) -> int:
        """How many versions were published, of all names."""
        return self.cluster.versions.published

    @property
    def runs(self) -> Mapping[int, TaskRecord]:
        """The tasks that are at workers, by the numbers of their attempts."""
        return self.cluster.runs

    @property
    def kept(self) -> Mapping[int, KeptAttempt]:
        """The attempts that went on without a broker and whose clients are not back, by task."""
        return self.cluster.kept

    @property
    def moves(self) -> Mapping[tuple[int, int], MoveRecord]:
        """The moves that are not over, by client and the client's number for them."""
        return self.cluster.moves

    @property
    def ended(self) -> Mapping[str, int]:
        """How many tasks have ended in each way."""
        return self.cluster.ended

    @property
    def held(self) -> Collection[bytes]:
        """The names of all objects that are needed."""
        return self.cluster.holdings.sizes.keys()

    def store_load(self) -> StoreLoad:
        """Return the number and size of the objects in the store, and their holders."""
        return self.cluster.store_load()

    @property
    def epoch(self) -> float:
        """The difference of Unix time to the core's clock."""
        return self.cluster.log.epoch

    @property
    def event_count(self) -> int:
        """How many events there were."""
        return self.cluster.log.count

    @property
    def events_taken(self) -> int:
        """The number of the last event that was taken."""
        return self.cluster.log.count - len(self.cluster.log.fresh)

    def task_type(self, client: int, number: int) -> TypeRecord | None:
        """Return the task type that a client calls by a number, if it does."""
        return self.cluster.clients[client].types.get(number)

    def events_after(self, number: int) -> tuple[int, Sequence[AnyEvent]]:
        """Return how many events after ``number`` are no longer kept, and those that are."""
        return self.cluster.log.after(number)

    def story(self, task_id: int) -> list[str]:
        """Return, in words, the history of a task and why it runs or waits now."""
        return stories.story(self.cluster, task_id)

    def why(self, task_id: int) -> str:
        """Return, in words, why a task runs or waits now; empty if it is not here."""
        return stories.now(self.cluster, task_id)

    def check(self, now: float) -> None:
        """Look whether all that must hold between two facts does.

        Raises:
            InvariantBroken: it does not: a bug in steerio, never the user's fault.
        """
        checks.check(self.cluster, now)
