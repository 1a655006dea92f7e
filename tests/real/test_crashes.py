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
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

import steerio
from steerio.edge.store.folders import SPILL
from steerio.edge.wire.connection import read_connection
from tests.contract.redis_servers import connected, redis_server
from tests.real import programs
from tests.real.programs import Program, python, running, steerio_command
from tests.real.telling_arrays import ENOUGH
from tests.real.test_random_runs import SEED

log = logging.getLogger("steerio.tests")

KILLS = 200
FEW_KILLS = 10
KILLS_ON_REDIS = 25
A_LIFE = 6
"""Most kills that a campaign sees; the last one is its own."""
NODES = 3
"""A node that is killed more often is not started again."""
LATEST_S = 0.05
"""A kill comes so long after something was read, at the latest."""
READ_S = 90.0
"""Longest until a few more values are read, be it by new workers of a new node."""
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
        self.spilt = 0
        """How many campaigns had objects on disk when they were killed."""
        self.left: list[Path] = []
        """Where the campaigns that were killed had their objects."""

    @property
    def figures(self) -> str:
        """What happened."""
        return f"{self.did}, {self.read} values read, {self.again} tried again, {self.spilt} spilt"

    def go_on(self, kills: int) -> None:
        """Start campaigns and kill, so often."""
        with ExitStack() as opened:
            dead: list[tuple[Program, list[int]]] = []
            while self.did.total() < kills:
                place = self.place / str(self.did.total())
                words = (str(place), str(self.chance.randrange(10**6)))
                live = Program(*python("-m", "tests.real.telling_arrays", *words))
                opened.callback(live.close)
                live.wait_for("read 1.")
                self.check_left()  # though workers of the dead one may not have noticed yet
                for each in dead:
                    self.bury(*each)
                self.check_left()
                folder = Path(read_connection(place).objects)
                self.left += [folder, *on_disk(folder)]
                victims = self.victims(min(A_LIFE, kills - self.did.total()) - 1)
                victims.append(self.chance.choice(["campaign", "all"]))
                dead = [(live, self.wear_down(live, victims))]
                self.spilt += any(any(spill.iterdir()) for spill in on_disk(folder))
            for each in dead:  # what the last has left is for the next to remove
                self.bury(*each)

    def victims(self, kills: int) -> list[str]:
        """Draw whom a campaign is to lose."""
        drawn = ["worker"] * kills
        for at in self.chance.sample(range(kills), min(NODES, kills)):
            drawn[at] = self.chance.choice(["worker", "node", "zygote"])
        return drawn

    def wear_down(self, live: Program, victims: list[str]) -> list[int]:
        """Kill one process after the other; return all that there were at the last."""
        family: list[int] = []
        for who in victims:
            # it goes on in spite of those before
            live.wait_for(f"read {read_by(live) + self.chance.randint(1, 6)}.", READ_S)
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
            programs.kill(self.chance.choice(there))
        self.did[who] += 1

    def bury(self, dead: Program, family: list[int]) -> None:
        """Wait for the last that a killed campaign has left running."""
        programs.wait_for_end(family, within_s=ENDED_S)
        assert dead.status() == -signal.SIGKILL, dead
        self.count(dead)
        dead.close()

    def count(self, ended: Program) -> None:
        """Count what a campaign has read."""
        self.read += read_by(ended)
        self.again += ended.output.count("again")

    def check_left(self) -> None:
        """Assert that nothing is left of the campaigns before."""
        for folder in self.left:
            assert list(folder.parent.glob(f"{folder.name}*")) == []


def on_disk(folder: Path) -> list[Path]:
    """Return where a store in shared memory spills to, if it does and has not been removed."""
    spill = folder / SPILL
    return [spill.readlink()] if spill.exists() else []


def read_by(live: Program) -> int:
    """Return how many values a campaign has said to have read, as far as that was heard."""
    return int(re.findall(r"read (\d+)\.", live.output)[-1])


async def start_another() -> None:
    """Start, and so clean up."""
    async with steerio.open_session(workers={"default": 1}):
        pass


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(FEW_KILLS, marks=pytest.mark.timeout(300)),
        pytest.param(KILLS, marks=[pytest.mark.stress, pytest.mark.timeout(3600)]),
    ],
)
@pytest.mark.parametrize("seed", [SEED])
def test_kills_in_the_midst_of_puts_and_reads_spoil_no_value_and_leave_nothing(
    tmp_path: Path, seed: int, kills: int
) -> None:
    crashes = Crashes(tmp_path, seed)
    try:
        crashes.go_on(kills)
    except BaseException as error:
        error.add_note(crashes.figures)
        raise
    asyncio.run(start_another())
    crashes.check_left()
    with running(*steerio_command("clean")) as clean:
        assert clean.status() == 0, clean
        assert not any(folder.name in clean.output for folder in crashes.left)
    assert kills < KILLS or crashes.again, crashes.figures
    log.info(crashes.figures)


@pytest.mark.stress  # five processes import ProxyStore
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [SEED])
def test_what_was_killed_leaves_no_key_in_redis_once_its_campaign_has_ended(
    tmp_path: Path, seed: int
) -> None:
    crashes = Crashes(tmp_path, seed)
    place, file = tmp_path / "run", tmp_path / "redis.toml"
    with redis_server() as port, closing(connected(port)) as server:
        file.write_text(f'kind = "redis"\n[options]\nhostname = "127.0.0.1"\nport = {port}\n')
        command = python("-m", "tests.real.telling_arrays", str(place), str(seed), str(file))
        with running(*command) as live:
            live.wait_for("read 1.", within_s=200)
            crashes.wear_down(live, crashes.victims(KILLS_ON_REDIS))
            (place / ENOUGH).touch()
            assert live.status(within_s=200) == 0, live
            crashes.count(live)
        assert crashes.again, crashes.figures
        assert server.keys() == []
    log.info(crashes.figures)


def test_what_a_killed_campaign_left_in_files_is_cleaned_by_a_command(tmp_path: Path) -> None:
    place, file, objects = tmp_path / "run", tmp_path / "file.toml", tmp_path / "objects"
    file.write_text(f'kind = "file"\n[options]\nfolder = "{objects}"\n')
    with running(*python("-m", "tests.real.telling_arrays", str(place), "1", str(file))) as live:
        live.wait_for("read 3.")
        family = programs.family(live.pid)
        live.signal(signal.SIGKILL)
        programs.wait_for_end(family, within_s=ENDED_S)
    assert any(path.is_file() for path in objects.rglob("_*"))
    with running(*steerio_command("clean", "--folder", str(objects))) as clean:
        assert clean.status() == 0, clean
        assert "in 1 folder\n" in clean.output
    assert list(objects.iterdir()) == []
    with running(*steerio_command("clean")) as clean:  # the folder for the node's copies
        assert clean.status() == 0, clean
