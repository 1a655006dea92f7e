"""The materials campaign at the size of the largest public one of its kind, simulated.

    python examples/materials/at_scale.py                        450 nodes, 3 hours: some minutes
    python examples/materials/at_scale.py --nodes 10 --hours 1   seconds
    python examples/materials/at_scale.py --picture use.png      utilisation over time

The policy is that of ``search.py``, unchanged, on the broker, nodes and session of a real run;
tasks follow `models`, and clocks are virtual. Handlers cost the time that they were measured to
take.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dynamics import relax
from linkers import generate, train
from models import AT_ONCE, DYNAMICS_S, LONG, MODELS, SHORT
from numpy.typing import NDArray
from search import Materials

from steerio import Limits, Result, Settings, TaskYielded, WorkerJoined, agent, on_result
from steerio.testing import SimulatedRun, simulate

AI_SHARE, DFT_SHARE, DFT_NODES = 0.1, 0.25, 2
"""Shares of nodes: of generators; of the rest, of density functional theory, so many for a task."""
GPUS, ON_GPU, CORES = 4, 2, 32
"""Of a node; tasks of molecular dynamics that share a GPU; cores of a node."""
LOOP_S = 0.2e-3
"""Seconds that the loop itself takes for each call: a decision after a pause, by the benches."""
MEASURED_S = {
    "collect": 0.25e-3,
    "probe_pores": 0.17e-3,
    "admit": 0.16e-3,
    "judge": 0.15e-3,
    "fail": 0.06e-3,
    "rank": 0.2e-3,
    "count": 0.05e-3,
    "time": 0.01e-3,
    "write": 0.8e-3,
    "learn": 2.0e-3,
    "allocate": 0.2e-3,
}
"""Processor seconds for a call of each handler, of a run with ``handler_cost="measured"``."""
HANDLER_S = {name: took_s + LOOP_S for name, took_s in MEASURED_S.items()}
"""The cost of each handler; those that only look on (`Watched.clock`) have none."""
SETTINGS = Settings(beat_s=15.0, lease_s=60.0)
"""Of a broker with so many nodes: they need not say each second that they are alive."""
STACK = 1.05
"""Linkers and frameworks that wait at most, for each place of molecular dynamics."""
FEEDING = 4
"""Workers that stay with assembly, for each that stays with generation: else dynamics starves."""
SETTLE_S, BIN_S = 5.0, 60.0
LEAST_NODES, MOST_HOURS, WALL_LIMIT_S = 4, 24.0, 3_600.0
MODEL_AT_ONCE_S = AT_ONCE * DYNAMICS_S
COLOURS = {"dynamics": "#4477aa", "adsorb": "#ccbb44", "generate": "#ee6677", "learn": "#228833"}
FloatArray = NDArray[np.float64]


def layout(nodes: int) -> tuple[dict[str, int], dict[str, float]]:
    """Return the workers by pool, and the part of a node that one of each has.

    It follows the public configuration of the campaign: a tenth of the nodes is for the generator,
    one of which trains it; a quarter of the rest for density functional theory, two for a task; the
    others have two tasks of molecular dynamics on each GPU, and a core beside each for the helpers.
    With 450 nodes these are its 2,440 workers of molecular dynamics. The example has no density
    functional theory: the cores of those nodes run adsorption. Helpers assemble frameworks.
    """
    learned = max(2, int(AI_SHARE * nodes))
    left = nodes - learned
    heavy = DFT_NODES * max(1, int(DFT_SHARE * (left // DFT_NODES)))
    places = (left - heavy) * GPUS * ON_GPU
    workers = {
        "generate": (learned - 1) * GPUS,
        "learn": 1,
        "dynamics": places,
        "assemble": places,
        "adsorb": heavy * CORES,
    }
    part = {
        "generate": 1 / GPUS,
        "learn": 1.0,
        "dynamics": 1 / (GPUS * ON_GPU),
        "assemble": 0.0,  # cores of nodes that are counted already
        "adsorb": 1 / CORES,
    }
    return workers, part


class Noted(dict[str, Any]):
    """A part of the policy's knowledge that notes when each entry was made."""

    def __init__(self, made_at: dict[str, float]) -> None:
        super().__init__()
        self.made_at = made_at

    def __setitem__(self, key: str, value: Any) -> None:
        self.made_at.setdefault(key, asyncio.get_running_loop().time())
        super().__setitem__(key, value)


