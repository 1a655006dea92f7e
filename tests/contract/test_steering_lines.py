"""The dashboard's session with a campaign that does not answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from steerio.dashboard.steering_line import LOOK_S, NoCampaign, SteeringLine
from tests.simulated.virtual import in_virtual_time


class Silent:
    """A session with a broker whose campaign stands still."""

    async def look(self, campaign: str) -> Any:
        await asyncio.Event().wait()


@in_virtual_time
async def test_all_that_look_at_a_campaign_that_is_silent_are_told_in_time() -> None:
    class ToSilent(SteeringLine):
        async def _opened(self) -> Any:
            return Silent()

    async def look() -> None:
        with pytest.raises(NoCampaign, match="did not answer"):
            await line.look("Search")

    line = ToSilent(Path())
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(look() for _ in range(20)))
    assert asyncio.get_running_loop().time() - began == pytest.approx(LOOK_S)
