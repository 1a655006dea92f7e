"""The facts on clients, nodes and workers: they come, say something, and go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from steerio.core import accounts, kept_runs, membership, worker_life
from steerio.core.assigning import assign
from steerio.core.records import Accounted, KeptByNode, NodeRecord, WorkerRecord
from steerio.core.shown_state import ShownState
from steerio.model.places import WorkerNeeds


class MemberFacts(ShownState):
    """The part of `Core` that takes in which members there are."""

    def client_joined(
        self,
        peer: int,
        name: str,
        watched: bool,
        now: float,
        maker: str = "",
        inside: str = "",
        *,
        detached: bool = False,
    ) -> None:
        """A client joined, or a detached one that was away is back.

        Args:
            peer: its number as a peer, which a detached one keeps.
            name: its name.
            watched: whether it beats, and is lost when it falls silent.
            now: the time.
            maker: its name as a maker of objects in the store.
            inside: the worker in whose task it says that it is, and the number of that process.
            detached: whether its tasks go on when it leaves.
        """
        membership.client_joined(
            self.cluster, peer, name, watched, now, maker, inside, detached=detached
        )

    def client_left(self, peer: int, reason: str, now: float) -> None:
        """A client left or was lost: its tasks are cancelled, unless it is detached."""
        membership.client_left(self.cluster, peer, reason, now)
        assign(self.cluster, now)

    def attach(self, peer: int) -> None:
        """A client is not detached any more: its tasks end when it leaves."""
        self.cluster.clients[peer].detached = False

    def client_forgotten(self, peer: int) -> None:
        """A detached client that is away, and has no task left, will not come back."""
        membership.client_forgotten(self.cluster, peer)

    def client_away(self, peer: int, now: float) -> None:
        """A detached client is away that was taken up from an earlier broker."""
        membership.client_away(self.cluster, peer, now)

    def heard(
        self, peer: int, now: float, offset_s: float | None = None, link_s: float = 0.0
    ) -> None:
        """A client or node said something.

        Args:
            peer: its number.
            now: the time.
            offset_s: how far a node's clock is behind, if it knows.
            link_s: how long a message of a node and its answer take.
        """
        membership.heard(self.cluster, peer, now)
        node = self.cluster.nodes.get(peer)
        if offset_s is not None and node is not None:
            node.offset_s, node.link_s = offset_s, link_s

    def unreadable(self, peer: int, reason: str, now: float) -> None:
        """A message of a peer cannot be read: the peer ends, and all that depends on it."""
        membership.unreadable(self.cluster, peer, reason, now)
        assign(self.cluster, now)

    # -- nodes and their workers ------------------------------------------------------------------

    def node_joined(
        self,
        peer: int,
        name: str,
        host: str,
        offers: dict[str, int],
        now: float,
        requires: dict[str, list[str]] | None = None,
        makes: dict[str, WorkerNeeds] | None = None,
        walltime_s: float | None = None,
        keeps: Sequence[KeptByNode] = (),
    ) -> NodeRecord | None:
        """A node joined: its workers are started.

        ``None`` if a pool it names cannot be, or the peer is a node already.

        Args:
            peer: the node's number as a peer.
            name: the name that it asks for.
            host: the name of its host.
            offers: how many workers it can start, by pool.
            now: the time, in seconds on the broker's clock.
            requires: the things that a process must have loaded to serve a pool.
            makes: the share of each worker, by pool; without one: one core.
            walltime_s: seconds that the node may yet run; ``None``: not bounded.
            keeps: the workers among those offered that it has kept, see `kept_runs`.
        """
        return membership.node_joined(
            self.cluster, peer, name, host, offers, now, requires, makes, walltime_s, keeps
        )

    def node_lost(self, peer: int, reason: str, now: float) -> None:
        """A node left or was lost, and its workers with it."""
        membership.node_lost(self.cluster, peer, reason, now)
        assign(self.cluster, now)

    def accounted(
        self,
        peer: int,
        heard: float,
        workers: Mapping[str, Accounted],
        now: float,
        *,
        orders_lost: bool,
    ) -> None:
        """A node says what it knows of all its workers, because messages about them were lost.

        Args:
            peer: the node's number as a peer.
            heard: the time before which all that was sent to it has arrived there, or is lost.
            workers: its workers, by name.
            now: the time, in seconds on the broker's clock.
            orders_lost: whether not all that was sent to its workers has arrived.
        """
        accounts.take(self.cluster, peer, heard, workers, now, orders_lost=orders_lost)
        assign(self.cluster, now)

    def worker_joined(self, peer: int, name: str, pid: int, now: float) -> WorkerRecord | None:
        """A worker is ready; ``None`` if none of that name is expected."""
        if (kept := kept_runs.joined(self.cluster, name, peer, pid, now)) is not None:
            return kept
        worker = worker_life.worker_joined(self.cluster, peer, name, pid, now)
        assign(self.cluster, now)
        return worker

    def worker_exited(self, name: str, run: int, reason: str, now: float) -> None:
        """A node says that a worker's process ended while it worked on ``run`` (0: on nothing)."""
        worker_life.worker_exited(self.cluster, name, run, reason, now)
        assign(self.cluster, now)
