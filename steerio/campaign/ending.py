"""The end of a campaign, with bounds on the work that agents still do.

Theory.  A campaign that stops lets its calls finish, and cancels tasks that they submit from then
on.  Most agents notice: `run` raises in them.  An agent that takes results as data, such as
``while True: await self.submit(f, x).result()``, does not, and would go on for ever.  So a task
that is submitted *late* keeps no campaign alive and calls no trigger, and a call that has submitted
``LATE_TASKS`` of them is cut short.

A campaign that *must* end, because its time is up or its end was asked for, waits for no task or
agent longer than its limits say: it goes from step to step, whatever they do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Generator
from enum import IntEnum
from functools import partial

import anyio

from steerio.campaign.limits import Limits
from steerio.session.chains import chain_behind, chain_under_way
from steerio.session.current_agent import current_agent

log = logging.getLogger("steerio.campaign")

LATE_TASKS = 1_000
"""Tasks that one call may submit while the campaign stops; then the call is cut short."""
DEAF_S = 5.0
"""Agents that have not ended so many seconds after they were cancelled are named in a warning."""


class Latecomers:
    """The tasks that were submitted while the campaign stopped, and the calls that submit them.

    Calls are known by the name of their agent; several calls of one agent may be under way.
    """

    def __init__(self) -> None:
        self._tasks: set[int] = set()
        self._submitted: Counter[str] = Counter()
        self._scopes: defaultdict[str, set[anyio.CancelScope]] = defaultdict(set)

    def __repr__(self) -> str:
        return f"<Latecomers: {len(self._tasks)} tasks>"

    @contextlib.contextmanager
    def may_cut(self, agent: str) -> Generator[anyio.CancelScope, None, None]:
        """Let the code inside be cut short; it then ends without an error."""
        with anyio.CancelScope() as scope:
            self._scopes[agent].add(scope)
            try:
                yield scope
            finally:
                self._scopes[agent].discard(scope)

    def cut(self, agent: str, why: str) -> None:
        """Cut short the calls of an agent that are under way."""
        log.warning("%s is cut short: %s", agent, why)
        for scope in self._scopes[agent]:
            scope.cancel()

    def name_deaf(self) -> bool:
        """Warn of agents that go on although they were cancelled; return whether there are any."""
        deaf = sorted(name for name, scopes in self._scopes.items() if scopes)
        for agent in deaf:
            log.warning(
                "%s goes on although it was cancelled %g s ago, and the campaign cannot end: "
                "let asyncio.CancelledError pass (Ctrl-C twice ends the run at once)",
                agent,
                DEAF_S,
            )
        return bool(deaf)

    def call_begins(self, agent: str) -> None:
        """Forget the late tasks of an agent's earlier calls."""
        if self._submitted:
            del self._submitted[agent]

    def add(self, task_id: int) -> None:
        """Note a task that was submitted late, by the agent on whose behalf this code runs."""
        self._tasks.add(task_id)
        self._count()

    def count_step(self) -> None:
        """Count a task with which a chain goes on, if a call made it, which could go on for ever.

        The code of an ``@agent`` cannot: its chain ends where a task type comes again. One of
        ``Campaign.run_chains`` can, and is counted by itself.
        """
        under_way = chain_under_way.get()
        if under_way is not None:
            under_way.late += 1
            if under_way.late == LATE_TASKS:
                self.cut(current_agent.get(), f"a chain goes on after {LATE_TASKS:,} tasks")
        elif not chain_behind.get().grows:
            self._count()

    def _count(self) -> None:
        agent = current_agent.get()
        self._submitted[agent] += 1
        if self._submitted[agent] == LATE_TASKS:
            self.cut(agent, f"it submitted {LATE_TASKS:,} tasks while the campaign was stopping")

    def discard(self, task_id: int) -> bool:
        """Forget a task that has ended; returns whether it was submitted late."""
        if task_id not in self._tasks:
            return False
        self._tasks.remove(task_id)
        return True


class EndingStep(IntEnum):
    """The steps of a campaign that must end."""

    NONE = 0
    DRAINING = 1
    CANCELLING = 2
    CUTTING = 3
    FINISHING = 4


