"""What agents still do while their campaign ends, and how that is kept within bounds.

Theory.  A campaign that stops lets its calls finish, and what they submit from then on is
cancelled.  Most agents notice: `run` raises in them.  One that takes results as data, such as
``while True: await self.submit(f, x).result()``, does not, and would go on for ever.  So what is
submitted *late* keeps no campaign alive and calls no trigger, and a call that has submitted
``LATE_TASKS`` of it is cut short.
"""

from __future__ import annotations

import contextlib
import logging
from collections import Counter, defaultdict
from collections.abc import Generator

import anyio

from steerio.campaign.submitting import current_agent

log = logging.getLogger("steerio.campaign")

LATE_TASKS = 1_000
"""Tasks that one call may submit while the campaign stops; it is cut short then."""
INTERRUPTED_S = 10.0
"""Longest wait for the calls under way, in seconds, after a campaign was interrupted."""
DEAF_S = 5.0
"""Agents that have not ended so many seconds after they were cancelled are named in a warning."""


class Latecomers:
    """The tasks that were submitted while the campaign stopped, and the calls that submit them.

    Calls are known by the name of their agent, of which several may be under way.
    """

    def __init__(self) -> None:
        self._tasks: set[int] = set()
        self._submitted: Counter[str] = Counter()
        self._scopes: defaultdict[str, set[anyio.CancelScope]] = defaultdict(set)

    def __repr__(self) -> str:
        return f"<Latecomers: {len(self._tasks)} tasks>"

    @contextlib.contextmanager
    def may_cut(self, agent: str) -> Generator[anyio.CancelScope, None, None]:
        """Let what runs inside be cut short; it ends then without an error."""
        with anyio.CancelScope() as scope:
            self._scopes[agent].add(scope)
            try:
                yield scope
            finally:
                self._scopes[agent].discard(scope)

    def cut(self, agent: str, why: str) -> None:
        """Cut short what is under way of an agent."""
        log.warning("%s is cut short: %s", agent, why)
        for scope in self._scopes[agent]:
            scope.cancel()

    def name_deaf(self) -> None:
        """Warn of what is still under way although it was cancelled."""
        for agent in sorted(name for name, scopes in self._scopes.items() if scopes):
            log.warning(
                "%s goes on although it was cancelled %g s ago, and the campaign cannot end: "
                "let asyncio.CancelledError pass (Ctrl-C twice ends the run at once)",
                agent,
                DEAF_S,
            )

    def call_begins(self, agent: str) -> None:
        """Forget what earlier calls of an agent have submitted late."""
        if self._submitted:
            del self._submitted[agent]

    def add(self, task_id: int) -> None:
        """Note a task that was submitted late, by the agent on whose behalf this code runs."""
        self._tasks.add(task_id)
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
