"""The journal of a run as its plan has it: opened, begun with the values of the run, and ended."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct, structs

from steerio.campaign.campaign import Campaign
from steerio.campaign.plan import Plan
from steerio.campaign.run_journal import RunJournal, began_now, open_run_journal, pools_of
from steerio.campaign.watchdog import CLOSE_S
from steerio.edge.record.disk import is_volatile
from steerio.edge.record.durable import Durability
from steerio.edge.record.entries import Began
from steerio.edge.system.threads import DaemonThreads, in_thread
from steerio.errors import JournalFenced, UsageError
from steerio.model.places import WorkerNeeds
from steerio.worker.random_streams import SEED_BITS, derive

log = logging.getLogger("steerio.campaign")


class RunValues(Struct, frozen=True):
    """The values of a run that the next incarnation takes over.

    Attributes:
        random_seed: of workers and tasks. The journal keeps that of the first incarnation, from
            which each has one of its own.
        workers, needs: the number of workers of each pool, and the share of each.
        allow: the functions that workers may run; ``None``: any.
    """

    random_seed: int
    workers: dict[str, int]
    needs: dict[str, WorkerNeeds]
    allow: tuple[str, ...] | None = None


async def open_planned(
    plan: Plan, folder: Path, on_failure: Callable[[BaseException], object]
) -> RunJournal | None:
    """Open the journal in a run directory, if the plan has one.

    Args:
        plan: of the run.
        folder: the run directory.
        on_failure: called once, on the loop, if syncing fails.

    Raises:
        UsageError: the plan wants to resume without a journal; else as `open_run_journal`.
        JournalTaken, JournalDamaged, JournalFull, JournalFailed: as `open_run_journal`.
    """
    if plan.durability == "none":
        if plan.resume is not None:
            raise UsageError("a run goes on with its journal: durability='none' has none")
        return None
    level = Durability(plan.durability or Durability.MACHINE)
    if level is not Durability.PROCESS and is_volatile(folder):
        log.warning(
            "%s is in memory: results there do not survive the machine; name a run directory on a "
            "disk, or say durability='process'",
            folder,
        )
    loop = asyncio.get_running_loop()
    opened: list[RunJournal] = []
    lock, cancelled = threading.Lock(), threading.Event()

    def failed(error: BaseException) -> None:
        loop.call_soon_threadsafe(on_failure, error)

    def open_it() -> None:
        journal = open_run_journal(folder, level, failed, take_over=plan.take_over)
        with lock:
            opened.append(journal)
            if cancelled.is_set():
                journal.close()

    try:
        await in_thread(open_it)
    except asyncio.CancelledError:
        with lock:
            cancelled.set()
            for journal in opened:
                journal.close()
        raise
    return opened[0]


def begin_planned(
    journal: RunJournal, campaign: Campaign, plan: Plan, values: RunValues
) -> RunValues:
    """Note in the journal that a run begins; return its values, some of earlier incarnations.

    Raises:
        UsageError: another campaign ran there, or with a list of allowed functions, and the broker
            to join has none.
        JournalFull, JournalFailed, JournalFenced: it cannot be written.
    """
    began = journal.past.began
    workers = dict[str, int]() if plan.workers is None else dict(values.workers)
    needs = dict[str, WorkerNeeds]() if plan.workers is None else dict(values.needs)
    if began is not None:
        _check_campaign(campaign, began)
        if plan.workers is None:
            workers, needs = began.workers, began.needs
        if values.allow is None and began.allow is not None:
            values = structs.replace(values, allow=_list_of_before(plan, began.allow))
        if plan.join is None:
            values = _taken_over(values, plan, began, pools_of(journal.past))
    run = uuid.uuid4().hex if began is None or not began.run else began.run
    now = began_now(campaign, plan.file, values.random_seed, (workers, needs), run, values.allow)
    restores = journal.past.content() is not None
    if (
        restores
        and began is not None
        and (began.arguments, began.parameters) != (now.arguments, now.parameters)
    ):
        log.warning(
            "%s is given other arguments or parameters than before, and its attributes are "
            "restored as they were",
            type(campaign).__name__,
        )
    journal.begin(now)
    if began is None or plan.join is not None:
        return values
    # workers of the same names are not to draw the numbers of earlier incarnations again
    seed = derive(values.random_seed, f"incarnation {journal.past.incarnations}", SEED_BITS)
    return structs.replace(values, random_seed=seed)


def _taken_over(values: RunValues, plan: Plan, began: Began, pools: dict[str, int]) -> RunValues:
    seed = began.random_seed if plan.random_seed is None else values.random_seed
    if plan.workers is not None:
        return structs.replace(values, random_seed=seed)
    known = {*values.workers, *began.workers}
    asked = values.workers | began.workers
    workers = asked | {pool: count for pool, count in pools.items() if pool in known}
    if sum(workers.values()) != sum(asked.values()):  # not only moved: some had come, or were lost
        workers = asked
    return structs.replace(
        values, random_seed=seed, workers=workers, needs=values.needs | began.needs
    )


def _list_of_before(plan: Plan, allow: tuple[str, ...]) -> tuple[str, ...]:
    """Return the list of allowed functions by which a run goes on that has been given none.

    Raises:
        UsageError: it is to go on at a broker that has none.
    """
    if plan.join is not None:
        raise UsageError(
            f"the workers of this run might only run {', '.join(allow)}, and the broker in "
            f"{plan.join} lets them run anything: start it with --allow"
        )
    log.info("allowed functions, as before: %s", ", ".join(allow))
    return allow


def end_planned(journal: RunJournal, outcome: str, because: str) -> JournalFenced | None:
    """Close the journal; return the error if the run is another process's by now.

    A disk that does not answer may not keep the process from its end.
    """
    threads = DaemonThreads(1, "steerio-journal-end")
    ended, _ = concurrent.futures.wait([threads.submit(journal.end, outcome, because)], CLOSE_S)
    threads.close(CLOSE_S if ended else 0.0)
    return journal.fenced


def _check_campaign(campaign: Campaign, began: Began) -> None:
    """Refuse a campaign of another class than the one that ran there.

    Raises:
        UsageError: it is one.
    """
    name = type(campaign).__qualname__
    if began.campaign.rpartition(":")[2] != name:
        raise UsageError(f"the run there is of {began.campaign}, and cannot go on as {name}")
