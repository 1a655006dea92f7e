"""Histories of random campaigns: they are cut off, resumed and compared with one that was not."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from steerio import Campaign
from steerio.campaign.captured import Captured
from steerio.campaign.conductor import Conductor
from steerio.campaign.keeping import Keeping, KeptRun
from steerio.campaign.past import read_past
from steerio.campaign.snapshot_taker import KEPT
from steerio.client.client import Client
from steerio.client.line import Received, Recording
from steerio.edge.record.entries import Began, EntryKind, encode_entry
from steerio.edge.record.frame_finder import FrameFinder
from steerio.edge.record.journal_segments import JournalReader, find_segments
from steerio.edge.record.known_results import KnownResults
from steerio.model.objects import StoreSetting
from steerio.model.results import Result
from steerio.model.settings import Settings
from steerio.session.memo import EarlierRun
from steerio.session.recorded_calls import call_of
from steerio.session.task import Task
from steerio.testing.loop import run_virtual
from steerio.testing.simulated_cluster import SimulatedCluster
from tests.contract.crashing_disk import KEEPING, CrashingDisk
from tests.simulated.ledgers import Journal, Ledger
from tests.simulated.random_campaigns import make_campaign
from tests.simulated.random_tasks import models

HISTORIES = 8
"""Histories of one campaign."""
WALL_LIMIT_S = 30.0
"""Real seconds after which a run has failed."""


class WatchedKeeping(Keeping):
    """The keeping of a run that checks its snapshots; its client is busy now and then.

    Args:
        journal: takes the entries.
        setting: how the incarnation runs.
    """

    run: WatchedConductor

    def __init__(self, journal: Journal, setting: Setting) -> None:
        super().__init__(
            journal,
            journal.past,
            settings=Settings(snapshot_s=setting.every_s, snapshot_results=setting.every_results),
        )
        self.busy_s = setting.busy_s
        self._ledger, self._before = journal.ledger, len(journal.ledger.results)

    def begin(self, run: KeptRun) -> None:
        assert isinstance(run, WatchedConductor)
        self.run = run
        client: Any = run.session.client
        record_by = client.record_by

        def late(recording: Recording | None) -> None:
            record_by(None if recording is None else Late(client, recording, self.busy_s))

        if self.busy_s:
            client.record_by = late
        super().begin(run)

    def _capture(self) -> Captured:
        # a result that is recorded, and was not told of, would be lost with this snapshot
        assert self.run.told.total() == len(self._ledger.results) - self._before
        return super()._capture()


class Late:
    """Has messages taken in and dealt out together, as of a client that was busy for a while."""

    def __init__(self, client: Client, recording: Recording, busy_s: float) -> None:
        self._client, self._recording, self._busy_s = client, recording, busy_s
        self._received: list[Any] = []

    def take_in(self, received: Received) -> Received:
        if not self._received:
            asyncio.get_running_loop().call_later(self._busy_s, self._deal)
        self._received += received
        return ()

    def _deal(self) -> None:
        received, self._received = self._received, []
        self._client._line.deal_all(self._recording.take_in(received))
        self._recording.dealt()

    def dealt(self) -> None:
        """Nothing was, yet."""


class WatchedConductor(Conductor):
    """A run of a campaign that notes the calls whose results it was told."""

    told: Counter[bytes]

    def task_ended(self, task: Task[Any], result: Result) -> None:
        call = call_of(task)
        if call is not None and result.ended_as in ("succeeded", "failed", "timed_out"):
            self.told[call.key] += 1
        super().task_ended(task, result)


@dataclass
class Setting:
    """How one incarnation runs."""

    seed: int = 0
    workers: int = 2
    learn: int = 1
    every_s: float = 5.0
    every_results: int = 100_000
    sync_every: int = 3
    busy_s: float = 0.0
    full_at: int | None = None
    full_room: int = 0
    full_tries: int = 0

    @staticmethod
    def drawn(random: Random) -> Setting:
        """Return a setting for one incarnation."""
        return Setting(
            seed=random.randrange(1 << 30),
            workers=random.randint(1, 4),
            learn=random.randint(1, 2),
            every_s=random.choice((0.4, 1.0, 3.0, 1000.0)),
            every_results=random.choice((2, 7, 100_000)),
            sync_every=random.choice((1, 3, 10)),
            busy_s=random.choice((0.0, 0.0, 0.3, 1.5)),
        )

    def fill(self, disk: CrashingDisk) -> None:
        """Have the disk full for a while, as from a change on."""
        if self.full_at is None:
            return
        full_at, tries = self.full_at, self.full_tries

        def before(number: int, call: str) -> None:
            nonlocal tries
            if number < full_at or tries < 0:
                return
            if disk.room is None:
                disk.room = self.full_room
            elif call == "write" and disk.room <= 0:
                tries -= 1
                if tries < 0:
                    disk.room = None

        disk.before = before


def play(
    campaign: Campaign,
    disk: CrashingDisk,
    ledger: Ledger,
    setting: Setting,
    earlier: Sequence[EarlierRun] = (),
) -> Keeping:
    """Run a campaign to its end, from where its journal says that it was.

    Args:
        campaign: the campaign.
        disk: has its journal.
        ledger: is told of all that is recorded.
        setting: how it runs.
        earlier: runs whose results are known.

    Raises:
        Crashed: the disk stopped; in general as one of several errors.
    """
    journal = Journal(disk, ledger, setting.sync_every)
    recorded = ledger.keys
    told: Counter[bytes] = Counter()
    problems: list[dict[str, Any]] = []

    async def run() -> Keeping:
        loop: Any = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: problems.append(context))
        journal.append([(EntryKind.BEGAN, encode_entry(Began(1, "", b"", b"", 0, "")))])
        setting.fill(disk)
        keeping = WatchedKeeping(journal, setting)
        cluster = SimulatedCluster(
            {"default": setting.workers, "learn": setting.learn},
            model=models(setting.seed),
            seed=setting.seed,
            store=StoreSetting(threshold_bytes=500),
        )
        async with cluster, cluster.session("test") as session:
            session.recall_from(earlier)
            conductor = WatchedConductor(campaign, session, None, keeping)
            conductor.told = told
            await conductor.run()
            for _ in range(5):
                await asyncio.sleep(0)
            left = [handle for handle in loop._scheduled if _is_of_keeping(handle)]
            assert not left, left
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        assert not tasks, tasks
        return keeping

    try:
        keeping = run_virtual(run(), wall_limit_s=WALL_LIMIT_S)
    finally:
        # all that the campaign was told of was recorded before, unless it had been already
        assert told <= ledger.keys - recorded
    ledger.snapshots += keeping.snapshots.taken
    ledger.replayed += keeping.recorder.replay.given
    assert not keeping.recorder.replay.left
    assert not problems, problems
    journal.close()
    assert disk.descriptors == 0
    if keeping.snapshots.taken > 1:
        _check_segments(disk)
    return keeping


def _is_of_keeping(handle: asyncio.TimerHandle) -> bool:
    owner = getattr(getattr(handle, "_callback", None), "__self__", None)
    kinds = "SnapshotTaker", "ResultRecorder", "Replay"
    return not handle.cancelled() and type(owner).__name__ in kinds


def _check_segments(disk: CrashingDisk) -> None:
    """Check that segments are gone which only older snapshots would need."""
    segments, _ = find_segments(disk)
    covers = read_past(JournalReader(disk).frames()).covers
    segments = [segment for segment in segments if not segment.compacted_by]
    if len(covers) > KEPT + 1 and len(segments) > 1:
        # the snapshot that was taken last may have been interrupted before it removed any
        assert segments[1].first > covers[-KEPT - 1] + 1


@dataclass
class Uncut:
    """A campaign that was not cut off: what it came to, and how many changes its journal took."""

    seed: int | str
    outcome: Any
    keys: Counter[bytes]
    names: dict[bytes, str]
    spent: tuple[int, int, int]
    changes: int
    disk: CrashingDisk

    def known(self) -> EarlierRun:
        """Return it as an earlier run, all of whose results are known."""
        finder = FrameFinder(self.disk, (EntryKind.RESULT, EntryKind.MEMO, EntryKind.PART))
        known = KnownResults(finder.find, all_kinds=True)
        for frame in finder.frames():
            known.see(frame)
        return EarlierRun("uncut", known)


def spent(keeping: Keeping) -> tuple[int, int, int]:
    """Return the numbers of tasks, successes and failures."""
    assert isinstance(keeping, WatchedKeeping)
    found = keeping.run.spent
    return found.tasks, found.successes, found.failures


def run_uncut(seed: int | str) -> Uncut:
    """Run a random campaign without a cut."""
    campaign, disk, ledger = make_campaign(seed)(), CrashingDisk(), Ledger()
    keeping = play(campaign, disk, ledger, Setting())
    about = ledger.keys, ledger.names, spent(keeping), disk.changes
    return Uncut(seed, campaign.outcome(), *about, disk)


class History:
    """A random campaign that is cut off, or has a full disk, at random.

    Args:
        uncut: the same campaign.
        seed: of the cuts, and of all that happens in between.
    """

    def __init__(self, uncut: Uncut, seed: int) -> None:
        self.uncut = uncut
        self.cuts = 0
        self.filled = 0
        self.ledger = Ledger()
        self._random = Random(f"history {uncut.seed} {seed}")
        self._kind = make_campaign(uncut.seed)

    def play(self) -> None:
        """Play the history, and compare its end."""
        random, disk = self._random, CrashingDisk()
        for _ in range(random.choice((1, 1, 2, 3))):
            disk.crash_at = random.randrange(self.uncut.changes)
            disk.written = random.random()
            if not self._play_on(disk):
                return
            disk = CrashingDisk(disk.survivors(random.choice(KEEPING), random))
        assert self._play_on(disk) is False

    def _play_on(self, disk: CrashingDisk) -> bool:
        """Play one incarnation, and say whether it was cut off."""
        campaign, setting = self._kind(), Setting.drawn(self._random)
        if self._random.random() < 0.15:
            self.filled += 1
            setting.full_at = self._random.randrange(self.uncut.changes)
            setting.full_room = self._random.randrange(2_000)
            setting.full_tries = self._random.randrange(6)
        try:
            earlier = [self.uncut.known()] if self._random.random() < 0.3 else []
            keeping = play(campaign, disk, self.ledger, setting, earlier)
        except BaseException:
            if not disk.crashed:
                raise
            self.cuts += 1
            return True
        self._compare(campaign, keeping)
        return False

    def _compare(self, campaign: Any, keeping: Keeping) -> None:
        uncut = self.uncut
        outcome = campaign.outcome()
        for name in uncut.outcome:  # one by one, as a difference of all would be long
            assert outcome[name] == uncut.outcome[name], (name, self._difference())
        assert self.ledger.keys == uncut.keys, self._difference()
        assert set(self.ledger.computed.values()) <= {1}
        assert spent(keeping) == uncut.spent
        drawn = [value for values in campaign.drawn.values() for value in values]
        assert set(drawn) == self.ledger.drawn

    def _difference(self) -> dict[str, list[str]]:
        """Return the calls that have more results here, and of which some are missing."""
        ours, theirs = self.ledger.keys, self.uncut.keys
        names = self.ledger.names | self.uncut.names
        return {
            "more": [names[key] for key in ours - theirs],
            "missing": [names[key] for key in theirs - ours],
        }


@dataclass
class Found:
    """How much a search has done."""

    cuts: int = 0
    filled: int = 0
    snapshots: int = 0
    replayed: int = 0


def search(seed: int | str, cuts: int) -> Found:
    """Play random histories of random campaigns until there were so many cuts.

    Raises:
        AssertionError: a history ended in another way; with the seeds.
    """
    found, number = Found(), 0
    while found.cuts < cuts:
        number += 1
        uncut = run_uncut(f"{seed} {number}")
        for each in range(HISTORIES):
            history = History(uncut, each)
            try:
                history.play()
            except BaseException as error:
                error.add_note(f"{seed=}, campaign {number}, history {each}")
                raise
            found.cuts += history.cuts
            found.filled += history.filled
            found.snapshots += history.ledger.snapshots
            found.replayed += history.ledger.replayed
    return found
