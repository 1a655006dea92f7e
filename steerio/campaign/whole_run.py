"""One run of a campaign: opens all that it needs, in order, and closes it again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncGenerator
from functools import cached_property
from pathlib import Path
from typing import Any

from steerio.campaign.campaign import Campaign
from steerio.campaign.conductor import Conductor
from steerio.campaign.demand import (
    count_workers,
    pools_on_executors,
    seen_pools,
    task_types,
    unknown_pools,
)
from steerio.campaign.interrupts import Interrupts
from steerio.campaign.limits import Limits
from steerio.campaign.loop_pulse import telling_stalls
from steerio.campaign.lost_broker import Unheard
from steerio.campaign.parameters import recorded_workers
from steerio.campaign.plan import Expecting, Plan
from steerio.campaign.planned_journal import RunValues
from steerio.campaign.progress import showing
from steerio.campaign.prompts import PromptDoor
from steerio.campaign.run_record import RunRecord
from steerio.campaign.watchdog import CLOSE_S, Watchdog, end_process, within
from steerio.edge.system.threads import in_thread
from steerio.errors import BrokerLost, UsageError, leaves
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.finding import find_broker, waits_for
from steerio.launch.hosting import Hosting
from steerio.launch.mpi import Followers
from steerio.launch.node_process import NodeProcess
from steerio.launch.on_executor import OnExecutor, refuse_list
from steerio.launch.stores import check_asked, check_thresholds
from steerio.model.places import WorkerNeeds
from steerio.model.settings import Settings
from steerio.session.memo import EarlierRun, open_earlier
from steerio.session.opening import connect
from steerio.session.run_dir import (
    logging_to,
    make_run_dir,
    reopen_run_dir,
)
from steerio.session.session import Session
from steerio.session.session_store import SessionStore
from steerio.worker.random_streams import choose_seed

log = logging.getLogger("steerio.campaign")


class Run:
    """One run: opens all that a campaign needs, in order, and closes it again.

    Args:
        campaign: the campaign to run.
        plan: how to run it.
        followers: the other ranks of an MPI job.
        ours: whether the process is there for this run alone: then it heeds signals, and shows
            warnings on the terminal.
    """

    def __init__(
        self,
        campaign: Campaign,
        plan: Plan,
        followers: Followers | None,
        *,
        ours: bool = True,
    ) -> None:
        self._campaign = campaign
        self._ours = ours
        self._plan = plan
        self._followers = followers
        self._limits = plan.limits or Limits()
        self._types = task_types(campaign)
        self._workers: dict[str, int] = {}
        self._needs: dict[str, WorkerNeeds] = {}
        self._store = plan.store or campaign.store
        self._host = followers.host if followers else None
        self._shared = followers is None or followers.shares_files
        self._allow = plan.allow
        if plan.join is None:
            self._random_seed = choose_seed(plan.random_seed)
            self._workers, self._needs = _counted(campaign, plan)
            check_thresholds(self._store, {*self._workers, *seen_pools(campaign)})
            refuse_list(self._on_executors, plan.allow)
        self._node = plan.node
        self._record = RunRecord(campaign, plan, self._limits)
        self._watchdog: Expecting | None = None
        self._cancelled = False
        self._interrupts: Interrupts | None = None
        self._hosting: Hosting | None = None
        self._main: asyncio.Task[Any] | None = None
        self._session: Session | None = None
        self._conductor: Conductor | None = None
        self._door: PromptDoor | None = None
        self._earlier: list[EarlierRun] = []

    async def run(self) -> signal.Signals | None:
        """Run the campaign; return the signal that ended it, if one did."""
        try:
            if self._plan.join is None:
                await self._check_store()
            else:
                # this early, so that without a broker no run directory is made
                found = find_broker(self._plan.join)
                self._random_seed, self._allow = found.random_seed, found.allow
                refuse_list(self._on_executors, found.allow)
            self._earlier = await open_earlier(self._plan.memo)
            return await self._run()
        finally:
            if self._node is not None:  # hosting ends the node, but may not have begun
                self._node.kill()

    @cached_property
    def _on_executors(self) -> dict[str, OnExecutor]:
        """The pools whose tasks executors of other programs run, and these."""
        return pools_on_executors(self._campaign, self._plan.workers)

    async def _check_store(self) -> None:
        """Refuse an invalid store, before there is a run directory.

        The node is forked first, before a thread imports the modules of the store.
        """
        if self._node is None and self._followers is None:
            self._node = NodeProcess.started()
        await in_thread(check_asked, self._store, self._host, self._shared)

    async def _run(self) -> signal.Signals | None:
        name = type(self._campaign).__name__
        plan = self._plan
        if plan.resume is None:
            folder = make_run_dir(plan.run_dir, name)
        else:
            folder = reopen_run_dir(plan.resume)
        outcome = because = ""
        with logging_to(folder, terminal=self._ours):
            await self._record.open(folder)
            values = RunValues(self._random_seed, self._workers, self._needs, self._allow)
            values = self._record.begin(folder, values)
            self._random_seed, self._allow = values.random_seed, values.allow
            self._workers, self._needs = values.workers, values.needs
            self._door = PromptDoor(folder, asked=plan.repl)
            if self._plan.on_record is not None:
                self._plan.on_record(folder)
            if self._plan.workers is not None:
                log.info("workers: %s (asked for, else of the class)", self._workers)
            for unknown in unknown_pools(self._campaign, self._workers):
                log.warning("%s", unknown)
            try:
                if self._plan.join is None:
                    await self._serve(folder, name)
                else:
                    await self._join(self._plan.join, name)
                cut = self._cancelled or self._interrupted_by is not None
                limited = self._conductor is not None and self._conductor.limited
                outcome = "interrupted" if cut else "limited" if limited else "completed"
            except asyncio.CancelledError:  # at once, or before a campaign began
                outcome = "interrupted"
                if self._interrupted_by is None:
                    raise
            except BaseException as error:
                outcome = "failed"
                because = "; ".join(f"{type(e).__name__}: {e}" for e in leaves(error))
                log.info("the campaign failed: %s", because)  # the caller shows the error itself
                raise
            finally:
                self._record.end(outcome, because)
        return self._interrupted_by

    @property
    def _interrupted_by(self) -> signal.Signals | None:
        return None if self._interrupts is None else self._interrupts.by

    async def _join(self, run_dir: str, name: str) -> None:
        with self._heed_signals():
            async with connect(run_dir, name=name) as session:
                client = session.client
                unheard = Unheard(
                    lambda: None if client.lost else waits_for(run_dir, client.settings.away_s)
                )
                if isinstance(self._watchdog, Watchdog) and self._limits.calls_s is not None:
                    self._watchdog.heed(unheard, self._limits.calls_s)
                self._session = session
                try:
                    async with self._serving(session):
                        with telling_stalls(client.campaign.announce):
                            await self._conduct(session)
                finally:
                    unheard.close()

    @contextlib.asynccontextmanager
    async def _serving(self, session: Session) -> AsyncGenerator[None, None]:
        """Serve the campaign's pools on executors at a broker that it has joined."""
        async with contextlib.AsyncExitStack() as serving:
            for pool, on in self._on_executors.items():
                await serving.enter_async_context(session.serve(pool, on))
            yield

    async def _serve(self, folder: Path, name: str) -> None:
        preload = {
            pool: sorted({m for t in self._types if t.pool == pool for m in t.preload})
            for pool in self._workers
        }
        setup = BrokerSetup(
            workers={} if self._followers else self._own_workers(),
            pools=self._pools(),
            on_executors=self._on_executors,
            needs=self._needs,
            run_dir=folder,
            shared=self._shared,
            host=self._host,
            preload=preload,
            files=self._plan.files,
            pin=self._plan.pin,
            settings=self._plan.settings or Settings(),
            store=self._store,
            random_seed=self._random_seed,
            allow=self._allow,
        )
        self._hosting = hosting = Hosting(setup, self._node)
        hosting.on_stop = self._asked_to_stop
        hosting.on_stop_heard = self._expect_end
        self._record.recorded_ends = hosting.recorded_ends
        with self._heed_signals():
            try:
                await hosting.start()
                if self._followers is not None:
                    fill = self._plan.workers is None
                    self._followers.tell_all(hosting, self._own_workers(), fill=fill)
                client = await hosting.join(name)
                session = Session(client, folder, SessionStore(client, *hosting.store))
                self._session = session
                session.random_seed, session.reached_by = hosting.random_seed, hosting.connection
                try:
                    await self._conduct(session)
                finally:
                    session.close()
                    await session.store.close()
            finally:
                await hosting.close()

    def _own_workers(self) -> dict[str, int]:
        """Return how many workers each pool has that are processes of steerio."""
        return {pool: n for pool, n in self._workers.items() if pool not in self._on_executors}

    def _pools(self) -> dict[str, int]:
        """Return how many workers each pool will have: ranks without any get one, too."""
        if self._followers is None:
            return self._workers
        own, fill = self._own_workers(), self._plan.workers is None
        return {**self._workers, **self._followers.count(own, fill=fill)}

    async def _conduct(self, session: Session) -> None:
        for kind in self._types:
            kind.note_settings()  # before an agent can change any
        if self._earlier or any(kind.memo for kind in self._types):
            session.recall_from(self._earlier)
        self._conductor = self._record.conductor = conductor = Conductor(
            self._campaign, session, self._limits, self._record.keeping(session)
        )
        conductor.ending.on_step = self._expect
        self._expect_limit()
        try:
            assert self._door is not None
            async with showing(conductor, self._plan.progress), self._door.open(conductor):
                await conductor.run()
        finally:
            # the end waits for threads of agents, too, and for calls of advisors
            deaf = conductor.consultations.under_way
            leave_s = self._limits.leave_s if conductor.ending.must or deaf else None
            self._expect(f"{deaf} goes on" if deaf else "the run is being closed", leave_s)

    # -- ending ------------------------------------------------------------------------------------

    def _heed_signals(self) -> contextlib.AbstractContextManager[object]:
        self._main = asyncio.current_task()
        if not self._ours:
            return contextlib.nullcontext()
        self._interrupts = Interrupts(
            begun=lambda: self._conductor is not None,
            heard=self._expect_end,
            in_order=self._end_in_order,
            kill=self._kill,
            cancel=self._cancel,
            abandon=self._abandon,
        )
        return self._interrupts

    def _end_in_order(self) -> None:
        if self._conductor is not None:
            self._conductor.interrupt()

    def _kill(self) -> None:
        """Kill the workers, and the processes of executors that were made here."""
        if self._hosting is not None:
            self._hosting.kill()
        if self._session is not None:
            self._session.engines.kill()

    def _cancel(self) -> None:
        if self._main is not None:
            self._main.cancel()

    def expect_by(self, watchdog: Expecting) -> None:
        """Tell a watchdog every step of the end."""
        self._watchdog = watchdog

    def end_in_order(self) -> bool:
        """Begin to end in good order; returns ``False`` if nothing runs yet that could."""
        self._cancelled = True
        self._end_in_order()
        return self._conductor is not None

    async def leave_behind(self, because: str) -> None:
        """Close all that can be closed, although agents go on."""
        if self._conductor is not None:
            self._conductor.disown()
        if self._hosting is not None:
            await self._hosting.close(because)
        self._record.leave_behind(because)

    def _expect(self, what: str, within_s: float | None) -> None:
        if self._watchdog is not None:
            self._watchdog.expect(what, within_s)

    def _expect_end(self) -> None:
        """Expect an end that was asked for to begin: an agent may keep the loop."""
        self._expect("an agent keeps the event loop", self._limits.calls_s)

    def _expect_limit(self) -> None:
        limits = self._limits
        bounds = [limits.wall_s, limits.drain_s if limits.drain else 0.0, limits.calls_s]
        seconds = [bound for bound in bounds if bound is not None]
        whole = sum(seconds) if len(seconds) == len(bounds) else None
        self._expect("an agent keeps the event loop", whole)

    def give_up(self, what: str) -> None:
        """End this process, as a step lasts longer than it may (on the watchdog's thread)."""
        by = self._interrupted_by
        because = f"it had to end and did not: {what}, for too long"
        self._leave_in_order("failed" if by is None else "interrupted", because)
        end_process(1 if by is None else 128 + by, f"steerio: the campaign is ended: {because}")

    def _abandon(self, number: signal.Signals) -> None:
        """Close the record and kill the workers, before the process is ended."""
        because = f"{number.name}, while an agent kept the event loop or its own end"
        self._leave_in_order("interrupted", because)

    def _leave_in_order(self, outcome: str, because: str) -> None:
        # a signal may have come while this was half done for another
        within(CLOSE_S, self._kill)
        hosting = self._hosting
        if hosting is not None:
            within(CLOSE_S, lambda: hosting.abandon(because))
            within(CLOSE_S, hosting.remove_files)
        if self._door is not None:
            within(CLOSE_S, self._door.abandon)
        # a file system may not answer, and the main thread may change the counts
        within(CLOSE_S, lambda: self._record.write_summary(outcome, because))
        within(CLOSE_S, lambda: log.info("%s: %s", outcome, because))

    def _asked_to_stop(self, reason: str) -> None:
        """End the campaign: a client asked the broker to end, or the broker cannot go on."""
        if self._conductor is None or self._hosting is None:
            return
        if self._hosting.broker.failed:
            self._conductor.fail(BrokerLost(reason))
        else:
            self._conductor.must_end(reason)


def _counted(campaign: Campaign, plan: Plan) -> tuple[dict[str, int], dict[str, WorkerNeeds]]:
    """Return the number of workers of each pool, and their needs; see `count_workers`."""
    try:
        return count_workers(campaign, plan.workers)
    except UsageError:
        before = recorded_workers(plan.resume) if plan.resume and plan.workers is None else {}
        if not before:
            raise
        return count_workers(campaign, before)
