"""A campaign whose policy decides on each result what to submit next.

`python -m bench.ours.campaign CONTROL_FD [DURABILITY]`
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import steerio
from bench.contestant import Round, serve_async
from bench.floors.bodies import Nap, busy_share
from bench.ours.sends import note_sends
from bench.ours.tasks import hold, nap, noop, noop_alone
from steerio import Campaign, Succeeded, agent, on_success

WORKERS = 2
WAIT_S = 120.0
LOOK_S = 0.01
SUBMITTED_PER_TURN = 500
LEAD_IN = 0.1
"""The first part of a round with a backlog that is not timed, as the workers are let go."""


class Steered(Campaign):
    """Obeys the rounds it is ordered; its handlers are the policies that are measured."""

    def __init__(self, control_fd: int, directory: Path, sent_at: dict[int, float]) -> None:
        self._control_fd = control_fd
        self._directory = directory
        self._over = asyncio.Event()
        self._left = 0
        self._outstanding = 0
        self._task_s = 0.0
        self._decided_at: dict[int, float] = {}
        self._sent_at = sent_at
        self._reactions: list[float] = []
        self._naps: list[Nap] = []
        self._gate = directory / "gate"
        self._gates = 0
        self._timed_from = 0
        self._completed = 0
        self._refilling = False
        self._clock: list[float] = []

    @agent
    async def obey(self) -> None:
        """Run the rounds until there are no more orders."""
        rounds = {
            "decisions": self.decisions,
            "mapped": self.mapped,
            "reactions": self.reactions,
            "one_outstanding": self.one_outstanding,
            "two_outstanding": self.two_outstanding,
            "queued": self.queued,
            "fill": self.fill,
            "backlog": self.backlog,
        }
        await serve_async(self._control_fd, rounds)
        self.stop(cancel=True)

    # One task outstanding per worker, the next chosen from the last result.

    @on_success(noop)
    async def choose_next(self, result: Succeeded) -> None:
        """Submit the successor of the value that came back."""
        if self._refilling:
            self._refill()
        elif self._left:
            self._left -= 1
            self.submit(noop, result.value + 1)
        else:
            self._settle()

    @on_success(nap)
    async def choose_next_nap(self, result: Succeeded) -> None:
        """Submit another nap, and note when the result was in hand."""
        now = time.monotonic()
        self._naps.append(result.value)
        decided_at = self._decided_at.pop(result.task_id, None)
        if decided_at is not None:
            self._reactions.append(self._sent_at[result.task_id] - decided_at)
        if self._left:
            self._left -= 1
            self._decided_at[self.submit(nap, self._task_s).id] = now
        else:
            self._settle()

    def _settle(self) -> None:
        self._outstanding -= 1
        if not self._outstanding:
            self._over.set()

    async def _steer(self, order: Round, outstanding: int) -> float:
        """Run a round from `outstanding` first tasks on; returns the seconds it took."""
        self._over.clear()
        self._left, self._outstanding = order.tasks - outstanding, outstanding
        self._task_s, self._naps, self._reactions = order.task_s, [], []
        self._decided_at.clear()
        self._sent_at.clear()
        began = time.perf_counter()
        for _ in range(outstanding):
            if order.task_s:
                self.submit(nap, order.task_s)
            else:
                self.submit(noop, 0)
        async with asyncio.timeout(WAIT_S):
            await self._over.wait()
        return time.perf_counter() - began

    async def decisions(self, order: Round) -> dict[str, list[float]]:
        """How many tasks a second, each following from a result."""
        return {"tasks_per_s": [order.tasks / await self._steer(order, WORKERS)]}

    async def mapped(self, order: Round) -> dict[str, list[float]]:
        """How many tasks a second of one map."""
        began = time.perf_counter()
        await self.gather(*self.map(noop_alone, range(order.tasks)))
        return {"tasks_per_s": [order.tasks / (time.perf_counter() - began)]}

    async def reactions(self, order: Round) -> dict[str, list[float]]:
        """How long from each result in hand to the next task sent."""
        await self._steer(order, WORKERS)
        return {"seconds": self._reactions}

    async def one_outstanding(self, order: Round) -> dict[str, list[float]]:
        """How busy workers are that wait for the policy between two tasks."""
        await self._steer(order, WORKERS)
        return {"busy_share": [busy_share(self._naps)]}

    async def two_outstanding(self, order: Round) -> dict[str, list[float]]:
        """How busy workers are that need not wait for the policy, as others wait for it."""
        await self._steer(order, 2 * WORKERS)
        return {"busy_share": [busy_share(self._naps)]}

    async def queued(self, order: Round) -> dict[str, list[float]]:
        """How busy workers are whose work is all queued."""
        await self._steer(order, order.tasks)
        return {"busy_share": [busy_share(self._naps)]}

    # A backlog of constant length: while it is not timed, its workers are held at a gate.

    async def fill(self, order: Round) -> dict[str, list[float]]:
        """Hold the workers and queue `order.tasks` more behind them."""
        if not self._gates:
            await self._close_gate()
        began = time.perf_counter()
        goal = self.pools["default"].queued + order.tasks
        for number in range(order.tasks):
            self.submit(noop, number)
            if number % SUBMITTED_PER_TURN == 0:
                await asyncio.sleep(0)
        async with asyncio.timeout(WAIT_S):
            while self.pools["default"].queued < goal:  # noqa: ASYNC110 - no event says this
                await asyncio.sleep(LOOK_S)
        return {"tasks_per_s": [order.tasks / (time.perf_counter() - began)]}

    async def backlog(self, order: Round) -> dict[str, list[float]]:
        """Work off `order.tasks`, submitting another for each; then hold the workers again."""
        self._over.clear()
        self._completed, self._refilling, self._clock = 0, True, []
        self._timed_from, self._left = int(order.tasks * LEAD_IN), order.tasks
        self._gate.unlink()
        async with asyncio.timeout(WAIT_S):
            await self._over.wait()
            await self._close_gate()
        self._refilling = False
        began, ended = self._clock
        return {"tasks_per_s": [(order.tasks - self._timed_from) / (ended - began)]}

    def _refill(self) -> None:
        self._completed += 1
        if self._completed == self._timed_from:
            self._clock.append(time.perf_counter())
        elif self._completed == self._left:
            self._clock.append(time.perf_counter())
            self._over.set()
        self.submit(noop, self._completed)

    async def _close_gate(self) -> None:
        # One after the other: two at once might both be sent to the same worker.
        self._gates += 1
        self._gate = self._directory / f"gate-{self._gates}"
        self._gate.touch()
        for number in range(WORKERS):
            held = self._directory / f"held-{self._gates}-{number}"
            self.options(priority=10.0).submit(hold, str(self._gate), str(held))
            while not held.exists():  # noqa: ASYNC110 - written by another process
                await asyncio.sleep(LOOK_S)


def main() -> None:
    """Run the campaign, which ends when there are no more orders."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        sent_at = note_sends()
        campaign = Steered(int(sys.argv[1]), Path(directory), sent_at)
        steerio.run(
            campaign,
            workers={"default": WORKERS},
            progress="off",
            durability=sys.argv[2] if len(sys.argv) > 2 else None,
        )


if __name__ == "__main__":
    main()
