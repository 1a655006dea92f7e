"""Running a campaign in a process of its own, from ``steerio.run`` and the command line."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from steerio.campaign.campaign import Campaign
from steerio.campaign.limits import Limits
from steerio.campaign.plan import Plan, check_plan
from steerio.campaign.watchdog import Watchdog
from steerio.campaign.whole_run import Run
from steerio.edge.system.inheritance import fill_standard
from steerio.errors import UsageError
from steerio.launch.event_loop import loop_factory
from steerio.launch.mpi import Followers, lead_ranks
from steerio.launch.workers import AskedWorkers
from steerio.model.allowed import checked_patterns
from steerio.model.objects import StoreSetting
from steerio.model.settings import Settings
from steerio.session.argument_checks import Folders, named_folders

C = TypeVar("C", bound=Campaign)


def run(
    campaign: C,
    *,
    workers: AskedWorkers | int | None = None,
    run_dir: Path | str | None = None,
    limits: Limits | None = None,
    progress: str = "auto",
    pin: bool = True,
    settings: Settings | None = None,
    store: StoreSetting | None = None,
    random_seed: int | None = None,
    resume: Path | str | None = None,
    durability: str | None = None,
    take_over: bool = False,
    memo: Folders = (),
    repl: bool = False,
    allow: Iterable[str] | None = None,
) -> C:
    """Run a campaign to its end, in an event loop of its own; returns the campaign.

    Ctrl-C once ends it in good order, twice at once.  Under an MPI launcher, rank 0 runs the
    campaign and the other ranks become its workers (they never return from here).

    Args:
        campaign: the campaign to run.
        workers: how many for each pool, like ``{"simulate": 2, "learn": Workers(1, gpus=1)}``;
            for pools not named here, as in the campaign's class; if neither names any, one for each
            pool that the campaign is seen to use.  A number alone is for its only pool.
        run_dir: where to keep the record; ``runs/NAME-TIME`` by default.
        limits: when to stop by itself.
        progress: ``auto``, ``live``, ``plain`` or ``off``.
        pin: whether each worker gets cores of its own, if there are enough.
        settings: bounds and leases.
        store: where large values go; by default as the campaign's class says, else into shared
            memory or, if there are workers on other hosts, into files in the run directory.
        random_seed: the seed of the random numbers of workers and tasks, 0 to 2**64 - 1; by default
            one is drawn.  The run directory records it.
        resume: the run directory of a run to go on with; the campaign has to be made as it was
            then.  If there is no run yet, it begins there.
        durability: how long results survive, so that the run can be resumed: the end of every
            ``process``; of the ``machine`` (the default), a moment later; or, with ``strict``,
            before any agent hears of them; ``none``: they are not kept.
        take_over: whether to go on although another process may have the run: you know that it has
            ended, on another host, say.
        memo: the run directory of an earlier run, or several, whose results of task types with
            ``memo=True`` are known here. They are only read, and may still be written to.
        repl: whether prompts of this user may attach (``steerio attach RUN_DIR --repl``), whose
            statements run in this process.
        allow: the import paths of the only functions that workers run, as for `open_session`; by
            default they run any.

    Raises:
        UsageError: an argument is invalid, or an event loop runs already: there, await `conduct`.
        JournalTaken: another process goes on with the run already.
        JournalDamaged: the run to resume, or an earlier one, cannot be read.
        ExceptionGroup: of the errors of agents, an ``UnhandledFailure`` or a ``BrokerLost``.
        KeyboardInterrupt: the run was interrupted.
    """
    plan = Plan(
        workers=workers,
        run_dir=run_dir,
        limits=limits,
        progress=progress,
        pin=pin,
        settings=settings,
        store=store,
        random_seed=random_seed,
        resume=resume,
        durability=durability,
        take_over=take_over,
        memo=named_folders(memo),
        repl=repl,
        allow=checked_patterns(allow, "allow"),
    )
    return run_plan(campaign, plan)


def run_plan(campaign: C, plan: Plan) -> C:
    """Run a campaign as planned; see `run`."""
    fill_standard()
    check_plan(campaign, plan, "steerio.run")
    _refuse_running_loop()
    if plan.followers is not None:
        interrupted = _run(campaign, plan, plan.followers)
    else:
        with lead_ranks(plan.resume or plan.run_dir) as followers:
            interrupted = _run(campaign, plan, followers)
    if interrupted == signal.SIGINT:
        raise KeyboardInterrupt
    if interrupted is not None:
        raise SystemExit(128 + interrupted)
    return campaign


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        "steerio.run has an event loop of its own, and one runs here already (a notebook, a "
        "service, an async test): await steerio.conduct(campaign, ...) instead"
    )


def _run(campaign: Campaign, plan: Plan, followers: Followers | None) -> signal.Signals | None:
    run = Run(campaign, plan, followers)
    watchdog = Watchdog(run.give_up)
    run.expect_by(watchdog)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            # the runner's own handling of Ctrl-C is replaced inside, on the loop
            return runner.run(run.run())
    finally:
        watchdog.close()  # not before: the runner waits for threads
