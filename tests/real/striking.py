"""Campaigns of examples whose workers are killed while they work, against the same left in peace.

The scripts that tests start import this, so it stands where their workers find it, too.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import steerio
from steerio import Campaign, NodeJoined, NodeLost, Session, TaskEnded, agent
from tests.real.programs import REPOSITORY, kill, python, running

KILLS = 4
"""Workers that are killed, at most, unless a test says otherwise."""
COMPARED = "from tests.real.striking import struck\n"


def struck(
    kind: type[Campaign],
    each_s: float = 2.0,
    calm: dict[str, Any] | None = None,
    kills: int = KILLS,
    **options: Any,
) -> tuple[Any, Any]:
    """Run a campaign in peace, and one of which a busy worker is killed now and then.

    Args:
        kind: the campaign.
        each_s: seconds between kills, at least: one comes when something has happened.
        calm: options of the one in peace, if they differ.
        kills: workers that are killed, at most.
        options: of the campaign; ``workers`` may be among them.

    Returns:
        Both, ended.
    """
    killed: dict[int, int] = {}  # the workers' processes, by the task that each had

    @agent
    async def strike(self: Campaign) -> None:
        """Kill a worker that has a task; no task loses two, however slow this machine is."""
        while len(killed) < kills:
            due = time.monotonic() + each_s
            # looked at when something happens, so it keeps no campaign from its end
            await self.until(lambda due=due: time.monotonic() >= due)  # type: ignore[misc]
            workers = (await self.session.status()).workers
            busy = {each.task_id: each.pid for each in workers if each.task_id}
            if left := sorted(busy.keys() - killed.keys()):
                task = random.Random(len(killed)).choice(left)
                killed[task] = busy[task]
                os.kill(busy[task], signal.SIGKILL)

    strike.__qualname__ = f"{kind.__qualname__}.strike"
    runs: list[Any] = []
    workers = options.pop("workers", None)
    for each in (kind, type(kind.__name__, (kind,), {"strike": strike})):
        campaign = each(**(options | (calm or {}) if each is kind else options))
        folder = f"run-{len(runs)}"
        steerio.run(campaign, workers=workers, progress="off", run_dir=folder)
        runs.append(campaign)
    sys.stderr.write(f"{len(killed)} workers were killed\n")
    return runs[0], runs[1]


def run_beside(example: str, code: str, folder: Path, within_s: float) -> str:
    """Run code as a script beside the modules of an example; it has to end well.

    Args:
        example: the folder of the example.
        code: the script.
        folder: where it runs.
        within_s: the longest that it may take.

    Returns:
        All that it printed, its errors among it.
    """
    script = folder / "script.py"
    beside = REPOSITORY / "examples" / example
    script.write_text(f"import sys\nsys.path.insert(0, {str(beside)!r})\n{code}")
    with running(*python(script.name), cwd=folder) as program:
        assert program.status(within_s) == 0, program
    return program.output


def run_struck(example: str, code: str, folder: Path, within_s: float) -> tuple[int, str]:
    """Run code that compares the two, as `run_beside` does; it has `struck`.

    Returns:
        How many workers were killed, and all that it printed.
    """
    output = run_beside(example, COMPARED + code, folder, within_s)
    said = next(each for each in output.splitlines() if "workers were killed" in each)
    return int(said.split()[0]), output


async def kill_rank_2(session: Session, find: Callable[[], int]) -> None:
    """Kill a rank; its node is lost, another rank works on, and then the broker is stopped.

    Args:
        session: joins the broker of the ranks.
        find: returns the rank's process.
    """
    async with session.events(NodeJoined, NodeLost, TaskEnded) as events:
        if "rank2" not in await session.nodes.look():
            while getattr(await anext(events), "node", None) != "rank2":
                pass
        kill(find())
        while not isinstance(event := await anext(events), NodeLost):
            pass
        assert event.node == "rank2"
        while not isinstance(event, TaskEnded) or event.ended_as != "succeeded":
            event = await anext(events)  # until the other rank's worker has done one
        session.client.requests.stop_broker("the test has seen enough")
