"""The parts of an overview: pools, idle time by cause, ends, types, and remarks on these."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

from msgspec import structs

from steerio.model.campaign_orders import CampaignView
from steerio.view.snapshot import PoolView, RunSnapshot, Spread

MOST_SEEN = 10
"""Remarks at most."""
SHOWN_TYPES, SHOWN_GROUPS, SHOWN_AGENTS, SHOWN_NOTES, SHOWN_BOARDS = 20, 10, 20, 40, 20
MOST_SHARE = 0.5
"""A cause is remarked on if so much of all idle time has it."""
IDLE_WORDS = {
    "no_work": "their queue was empty, and no agent was about to submit more",
    "policy_busy": "agents had the results, and had not submitted the next tasks yet",
    "in_transit": "tasks and results were on their way",
    "dispatch": "tasks were queued, and not given to them yet",
    "paused": "their pool was paused",
    "moving": "they were moving to another pool",
    "starting": "they were starting",
}
"""Each of `IDLE_CAUSES` in words, of the workers that were idle."""


def counts_of(snapshot: RunSnapshot) -> dict[str, Any]:
    """Return the numbers of a run."""
    header, ends = snapshot.header, snapshot.ends
    return {
        "seconds": round(header.until - header.began, 3),
        "workers": header.workers,
        "workers_busy": header.busy,
        "tasks_queued": header.queued,
        "tasks_open": header.open_tasks,
        "tasks_ended": header.tasks,
        "succeeded": ends.succeeded,
        "failed": ends.failed,
        "cancelled": ends.cancelled,
        "timed_out": ends.timed_out,
        "lost": ends.lost,
        "attempts_retried": ends.retried,
        "ends_per_s_now": ends.rate,
        "ends_per_s_mean": ends.mean_rate,
        "worker_seconds_busy": snapshot.idle.busy_s,
        "worker_seconds_idle": snapshot.idle.total_s,
        "worker_seconds_idle_by_cause": _by_cause(snapshot.idle.by_cause),
        "seconds_left_estimated": header.left_s,
        "agents_react_in_s": _spread(snapshot.reaction),
    }


def names_of(snapshot: RunSnapshot, view: CampaignView | None) -> dict[str, Any]:
    """Return everything of a run that has names or texts of users in it."""
    header = snapshot.header
    data: dict[str, Any] = {
        "run": header.run,
        "campaign": header.campaign,
        "state": header.state,
        "because": header.because,
        "remarks": list(remarks_on(snapshot.pools, snapshot)),
        "pools": [_pool(pool, snapshot) for pool in snapshot.pools],
        "pools_not_shown": snapshot.more_pools,
        "limits": [structs.asdict(limit) for limit in header.limits],
        "task_types": [
            {
                "task_type": kind.task_type,
                "pool": kind.pool,
                "open": kind.open,
                "succeeded": kind.succeeded,
                "not_well": kind.failed + kind.cancelled + kind.timed_out + kind.lost,
                "run_s": _spread(kind.run),
                "wait_s": _spread(kind.wait),
            }
            for kind in snapshot.types[:SHOWN_TYPES]
        ],
        "failures_by_kind": [
            {
                "task_type": group.task_type,
                "ended_as": group.ended_as,
                "error": group.error,
                "count": group.count,
                "last_task": group.last_task,
            }
            for group in snapshot.failure_groups[:SHOWN_GROUPS]
        ],
        "submitted_by": [
            {
                "agent": cause.cause or "a session, and no agent",
                "ended": cause.ended,
                "not_well": cause.failed,
                "reacts_in_s": _spread(cause.reaction),
            }
            for cause in snapshot.causes[:SHOWN_AGENTS]
        ],
        "boards": [
            {
                "board": board.name,
                "pool": board.pool,
                "waiting": board.waiting,
                "handed_out": board.out,
                "ended": board.ended,
                "oldest_waits_s": round(board.oldest_s, 1),
            }
            for board in snapshot.boards[:SHOWN_BOARDS]
        ],
        "held_the_event_loop": [
            {"agent": stall.agent, "times": stall.count, "seconds": round(stall.total_s, 1)}
            for stall in snapshot.stalls[:SHOWN_AGENTS]
        ],
        "noted": [
            {"name": note.name, "last": note.last, "least": note.least, "most": note.most}
            for note in snapshot.notes[:SHOWN_NOTES]
        ],
    }
    if view is not None:
        data |= steered_of(view)
    return data


def steered_of(view: CampaignView) -> dict[str, Any]:
    """Return the parts of a campaign that orders are about."""
    return {
        "parameters": [
            {"name": name, **structs.asdict(each)} for name, each in view.parameters.items()
        ],
        "agents": [{"name": name, **structs.asdict(each)} for name, each in view.agents.items()],
        "open_questions": [structs.asdict(question) for question in view.questions],
        "ends_because": view.stopping,
    }


def remarks_on(pools: tuple[PoolView, ...], snapshot: RunSnapshot) -> Iterator[str]:
    """Yield remarks for a reader that asks why a campaign is slow."""
    said = [*_pools_remarked(pools), *_causes_remarked(pools, snapshot)]
    yield from said[:MOST_SEEN]


def _pools_remarked(pools: tuple[PoolView, ...]) -> Iterator[str]:
    for pool in pools:
        for state, why in (
            ("has failed", pool.failed),
            ("is paused", pool.paused),
            ("is stalled", pool.stalled),
        ):
            if why:
                yield f"pool {pool.name} {state}: {why}"
    for idle, busy in permutations(pools, 2):
        if idle.idle and not idle.queued and not idle.paused and busy.queued and not busy.idle:
            yield (
                f"pool {idle.name} has {idle.idle} of {idle.workers} workers idle and nothing "
                f"queued, while pool {busy.name} has {busy.queued} tasks queued and no worker idle"
            )


def _causes_remarked(pools: tuple[PoolView, ...], snapshot: RunSnapshot) -> Iterator[str]:
    for pool in pools:
        causes = snapshot.idle.by_pool.get(pool.name, {})
        total = sum(causes.values())
        for cause, seconds in causes.items():
            if total > 0 and seconds >= MOST_SHARE * total:
                yield (
                    f"of the idle time of pool {pool.name} {seconds / total:.0%} is {cause}: "
                    f"{IDLE_WORDS.get(cause, cause)}"
                )


def _pool(pool: PoolView, snapshot: RunSnapshot) -> dict[str, Any]:
    return {
        "name": pool.name,
        "workers": pool.workers,
        "busy": pool.busy,
        "idle": pool.idle,
        "starting": pool.starting,
        "lent": pool.lent,
        "borrowed": pool.borrowed,
        "workers_lost": pool.lost,
        "queued": pool.queued,
        "oldest_queued_s": pool.oldest_s,
        "busy_share": pool.busy_share,
        "paused": pool.paused,
        "stalled": pool.stalled,
        "failed": pool.failed,
        "idle_worker_seconds_by_cause": _by_cause(snapshot.idle.by_pool.get(pool.name, {})),
    }


def _by_cause(causes: dict[str, float]) -> dict[str, float]:
    return {cause: round(seconds, 3) for cause, seconds in causes.items() if seconds}


def _spread(spread: Spread) -> dict[str, float] | None:
    if not spread.count:
        return None
    return {"p50": spread.p50, "p90": spread.p90, "most": spread.most, "count": spread.count}
