"""Every worker has random numbers of its own, and a run's seed says which."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import steerio
from steerio.errors import UsageError
from tests.real.programs import python, steerio_command

pytestmark = pytest.mark.borders
POOLS = ("a", "b", "c", "d")

made_at_import = np.random.default_rng()
"""Nobody gave it a seed."""
seeded_at_import = np.random.default_rng(42)
legacy_at_import = np.random.RandomState()


def draw() -> dict[str, float]:
    """Draw one number from every generator there is."""
    return {
        "random": random.random(),
        "numpy": float(np.random.random()),
        "of a module": float(made_at_import.random()),
        "legacy of a module": float(legacy_at_import.random_sample()),
    }


def draw_seeded() -> float:
    """Draw from a generator that was given a seed."""
    return float(seeded_at_import.random())


def end_worker() -> None:
    """Take this worker down."""
    os.kill(os.getpid(), signal.SIGKILL)


def seeds_of_task() -> tuple[int, int, int]:
    """Return what a task is given to seed with, twice, and a short one."""
    return steerio.random_seed(), steerio.random_seed(), steerio.random_seed(bits=32)


@steerio.task(retries={"failed": 1})
def fail_once(folder: str) -> int:
    """Fail at the first attempt; write each attempt's number down."""
    seed = steerio.random_seed()
    seen = Path(folder) / "seed"
    if seen.exists():
        assert seen.read_text() == str(seed)
        return seed
    seen.write_text(str(seed))
    raise RuntimeError("the first attempt")


async def draws(seed: int | None = None) -> tuple[int, list[dict[str, float]]]:
    """Draw in four workers, and in those that replace them."""
    kinds = [steerio.task(pool=pool)(draw) for pool in POOLS]
    options: dict[str, Any] = {"random_seed": seed}
    async with steerio.open_session(workers=dict.fromkeys(POOLS, 1), **options) as session:
        assert await session.run(draw_seeded_in_a) == np.random.default_rng(42).random()
        first = await session.gather(*(session.submit(kind) for kind in kinds))
        lost = session.submit(steerio.task(pool="a", retries={"lost": 0})(end_worker))
        assert isinstance(await lost.result(), steerio.Lost)
        replaced = await session.run(kinds[0])
        return session.random_seed, [*first, replaced]


draw_seeded_in_a = steerio.task(pool="a")(draw_seeded)


def all_differ(drawn: Sequence[dict[str, float]]) -> bool:
    """Whether no generator gave the same number twice."""
    numbers = [number for numbers in drawn for number in numbers.values()]
    return len(set(numbers)) == len(numbers)


async def test_no_two_workers_draw_the_same_and_a_seed_repeats_what_each_drew() -> None:
    seed, drawn = await draws()
    other, others = await draws()
    assert seed != other
    assert all_differ([*drawn, *others])
    assert await draws(seed) == (seed, drawn)


async def test_the_seed_is_in_the_record(tmp_path: Path) -> None:
    async with steerio.open_session(
        workers={"default": 1}, run_dir=tmp_path / "run", random_seed=7
    ) as session:
        assert session.random_seed == 7
        async with steerio.connect(tmp_path / "run") as joined:
            assert joined.random_seed == 7
    assert (tmp_path / "run" / "random_seed").read_text() == "7\n"


@pytest.mark.parametrize("wrong", [-1, 2**64, 1.0, True, "7"])
async def test_what_cannot_be_a_seed_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="random_seed is a whole number"):
        async with steerio.open_session(workers={"default": 1}, random_seed=wrong):
            pass


async def test_a_task_has_a_number_of_its_own_at_every_attempt(tmp_path: Path) -> None:
    async with steerio.open_session(workers={"default": 2}, random_seed=1) as session:
        first = await session.gather(*session.map(seeds_of_task, [()] * 4))
        await session.run(fail_once, str(tmp_path))
    async with steerio.open_session(workers={"default": 1}, random_seed=1) as session:
        assert await session.gather(*session.map(seeds_of_task, [()] * 4)) == first
    assert len({one for one, _, _ in first}) == 4
    assert all(one == again and short < 2**32 for one, again, short in first)
    assert steerio.random_seed() != steerio.random_seed(), "there is no task here"
    with pytest.raises(UsageError, match="1 to 256 bits"):
        steerio.random_seed(bits=0)


SCRIPT = """
import asyncio, sys
import numpy as np
import steerio

rng = np.random.default_rng()

def draw():
    return float(rng.random())

def draw_late():
    import torch
    return torch.seed

async def main(seed):
    pools = {"a": 1, "b": 1}
    async with steerio.open_session(workers=pools, random_seed=seed) as session:
        drawn = [await session.run(steerio.task(pool=pool)(draw)) for pool in pools]
        drawn += [await session.run(steerio.task(pool=pool)(draw_late)) for pool in pools]
        print(*drawn)

if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
"""
TORCH = """
def manual_seed(number):
    global seed
    seed = number
"""
WITHOUT_NUMPY = """
import asyncio, sys
import steerio

def draw():
    assert "numpy" not in sys.modules
    import numpy as np
    return float(np.random.random())

class Draws(steerio.Campaign):
    @steerio.agent
    async def main(self):
        print("drew", await self.run(steerio.task(pool="default")(draw)))
"""


def printed(*command: str, folder: Path) -> str:
    """Return what a program prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_a_script_brings_along_or_loads_late_has_streams_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "torch.py").write_text(TORCH)  # its default seed is the same in every process
    drawn, again, other = (
        printed(*python("script.py", seed), folder=tmp_path) for seed in ("1", "1", "2")
    )
    assert drawn == again != other
    assert len(set(drawn.split())) == 4


def test_a_library_that_a_task_is_the_first_to_load_is_seeded_too(tmp_path: Path) -> None:
    (tmp_path / "draws.py").write_text(WITHOUT_NUMPY)
    run = ("run", "draws.py", "--workers", "1", "--progress", "off", "--random-seed")
    drawn, again = (
        printed(*steerio_command(*run, seed, "--run-dir", f"run{n}"), folder=tmp_path)
        for n, seed in enumerate(("1", "1"))
    )
    assert drawn == again
    parameters = json.loads((tmp_path / "run1" / "parameters.json").read_text())
    assert parameters["random_seed"] == 1
    assert (tmp_path / "run1" / "random_seed").read_text() == "1\n"
