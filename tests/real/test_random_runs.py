"""A long run in which anything may happen to real workers and nodes, in random order.

``STRESS_S`` says for how many seconds (120 by default), ``STRESS_SEED`` with which choices.
Which fault strikes what, and when, is drawn from the seed; how the processes meet it is not.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

import steerio
from steerio import MoveFailed, Needs, Session, Settings
from steerio.model.moving import How
from steerio.model.status import Status
from steerio.session.moves import Lease, Move
from tests.real import programs
from tests.real.programs import Program, steerio_command
from tests.real.short_tasks import compute, count, die, fail, sleep
from tests.real.test_losing_workers import parent_of

T = TypeVar("T")

STRESS_S = float(os.environ.get("STRESS_S", "120"))
SEED = int(os.environ["STRESS_SEED"])
"""Where a run fails, the name of the test says it."""
HOME = {"simulate": 2, "learn": 1}
GUEST = {"simulate": 1, "learn": 1}
"""What the node of the session offers, and each of those that come and go."""
GUESTS = 3
PENDING = 150
REQUESTS = 8
"""Most nodes, tasks, and moves and leases that there are at a time."""
LOCAL_LIVES_S = 65.0
"""The node of the session is killed less often than this: it is not started again for ever."""
SETTLED_S = 60.0
"""Longest until all is quiet once nothing goes wrong any more; a node's silence is part of it."""


KINDS = [sleep] * 6 + [compute] * 6 + [fail, die, count]


