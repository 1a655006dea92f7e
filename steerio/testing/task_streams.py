"""The random numbers of each call in a simulation: a generator for each, whatever the order.

The seed of a call's generator follows from the simulation's seed, the task type, the arguments, the
number of the attempt, and how many equal calls began before. So two policies that compute the same
molecule see the same duration, and the differences between them are theirs alone.
"""

from __future__ import annotations

import random
from collections import defaultdict
from hashlib import blake2b
from typing import NamedTuple

from steerio.edge.encoding.boxing import buffer_of
from steerio.edge.wire.endpoint import Frames
from steerio.model.messages import RunTask


class TaskStream(NamedTuple):
    """The random numbers of one attempt.

    Attributes:
        rng: draws them.
        before: how many attempts of that number at equal calls began before this one.
    """

    rng: random.Random
    before: int


class TaskStreams:
    """The random numbers of all calls of one task type.

    Args:
        seed: of the simulation, and the task type's name.
    """

    def __init__(self, seed: str) -> None:
        self._seed = blake2b(seed.encode()).digest()
        self._begun: defaultdict[int, int] = defaultdict(int)
        """The attempts that began, by the digest of call and attempt."""

    def __repr__(self) -> str:
        return f"<TaskStreams of {len(self._begun)} calls>"

    def of(self, task: RunTask, frames: Frames) -> TaskStream:
        """Return the random numbers of an attempt that begins now."""
        digest = blake2b(task.body, digest_size=16, key=self._seed)
        for frame in frames:
            digest.update(buffer_of(frame))
        digest.update(b"%d" % task.attempt)
        number = int.from_bytes(digest.digest())
        before = self._begun[number]
        self._begun[number] = before + 1
        return TaskStream(random.Random((before << 128) + number), before)