class CampaignEnding:
    """Takes a campaign that must end from step to step, each within its bound.

    Args:
        limits: how long each step may take.
        cancel_tasks: called with the reason when running tasks may not go on.
        cut_calls: called with the reason when calls may not go on.
        cut_finish: called with the reason when ``finish`` may not go on.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        cancel_tasks: Callable[[str], None],
        cut_calls: Callable[[str], None],
        cut_finish: Callable[[str], None],
    ) -> None:
        self.said = ""
        """The step, in words; empty while the campaign need not end."""
        self.on_step: Callable[[str, float | None], None] = lambda said, within_s: None
        """Called with each step, and the seconds that it may take at most."""
        self._limits = limits
        self._cancel_tasks, self._cut_calls, self._cut_finish = cancel_tasks, cut_calls, cut_finish
        self._step = EndingStep.NONE
        self._reason = ""
        self._timer: asyncio.TimerHandle | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<CampaignEnding: {self._step.name.lower()}>"

    @property
    def must(self) -> bool:
        """Whether the campaign must end."""
        return bool(self.said)

    def start_clock(self, must_end: Callable[..., None]) -> None:
        """Call back when the time of the campaign is up, if that is limited, unless it ends first.

        Args:
            must_end: called with the reason, and ``drain``: whether running tasks may still end.
        """
        if (wall_s := self._limits.wall_s) is not None:
            up = partial(must_end, f"{wall_s:g} s have passed", drain=self._limits.drain)
            self._clock = asyncio.get_running_loop().call_later(wall_s, up)

    def begin(self, reason: str, *, drain: bool) -> None:
        """Make the campaign end; if it is ending already, sooner.

        Args:
            reason: why it ends.
            drain: whether running tasks may still end, for ``drain_s``.
        """
        self._reason = self._reason or reason
        if self._closed:
            return
        if self._step == EndingStep.FINISHING:
            self._bound_finish()
        elif drain and self._limits.drain_s != 0 and self._step == EndingStep.NONE:
            drain_s = self._limits.drain_s
            self._enter(EndingStep.DRAINING, f"running tasks have{_time(drain_s)} to end", drain_s)
        elif self._step < EndingStep.CANCELLING:
            self._next()

    def finishes(self) -> None:
        """Note that ``finish`` begins."""
        self._step = EndingStep.FINISHING
        self._stop_timer()
        if self.must:
            self._bound_finish()

    def close(self) -> None:
        """Go no further, even if it is asked for."""
        self._closed = True
        if self._clock is not None:
            self._clock.cancel()
        self._stop_timer()

    def _bound_finish(self) -> None:
        finish_s = self._limits.finish_s
        self._enter(EndingStep.FINISHING, f"finish has{_time(finish_s)} to end", finish_s)

    def _enter(self, step: EndingStep, said: str, within_s: float | None) -> None:
        self._stop_timer()
        self._step, self.said = step, said
        log.info("the campaign must end (%s): %s", self._reason, said)
        self.on_step(said, within_s)
        if within_s is not None:
            self._timer = asyncio.get_running_loop().call_later(within_s, self._next)

    def _next(self) -> None:
        """Go on to the next step: this one has lasted as long as it may."""
        limits = self._limits
        if self._step < EndingStep.CANCELLING:
            calls = f"running tasks are cancelled, calls under way have{_time(limits.calls_s)}"
            self._enter(EndingStep.CANCELLING, f"{calls} to end", limits.calls_s)
            self._cancel_tasks(self._reason)
        elif self._step < EndingStep.FINISHING:
            self._step = EndingStep.CUTTING
            self.leave("calls under way are cancelled")
            self._cut_calls(f"it still ran{_time(limits.calls_s)} after tasks were cancelled")
        else:
            self.leave("finish is cancelled")
            self._cut_finish(f"it still ran{_time(limits.finish_s)} after the campaign had to end")

    def leave(self, said: str) -> None:
        """Begin the last step: agents that were cancelled have time to end."""
        self.said = said
        log.info("the campaign ends: %s", said)
        self.on_step(said, self._limits.leave_s)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _time(seconds: float | None) -> str:
    return " any time" if seconds is None else f" {seconds:g} s"
