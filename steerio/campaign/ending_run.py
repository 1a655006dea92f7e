"""The end of a run: a campaign is stopped, or quiet, or fails.

Invariant: the campaign is *quiet* when nothing can happen any more that would call an agent: no
task is outstanding (of those submitted before it stops), no call is queued or under way, no board
has an entry to hand out, no ``@agent`` runs, there is no ``@every``, and every ``on_idle`` was
asked in vain (`Idleness`).  A quiet campaign has ended, so none can hang for want of a ``stop``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import anyio.abc

from steerio.campaign.conditions import Conditions
from steerio.campaign.consultations import Consultations
from steerio.campaign.dealing import Dealing
from steerio.campaign.ending import CampaignEnding, Latecomers
from steerio.campaign.feeding import Feeder
from steerio.campaign.idleness import Idleness
from steerio.campaign.keeping import Keeping
from steerio.campaign.lasting_agents import LastingAgents
from steerio.campaign.limits import Limits, Spent
from steerio.campaign.order_desk import OrderDesk
from steerio.campaign.starting import start_soon
from steerio.errors import (
    BrokerLost,
    DrainFailed,
    MoveFailed,
    NotAnswered,
    PauseFailed,
    TaskCancelled,
)
from steerio.model.showing import counted
from steerio.session.session import Session
from steerio.session.task import Task

log = logging.getLogger("steerio.campaign")

BROKER_S = 1.0
"""So long an interrupted campaign waits for a broker that is gone."""


class EndingRun:
    """One run of a campaign, as far as its end goes; `Conductor` makes its parts.

    Args:
        name: of the campaign.
        session: that it runs on.
        limits: when it stops by itself, and how long the steps of its end take.
        keeping: of its results and snapshots, if it has a journal.
    """

    agents: LastingAgents
    conditions: Conditions
    consultations: Consultations
    dealing: Dealing
    desk: OrderDesk
    feeder: Feeder
    idleness: Idleness

    def __init__(
        self, name: str, session: Session, limits: Limits | None, keeping: Keeping | None
    ) -> None:
        self.session = session
        self.spent = Spent(limits or Limits())
        self.stopping = ""
        self._name = name
        self._keeping = keeping
        self._ended = asyncio.Event()
        self._error: Exception | None = None
        self._group: anyio.abc.TaskGroup | None = None
        self.fetching = 0
        """How many items are on their way from the store to a trigger."""
        self._periods = 0
        self._disowned = False
        self.outstanding: dict[int, Task[Any]] = {}
        self.latecomers = Latecomers()
        self._finishes_chains = False
        """Whether it stops, but goes on with the chains of tasks that were begun."""
        self._turns = 0
        """Turns of the loop in which agents may still go on with a chain."""
        self._turning = False
        self.ending = CampaignEnding(
            self.spent.limits,
            cancel_tasks=self._cancel_tasks,
            cut_calls=self._cut_short,
            cut_finish=lambda why: self.latecomers.cut(f"{self._name}.finish", why),
        )
        self._deafness: asyncio.TimerHandle | None = None
        self.limited = False
        """Whether it stops because a limit is reached."""
        self._started = False
        self._finishing = False
        self._gave_up = False
        """Whether it was interrupted while its broker was gone, and waits for it no longer."""
        self._waiting_for_answers = 0
        """How much code waits for the answer of a person, a program or an advisor."""
        self.offloaded = 0
        """How many functions are called in threads, for which code of the campaign waits."""
        self._stopped_finish = False
        """Whether tasks that `Campaign.finish` had submitted were cancelled."""

    @property
    def is_over(self) -> bool:
        """Whether the campaign has ended, or was left behind."""
        return self._disowned

    @property
    def goes_on(self) -> bool:
        """Whether it has neither ended nor begun to."""
        return not (self.stopping or self._ended.is_set())

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
        if self.session.client.may_return:
            asyncio.get_running_loop().call_later(BROKER_S, self._wait_for_no_broker)

    def _wait_for_no_broker(self) -> None:
        """Give up a broker that is gone: it would have to say that tasks are cancelled."""
        if self.is_over or self._gave_up:
            return
        self._gave_up = True  # first: the agents hear of it at once
        given_up = self.session.client.wait_no_longer("interrupted while the broker was gone")
        if given_up is None:
            self._gave_up = False
            asyncio.get_running_loop().call_later(BROKER_S, self._wait_for_no_broker)
            return
        log.warning(
            "the broker is gone, and is not waited for, as the campaign was interrupted: %s given "
            "up, which may still run",
            counted(given_up, "task"),
        )
        asyncio.get_running_loop().call_soon(self.look_if_quiet)

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
        if isinstance(error, BrokerLost | DrainFailed | MoveFailed | PauseFailed):
            return self._gave_up
        ends = self._stopped_finish if self._finishing else bool(self.stopping)
        return ends and isinstance(error, (TaskCancelled, asyncio.CancelledError))

    def _name_deaf(self) -> None:
        """Name agents that do not let themselves be cancelled: they may not go on for ever."""
        if self.latecomers.name_deaf():
            self.ending.leave("agents that were cancelled go on")

    def start(self, function: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Start a coroutine, which ends with the run; it is too late for one if the run ends."""
        if self._group is not None and not (self._finishing or self._ended.is_set()):
            start_soon(self._group, function, name=name)

    def fail(self, error: Exception) -> None:
        """End the campaign with an error."""
        if self._error is None:
            self._error = error
        self._ended.set()

    def look_if_quiet(self) -> None:
        """End the campaign if nothing can happen any more."""
        if self._keeping is not None and self._keeping.snapshots.due:
            self._keeping.snapshots.look()
        if not self._started or self._under_way or not self.dealing.at_rest:
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

    @property
    def _under_way(self) -> bool:
        """Whether something is under way beside the calls of agents."""
        return bool(self.outstanding or self.fetching or (self._finishes_chains and self.offloaded))

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
        if self._waiting_for_answers or self.agents.may_begin:
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
        if not (self._finishing or self._gave_up):
            self.fail(BrokerLost(reason))
