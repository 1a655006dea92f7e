"""The calls of a campaign's ``on_idle`` methods, and how long these keep it from its end.

Theory.  An ``on_idle`` is the only agent that is asked for work instead of being told of news, and
its answer depends on the work that the other agents have left for it.  So it is asked whenever
workers are idle and something has happened: its pool has changed, a task was submitted or has
ended, or another agent has gone on (from one wait to the next, or to its end).  A call that submits
nothing was *in vain*, until something happens again.  When all else has come to rest, each
``on_idle`` is asked that was not asked since something happened last.  Of several, each is then
asked, in turn, as often as there are ``on_idle`` methods, because one of them may leave work for
another.  If all these calls were in vain, the campaign has ended.

Work that an ``on_idle`` sets going without a task (it publishes an event, and a handler thinks
about it) is an *echo*.  Echoes could go on for ever, so after one an ``on_idle`` is asked again
only when all is at rest, and no more than ``RESTS_IN_VAIN`` times.
"""

from __future__ import annotations

import logging

from steerio.campaign.agent_loops import may_come
from steerio.campaign.calls import Calls
from steerio.campaign.feeding import Feeder
from steerio.model.status import PoolLoad
from steerio.session.session import Session

log = logging.getLogger("steerio.campaign")

RESTS_IN_VAIN = 20
"""How often all may come to rest, and be woken by an ``on_idle``, without a task."""


class Idleness:
    """The ``on_idle`` methods of one campaign.

    Args:
        calls: the calls of these methods.
        session: tells the loads of the pools.
        feeder: knows how many workers are idle.
    """

    def __init__(self, calls: list[Calls], session: Session, feeder: Feeder) -> None:
        self.happened = 0
        """Counts the happenings that may change the answer of an ``on_idle``."""
        self._echoed = 0
        """Counts the steps of echoes."""
        self._calls = calls
        self._session = session
        self._feeder = feeder
        self._rests = 0
        self._rounds = 0
        self._seen = -1

    def __repr__(self) -> str:
        return f"<Idleness of {len(self._calls)} methods, {self._rests} rests in vain>"

    def __bool__(self) -> bool:
        """Whether there is any ``on_idle``."""
        return bool(self._calls)

    def happens(self) -> None:
        """Take in that another agent has gone on: it may have left work."""
        self.happened += 1
        self.ask()

    def echoes(self) -> None:
        """Take in a step of an echo: the agent may have left work, too."""
        self._echoed += 1

    def task_seen(self) -> None:
        """Take in that a task was submitted, or has ended."""
        self.happened += 1
        self._rests = 0

    def ask(self) -> None:
        """Call each method whose pool has idle workers, if that or anything else is new to it."""
        for calls in self._calls:
            idle = self._feeder.idle(calls.trigger.subject)
            new = self._is_due(calls) or idle != calls.asked_with
            if idle > 0 and new and not calls.pending:
                calls.feed(None)

    def may_answer(self) -> bool:
        """Whether an ``on_idle`` may still give work, now that all else is at rest.

        Methods that have to be asked for that are called.
        """
        if self._echoed:
            self._ask_all_again()
        elif not any(self._is_due(calls) for calls in self._calls):
            self._begin_round()
        due = [calls for calls in self._calls if self._is_due(calls)]
        asked = [calls for calls in due if self._feeder.idle(calls.trigger.subject) > 0]
        if asked:
            self._rests += 1
            if self._rests > RESTS_IN_VAIN:
                names = ", ".join(calls.name for calls in asked)
                log.warning(
                    "%s was called %d times when all else was at rest, and set other agents going, "
                    "but none submitted a task: it is not called again",
                    names,
                    RESTS_IN_VAIN,
                )
                return False
            for calls in asked:
                calls.feed(None)
        return bool(asked) or any(self._may_have_workers(calls) for calls in due)

    def uses(self, pool: str) -> bool:
        """Whether an ``on_idle`` still wants to be called for a pool."""
        return any(c.trigger.subject == pool and self._is_due(c) for c in self._calls)

    def _is_due(self, calls: Calls) -> bool:
        return calls.asked_at < self.happened and not calls.resting

    def _begin_round(self) -> None:
        """If there are several methods, have all asked once more, in turn."""
        if self._seen != self.happened:
            self._seen, self._rounds = self.happened, 1
        if self._rounds < len(self._calls):
            self._rounds += 1
            self._ask_all_again()

    def _ask_all_again(self) -> None:
        self._echoed = 0
        for calls in self._calls:
            calls.asked_at = -1

    def _may_have_workers(self, calls: Calls) -> bool:
        """Whether the pool of an ``on_idle`` has workers, or will have some of itself.

        The campaign waits for these, but not for workers that an agent would have to move, as no
        agent is left.  For a pool that takes any node it is not known whether one comes; so the
        campaign waits for the first.
        """
        load: PoolLoad | None = self._session.client.watch.pools.get(calls.trigger.subject)
        return may_come(load) or (not calls.asked_with and not self._session.client.closed_pools)