class Watched(Materials):
    """The campaign, and notes of when it learned of things: nothing of it is changed."""

    progress: Callable[[float], None] | None = None

    def watch(self, progress: Callable[[float], None] | None) -> None:
        """Begin to note times, before the campaign runs; and tell of the minutes that pass."""
        self.progress = progress
        self.ended_at: dict[str, float] = {}
        self.made_at: dict[str, float] = {}
        self.worth, self.candidates = Noted(self.made_at), Noted(self.made_at)

    @on_result(relax)
    async def clock(self, result: Result) -> None:
        """Keep the time at which molecular dynamics ended on its worker."""
        self.ended_at[result.args[0].linker] = result.timings.ended or 0.0

    @agent
    async def tell(self) -> None:
        """Tell of the minutes that have passed."""
        while self.progress is not None:
            await asyncio.sleep(60.0)
            self.progress(asyncio.get_running_loop().time() / 60)


@dataclass
class Seen:
    """The figures of a run.

    Attributes:
        nodes: of the allocation.
        hours: of virtual time.
        workers: by pool, at the beginning.
        tasks: that were begun.
        dynamics: attempts at molecular dynamics that ended by themselves.
        failed: the share of these that failed.
        early: the share of those that failed which did so within the first percent of their time.
        whole: the share of the allocation that was busy, over the whole run.
        best: over the best hour.
        pools: the share of their time that the workers of each pool were busy.
        use: the share of the allocation that was busy with the tasks of each pool, by minute.
        recorded: seconds from the end of molecular dynamics to the policy's record of it, each.
        used: seconds from the end of a training to the first linker of its model, each.
        moves: of workers.
        wall_s: seconds that the simulation took.
        cpu_s: processor seconds of it.
    """

    nodes: int
    hours: float
    workers: dict[str, int]
    tasks: int
    dynamics: int
    failed: float
    early: float
    whole: float
    best: float
    pools: dict[str, float]
    use: dict[str, list[float]]
    recorded: list[float]
    used: list[float]
    moves: int
    wall_s: float
    cpu_s: float


