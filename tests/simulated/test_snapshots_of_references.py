"""Values that agents let go of while a snapshot is written stay until it has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from steerio import Campaign, agent
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.ledgers import Ledger
from tests.simulated.random_histories import Setting, play
from tests.simulated.random_tasks import measure


class Replacing(Campaign):
    """An agent that replaces a value, and a version, at each step."""

    workers: ClassVar = {"default": 1, "learn": 1}

    def __init__(self) -> None:
        self.steps = 0
        self.value: Any = None

    @agent
    async def walk(self) -> None:
        model = self.versions("model")
        while self.steps < 20:
            self.value = await self.put(list(range(1000 + self.steps)))
            await model.publish(list(range(2000 + self.steps)))
            await self.run(measure, "me", self.steps)
            self.steps += 1
            await self.checkpoint()


def test_a_snapshot_has_values_that_are_replaced_meanwhile(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def slowly(function: Callable[..., Any], *args: Any) -> Any:
        await asyncio.sleep(5.0)
        return function(*args)

    monkeypatch.setattr(asyncio, "to_thread", slowly)
    ledger = Ledger()
    play(Replacing(), CrashingDisk(), ledger, Setting(every_results=1))
    assert ledger.snapshots > 1
    assert "no snapshot can be taken" not in caplog.text
