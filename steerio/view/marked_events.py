"""The events of nodes, workers, pools and the event loop: counted, and marked at their time."""

from __future__ import annotations

from collections.abc import Callable

from steerio.view.campaign_news import StallsSeen
from steerio.view.gantt_rows import GanttRows
from steerio.view.seen_lines import SeenEvent
from steerio.view.things_noted import MarksSeen
from steerio.view.worker_gaps import WorkerGaps
from steerio.view.workers_seen import WorkersSeen


class MarkedEvents:
    """Takes in the events that a run's view marks in its charts.

    Args:
        cluster: counts workers.
        marks: keeps the marks.
        gantt: has a row for each worker.
        stalls: counts the stalls of the event loop; ``gaps``: says which idle time they caused.
    """

    def __init__(
        self,
        cluster: WorkersSeen,
        marks: MarksSeen,
        gantt: GanttRows,
        stalls: StallsSeen,
        gaps: WorkerGaps,
    ) -> None:
        self.cluster = cluster
        self.marks = marks
        self.gantt = gantt
        self.stalls = stalls
        self.gaps = gaps

    def __repr__(self) -> str:
        return f"<MarkedEvents: {self.marks!r}>"

    def handlers(self) -> dict[str, Callable[[SeenEvent], None]]:
        """Return the functions that take them in, by the type of event."""
        return {
            "NodeJoined": self.node_joined,
            "NodeLost": self.node_lost,
            "NodeDraining": self.node_draining,
            "WorkerJoined": self.worker_joined,
            "WorkerLost": self.worker_lost,
            "WorkerRetired": self.worker_retired,
            "WorkerMoved": self.worker_moved,
            "PoolFailed": self.pool_failed,
            "PoolStalled": self.pool_stalled,
            "PoolPaused": self.pool_paused,
            "PoolResumed": self.pool_resumed,
            "BrokerReturned": self.broker_returned,
            "LoopStalled": self.loop_stalled,
        }

    def node_joined(self, event: SeenEvent) -> None:
        """Expect its workers."""
        self.cluster.node_joined(event)
        self.marks.add(event.at, "node_joined", "", text=event.node)

    def node_lost(self, event: SeenEvent) -> None:
        """Expect them no more."""
        self.cluster.node_left(event)
        self.marks.add(event.at, "node_lost", "", text=f"{event.node}: {event.reason}")

    def node_draining(self, event: SeenEvent) -> None:
        """Note that a node gets no more tasks."""
        self.cluster.node_draining(event)
        self.marks.add(event.at, "node_draining", "", text=f"{event.node}: {event.reason}")

    def worker_joined(self, event: SeenEvent) -> None:
        """Count a worker, which has a row from now on."""
        self.cluster.joined(event)
        self.gantt.joined(event.worker or "", event.node, event.pool)

    def worker_lost(self, event: SeenEvent) -> None:
        """Note a loss, unless its node ends."""
        there = event.worker in self.cluster.workers
        if self.cluster.lost(event):
            text = f"{event.worker}: {event.reason}"
            self.marks.add(event.at, "lost", event.pool, text=text)
        if there:
            self.gantt.left(event.worker or "", event.node, event.pool)

    def worker_retired(self, event: SeenEvent) -> None:
        """Note that a worker leaves in good order."""
        self.cluster.retired(event)
        self.gantt.left(event.worker or "", event.node, event.pool)

    def worker_moved(self, event: SeenEvent) -> None:
        """Count it in another pool."""
        self.cluster.moved(event)
        self.marks.add(event.at, "moved", event.pool, event.source, event.worker or "")

    def pool_failed(self, event: SeenEvent) -> None:
        """Note why no more workers are started."""
        self.cluster.pool(event.pool, event.at).failure = event.reason or "it has failed"
        self.marks.add(event.at, "pool_failed", event.pool, text=event.reason)

    def pool_stalled(self, event: SeenEvent) -> None:
        """Note why tasks wait in vain."""
        self.cluster.pool(event.pool, event.at).stalled = event.reason
        self.marks.add(event.at, "pool_stalled", event.pool, text=event.reason)

    def pool_paused(self, event: SeenEvent) -> None:
        """Note why no task is handed out."""
        self.cluster.pool(event.pool, event.at).pause(event.at, event.reason)
        self.marks.add(event.at, "pool_paused", event.pool, text=event.reason)

    def pool_resumed(self, event: SeenEvent) -> None:
        """Note that tasks are handed out again."""
        self.cluster.pool(event.pool, event.at).resume(event.at)
        self.marks.add(event.at, "pool_resumed", event.pool, text=event.reason)

    def broker_returned(self, event: SeenEvent) -> None:
        """Mark another broker."""
        self.marks.add(event.at, "returned", "")

    def loop_stalled(self, event: SeenEvent) -> None:
        """Count a stall, and mark its beginning."""
        self.stalls.add(event)
        self.gaps.loop_stalled(event.at - event.seconds, event.at)
        began = max(self.marks.axis.began, event.at - event.seconds)
        self.marks.add(began, "loop_stalled", "", text=f"{event.agent}, at {event.where}")
