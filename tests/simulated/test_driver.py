"""What has a broker take its steps in time."""

from __future__ import annotations

import asyncio
import sys

from steerio.broker.broker import Broker
from steerio.broker.driver import SWITCH_S, Driver, QuickSwitches
from steerio.edge.wire.memory import MemoryRouter
from steerio.model.settings import Settings
from tests.simulated.virtual import in_virtual_time


@in_virtual_time
async def test_a_timer_that_the_loop_calls_a_little_early_is_not_the_last() -> None:
    loop = asyncio.get_running_loop()
    settings = Settings()
    broker = Broker(
        [MemoryRouter()], pools={"simulate": 1}, closed=True, settings=settings, clock=loop.time
    )
    driver = Driver(broker)
    driver.start(stand_in=False)
    try:
        # asyncio calls what is due within its clock's resolution, and uvloop rounds to milliseconds
        await asyncio.sleep(settings.join_s - 1e-12)
        await asyncio.sleep(1.0)
        assert broker.core.pools["simulate"].failure.startswith("no worker joined it within")
    finally:
        driver.close("the test is over")


def test_of_two_stand_ins_the_last_sets_the_switch_interval_back() -> None:
    usual, switches = sys.getswitchinterval(), QuickSwitches()
    switches.begin()
    switches.begin()
    assert sys.getswitchinterval() == SWITCH_S
    switches.end()
    assert sys.getswitchinterval() == SWITCH_S, "the other still steps"
    switches.end()
    assert sys.getswitchinterval() == usual
