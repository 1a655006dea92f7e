"""Runs one campaign on a session: starts agents, deals results to triggers, feeds boards.

Invariant: the campaign is *quiet* when nothing can happen any more that would call an agent: no
task is outstanding (of those submitted before it stops), no call is queued or under way, no board
has an entry to hand out, no ``@agent`` runs, there is no ``@every``, and every ``on_idle`` was
asked in vain (`Idleness`).  A quiet campaign has ended, so none can hang for want of a ``stop``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeVar, assert_never

import anyio
import anyio.abc
from msgspec import Struct

from steerio.campaign.advisor import Advisor
from steerio.campaign.agent_errors import as_agent
from steerio.campaign.calls import Calls
from steerio.campaign.campaign import Campaign
from steerio.campaign.conditions import TURNS, Conditions
from steerio.campaign.consultations import Consultations
from steerio.campaign.dealing import Dealing
from steerio.campaign.ending import DEAF_S, CampaignEnding, Latecomers
from steerio.campaign.feeding import Feeder
from steerio.campaign.idleness import Idleness
from steerio.campaign.keeping import Keeping
from steerio.campaign.lasting_agents import LastingAgents
from steerio.campaign.limits import Limits, Spent
from steerio.campaign.order_desk import OrderDesk
from steerio.campaign.pool_watch import PoolWatch
from steerio.campaign.snapshot_taker import SnapshotTaker
from steerio.campaign.unhandled import Unhandled
from steerio.edge.record.entries import Steered
from steerio.errors import BrokerLost, NotAnswered, TaskCancelled, UsageError
from steerio.model.advice import Advice
from steerio.model.campaign_orders import Plain
from steerio.model.events import Advised
from steerio.model.results import Cancelled, Result, Succeeded
from steerio.session.chains import KnownChains
from steerio.session.current_agent import current_agent
from steerio.session.session import Session
from steerio.session.tally import Tally
from steerio.session.task import Task

log = logging.getLogger("steerio.campaign")

C = TypeVar("C", bound=Struct)

NOTHING_DONE = (
    "{} has ended and done nothing: no task was submitted. Submit some in setup(), give it a Board "
    "in an attribute, or write an @agent"
)


class Conductor:
    """One run of a campaign."""

    def __init__(
        self,
        campaign: Campaign,
        session: Session,
        limits: Limits | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        self.campaign = campaign
        self.session = session
        self.spent = Spent(limits or Limits())
        self.tally = Tally()
        self.stopping = ""
        self.recorded_ids: Mapping[int, int] = {}
        self._name = type(campaign).__name__
        self._ended = asyncio.Event()
        self._error: Exception | None = None
        self._group: anyio.abc.TaskGroup | None = None
        self.dealing = Dealing(self, campaign)
        self._periods = 0
        self._after = session.client.last_id
        """The campaign's tasks have higher ids; earlier tasks of the session may still end."""
        self._disowned = False
        self.outstanding: dict[int, Task[Any]] = {}
        self.latecomers = Latecomers()
        self.chains = KnownChains()
        self._finishes_chains = False
        """Whether it stops, but goes on with the chains of tasks that were begun."""
        self._turns = 0
        """Turns of the loop in which agents may still go on with a chain."""
        self._turning = False
        self.conditions = Conditions(self.look_if_quiet)
        self.agents = LastingAgents(self.latecomers, self.conditions)
        self.desk = OrderDesk(self)
        tolerated = self.spent.limits.failures is not None
        self._unhandled = Unhandled(session, self.fail, self._broker_lost, tolerated=tolerated)
        self.feeder = Feeder(session, self.fail, self._may_feed, self.conditions.happens)
        self.idleness = Idleness(self.dealing.idle, session, self.feeder)
        self.pools = PoolWatch(
            session,
            self.feeder,
            self.idleness,
            fail=self.fail,
            look_if_quiet=self.look_if_quiet,
            told=self.desk.pool_changed,
        )
        self.ending = CampaignEnding(
            self.spent.limits,
            cancel_tasks=self._cancel_tasks,
            cut_calls=self._cut_short,
            cut_finish=lambda why: self.latecomers.cut(f"{self._name}.finish", why),
        )
        self._deafness: asyncio.TimerHandle | None = None
        self._keeping = keeping
        self.consultations = Consultations(self)
        self.began = asyncio.get_running_loop().time()
        self.limited = False
        """Whether it stops because a limit is reached."""
        self._started = False
        self._finishing = False
        self._submitted = False
        self._waiting_for_answers = 0
        """How much code waits for the answer of a person, a program or an advisor."""
        self._stopped_finish = False
        """Whether tasks that `Campaign.finish` had submitted were cancelled."""

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

    @property
    def is_over(self) -> bool:
        """Whether the campaign has ended, or was left behind."""
        return self._disowned

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
            for calls in self.dealing.idle:
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
                case "agent" if calls.name in self.agents.ended:
                    pass
                case "agent":
                    self.agents.running += 1
                    group.start_soon(self._serve_agent, calls, name=calls.name)
                case "success" | "failure" | "result" | "event" | "period" | "idle":
                    self._periods += calls.trigger.kind == "period"
                    for _ in range(calls.trigger.concurrent):
                        group.start_soon(calls.serve, name=calls.name)
                case _:
                    assert_never(calls.trigger.kind)

    async def _serve_agent(self, calls: Calls) -> None:
        await self.agents.serve(calls)
        self.look_if_quiet()

    # -- ending ------------------------------------------------------------------------

    def stop(self, *, cancel: bool, reason: str, finish_chains: bool = False) -> None:
        """Begin to end the campaign; see ``Campaign.stop``."""
        if finish_chains and self.stopping and not self._finishes_chains:
            return  # chains were cut already
        self._finishes_chains = finish_chains
        if not self.stopping:
            self.stopping = reason
            log.info("stopping: %s", reason)
        self._stopped_finish = self._stopped_finish or (self._finishing and cancel)
        self.desk.stops(reason)
        self.consultations.end(reason)
        if cancel:
            self.session.cancel(self.outstanding.values(), reason)
        else:
            ends = [n for n, task in self.outstanding.items() if not (finish_chains and task.chain)]
            self.session.client.cancel(ends, reason, queued_only=True)
        asyncio.get_running_loop().call_soon(self.look_if_quiet)

    def interrupt(self) -> None:
        """End in good order but soon: cancel tasks, wait for calls within their bound."""
        self.must_end("interrupted")

    def must_end(self, reason: str, *, drain: bool = False) -> None:
        """End within the bounds of the campaign's limits; ``drain``: running tasks may end."""
        if self._finishing:
            self.stopping = self.stopping or reason
            self.desk.stops(reason)
            self.consultations.end(reason)
        else:
            self.stop(cancel=False, reason=reason)
        self.ending.begin(reason, drain=drain)

    def _cancel_tasks(self, reason: str) -> None:
        self.session.cancel(self.outstanding.values(), reason)

    def _cut_short(self, why: str) -> None:
        for name in self.dealing.busy if self._started else [f"{self._name}.setup"]:
            self.latecomers.cut(name, why)
        self._ended.set()

    def explains(self, error: BaseException) -> bool:
        """Whether an agent raised this only because the campaign ends, so that it is no error.

        Awaiting a cancelled task raises such an error, and a task group then cancels its other
        tasks.
        """
        if isinstance(error, NotAnswered):
            return bool(self.stopping)
        ends = self._stopped_finish if self._finishing else bool(self.stopping)
        return ends and isinstance(error, (TaskCancelled, asyncio.CancelledError))

    def _name_deaf(self) -> None:
        """Name agents that do not let themselves be cancelled: they may not go on for ever."""
        if self.latecomers.name_deaf():
            self.ending.leave("agents that were cancelled go on")

    def fail(self, error: Exception) -> None:
        """End the campaign with an error."""
        if self._error is None:
            self._error = error
        self._ended.set()

    def look_if_quiet(self) -> None:
        """End the campaign if nothing can happen any more."""
        if self._keeping is not None and self._keeping.snapshots.due:
            self._keeping.snapshots.look()
        if not self._started or self.outstanding or not self.dealing.at_rest:
            return
        if self.conditions.settling or self.conditions.look():
            return
        if not self.stopping and self._expects_more():
            return
        if self.dealing.call_rest():
            return
        if self._finishes_chains and self._turns > 0:
            if not self._turning:
                self._turning = True
                asyncio.get_running_loop().call_soon(self._next_turn)
            return
        if self._group is not None and not self._ended.is_set():
            if not self.stopping:
                self.feeder.name_unfed()
            self._name_waiting()
            self._ended.set()

    def _next_turn(self) -> None:
        self._turning = False
        self._turns -= 1
        self.look_if_quiet()

    def _name_waiting(self) -> None:
        """Name the conditions that will not come true any more, and the calls behind them."""
        waiting, stuck = self.conditions.names(), self.dealing.stuck
        if waiting:
            log.log(
                logging.WARNING if stuck else logging.INFO,
                "%s ends: nothing is left that could make it true, %s%s",
                self._name,
                waiting,
                f"; calls of {stuck} that wait behind are not made" if stuck else "",
            )

    def _expects_more(self) -> bool:
        """Whether more work may come, although none is under way."""
        if self.agents.running > self.dealing.resting_agents or self._periods:
            return True
        if self._waiting_for_answers:
            return True
        self.desk.submit_again()
        self.feeder.find_boards()  # a board may have been put into a list since
        if self.feeder.waiting > 0 or self.outstanding:
            return True
        return self.dealing.call_rest() or self.idleness.may_answer()

    def idle_workers(self, pool: str) -> int:
        """Return how many workers of a pool have nothing to do."""
        return self.feeder.idle(pool)

    def _may_feed(self) -> bool:
        return not self.stopping and not self._finishing

    def _stop_for_limit(self, reason: str) -> None:
        self.limited = True
        self.stop(cancel=not self.spent.limits.drain, reason=reason)

    def _time_is_up(self, reason: str, *, drain: bool) -> None:
        self.limited = self.limited or not (self.stopping or self._finishing)
        self.must_end(reason, drain=drain)

    def _broker_lost(self, reason: str) -> None:
        if not self._finishing:
            self.fail(BrokerLost(reason))

    @property
    def recovered(self) -> list[Result]:
        """The recorded results that no call has asked for since the campaign was resumed."""
        return [] if self._keeping is None else self._keeping.recovered

    # -- snapshots ---------------------------------------------------------------------

    @property
    def held(self) -> asyncio.Future[None] | None:
        """Done when calls that would begin need be held no more; ``None``: they need not be."""
        return None if self._keeping is None else self._keeping.snapshots.held

    @property
    def goes_on(self) -> bool:
        """Whether it has neither ended nor begun to."""
        return not (self.stopping or self._ended.is_set())

    async def checkpoint(self, until: Callable[[], Any] | None) -> None:
        """Wait while a snapshot is taken, if one is due, and until a condition is true."""
        snapshots = None if self._keeping is None else self._keeping.snapshots
        await self.agents.checkpoint(snapshots, until)

    # -- tasks -------------------------------------------------------------------------

    def task_submitted(self, task: Task[Any]) -> None:
        """Count a task, which keeps the campaign going; cancel it if it is too late."""
        self._submitted = True
        self.feeder.submitted(task)
        self.conditions.happens()
        self.idleness.task_seen()
        self._turns = TURNS
        if self._finishes_chains and task.chain and not self._finishing:
            self.latecomers.count_step()
            self.outstanding[task.id] = task
        elif self.stopping and not self._finishing:
            self.latecomers.add(task.id)
            task.cancel(self.stopping)
        else:
            self.outstanding[task.id] = task

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
        self._turns = TURNS
        of_board = self.feeder.ended(task)
        self.conditions.happens()
        self.idleness.task_seen()
        if self.latecomers.discard(task.id) and isinstance(result, Cancelled):
            return  # it never was part of the campaign, and calls no agent
        if not task.replayed:
            self.pools.used.worked(task.type.pool, result.timings.run_s or 0.0)
        if self._keeping is not None:
            self._keeping.snapshots.result()
        self.tally.count(result)
        if task.tags:
            self.desk.task_ended(task, result)
        self.desk.result_told(replayed=task.replayed)
        reached = self.spent.count(result)
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

    # -- orders, questions and parameters ---------------------------------------------------

    @property
    def takes_snapshots(self) -> SnapshotTaker | None:
        """Its snapshots, if it has a journal."""
        return None if self._keeping is None else self._keeping.snapshots

    @property
    def refuses(self) -> str:
        """Why no question can be asked any more; empty: it can."""
        if self._disowned:
            return self.stopping or "it is over"
        return "" if self._finishing else self.stopping

    def note(self, what: Steered, then: Callable[[], None]) -> None:
        """Write into the journal, if there is one, and call ``then`` when that is done."""
        if self._keeping is None:
            then()
        else:
            self._keeping.note(what, then)

    def steered(self) -> None:
        """Take in that an order has changed something that an agent may decide by."""
        self.conditions.happens()
        self.idleness.happens()

    def changed(self, name: str, old: Plain, new: Plain, by: str) -> None:
        """Take in that the campaign has given a parameter another value."""
        if not self._disowned:
            self.conditions.happens()
            self.desk.assigned(name, old, new, by)

    async def ask(
        self, question: str, options: Sequence[str], timeout_s: float | None, default: str | None
    ) -> str:
        """Ask a question, and return its answer; see ``Campaign.approve``."""
        by = current_agent.get() or self._name
        with self._answer_may_come():
            return await self.desk.questions.ask(question, options, timeout_s, default, by)

    async def until(self, condition: Callable[[], Any], timeout_s: float | None) -> bool:
        """Wait until a condition is true; see ``Campaign.until``.

        Raises:
            UsageError: nothing would end the wait.
        """
        if timeout_s is None and (self._finishing or not self._started):
            raise UsageError(
                f"{current_agent.get()} waits with until, and needs a timeout_s= for it: the end "
                "of a wait in vain is known only while the agents run"
            )
        return await self.conditions.until(condition, timeout_s)

    @contextlib.contextmanager
    def _answer_may_come(self) -> Generator[None]:
        """Keep the campaign, and take in the end of the wait: its code may be no agent's own."""
        self._waiting_for_answers += 1
        try:
            yield
        finally:
            self._waiting_for_answers -= 1
            if not self.is_over:
                self.conditions.happens()
                asyncio.get_running_loop().call_soon(self._look_after_answer)

    def _look_after_answer(self) -> None:
        if not self.is_over:
            self.look_if_quiet()

    # -- advisors ---------------------------------------------------------------------------

    async def consult(self, advisor: Advisor, view: Struct, choices: type[C]) -> Advice[C]:
        """Ask an advisor, and return its answer; see ``Campaign.consult``."""
        by = current_agent.get() or self._name
        with self._answer_may_come():
            return await self.consultations.consult(advisor, view, choices, by)

    def note_advice(self, advised: Advised, then: Callable[[], None]) -> None:
        """Write into the journal, if there is one, and call ``then`` when that is done."""
        if self._keeping is None:
            then()
        else:
            self._keeping.note_advice(advised, then)

    def announce(self, advised: Advised) -> None:
        """Announce an event."""
        self.session.client.campaign.announce(advised)

    # -- attributes and events --------------------------------------------------------------

    def reassigned(self, old: object, new: object) -> None:
        """Take in that an attribute has another value; there may be boards in the two values."""
        self.feeder.reassigned(old, new)

    def publish(self, event: object) -> None:
        """Give an event to the handlers that want it, and to all event streams."""
        self.dealing.tell(event)
        self.conditions.happens()
        self.session.publish(event)


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
