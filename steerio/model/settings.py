"""The numbers that bound a broker, as one frozen value that checks itself."""

from __future__ import annotations

from msgspec import Struct

from steerio.errors import UsageError
from steerio.model.bounds import seconds
from steerio.model.objects import check_number


class Settings(Struct, frozen=True, kw_only=True):
    """Bounds and leases; all times in seconds.

    Attributes:
        beat_s: how often nodes and clients say that they are alive.
        lease_s: silence after which a node is lost, and its tasks are tried elsewhere. It may come
            back at any time, as a fresh one.
        away_s: silence after which a client is lost, or a client gives up its broker. Messages wait
            meanwhile, so a peer that comes back in time goes on. A client waits as long for a
            standing broker that has ended without a word to be started again.
        rejoin_s: how long a node without a walltime waits for a silent broker before it ends.
        start_s: longest start of a worker, preloading included.
        join_s: longest a pool of a closed broker may be without any worker.
        start_failures: workers of a pool that may die in a row while starting; then the broker puts
            the next start off, and a pool without any other worker fails.
        kills: workers that one task may take down before it is not tried again.
        hold_s: longest mean duration of a task type of which one task is sent ahead.
        held_s: more are sent ahead while their durations add up to no more than this.
        held: most tasks that a worker holds ahead of time.
        recall_s: held tasks are recalled when the one before them runs this long.
        ending_s: how long before the end of a node's walltime the broker tells of it.
        leave_s: how long before it the broker stops the node's tasks and queues them again.
        items: items a generator task may yield before its submitter takes one.
        items_bytes: most bytes of these items together; two items may have more.
        snapshot_s: how often a snapshot is taken of a campaign that may be resumed.
        snapshot_results: or after so many results, if these come first.
    """

    beat_s: float = 1.0
    lease_s: float = 15.0
    away_s: float = 120.0
    rejoin_s: float = 300.0
    start_s: float = 120.0
    join_s: float = 60.0
    start_failures: int = 3
    kills: int = 3
    hold_s: float = 0.05
    held_s: float = 0.001
    held: int = 32
    recall_s: float = 0.1
    ending_s: float = 300.0
    leave_s: float = 10.0
    items: int = 16
    items_bytes: int = 256 * 2**20
    snapshot_s: float = 30.0
    snapshot_results: int = 100_000

    def __post_init__(self) -> None:
        """Refuse bounds that bound nothing."""
        for name, usual in zip(self.__struct_fields__, self.__struct_defaults__, strict=True):
            value = getattr(self, name)
            if isinstance(usual, int):
                check_number(f"Settings.{name}", value, least=1)
            else:
                seconds(value, f"Settings.{name}")
        if self.lease_s < 2 * self.beat_s:
            raise UsageError(
                f"Settings.lease_s ({self.lease_s}) must be at least two beats ({self.beat_s} each)"
            )
