"""The tasks of the ensemble: to train a member by a gang, and to propose settings by all members.

Torch is imported by the tasks alone, so the policy can be simulated without it.
"""

from __future__ import annotations

import importlib.util
from typing import Any, TypedDict

import numpy as np
from reactor import DIMENSIONS, Array, Point

import steerio
from steerio import task

CANDIDATES = 500
"""Of each proposed point: half of them anywhere, half near the best that are known."""
BEST, NEAR, CHANGED = 8, 0.15, 0.5
BOLD = 1.0
"""The mean of how many standard deviations of the ensemble are added to its mean."""


class Known(TypedDict):
    """All results so far, as they are published for trainings and proposals."""

    points: Array
    values: Array


class Member(TypedDict):
    """One version of a member: its weights by name, and the number of results it learnt from."""

    rows: int
    state: dict[str, Array]


class Proposal(TypedDict):
    """Points to simulate next, and the number of results that each member had learnt from."""

    points: list[Point]
    rows: list[int]


def check_torch() -> None:
    """Say how to install torch, if it is not there."""
    if importlib.util.find_spec("torch") is None:
        raise ModuleNotFoundError(
            "this example trains with torch, which is not installed: "
            "pip install 'torch>=2.4,<2.14' (the CPU build is enough)"
        )


@task(pool="learn", gang=2, retries={"lost": 10}, preload=["torch"])
def fit(known: Known, seed: int) -> Member:
    """Train one member on all that is known, together with the other workers of the gang."""
    from network import joined, trained

    gang = steerio.gang()
    with joined(gang):
        state = trained(known["points"], known["values"], seed, gang)
    return Member(rows=len(known["values"]), state=state)


@task(pool="simulate", priority=1.0, retries={"lost": 10}, preload=["torch"])
def propose(known: Known, members: list[Member], seed: int, count: int) -> Proposal:
    """Return the points whose values are highest in the eyes of an optimist.

    Each is the best of candidates of its own, by the mean of the members and so many of their
    standard deviations as are drawn: so the points of one proposal differ.
    """
    from network import predicted

    chance = np.random.default_rng(seed)
    best = known["points"][np.argsort(known["values"])[-BEST:]]
    anywhere = chance.random((count, CANDIDATES // 2, DIMENSIONS))
    near = best[chance.integers(len(best), size=anywhere.shape[:2])]
    moved = NEAR * chance.normal(size=near.shape) * (chance.random(near.shape) < CHANGED)
    candidates = np.concatenate([anywhere, np.clip(near + moved, 0, 1)], axis=1)
    flat: Any = candidates.reshape(-1, DIMENSIONS)
    guesses = np.stack([predicted(each["state"], flat) for each in members])
    bold = BOLD * chance.exponential(size=(count, 1))
    hopes = (guesses.mean(0) + np.repeat(bold[:, 0], CANDIDATES) * guesses.std(0)).reshape(
        count, -1
    )
    chosen = candidates[np.arange(count), hopes.argmax(axis=1)].round(4)
    return Proposal(
        points=[tuple(point) for point in chosen.tolist()], rows=[each["rows"] for each in members]
    )