def run(
    workers: Mapping[str, int],
    nodes: int,
    hours: float,
    seed: int = 1,
    cost: Any = None,
    progress: Callable[[float], None] | None = None,
) -> SimulatedRun[Watched]:
    """Return the campaign's run on these workers, simulated.

    Args:
        workers: by pool.
        nodes: over which they are dealt out.
        hours: of virtual time.
        seed: of all random numbers.
        cost: of the handlers; by default as measured.
        progress: called with each minute of virtual time that has passed.
    """
    places = workers["dynamics"]
    campaign = Watched(
        budget=10**9,
        cycles=(SHORT, LONG),
        stack=max(64, round(STACK * places)),
        retrain=max(8, places // 10),
        leaders=max(8, places // 10),
        keep=max(1, workers["generate"] // 16),
        feeding=FEEDING,
        apart=True,
        settle_s=SETTLE_S,
        seed=seed,
    )
    campaign.watch(progress)
    return simulate(
        campaign,
        model=MODELS,
        workers=dict(workers),
        nodes=nodes,
        seed=seed,
        until_s=3600 * hours,
        handler_cost=HANDLER_S if cost is None else cost,
        limits=Limits(failures=10**9),
        settings=SETTINGS,
        wall_limit_s=WALL_LIMIT_S,
    )


def at_scale(workers: int) -> SimulatedRun[Watched]:
    """Return an hour of the campaign on so many workers: half of them have a GPU."""
    pools = {"generate": max(1, workers // 32), "assemble": max(1, workers // 32), "learn": 0}
    pools["dynamics"] = workers // 2 - pools["generate"]
    pools["adsorb"] = workers // 2 - pools["assemble"]
    return run(pools, max(1, workers // 32), 1.0)


def measure(nodes: int, hours: float, seed: int = 1, **options: Any) -> Seen:
    """Run the campaign on so many nodes, and return its figures."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    workers, part = layout(nodes)
    ran = run(workers, nodes, hours, seed, **options)
    took_s, took_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    dynamics = [
        record
        for record in ran.records
        if record.task_type == relax.name and record.ended_as in ("succeeded", "failed")
    ]
    failed = [record for record in dynamics if record.ended_as == "failed"]
    early = sum(span(record) < MODEL_AT_ONCE_S for record in failed)
    use = use_by_minute(ran, part, nodes, hours)
    whole = np.sum(list(use.values()), axis=0)
    window = min(len(whole), 60)
    best = max(float(np.mean(whole[n : n + window])) for n in range(len(whole) - window + 1))
    return Seen(
        nodes=nodes,
        hours=hours,
        workers=workers,
        tasks=len(ran.records),
        dynamics=len(dynamics),
        failed=len(failed) / max(1, len(dynamics)),
        early=early / max(1, len(failed)),
        whole=float(np.mean(whole)),
        best=best,
        pools={pool: ran.utilisation(pool) for pool in workers},
        use={pool: share.tolist() for pool, share in use.items()},
        recorded=recorded_after(ran.campaign),
        used=used_after(ran),
        moves=ran.moves,
        wall_s=took_s,
        cpu_s=took_cpu_s,
    )


def span(record: Any) -> float:
    """Return the seconds that an attempt took."""
    return (record.ended or 0.0) - (record.started or 0.0)


def use_by_minute(
    ran: SimulatedRun[Any], part: Mapping[str, float], nodes: int, hours: float
) -> dict[str, FloatArray]:
    """Return the share of the allocation that was busy with each pool's tasks, by minute.

    A worker counts as the part of a node that it had at the beginning, wherever it has moved.
    """
    home: dict[str, str] = {}
    for event in ran.events:
        if isinstance(event, WorkerJoined):
            home.setdefault(event.worker, event.pool)
    edges = np.arange(0.0, 3600 * hours + BIN_S / 2, BIN_S)
    found: dict[str, FloatArray] = {}
    for pool in part:
        spans = np.array(
            [
                (record.started, record.ended, part[home[record.worker]])
                for record in ran.records
                if record.pool == pool and record.worker and record.started is not None
                if record.ended is not None
            ]
        ).reshape(-1, 3)
        begin, end, weight = spans.T
        busy = [float(np.sum(weight * np.clip(at - begin, 0.0, end - begin))) for at in edges]
        found[pool] = np.diff(busy) / BIN_S / nodes
    return found


def recorded_after(campaign: Watched) -> list[float]:
    """Return the seconds from each end of molecular dynamics to the policy's record of it."""
    return [
        campaign.made_at[linker] + HANDLER_S["judge"] - ended
        for linker, ended in campaign.ended_at.items()
        if linker in campaign.made_at
    ]


def used_after(ran: SimulatedRun[Any]) -> list[float]:
    """Return the seconds from the end of each training to the first linker of its model."""
    version_of = {
        record.task_id: max((record.versions or {}).values(), default=0)
        for record in ran.records
        if record.task_type == generate.name
    }
    first: dict[int, float] = {}
    for event in ran.events:
        if isinstance(event, TaskYielded) and event.task_id in version_of:
            first.setdefault(version_of[event.task_id], event.at)
    ends = sorted(
        record.ended
        for record in ran.records
        if record.task_type == train.name and record.ended_as == "succeeded" and record.ended
    )
    found: list[float] = []
    for version, ended in enumerate(ends, 2):  # 1 has learned nothing
        used = [at for each, at in first.items() if each >= version]
        if used:
            found.append(min(used) - ended)
    return found


def show(seen: Seen) -> None:
    """Print the table."""
    workers = ", ".join(f"{count:,} {pool}" for pool, count in seen.workers.items())
    print(f"{seen.nodes} nodes, {seen.hours:g} h; workers: {workers}")
    rows = [
        ("tasks begun", f"{seen.tasks:,}", "174,470"),
        ("attempts at molecular dynamics that failed", f"{seen.failed:.0%}", "43 %"),
        ("of these within the first percent of their time", f"{seen.early:.0%}", "a quarter"),
        ("allocation busy, best hour", f"{seen.best:.1%}", "99 %"),
        ("allocation busy, whole run", f"{seen.whole:.1%}", ""),
        *((f"  {pool} workers busy", f"{busy:.1%}", "") for pool, busy in seen.pools.items()),
        ("end of molecular dynamics to database", quantiles(seen.recorded), "0.2 s"),
        ("model trained to used", quantiles(seen.used), "2.3 s"),
        ("workers moved", f"{seen.moves:,}", ""),
    ]
    print(f"{'':50}{'simulated':>24}{'published':>12}")
    for name, value, published in rows:
        print(f"{name:50}{value:>24}{published:>12}")
    print(f"simulated in {seen.wall_s:.0f} s, {seen.cpu_s:.0f} s of a processor")


def quantiles(values: list[float]) -> str:
    """Return the median and the 95th percentile in words."""
    if not values:
        return "-"
    middle, high = np.quantile(values, (0.5, 0.95))
    unit, scale = ("s", 1.0) if high >= 1.0 else ("ms", 1000.0)
    return f"{middle * scale:.2g} {unit} (95 %: {high * scale:.2g})"


def picture(seen: Seen, file: str) -> None:
    """Draw the use of the allocation by pool over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    names = [pool for pool in ("dynamics", "adsorb", "generate", "learn") if pool in seen.use]
    minutes = (np.arange(len(seen.use["dynamics"])) + 0.5) * BIN_S / 3600
    shares = [100 * np.array(seen.use[pool]) for pool in names]
    axes.stackplot(minutes, shares, labels=names, colors=[COLOURS[pool] for pool in names])
    axes.set(xlim=(0, seen.hours), ylim=(0, 100), xlabel="hours")
    axes.set_ylabel(f"% of {seen.nodes} nodes busy")
    axes.legend(loc="lower right", fontsize=8, ncols=len(names))
    figure.savefig(file, dpi=110)


def told(hours: float) -> Callable[[float], None] | None:
    """Return a function that tells of the progress on a terminal, if there is one."""
    if not sys.stderr.isatty():
        return None
    began = time.perf_counter()

    def tell(minutes: float) -> None:
        share = minutes / (60 * hours)
        took_s = time.perf_counter() - began
        end = "\n" if share >= 1 else ""
        sys.stderr.write(f"\r{share:4.0%} of {hours:g} h simulated in {took_s:.0f} s{end}")
        sys.stderr.flush()

    return tell


def main() -> None:
    """Run the campaign, and print its figures."""
    parser = argparse.ArgumentParser(description="The materials campaign on hundreds of nodes.")
    parser.add_argument("--nodes", type=int, default=450, help="of 4 GPUs and 32 cores; from 4 on")
    parser.add_argument("--hours", type=float, default=3.0, help="of virtual time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", metavar="FILE", help="draw the use by pool over time")
    parser.add_argument("--json", metavar="FILE", help="write all figures down")
    asked = parser.parse_args()
    if asked.nodes < LEAST_NODES or not 0 < asked.hours <= MOST_HOURS:
        parser.error(f"from {LEAST_NODES} nodes on, and at most {MOST_HOURS:g} hours")
    seen = measure(asked.nodes, asked.hours, asked.seed, progress=told(asked.hours))
    show(seen)
    if asked.json:
        Path(asked.json).write_text(json.dumps(asdict(seen)))
    if asked.picture:
        picture(seen, asked.picture)


if __name__ == "__main__":
    main()
