"""The rule of blocks: how many batch jobs a campaign should have, by its tasks and idle workers.

Theory. Each block is a batch job whose nodes bring the same workers. Tasks that no other worker
takes want blocks, as many as have a worker for each of them, between two bounds. A block waits in
the queue of its batch system for minutes or days, so one that is there is given up only if there
was too much for a while: one that waits, if fewer were wanted all that time; one that is up, if
none of its workers had a task all that time. A batch system that refuses a block, or a block that
ends before its nodes have come, is tried again after a pause that doubles each time.

Nothing here acts: `BlockSteps.decide` is given the blocks that there are, and the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from msgspec import Struct, field

Phase = Literal["waiting", "up", "leaving"]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 600.0
"""The pauses after the first failure in a row, and at most, in seconds."""


class BlockSeen(Struct, frozen=True):
    """A block at one moment: it waits for its nodes, has some, or is leaving them."""

    name: str
    phase: Phase
    busy: int = 0
    """How many of its workers have a task."""


class Change(NamedTuple):
    """The number of blocks to submit, and the names of those to give up."""

    more: int
    fewer: tuple[str, ...] = ()


def wanted(tasks: Mapping[str, int], others: Mapping[str, int], block: Mapping[str, int]) -> int:
    """Return how many blocks have a worker for each task that other workers do not take.

    Args:
        tasks: how many each pool has, queued or running.
        others: the workers of each pool that are of no block.
        block: the workers that one block brings to each pool, not 0.
    """
    lacking = {pool: max(0, tasks.get(pool, 0) - others.get(pool, 0)) for pool in block}
    return max((-(-lacking[pool] // count) for pool, count in block.items()), default=0)


class BlockSteps(Struct):
    """The blocks to submit and to give up, decided from wishes that have held for a while.

    Args:
        least, most: the fewest and the most blocks at a time; those that leave count for the most.
        idle_s: seconds for which a block was not needed before it is given up.
    """

    least: int
    most: int
    idle_s: float
    idle_since: dict[str, float] = field(default_factory=dict[str, float])
    over_since: float | None = None
    """Since when there are more blocks than wanted."""
    failures: int = 0
    """Failures in a row."""
    not_before: float = float("-inf")
    """The time before which no other block is submitted."""

    def failed(self, now: float) -> float:
        """Take in that a block was refused, or ended before its time; returns the pause."""
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**self.failures)
        self.failures = min(self.failures + 1, 10)
        self.not_before = now + pause_s
        return pause_s

    def worked(self) -> None:
        """Take in that the nodes of a block have come: failures are no longer in a row."""
        self.failures = 0

    def decide(self, blocks: Sequence[BlockSeen], wish: int, now: float) -> Change:
        """Return the change to make now.

        Args:
            blocks: all whose jobs have not ended, the first that was submitted first.
            wish: how many the tasks want.
            now: seconds.
        """
        target = max(self.least, min(self.most, wish))
        staying = [block for block in blocks if block.phase != "leaving"]
        over = len(staying) - target
        self._note(staying, over, now)
        if over < 0:
            room = max(0, self.most - len(blocks))
            return Change(min(-over, room) if now >= self.not_before else 0)
        return Change(0, tuple(self._given_up(staying, over, now)))

    def _note(self, staying: Sequence[BlockSeen], over: int, now: float) -> None:
        idle = {block.name for block in staying if block.phase == "up" and not block.busy}
        self.idle_since = {name: self.idle_since.get(name, now) for name in idle}
        if over <= 0:
            self.over_since = None
        elif self.over_since is None:
            self.over_since = now

    def _given_up(self, staying: Sequence[BlockSeen], over: int, now: float) -> list[str]:
        """Return the blocks to give up: those that wait, the last first; then those long idle."""
        if self.over_since is None:
            return []
        long_over = now - self.over_since >= self.idle_s
        waiting = [b.name for b in reversed(staying) if b.phase == "waiting" and long_over]
        idle = sorted(self.idle_since, key=lambda name: self.idle_since[name])
        long_idle = [name for name in idle if now - self.idle_since[name] >= self.idle_s]
        return [*waiting, *long_idle][:over]
