"""A campaign of one task that does nothing, for `steerio run`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from steerio import Campaign, agent, task


@task(pool="default")
def noop(value: int) -> int:
    """Nothing."""
    return value


def note_first_result() -> None:
    """Leave the time (Unix seconds) for the benchmark that runs this."""
    Path(os.environ["BENCH_FIRST_RESULT"]).write_text(repr(time.time()), encoding="ascii")


class Noop(Campaign):
    """Note when the first result is there, and end."""

    @agent
    async def ask(self) -> None:
        """Run the one task."""
        await self.run(noop, 1)
        note_first_result()
        self.stop()
