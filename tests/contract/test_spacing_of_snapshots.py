"""Snapshots that keep the loop for long are taken seldom."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

from steerio.campaign.captured import Captured
from steerio.campaign.snapshot_taker import SHARE, SnapshotTaker
from steerio.campaign.state import StateWriter
from steerio.edge.record.known_results import KnownResults

COPY_S = 0.02


def slow_copy() -> Captured:
    time.sleep(COPY_S)
    return Captured(StateWriter(None, []), b"", [], {}, [], {})


class Recorder:
    """Writes at once."""

    dealing = busy = False
    replay = SimpleNamespace(under_way=False)

    def write_long(self, entries: Any, then: Any) -> None:
        list(entries)
        then()


def test_the_next_snapshot_is_due_when_copies_take_a_small_share_of_the_time() -> None:
    async def run() -> int:
        recorder: Any = Recorder()
        journal: Any = SimpleNamespace(written_to=1)
        taker = SnapshotTaker(
            recorder,
            journal,
            slow_copy,
            lambda stored: [],
            lambda: True,
            lambda: True,
            lambda seconds: "",
            every_s=COPY_S,
            every_results=1000,
            covers=[],
            known=KnownResults(),
        )
        taker.begin()
        await asyncio.sleep(COPY_S / SHARE / 2)
        taker.close()
        return taker.taken

    assert asyncio.run(run()) == 1
