"""Runs a campaign on a simulated cluster, so that users can test their policies."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from steerio.campaign.calls import Calls
from steerio.campaign.campaign import Campaign
from steerio.campaign.conductor import Conductor
from steerio.campaign.limits import Limits, check_limits
from steerio.edge.record.record_files import TaskEntry
from steerio.errors import UsageError
from steerio.launch.workers import AskedWorkers, check_by_pool, merged_workers, named_workers
from steerio.model.bounds import seconds
from steerio.model.events import AnyEvent, WorkerMoved
from steerio.model.settings import Settings
from steerio.session.argument_checks import Folders, check_given, named_folders
from steerio.session.memo import open_run
from steerio.testing.faults import Fault, RestartBroker, listed_faults
from steerio.testing.loop import WALL_LIMIT_S, run_virtual
from steerio.testing.model import Models
from steerio.testing.policy_loop import HandlerCosts, PolicyLoop
from steerio.testing.record import MemoryRecord
from steerio.testing.simulated_cluster import WORKERS_PER_NODE, SimulatedCluster
from steerio.testing.worker_starts import StartTimes

C = TypeVar("C", bound=Campaign)


class SimulatedRun(Generic[C]):
    """The outcome of a simulation.

    Attributes:
        campaign: the campaign, as it is after its end.
        duration_s: virtual seconds from start to end.
        dropped: messages that the broker dropped, by reason (such as ``late report``).
        notes: the latest number of each name that the campaign has noted.
        handler_s: the virtual seconds that each agent has cost, by ``Class.method``; empty
            without ``handler_cost``.
    """

    def __init__(
        self,
        campaign: C,
        record: MemoryRecord,
        duration_s: float,
        worker_seconds: Mapping[str, tuple[float, float]],
        dropped: Mapping[str, int],
        notes: Mapping[str, float],
        handler_s: Mapping[str, float],
    ) -> None:
        self.campaign = campaign
        self.duration_s = duration_s
        self.dropped, self.notes = dict(dropped), dict(notes)
        self.handler_s = dict(handler_s)
        self._record = record
        self._worker_seconds = dict(worker_seconds)

    def __repr__(self) -> str:
        ended = ", ".join(f"{count:,} {how}" for how, count in sorted(self.ended.items()))
        busy = ", ".join(
            f"{pool} {self.utilisation(pool):.0%} busy" for pool in self._worker_seconds
        )
        return (
            f"<SimulatedRun of {type(self.campaign).__name__}: {ended or 'no tasks'} "
            f"in {self.duration_s:,.6g} s; {busy}>"
        )

    @property
    def events(self) -> list[AnyEvent]:
        """All events, in order; ``at`` is in virtual seconds from the start."""
        return self._record.events

    @property
    def records(self) -> list[TaskEntry]:
        """One record for each task, as in ``tasks.jsonl``, in the order in which they ended."""
        return self._record.tasks

    @property
    def ended(self) -> Counter[str]:
        """How many tasks ended in which way (``succeeded``, ``failed``, ...)."""
        return Counter(record.ended_as for record in self._record.tasks)

    @property
    def event_log(self) -> bytes:
        """All events as in ``events.jsonl``: the same bytes for the same seed."""
        return self._record.event_log

    @property
    def moves(self) -> int:
        """How often a worker went to another pool, and home again."""
        return sum(isinstance(event, WorkerMoved) for event in self._record.events)

    def idle_s(self, pool: str = "") -> dict[str, float]:
        """Return the seconds that workers were idle by cause, in one pool or in all.

        The causes are those of ``steerio report``: ``policy_busy`` is the time after the results
        were known that the worker's next task is because of, and before that task was submitted.

        Raises:
            UsageError: there is no such pool.
        """
        if pool:
            self.utilisation(pool)  # refuses an unknown one
        idle = self._record.seen(self.duration_s).idle
        return dict(idle.by_pool.get(pool, {}) if pool else idle.by_cause)

    def utilisation(self, pool: str = "") -> float:
        """Return the share of their time that workers spent in tasks, 0 to 1, in a pool or in all.

        A worker counts for the pool that it is in: while it is lent, for the pool that has borrowed
        it.

        Raises:
            UsageError: there is no such pool.
        """
        busy_s, present_s = self.worker_seconds(pool)
        return busy_s / present_s if present_s else 0.0

    def worker_seconds(self, pool: str = "") -> tuple[float, float]:
        """Return the seconds that workers spent in tasks, and in all, in one pool or in all.

        Raises:
            UsageError: there is no such pool.
        """
        if pool and pool not in self._worker_seconds:
            known = ", ".join(self._worker_seconds)
            raise UsageError(f"no pool is named {pool!r} (pools here: {known})")
        asked = [self._worker_seconds[pool]] if pool else list(self._worker_seconds.values())
        return sum(busy_s for busy_s, _ in asked), sum(present_s for _, present_s in asked)


def simulate(
    campaign: C,
    *,
    model: Models,
    workers: AskedWorkers | int | None = None,
    seed: int | str = 0,
    nodes: int | None = None,
    workers_per_node: int = WORKERS_PER_NODE,
    latency_s: float = 0.0,
    start_s: StartTimes | None = None,
    walltime_s: float | None = None,
    handler_cost: HandlerCosts | None = None,
    faults: Iterable[Fault] = (),
    limits: Limits | None = None,
    until_s: float | None = None,
    settings: Settings | None = None,
    run_dir: Path | str | None = None,
    memo: Folders = (),
    wall_limit_s: float = WALL_LIMIT_S,
) -> SimulatedRun[C]:
    """Run a campaign on a simulated cluster, to its end; all seconds are virtual.

    The campaign's own code runs, on the broker, nodes and sessions of a real run; only tasks are
    replaced by their models, processes by objects, and waiting by setting the clock. Runs with the
    same arguments and seed have the same events, to the byte, as long as the campaign draws its
    random numbers from seeded generators, reads no other clock than the loop's, and does not depend
    on the order of sets of strings.

    Args:
        campaign: the campaign to run.
        model: how tasks behave: for each task type a `Model`, or a function that draws a `Course`;
            or one `Model` for all.
        workers: how many of each pool; for pools not given here, as in the campaign's class.
            Simulated workers have the resources that they ask for, and keep them when they are
            moved.
        seed: of all random draws of models and faults.
        nodes: over how many nodes (``node-1``, ...) the workers are dealt out.
        workers_per_node: decides the number of nodes if ``nodes`` is not given.
        latency_s: seconds from a node to the broker, or back.
        start_s: seconds that a worker takes to start: a number, or a callable that takes a
            ``random.Random`` and the worker's pool, such as a distribution; by default those of
            recorded models, or 0.
        walltime_s: seconds after which the nodes are killed, as by a batch system; they tell the
            broker when they join.
        handler_cost: virtual seconds for which an agent keeps the campaign's loop busy: for each
            call, and for each step of an ``@agent``. A number, a callable that takes a
            ``random.Random`` and the call's arguments, or ``"measured"``, the processor time that
            the agent takes really (such runs differ from each other). One for all agents, or a dict
            by method, like ``{"relearn": 0.2}``.
        faults: the faults, each with its time.
        limits: when the campaign stops by itself.
        until_s: when to cancel tasks that have not ended, and end.
        settings: bounds and leases of the broker.
        run_dir: the folder for ``tasks.jsonl`` and ``events.jsonl``, if they are to be written.
        memo: the run directory of an earlier real run, or several, whose results of task types with
            ``memo=True`` are known here, as in `run`: such calls take no time of workers.
        wall_limit_s: real seconds after which to give up.

    Raises:
        DeadlockError: all tasks wait, and nothing is left that could wake one.
        UsageError: an argument is invalid, or the simulation takes too long.
        JournalDamaged: the journal of an earlier run cannot be read to its end.
        ExceptionGroup: as from `run`.
    """
    if not isinstance(campaign, Campaign):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"simulate takes an instance of a Campaign, not {campaign!r}")
    check_limits(limits)
    check_given(run_dir=run_dir, settings=settings)
    if until_s is not None:
        seconds(until_s, "until_s", or_zero=True)
    seconds(wall_limit_s, "wall_limit_s")
    usual = type(campaign).workers
    check_by_pool(usual)
    asked = usual
    if workers is not None:
        asked = merged_workers(named_workers(workers, usual), usual)
    if not asked:
        raise UsageError('no workers: say how many for each pool, like workers={"default": 100}')
    record = MemoryRecord(None if run_dir is None else Path(run_dir))
    asked_faults = listed_faults(faults, asked)
    earlier = [open_run(folder) for folder in named_folders(memo)]

    async def run() -> SimulatedRun[C]:
        loop = asyncio.get_running_loop()
        cluster = SimulatedCluster(
            asked,
            model=model,
            seed=seed,
            nodes=nodes,
            workers_per_node=workers_per_node,
            latency_s=latency_s,
            start_s=start_s,
            walltime_s=walltime_s,
            faults=asked_faults,
            settings=settings,
            record=record,
        )
        joins = any(isinstance(fault, RestartBroker) for fault in asked_faults)
        host = "campaign" if joins else ""
        name = type(campaign).__name__
        policy = None if handler_cost is None else PolicyLoop(loop, handler_cost, seed)
        async with cluster, cluster.session(name, host=host, policy=policy) as session:
            if earlier:
                session.recall_from(earlier)
            conductor = Conductor(campaign, session, limits)
            if policy is not None:
                _charge(policy, conductor.dealing.calls)
            end = None if until_s is None else loop.call_at(until_s, _end, campaign, until_s)
            try:
                await conductor.run()
            finally:
                if end is not None:
                    end.cancel()
                if policy is not None:
                    policy.close()
            worker_seconds = {pool: cluster.worker_seconds(pool) for pool in asked}
            dropped = cluster.broker.dropped
            took_s = {} if policy is None else policy.busy_s
            return SimulatedRun(
                campaign, record, loop.time(), worker_seconds, dropped, session.notes, took_s
            )

    with _collecting_rarely():
        return run_virtual(run(), wall_limit_s=wall_limit_s)


@contextlib.contextmanager
def _collecting_rarely() -> Generator[None, None, None]:
    """Collect garbage less often: a large cluster takes long to walk, and has little of it."""
    usual = gc.get_threshold()
    gc.set_threshold(max(usual[0], 20_000), *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _charge(policy: PolicyLoop, agents: Iterable[Calls]) -> None:
    """Have the calls of agents keep the campaign's loop busy."""
    agents = list(agents)
    policy.check([calls.name for calls in agents])
    for calls in agents:
        lasts = calls.trigger.kind == "agent"
        calls.method = policy.charged(calls.name, calls.method, lasts=lasts)


def _end(campaign: Campaign, until_s: float) -> None:
    campaign.stop(cancel=True, reason=f"{until_s:g} s of virtual time are over")
