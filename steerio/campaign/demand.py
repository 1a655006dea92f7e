"""The task types that a campaign is seen to use, and so the pools that must have workers.

Its triggers and boards surely need their pools.  Task types among the globals of its module may be
another campaign's; a task of such a type whose pool has no workers is refused when it is submitted.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from steerio.campaign.campaign import Campaign
from steerio.campaign.found_boards import boards_of
from steerio.campaign.trigger_marks import triggers_of
from steerio.errors import UsageError, guess
from steerio.launch.on_executor import OnExecutor, on_executors
from steerio.launch.workers import (
    AskedWorkers,
    check_workers,
    merged_workers,
    named_workers,
    needs_of,
)
from steerio.model.places import WorkerNeeds
from steerio.session.task_type import DEFAULT_POOL, TaskType, is_task_type


def task_types(campaign: object) -> list[TaskType[..., Any]]:
    """Return the task types that a campaign is seen to use.

    These are the types of its triggers and boards, and the globals of its module and of those of
    its bases.
    """
    found = _needed_types(campaign)
    for module in _modules_of(campaign):
        found += _types_in(module)
    return list({id(kind): kind for kind in found}.values())


def known_types(campaign: object) -> list[TaskType[..., Any]]:
    """Return all task types that can be seen from a campaign, used or not.

    Beside the types that it is seen to use, these are the globals of the modules among all those
    globals.
    """
    found = task_types(campaign)
    for module in _modules_of(campaign):
        for other in list(vars(module).values()):
            if type(other) is ModuleType:
                found += _types_in(other)
    return list(
        {(kind.name, kind.pool, id(kind.function)): kind for kind in reversed(found)}.values()
    )


def count_workers(
    campaign: Campaign, asked: AskedWorkers | int | None
) -> tuple[dict[str, int], dict[str, WorkerNeeds]]:
    """Return how many workers to start for each pool, and the needs of each of these.

    Args:
        campaign: the campaign that needs the workers.
        asked: how many the caller asks for; pools not named there get as many as the campaign's
            class says.  If neither names any, each pool that the campaign is seen to use gets one.

    Raises:
        UsageError: a pool of a trigger or board has no workers, or ``asked`` is invalid.
    """
    asked = _asked(campaign, asked)
    workers = check_workers(asked)
    needed = {kind.pool for kind in _trigger_types(campaign)} | _named_pools(campaign)
    missing = sorted(needed - set(workers))
    if missing:
        pools = ", ".join(f"{pool}=1" for pool in missing)
        hints = "".join(f"; {hint}" for hint in unknown_pools(campaign, workers))
        raise UsageError(
            f"no workers for the pool{'s' * (len(missing) > 1)} {', '.join(missing)}, which this "
            f"campaign's triggers and boards use; add {pools} to the workers{hints}"
        )
    return workers, needs_of(asked)


def pools_on_executors(
    campaign: Campaign, asked: AskedWorkers | int | None
) -> dict[str, OnExecutor]:
    """Return the pools of `count_workers` whose tasks executors run, and these."""
    return on_executors(_asked(campaign, asked))


def _asked(campaign: Campaign, asked: AskedWorkers | int | None) -> AskedWorkers:
    """Return the workers to start for each pool, as they were given."""
    usual = campaign.workers
    used = {kind.pool for kind in task_types(campaign)} | _named_pools(campaign)
    if asked is None:
        asked = usual
    else:
        asked = merged_workers(named_workers(asked, usual or used), usual)
    return asked or dict.fromkeys([kind.pool for kind in task_types(campaign)] or [DEFAULT_POOL], 1)


def seen_pools(campaign: object) -> set[str]:
    """Return the pools of all task types that can be seen from a campaign, used or not."""
    kinds = known_types(campaign)
    return {kind.pool for kind in kinds} | _named_pools(campaign) | {DEFAULT_POOL}


def unknown_pools(campaign: object, workers: Iterable[str]) -> list[str]:
    """Return, in words, the pools without a known task type, each with the name probably meant."""
    known = seen_pools(campaign)
    said: list[str] = []
    for pool in workers:
        if pool not in known:
            said.append(f"no task type here is for the pool {pool!r}{guess(pool, known)}")
    return said


def _modules_of(campaign: object) -> list[ModuleType]:
    """Return the modules of a campaign's class, and of its bases that are campaigns."""
    bases = [base for base in type(campaign).__mro__ if issubclass(base, Campaign)]
    modules = [inspect.getmodule(base) for base in bases if base is not Campaign]
    return [module for module in modules if module is not None]


def _needed_types(campaign: object) -> list[TaskType[..., Any]]:
    of_boards = [kind for board in boards_of(campaign) for kind in board.task_types]
    return _trigger_types(campaign) + of_boards


def _trigger_types(campaign: object) -> list[TaskType[..., Any]]:
    subjects = [trigger.subject for _, trigger, _ in triggers_of(campaign)]
    return [subject for subject in subjects if is_task_type(subject)]


def _named_pools(campaign: object) -> set[str]:
    """Return the pools that boards feed, and those that triggers watch."""
    triggers = [trigger for _, trigger, _ in triggers_of(campaign)]
    watched = {trigger.subject for trigger in triggers if trigger.of_pool}
    return watched.union(*(board.pools for board in boards_of(campaign)))


def _types_in(module: ModuleType) -> list[TaskType[..., Any]]:
    return [value for value in vars(module).values() if is_task_type(value)]
