"""Simulated campaigns whose results are kept in a journal, on a disk that crashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from steerio import Campaign, Limits
from steerio.campaign.conductor import drive
from steerio.campaign.keeping import Keeping
from steerio.campaign.past import Past, read_past
from steerio.edge.record.entries import Began, EntryKind, encode_entry
from steerio.edge.record.frame_finder import FrameFinder
from steerio.edge.record.opening_journals import open_journal, remove_below
from steerio.model.settings import Settings
from steerio.session.memo import EarlierRun
from steerio.testing import Model
from steerio.testing.loop import run_virtual
from steerio.testing.record import MemoryRecord
from steerio.testing.simulated_cluster import SimulatedCluster
from tests.contract.crashing_disk import Crashed, CrashingDisk
from tests.contract.journal_histories import ME

SEGMENT_BYTES = 4_000


class KeptJournal:
    """A journal in memory that syncs after every few batches, and notes all that it was given."""

    def __init__(self, disk: CrashingDisk, sync_every: int = 3) -> None:
        self._opened = open_journal(
            disk, ME, segment_bytes=SEGMENT_BYTES, gone=lambda owner, me: True
        )
        self.disk = disk
        finder = FrameFinder(disk, (EntryKind.MEMO, EntryKind.PART))
        self.past: Past = read_past(finder.frames(self._opened.before), finder.find)
        self._writer = self._opened.writer
        self._sync_every, self._batches = sync_every, 0
        self.sync = self._writer.sync

    @property
    def written_to(self) -> int:
        return self._writer.written_to

    def append(self, entries: Sequence[tuple[int, bytes]]) -> int:
        number = self._writer.append(entries)
        self._batches += 1
        if self._batches % self._sync_every == 0:
            self._writer.sync()
        return number

    def remove_below(self, number: int, keeps: Callable[[int], bool] | None) -> None:
        remove_below(self._opened.disk, number, self._opened.owner, keeps)


def play(
    campaign: Campaign,
    disk: CrashingDisk,
    model: Any = None,
    *,
    workers: int = 2,
    seed: int = 0,
    every_s: float = 5.0,
    limits: Limits | None = None,
    record: MemoryRecord | None = None,
    pool: str = "default",
    earlier: Sequence[EarlierRun] = (),
) -> Keeping:
    """Run a campaign to its end, from where the journal says that it was.

    Raises:
        Crashed: the disk stopped.
    """
    journal = KeptJournal(disk)
    past = journal.past

    async def run() -> Keeping:
        journal.append([(EntryKind.BEGAN, encode_entry(Began(1, "", b"", b"", 0, "")))])
        keeping = Keeping(journal, past, settings=Settings(snapshot_s=every_s))
        cluster = SimulatedCluster(
            dict.fromkeys(pool.split(), workers),
            model=model or Model(1.0),
            seed=seed,
            record=record,
        )
        async with cluster, cluster.session("test") as session:
            session.client.count_from(past.incarnations)
            session.recall_from(earlier)
            await drive(campaign, session, limits, keeping)
        return keeping

    return run_virtual(run())


def cut(campaign: Campaign, disk: CrashingDisk, at: int, **options: Any) -> dict[str, bytes] | None:
    """Run a campaign until the disk stops at a change; return the files that are left then."""
    disk.crash_at = at
    try:
        play(campaign, disk, **options)
    except BaseException as error:
        if not disk.crashed:
            raise error
        return disk.survivors("anything", Random(at))
    return None


__all__ = ["Crashed", "CrashingDisk", "KeptJournal", "cut", "play"]
