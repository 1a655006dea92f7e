"""Random runs of one scene, by seed: some at a time, or many in all cores."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

from steerio.testing import run_virtual
from tests.simulated.virtual import WALL_LIMIT_S

Scene = Callable[[int], Coroutine[Any, Any, None]]
"""Plays one run, and asserts that all is well at its end. It is a function of a module."""
SHARE = 50
"""Runs that a process plays before it is given others."""


def play(scene: Scene, seed: int) -> None:
    """Play one run; its seed is told with whatever goes wrong."""
    try:
        run_virtual(scene(seed), wall_limit_s=WALL_LIMIT_S)
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise


def play_all(scene: Scene, seeds: Iterable[int]) -> None:
    """Play runs one after the other, up to the first that fails."""
    for seed in seeds:
        play(scene, seed)


def assert_all_end_well(scene: Scene, seeds: range) -> None:
    """Play runs on all cores; name each that failed, and how."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        texts = pool.map(partial(_failure, scene), seeds, chunksize=SHARE)
        failed = [text for text in texts if text]
    sys.stdout.write(f"seeds {seeds[0]} to {seeds[-1]}: {len(failed)} failed\n")
    assert not failed, "\n".join(failed)


def _failure(scene: Scene, seed: int) -> str:
    """Play one run; return how it failed, or an empty text."""
    try:
        play(scene, seed)
    except Exception as error:  # noqa: BLE001 - the other seeds are played all the same
        return f"seed {seed}: {type(error).__name__}: {error}"
    return ""
