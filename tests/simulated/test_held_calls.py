"""Calls are held for a snapshot for a small share of the time, even if none can ever be taken."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from steerio import Board, Campaign, Succeeded, on_success, task
from steerio.campaign.snapshot_taker import SHARE_HELD, SnapshotTaker
from steerio.testing import Model
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import play


@task
def propose(x: int) -> int:
    return x


@task
def simulate(x: int) -> int:
    return x


class NeverQuiet(Campaign):
    """A handler that awaits long tasks, several at a time."""

    workers: ClassVar = {"default": 20}

    def __init__(self) -> None:
        self.board: Board[int] = Board(propose, range(300))
        self.ended_at = 0.0

    @on_success(propose, concurrent=10)
    async def follow(self, result: Succeeded) -> None:
        await self.run(simulate, result.value)
        self.ended_at = asyncio.get_running_loop().time()


def test_a_campaign_that_is_never_quiet_is_held_for_a_small_share_of_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held_s = began = 0.0
    look, let_go = SnapshotTaker.look, SnapshotTaker._let_go  # pyright: ignore[reportPrivateUsage]

    def looking(taker: SnapshotTaker) -> None:
        nonlocal began
        before = taker.held
        look(taker)
        if before is None and taker.held is not None:
            began = asyncio.get_running_loop().time()

    def letting_go(taker: SnapshotTaker) -> None:
        nonlocal held_s
        if taker.held is not None:
            held_s += asyncio.get_running_loop().time() - began
        let_go(taker)

    monkeypatch.setattr(SnapshotTaker, "look", looking)
    monkeypatch.setattr(SnapshotTaker, "_let_go", letting_go)
    campaign = NeverQuiet()
    model = Model(lambda random, x: random.choice((200.0, 900.0, 1500.0)))
    play(campaign, CrashingDisk(), model, workers=20, every_s=30.0)
    assert campaign.ended_at > 20_000
    assert 0 < held_s < 3 * SHARE_HELD * campaign.ended_at