class Upheaval:
    """One run: what may happen, what did, and what must be true of it."""

    def __init__(self, session: Session, place: Path, chance: random.Random) -> None:
        self.session = session
        self.place = place
        self.chance = chance
        self.did: Counter[str] = Counter()
        self.tasks: list[steerio.Task[Any]] = []
        self.moves: list[Move] = []
        self.leases: list[Lease] = []
        self.guests: dict[str, Program] = {}
        self.requests: set[asyncio.Task[None]] = set()
        self.programs = ExitStack()
        self.local_since = time.monotonic()
        self.seen: Status | None = None

    # -- what users do ------------------------------------------------------------------------

    async def submits(self) -> None:
        """Submit some tasks."""
        room = PENDING - len(self.session.pending)
        for _ in range(min(room, self.chance.randint(1, 20))):
            options = self.session.options(
                priority=self.chance.randint(-2, 2),
                timeout_s=self.chance.choice([None, None, 0.05, 5.0]),
                retries={"lost": self.chance.choice([0, 2, 50]), "timed_out": 1},
                cancel_grace_s=self.chance.choice([0.0, 0.2]),
                needs=self.chance.choice([None, None, Needs(), Needs(cpus=1)]),
            )
            seconds = self.chance.choice([0.0, 0.0, 0.01, 0.05, 0.2])
            self.tasks.append(options.submit(self.chance.choice(KINDS), seconds))

    async def cancels(self) -> None:
        """Cancel some of the tasks, be they queued, held, at work or just ending."""
        for task in self._some(self.session.pending, 5):
            task.cancel()

    async def ranks(self) -> None:
        """Rank tasks anew."""
        tasks = self._some(self.session.pending, 50)
        self.session.reprioritise({task: self.chance.uniform(-3, 3) for task in tasks})

    async def reassigns(self) -> None:
        """Have tasks wait in another pool."""
        pool = self.chance.choice(list(HOME))
        self.session.reassign(self._some(self.session.pending, 20), pool)

    async def moves_workers(self) -> None:
        """Move workers for good, and lose patience at times."""
        if len(self.requests) < REQUESTS:
            source, target = self._pools()
            move = self.session.pools.move(source, target, **self._way())
            self.moves.append(move)
            self._begin(self._await(move))

    async def lends_workers(self) -> None:
        """Lend workers for a moment."""
        if len(self.requests) < REQUESTS:
            self._begin(self._hold(self.chance.choice([0.0, 0.05, 0.5])))

    # -- what happens to workers and nodes -----------------------------------------------------

    async def loses_a_worker(self) -> None:
        """Kill a worker, starting ones included."""
        pids = [worker.pid for worker in (await self.session.status()).workers if worker.pid]
        if pids:
            programs.kill(self.chance.choice(pids))

    async def loses_a_node(self) -> None:
        """Kill a node or its zygote, at times the one that the session started."""
        workers = [worker for worker in (await self.session.status()).workers if worker.pid]
        if not workers:
            return
        try:
            zygote = parent_of(self.chance.choice(workers).pid)
            node = parent_of(zygote)
            ours = parent_of(node) == os.getpid()
        except OSError:  # it has gone by itself
            return
        if not ours or os.getpid() in (zygote, node):
            return
        if node not in [guest.pid for guest in self.guests.values()]:
            if time.monotonic() < self.local_since + LOCAL_LIVES_S:
                return
            self.local_since = time.monotonic()
        programs.kill(self.chance.choice([zygote, node, node]))

    async def a_node_joins(self) -> None:
        """Let a node join."""
        self._bury()
        if len(self.guests) >= GUESTS:
            return
        name = f"guest-{self.did['a_node_joins']}"
        workers = ",".join(f"{pool}={count}" for pool, count in GUEST.items())
        command = ("worker", "--join", str(self.place), "--name", name, "--workers", workers)
        guest = Program(*steerio_command(*command, "--no-pin"))
        self.programs.callback(guest.close)
        self.guests[name] = guest

    async def a_node_leaves(self) -> None:
        """Let a node leave in good order."""
        for guest in self._some(list(self.guests.values()), 1):
            if programs.lives(guest.pid):
                guest.signal(signal.SIGTERM)

    async def looks(self) -> None:
        """Look whether the broker's books agree with each other."""
        self.seen = await self.session.status()
        check_status(self.seen)

    # -- the run --------------------------------------------------------------------------------

    async def go_on(self, until: float) -> None:
        """Let one thing happen after the other."""
        happens: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self.submits, 30),
            (self.cancels, 5),
            (self.ranks, 5),
            (self.reassigns, 5),
            (self.moves_workers, 10),
            (self.lends_workers, 20),
            (self.loses_a_worker, 6),
            (self.loses_a_node, 1),
            (self.a_node_joins, 2),
            (self.a_node_leaves, 1),
            (self.looks, 10),
        ]
        steps, weights = zip(*happens, strict=True)
        while time.monotonic() < until:
            (step,) = self.chance.choices(steps, weights)
            self.did[step.__name__] += 1
            await step()
            await asyncio.sleep(self.chance.expovariate(30))

    async def come_to_rest(self) -> list[str]:
        """Wait until all that was begun has ended; return in which ways tasks did."""
        await asyncio.gather(*self.requests)
        for move in self.moves:
            if move.state != "granted":
                await move.wait_ended()
        for lease in self.leases:
            await lease.wait_returned()
        ended_as = [type(await task.result()).__name__ for task in self.tasks]
        while not self.is_at_rest(status := await self.session.status()):
            self.seen = status
        return ended_as

    def is_at_rest(self, status: Status) -> bool:
        """Whether every node has the workers that it offers, and nobody is away."""
        check_status(status)
        self._bury()
        alive = set(self.guests) | {name for name in status.nodes if not name.startswith("guest")}
        on_nodes = Counter(worker.node for worker in status.workers)
        offers = {
            name: sum((GUEST if name.startswith("guest") else HOME).values()) for name in alive
        }
        loads = status.pools.values()
        return (
            set(status.nodes) == alive
            and on_nodes == offers
            and all(worker.phase == "idle" for worker in status.workers)
            and all(programs.lives(worker.pid) for worker in status.workers)
            and all(load.at_home == load.workers for load in loads)
            and not any(load.promised or load.queued or load.running for load in loads)
        )

    async def _await(self, move: Move) -> None:
        await move

    async def _hold(self, seconds: float) -> None:
        """Hold a lease, or some within each other, whatever others hold and wait for."""
        async with AsyncExitStack() as scopes:
            for _ in range(self.chance.choice([1, 1, 2, 3])):
                source, target = self._pools()
                ends: How = self.chance.choice(["drain", "preempt"])
                lease = self.session.pools.lend(source, to=target, give_back=ends, **self._way())
                self.leases.append(lease)
                await scopes.enter_async_context(lease)
                await asyncio.sleep(seconds)

    def _pools(self) -> tuple[str, str]:
        source, target = self.chance.sample(list(HOME), 2)
        return source, target

    def _way(self) -> dict[str, Any]:
        return {
            "workers": self.chance.choice([1, 1, 2]),
            "how": self.chance.choice(["drain", "preempt"]),
            "preempt_after_s": self.chance.choice([None, 0.1]),
            "together": self.chance.random() < 0.3,
        }

    def _some(self, of: Sequence[T], most: int) -> list[T]:
        return self.chance.sample(of, min(len(of), self.chance.randint(1, most)))

    def _bury(self) -> None:
        """Take note of the nodes that have ended."""
        for name, guest in list(self.guests.items()):
            if not programs.lives(guest.pid):
                guest.close()
                del self.guests[name]

    def _begin(self, request: Awaitable[None]) -> None:
        """Wait for something in the background, for as long as it takes or not so long."""
        patience_s = self.chance.choice([0.02, 0.3, 5.0, None])

        async def patiently() -> None:
            try:
                async with asyncio.timeout(patience_s):
                    await request
            except (MoveFailed, TimeoutError) as error:
                self.did[type(error).__name__] += 1

        task = asyncio.create_task(patiently())
        self.requests.add(task)
        task.add_done_callback(self.requests.discard)


