"""Whoever is killed in the middle of a put or a read: no wrong value is read, and nothing stays.

``STRESS_SEED`` says who is killed, and when; how far each process has come then, it does not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import signal
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

import steerio
from steerio.edge.connection import read_connection
from steerio.edge.store_folders import SPILL
from tests.real import programs
from tests.real.programs import Program, python, running, steerio_command
from tests.real.test_random_runs import SEED, kill
from tests.real.test_standing_broker import remove_what_killed_brokers_left

log = logging.getLogger("steerio.tests")

KILLS = 200
FEW_KILLS = 10
A_LIFE = 6
"""Most kills that a campaign sees; the last one is its own."""
NODES = 3
"""A node that is killed more often is not started again."""
LATEST_S = 0.05
"""A kill comes so long after something was read, at the latest."""
ENDED_S = 30.0
"""Longest that its workers and node outlive a campaign that was killed."""


class Crashes:
    """Campaigns that are killed bit by bit, each started upon what the one before has left."""

    def __init__(self, place: Path, seed: int) -> None:
        self.place = place
        self.chance = random.Random(seed)
        self.did: Counter[str] = Counter()
        self.read = self.again = 0
        """How many values were read in all, and how many came of a second attempt."""
        self.left: list[Path] = []
        """Where the campaigns that were killed had their objects."""

    @property
    def figures(self) -> str:
        """What happened."""
        return f"{self.did}, {self.read} values read, {self.again} of them tried again"

    def go_on(self, kills: int) -> None:
        """Start campaigns and kill, so often."""
        with ExitStack() as opened:
            dead: list[tuple[Program, list[int]]] = []
            while self.did.total() < kills:
                place = self.place / str(len(self.left))
                words = (str(place), str(self.chance.randrange(10**6)))
                live = Program(*python("-m", "tests.real.telling_arrays", *words))
                opened.callback(live.close)
                live.wait_for("read 1.")
                self.check_left()  # though workers of the dead one may not have noticed yet
                for each in dead:
                    self.bury(*each)
                folder = Path(read_connection(place).objects)
                self.left += [folder, (folder / SPILL).readlink()]
                dead = [(live, self.wear_down(live, kills - self.did.total()))]
            for each in dead:
                self.bury(*each)

    def wear_down(self, live: Program, kills: int) -> list[int]:
        """Kill one process after the other, the campaign last; return all that there were."""
        victims = ["worker"] * (min(A_LIFE, kills) - 1) + [self.chance.choice(["campaign", "all"])]
        for at in self.chance.sample(range(len(victims) - 1), min(NODES, len(victims) - 1)):
            victims[at] = self.chance.choice(["worker", "node", "zygote"])
        for who in victims:
            # it goes on in spite of those before
            live.wait_for(f"read {read_by(live) + self.chance.randint(1, 6)}.")
            time.sleep(self.chance.uniform(0, LATEST_S))  # waits for nothing: to hit anywhere
            family = programs.family(live.pid)
            self.strike(who, family)
        return family

    def strike(self, who: str, family: list[int]) -> None:
        """Kill; a campaign comes before its node in its family, then the zygote, then workers."""
        campaign, *below = family
        if who == "all":
            os.killpg(campaign, signal.SIGKILL)
        else:
            places = {"campaign": [campaign], "node": below[:1], "zygote": below[1:2]}
            there = places.get(who, below[2:])
            if not there:  # it is just being started
                return
            kill(self.chance.choice(there))
        self.did[who] += 1

    def bury(self, dead: Program, family: list[int]) -> None:
        """Wait for the last that a killed campaign has left running."""
        programs.wait_for_end(family, within_s=ENDED_S)
        assert dead.status() == -signal.SIGKILL, dead
        self.check_left()
        self.read += read_by(dead)
        self.again += dead.output.count("again")
        dead.close()

    def check_left(self) -> None:
        """Assert that nothing is left of the campaigns before."""
        for folder in self.left:
            assert list(folder.parent.glob(f"{folder.name}*")) == []


def read_by(live: Program) -> int:
    """Return how many values a campaign has said to have read, as far as that was heard."""
    return int(re.findall(r"read (\d+)\.", live.output)[-1])


@pytest.mark.parametrize(
    "kills",
    [
        FEW_KILLS,
        pytest.param(KILLS, marks=[pytest.mark.stress, pytest.mark.timeout(3600)]),
    ],
)
@pytest.mark.parametrize("seed", [SEED])
async def test_kills_in_the_midst_of_puts_and_reads_spoil_no_value_and_leave_nothing(
    tmp_path: Path, seed: int, kills: int
) -> None:
    crashes = Crashes(tmp_path, seed)
    try:
        await asyncio.to_thread(crashes.go_on, kills)
    except BaseException as error:
        error.add_note(crashes.figures)
        raise
    async with steerio.open_session(workers={"default": 1}):
        crashes.check_left()
    with running(*steerio_command("clean")) as clean:
        assert clean.status() == 0, clean
        assert not any(folder.name in clean.output for folder in crashes.left)
    assert kills < KILLS or crashes.again, "no kill has struck a task"
    log.info(crashes.figures)
    remove_what_killed_brokers_left()
