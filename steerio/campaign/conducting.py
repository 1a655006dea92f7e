"""Running a campaign on a loop that runs already: in a service, a notebook, an async test.

Theory.  Code that awaits a campaign there has one way to end it, which is to cancel; so
cancellation is to `conduct` as Ctrl-C is to `run`.  Cancelled once, the campaign ends in good order
and within its bounds, and only then the ``CancelledError`` is raised; cancelled twice, it ends at
once.  The process and its signals belong to others, so it is never ended: an agent that does not
let itself be cancelled is left behind, with an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from steerio.campaign.campaign import Campaign
from steerio.campaign.conductor import Conductor
from steerio.campaign.limits import Limits
from steerio.campaign.plan import Plan, check_plan
from steerio.campaign.progress import showing
from steerio.campaign.watchdog import SLACK_S
from steerio.campaign.whole_run import Run
from steerio.errors import AgentsGoOn, UsageError
from steerio.launch.workers import AskedWorkers
from steerio.model.allowed import checked_patterns
from steerio.model.objects import StoreSetting
from steerio.model.settings import Settings
from steerio.session.argument_checks import Folders, check_given, named_folders
from steerio.session.session import Session

log = logging.getLogger("steerio.campaign")

C = TypeVar("C", bound=Campaign)


async def conduct(
    campaign: C,
    *,
    session: Session | None = None,
    workers: AskedWorkers | int | None = None,
    run_dir: Path | str | None = None,
    limits: Limits | None = None,
    progress: str = "off",
    pin: bool = True,
    settings: Settings | None = None,
    store: StoreSetting | None = None,
    random_seed: int | None = None,
    resume: Path | str | None = None,
    durability: str | None = None,
    take_over: bool = False,
    memo: Folders = (),
    allow: Iterable[str] | None = None,
) -> C:
    """Run a campaign to its end, on the running event loop; returns the campaign.

    This is `run` for programs that have a loop: services, notebooks, async tests.  Cancel the task
    that awaits this to end the campaign in good order, within the bounds of its ``limits``; cancel
    it again to end the campaign at once.

    Args:
        campaign: the campaign to run.
        session: an open session to run it on, with its workers and record; by default one is opened
            for the campaign alone.  All tasks that are submitted to that session while the campaign
            runs are the campaign's; if it fails, those that have not ended are cancelled.
        workers: as for `run`; this argument, ``run_dir``, ``settings``, ``store`` and
            ``random_seed`` cannot be given with a session.
        run_dir: where to keep the record; ``runs/NAME-TIME`` by default.
        limits: when to stop by itself.
        progress: ``auto`` (a live view in a notebook or on a terminal, lines elsewhere), ``live``,
            ``plain`` or ``off``.
        pin: whether each worker gets cores of its own, if there are enough.
        settings: bounds and leases.
        store: where large values go; as for `run`.
        random_seed: as for `run`.
        resume: as for `run`.
        durability: as for `run`.  Results are not kept on a session that is given.
        take_over: as for `run`.
        memo: as for `run`; a session that is given has its own.
        allow: as for `run`; likewise.

    Raises:
        UsageError: an argument is invalid, or another campaign runs on the session.
        ExceptionGroup: of the errors of agents, an ``UnhandledFailure`` or a ``BrokerLost``.
        AgentsGoOn: the campaign had to end, and agents do not let themselves be cancelled.
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
        allow=checked_patterns(allow, "allow"),
    )
    check_plan(campaign, plan, "steerio.conduct")
    check_given(session=session)
    if session is None:
        run = Run(campaign, plan, None, ours=False)
        await _see_to_its_end(run, run.run())
    else:
        given = {
            "workers": workers,
            "run_dir": run_dir,
            "settings": settings,
            "store": store,
            "random_seed": random_seed,
            "resume": resume,
            "durability": durability,
            "take_over": take_over or None,
            "memo": list(plan.memo) or None,
            "allow": plan.allow,
        }
        for name, value in given.items():
            if value is not None:
                raise UsageError(f"{name} does not go with a session: that one has its own")
        guest = _Guest(campaign, session, plan)
        await _see_to_its_end(guest, guest.run())
    return campaign


class Ends(Protocol):
    """The run of a campaign, as seen by the code that ends it."""

    def expect_by(self, watchdog: LoopWatch) -> None:
        """Tell a watchdog every step of the end."""
        ...

    def end_in_order(self) -> bool:
        """Begin to end in good order; returns ``False`` if nothing runs yet that could."""
        ...

    async def leave_behind(self, because: str) -> None:
        """Close all that can be closed, although agents go on."""
        ...


async def _see_to_its_end(run: Ends, running: Coroutine[Any, Any, Any]) -> None:
    """Await a run; end it in good order when cancelled once, at once when cancelled again."""
    watchdog = LoopWatch()
    run.expect_by(watchdog)
    inner = asyncio.ensure_future(running)
    asked: asyncio.CancelledError | None = None
    try:
        while not inner.done() and not watchdog.overdue.done():
            try:
                either: list[asyncio.Future[Any]] = [inner, watchdog.overdue]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError as error:
                if asked is not None or not run.end_in_order():
                    inner.cancel()
                asked = asked or error
    finally:
        watchdog.close()
    if not inner.done():
        because = f"it had to end and did not: {watchdog.overdue.result()}, for too long"
        await run.leave_behind(because)
        raise AgentsGoOn(because)
    if asked is not None:
        failed = None if inner.cancelled() else inner.exception()
        if failed is not None:  # most code that cancels looks only at the CancelledError
            log.error("a campaign that was cancelled failed as it ended", exc_info=failed)
        raise asked from failed
    inner.result()


class LoopWatch:
    """Notes when a step lasts longer than it may; see `Watchdog`, which has a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.overdue: asyncio.Future[str] = self._loop.create_future()
        """Done when a step lasts too long, with that step."""
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, what: str, within_s: float | None) -> None:
        """Expect a step to be over in time, in place of the last one; ``None``: at any time."""
        self.close()
        if within_s is not None:
            self._timer = self._loop.call_later(within_s + SLACK_S, self._lasts, what)

    def close(self) -> None:
        """Expect nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lasts(self, what: str) -> None:
        if not self.overdue.done():
            self.overdue.set_result(what)


class _Guest:
    """A campaign on a session that others have opened."""

    def __init__(self, campaign: Campaign, session: Session, plan: Plan) -> None:
        self._conductor = Conductor(campaign, session, plan.limits)
        self._progress = plan.progress
        campaign.run_dir = session.run_dir

    async def run(self) -> None:
        """Run the campaign."""
        async with showing(self._conductor, self._progress):
            await self._conductor.run()

    def expect_by(self, watchdog: LoopWatch) -> None:
        """See `Ends`."""
        self._conductor.ending.on_step = watchdog.expect

    def end_in_order(self) -> bool:
        """See `Ends`."""
        self._conductor.interrupt()
        return True

    async def leave_behind(self, because: str) -> None:
        """See `Ends`."""
        self._conductor.disown()
