"""Resuming a long run, and the snapshot of a campaign with a large board.

The run that is resumed has ended tasks by the million: its journal is written as a campaign would
have written it, with the last snapshot before the last thirty thousandth of them. Bytes for each
task are those of that journal. Opening, reading and replaying are timed until the first call that
no worker has answered before.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, ClassVar

import msgspec

import steerio
from bench.effort import Effort
from bench.measurement import Claim, Measurement
from bench.ours.tasks import noop
from bench.pairs import spread
from steerio import Board, Campaign, agent
from steerio.campaign.attributes import generators
from steerio.campaign.captured import (
    CampaignState,
    Captured,
    MadePlaces,
    capture_boards,
    encode_captured,
)
from steerio.campaign.run_journal import open_run_journal
from steerio.campaign.state import StateWriter
from steerio.edge.encoding.digests import digest_call
from steerio.edge.record.durable import Durability
from steerio.edge.record.entries import (
    FORMAT,
    Began,
    Call,
    EntryKind,
    SnapshotEntry,
    encode_entry,
    encode_result,
)
from steerio.edge.record.frames import FRAME_BYTES
from steerio.model.messages import TaskSettled
from steerio.session.task_type import as_task_type

CLAIMS = (
    Claim("resume after 1,000,000 tasks, no snapshot behind 900,000", 20.0, 5.0, "lower", "s"),
    Claim("journal of a small task", 400.0, 200.0, "lower", "bytes"),
    Claim("loop stands still for a snapshot of 100,000 entries", 20.0, 5.0, "lower", "ms"),
)
BATCH = 50
SHARE_COVERED = 0.9


class Million(Campaign):
    """Asks for many results, all but the last of which are recorded."""

    workers: ClassVar = {"default": 1}

    def __init__(self, tasks: int, covered: int) -> None:
        self.tasks, self.covered = tasks, covered
        self.done_at = 0.0

    @agent
    async def ask(self) -> None:
        """Ask for those behind the snapshot, and one more."""
        numbers = range(self.covered, self.tasks)
        for task in self.map(noop, numbers):
            await task
        await self.run(noop, -1)
        self.done_at = time.perf_counter()


def measure(effort: Effort) -> list[Measurement]:
    """The run is made once; each round resumes a copy of it."""
    tasks = effort.of(1_000_000, 100_000)
    with tempfile.TemporaryDirectory(prefix="steerio-bench-") as name:
        folder = Path(name) / "run"
        nbytes = write_run(folder, tasks)
        seconds = spread([resume_s(folder, tasks) for _ in range(effort.of(1, 1))])
    scaled = f"{tasks:,} tasks, a tenth of them replayed"
    return [
        CLAIMS[0].measured(seconds, scaled),
        CLAIMS[1].measured(
            spread([nbytes]), f"a number as argument and value, {FRAME_BYTES} framed"
        ),
        CLAIMS[2].measured(
            spread([stall_ms() for _ in range(effort.of(12, 5))]), "board of numbers"
        ),
    ]


def write_run(folder: Path, tasks: int) -> float:
    """Write the journal of a run; return its bytes for each task."""
    folder.mkdir()
    journal = open_run_journal(folder, Durability.PROCESS, print)
    journal.begin(Began(FORMAT, "bench.durable.resuming:Million", b"", b"", 1, ""))
    covered = int(tasks * SHARE_COVERED)
    kind = as_task_type(noop)
    for first in range(0, tasks, BATCH):
        if first == covered:
            journal.append([(EntryKind.SNAPSHOT, snapshot(journal.written_to, tasks, covered))])
        journal.append([(EntryKind.RESULT, result(kind, n)) for n in range(first, first + BATCH)])
    journal.end("interrupted", "")
    return sum(file.stat().st_size for file in (folder / "journal").iterdir()) / tasks


def result(kind: Any, number: int) -> bytes:
    """The entry of one result."""
    body = kind.codec.pack_atoms((number,))
    key = digest_call(kind.name, "", b"", (number,), {})
    now = time.time()
    times = (now, now + 1e-5, now + 2e-5, now + 3e-5, now + 4e-5)
    value = msgspec.msgpack.encode(number)
    settled = TaskSettled(
        number, "succeeded", 1, "default-1", *times, len(body), len(value), value, 0, None, ""
    )
    return encode_result(Call(key, kind.name, body), settled, ())


def snapshot(covers: int, tasks: int, covered: int) -> bytes:
    """The entry of a snapshot of the campaign."""
    campaign = Million(tasks, covered)
    state = CampaignState(
        kind="bench.durable.resuming:Million",
        version=0,
        attributes=campaign.save_state(),
        calls=[],
        tasks=[],
        ended=[],
        spent=(covered, covered, 0, 0.0, 0.0),
        boards={},
        generators=generators(),
        versions={},
    )
    writer = StateWriter(campaign, [])
    captured = Captured(writer, writer.write(state), [], {}, [], {"default": 1})
    return encode_entry(SnapshotEntry(covers, encode_captured(captured, lambda stored: [])))


def resume_s(folder: Path, tasks: int) -> float:
    """Seconds from the call of `run` to the first result that is not recorded."""
    campaign = Million(tasks, int(tasks * SHARE_COVERED))
    began = time.perf_counter()
    steerio.run(campaign, resume=folder, progress="off")
    return campaign.done_at - began


def stall_ms(entries: int = 100_000) -> float:
    """Milliseconds for which the loop stands still for a snapshot of a board."""

    class Boarded(Campaign):
        def __init__(self) -> None:
            self.board = Board(noop, range(entries), limit=entries)

    async def seize() -> float:
        campaign = Boarded()
        made = MadePlaces(campaign)
        began = time.perf_counter()
        boards = capture_boards(campaign, made)
        writer = StateWriter(campaign, [each.board for each in boards])
        captured = Captured(writer, writer.write(campaign.save_state()), boards, {}, [], {})
        longest = time.perf_counter() - began
        encoding = asyncio.ensure_future(
            asyncio.to_thread(encode_captured, captured, lambda stored: [])
        )
        while not encoding.done():
            turned = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - turned)
        return 1e3 * longest

    return asyncio.run(seize())