def check_status(status: Status) -> None:
    """Assert that every worker is in one pool, belongs to one, and is on one node."""
    names = [worker.worker for worker in status.workers]
    assert len(names) == len(set(names))
    there = {name: load.workers for name, load in status.pools.items()}
    assert Counter(worker.pool for worker in status.workers) == Counter(there)
    assert sum(load.at_home for load in status.pools.values()) == len(names)
    assert {worker.node for worker in status.workers} <= set(status.nodes)
    odd = {why: n for why, n in status.dropped.items() if not why.startswith(("late", "unknown"))}
    assert set(odd) <= {"refused", "stranger"}, odd


def check_record(place: Path, tasks: list[steerio.Task[Any]]) -> None:
    """Assert that the record has each task's end once, and no gap."""
    entries = [json.loads(line) for line in (place / "tasks.jsonl").read_text().splitlines()]
    events = [json.loads(line) for line in (place / "events.jsonl").read_text().splitlines()]
    ids = {task.id for task in tasks}
    assert Counter(entry["task_id"] for entry in entries) == Counter(ids)
    ends = Counter(event["task_id"] for event in events if event["type"] == "TaskEnded")
    assert ends == Counter(ids)
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))


@pytest.mark.stress
@pytest.mark.timeout(1.5 * STRESS_S + 4 * SETTLED_S)
@pytest.mark.parametrize("seed", [SEED])
async def test_whatever_happens_every_request_and_every_task_ends_once_and_nobody_is_lost(
    tmp_path: Path, seed: int
) -> None:
    place = tmp_path / "run"
    settings = Settings(kills=100, lease_s=6.0, join_s=10.0, start_s=30.0)
    async with steerio.open_session(workers=HOME, run_dir=place, settings=settings) as session:
        # until the node comes, pools count workers that the status does not list yet
        while any(session.pools[pool].starting for pool in HOME):
            await session.pools.changed()
        upheaval = Upheaval(session, place, random.Random(seed))
        with upheaval.programs:
            try:
                await upheaval.go_on(time.monotonic() + STRESS_S)
                async with asyncio.timeout(SETTLED_S):
                    ended = Counter(await upheaval.come_to_rest())
            except BaseException as error:
                error.add_note(f"{upheaval.did}, {upheaval.requests}, last seen: {upheaval.seen}")
                raise
            assert ended["Succeeded"] > ended.total() / 3, ended
            assert STRESS_S < 60 or upheaval.did["MoveDeadlock"], upheaval.did
            for guest in upheaval.guests.values():
                guest.signal(signal.SIGTERM)
                assert await asyncio.to_thread(guest.status) == 0, guest
    check_record(place, upheaval.tasks)
