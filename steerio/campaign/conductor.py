"""Runs one campaign on a session: starts agents, deals results to triggers, feeds boards."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from typing import Any, assert_never

import anyio
import anyio.abc

from steerio.campaign.agent_errors import as_agent
from steerio.campaign.agent_loops import AgentLoop
from steerio.campaign.campaign import Campaign
from steerio.campaign.conditions import TURNS, Conditions
from steerio.campaign.consultations import Consultations
from steerio.campaign.dealing import Dealing
from steerio.campaign.ending import DEAF_S
from steerio.campaign.feeding import Feeder
from steerio.campaign.idleness import Idleness
from steerio.campaign.keeping import Keeping
from steerio.campaign.lasting_agents import LastingAgents
from steerio.campaign.limits import Limits
from steerio.campaign.order_desk import OrderDesk
from steerio.campaign.pool_watch import PoolWatch
from steerio.campaign.run_services import RunServices
from steerio.campaign.starting import start_soon
from steerio.campaign.unhandled import Unhandled
from steerio.campaign.usage import worker_seconds
from steerio.errors import UsageError
from steerio.model.results import Cancelled, Result, Succeeded
from steerio.session.chains import KnownChains, chain_under_way
from steerio.session.session import Session
from steerio.session.tally import Tally
from steerio.session.task import Task

log = logging.getLogger("steerio.campaign")

NOTHING_DONE = (
    "{} has ended and done nothing: no task was submitted. Submit some in setup(), give it a Board "
    "in an attribute, or write an @agent"
)


class Conductor(RunServices):
    """One run of a campaign."""

    def __init__(
        self,
        campaign: Campaign,
        session: Session,
        limits: Limits | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        super().__init__(type(campaign).__name__, session, limits, keeping)
        self.campaign = campaign
        self.run_name = uuid.uuid4().hex if keeping is None else keeping.run_name
        self.tally = Tally()
        self.recorded_ids: Mapping[int, int] = {}
        self.dealing = Dealing(self, campaign)
        self._after = session.client.last_id
        """The campaign's tasks have higher ids; earlier tasks of the session may still end."""
        self.chains = KnownChains()
        self.conditions = Conditions(self.look_if_quiet)
        self.agents = LastingAgents(
            self.latecomers,
            self.conditions,
            self._start_loop,
            lambda pool: session.client.watch.pools.get(pool),  # noqa: PLW0108 - another dict each time
            lambda: self.goes_on,
        )
        self.desk = OrderDesk(self)
        tolerated = self.spent.limits.failures is not None
        self._unhandled = Unhandled(session, self.fail, self._broker_lost, tolerated=tolerated)
        self.feeder = Feeder(
            session,
            self.fail,
            self._may_feed,
            self.conditions.happens,
            waits_until=self.rests_until,
            seed=known
            if keeping and (known := keeping.random_seed) is not None
            else session.random_seed,
        )
        self.idleness = Idleness(self.dealing.idle, session, self.feeder)
        self.pools = PoolWatch(
            session,
            self.feeder,
            self.idleness,
            self.agents,
            fail=self.fail,
            look_if_quiet=self.look_if_quiet,
            told=self.desk.pool_changed,
        )
        self.consultations = Consultations(self)
        self.began = asyncio.get_running_loop().time()
        self._submitted = False

    def __repr__(self) -> str:
        return f"<Conductor of {self._name}: {len(self.outstanding)} tasks outstanding>"

    # -- the run -----------------------------------------------------------------------

    async def run(self) -> None:
        """Run the campaign to its end.

        Raises:
            ExceptionGroup: of the errors of agents, an ``UnhandledFailure`` or a ``BrokerLost``.
            UsageError: another campaign runs on the session, or this one runs elsewhere.
        """
        session, campaign = self.session, self.campaign
        session.listen(self)
        try:
            campaign._conducted_by(self)  # pyright: ignore[reportPrivateUsage]
        except UsageError:
            session.stop_listening(self)
            raise
        self._after = session.client.last_id
        session.client.on_lost(self._broker_lost)
        session.noted.begin()
        self.ending.start_clock(self._time_is_up)
        try:
            if self._keeping is not None:
                self._keeping.begin(self)
                self.recorded_ids = self._keeping.recorder.replay.recorded_ids
            await self._conduct()
            self._finishing = True
            if self._disowned:  # the caller was told that it has ended
                return
            await self._finish()
            if not self._submitted:
                log.warning("%s", NOTHING_DONE.format(self._name))
        except BaseException:
            if not self._disowned:  # else the session may be another campaign's
                self._cancel_tasks("its campaign has ended with an error")
            raise
        finally:
            self._finishing = True
            self.pools.look()
            self.disown()

    def disown(self) -> None:
        """Let go of the session: agents that go on are no part of the campaign any more."""
        if self._disowned:  # and another campaign may have it now
            return
        self._disowned = True
        self.desk.close()
        self.consultations.end(self.stopping or "it is over")
        self.consultations.close()
        if self._keeping is not None:
            self._keeping.close()
        self.ending.close()
        if self._deafness is not None:
            self._deafness.cancel()
        session = self.session
        session.stop_listening(self)
        session.client.off_lost(self._broker_lost)
        self.pools.close()
        self.feeder.close()
        self.dealing.close()

    async def _finish(self) -> None:
        if self._deafness is not None:  # all agents have ended
            self._deafness.cancel()
        self.feeder.tell_boards()
        self.ending.finishes()
        try:
            with self.latecomers.may_cut(f"{self._name}.finish"):
                await as_agent(f"{self._name}.finish", self.campaign.finish(), self.explains)
        except Exception as error:  # noqa: BLE001 - of the user's code; raised like an agent's
            raise ExceptionGroup(f"{self._name} failed", [error]) from None
        # agents that were cut short may well have left too few failures for a call
        self._unhandled.report_rest(() if self.ending.must else self.dealing.calls)
        if self._error is not None:
            raise ExceptionGroup(f"{self._name} failed", [self._error])

    async def _conduct(self) -> None:
        async with anyio.create_task_group() as group:
            self._group = group
            for calls in self.dealing.calls:
                if calls.trigger.of_pool:
                    self.session.check_pool(calls.trigger.subject)
            self.pools.follow()
            group.start_soon(self.pools.watch_failures, name=f"{self._name}.pools")
            await self._prepare()
            self._start_calls(group)
            self._started = True  # before, a wait in setup() must not look like the end
            self.feeder.begin(self.campaign)
            if self._keeping is not None:
                self._keeping.submit_again()
                self._keeping.snapshots.begin()
            self.look_if_quiet()
            try:
                await self._ended.wait()
            finally:
                loop = asyncio.get_running_loop()
                self._deafness = loop.call_later(DEAF_S, self._name_deaf)
            if self._error is not None:
                raise self._error
            group.cancel_scope.cancel()

    async def _prepare(self) -> None:
        """Have the campaign prepared: by ``setup``, or from the last snapshot."""
        name, prepare = "setup", self.campaign.setup
        if self._keeping is not None and self._keeping.restores:
            self.began -= await self._keeping.restore()
            self._submitted = True
            if reached := self.spent.reached:
                self._stop_for_limit(reached)
            name, prepare = "resumed", self.campaign.resumed
        if self._keeping is not None:
            self.desk.restore(self._keeping.steered, self._keeping.steered_after)
            if self.desk.submits_again:
                self._keeping.recorder.replay.call_later(self.desk.submit_again)
            self.consultations.known = self._keeping.advised
        self.desk.open()
        with self.latecomers.may_cut(f"{self._name}.setup"):
            await as_agent(f"{self._name}.{name}", prepare(), self.explains)

    def _start_calls(self, group: anyio.abc.TaskGroup) -> None:
        for calls in self.dealing.calls:
            match calls.trigger.kind:
                case "agent":
                    self.agents.begin(calls)
                case "success" | "failure" | "result" | "event" | "item" | "period" | "idle":
                    self._periods += calls.trigger.kind == "period"
                    for _ in range(calls.trigger.concurrent):
                        start_soon(group, calls.serve, name=calls.name)
                case _:
                    assert_never(calls.trigger.kind)

    def _start_loop(self, loop: AgentLoop) -> None:
        assert self._group is not None
        start_soon(self._group, self._serve_agent, loop, name=loop.name)

    async def _serve_agent(self, loop: AgentLoop) -> None:
        await self.agents.serve(loop)
        self.look_if_quiet()

    # -- tasks -------------------------------------------------------------------------

    def task_submitted(self, task: Task[Any]) -> None:
        """Count a task, which keeps the campaign going; cancel it if it is too late."""
        self._submitted = True
        self.feeder.submitted(task)
        self.conditions.happens()
        self.idleness.task_seen()
        self.agents.task_submitted()
        self._turns = TURNS
        if self._finishes_chains and task.chain and not self._finishing:
            self.latecomers.count_step()
            self.outstanding[task.id] = task
        elif self.stopping and not self._finishing:
            self.latecomers.add(task.id)
            task.cancel(self.stopping)
        else:
            self.outstanding[task.id] = task
        if task.id in self.outstanding and not self._finishing:
            self.dealing.follow(self, task)
        if (under_way := chain_under_way.get()) is not None:
            under_way.submits(task)

    def task_waits(self, task: Task[Any], *, waits: bool) -> None:
        """Tell the feeder whether a task waits for others."""
        if task.id > self._after:
            self.feeder.waits(task, waits)

    def never_awaited(self, result: Result) -> bool:
        """Report a failure that no code can read any more."""
        if result.task_id <= self._after:
            return False
        self._unhandled.report(result)
        return True

    def task_ended(self, task: Task[Any], result: Result) -> None:
        """Count a result, and give it to the triggers that want it."""
        if task.id <= self._after:  # it was submitted before the campaign began
            return
        self.outstanding.pop(task.id, None)
        self.chains.ended(task.id, task.chain)
        if task.yielded is not None:
            task.yielded.came = None  # no more will, and the handle is not to keep itself
        self._turns = TURNS
        of_board = self.feeder.ended(task)
        self.conditions.happens()
        self.idleness.task_seen()
        if self.latecomers.discard(task.id) and isinstance(result, Cancelled):
            return  # it never was part of the campaign, and calls no agent
        if not task.replayed:
            self.pools.used.worked(task.type.pool, worker_seconds(result, task.gang))
        if self._keeping is not None:
            self._keeping.snapshots.result()
        self.tally.count(result)
        if task.tags:
            self.desk.task_ended(task, result)
        self.desk.result_told(replayed=task.replayed)
        reached = self.spent.count(result, task.gang)
        if reached and not self.stopping:
            self._stop_for_limit(reached)
        bad = not isinstance(result, (Succeeded, Cancelled))
        handled = self.dealing.deal(task, result, bad=bad)
        if bad and not handled:
            self._unhandled.ended(task, result, of_board=of_board)
        self.feeder.feed()
        if not self.outstanding:
            asyncio.get_running_loop().call_soon(self.look_if_quiet)

    def had(self, number: int) -> bool:
        """Whether a task of this id was submitted in this incarnation."""
        return self._after < number <= self.session.client.last_id


async def drive(
    campaign: Campaign,
    session: Session,
    limits: Limits | None = None,
    keeping: Keeping | None = None,
) -> None:
    """Run a campaign on an open session, to its end.

    Raises:
        ExceptionGroup: of the errors of agents, an ``UnhandledFailure`` or a ``BrokerLost``.
    """
    await Conductor(campaign, session, limits, keeping).run()
