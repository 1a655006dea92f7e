"""Chains of tasks: each task knows the task types that led to it, so that a chain can be finished.

Theory.  A task *follows* another if code submitted it that handles the other's result or has
awaited it, or if it takes the other's value by a handle.  The chain of a task is the types of the
tasks that it follows, and of those that these follow.  A chain goes on to types that it has not had
yet; a task of a type that it has had begins something new, as the next round of a loop does.  So a
chain ends, however its agents go on, and new work is told from the rest of work that was begun,
which nothing but the types and the order of tasks says.

The coroutine of a `ChainUnderWay` is one chain by itself, whatever types its tasks have.

A handler's chain is that of its results, for the whole of a call.  That of other code grows with
each task that it awaits, in the task of asyncio that does so; another task of asyncio begins anew.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from msgspec.structs import replace

from steerio.model.results import Result
from steerio.model.tasks import TaskOptions

KEPT_CHAINS = 100_000
"""Ended tasks of which it is known whose results led to them."""
Types = frozenset[str]
"""The names of task types."""
NO_TYPES: Types = frozenset()


class ChainedTask(Protocol):
    """A task, as seen by the chain that it is in."""

    type: Any
    chain: Types


class Behind(NamedTuple):
    """The chain that code goes on with.

    Attributes:
        types: those behind it.
        grows: whether the types of the tasks that it awaits are added.
        by: the identity of the task of asyncio that has awaited them.
    """

    types: Types = NO_TYPES
    grows: bool = True
    by: int = 0


NOTHING = Behind()
HANDLER = Behind(grows=False)
"""The chain of a handler that is called for something else than results."""
chain_behind: contextvars.ContextVar[Behind] = contextvars.ContextVar(
    "steerio_chain", default=NOTHING
)
"""The chain that this code goes on with."""


class ChainUnderWay:
    """A chain that one coroutine follows, with all that it starts: it goes on to any type.

    Args:
        outer: the chain in which it began, if that is another.
        moves: called with a pool, and 1 when it has its first task there, or -1 when it has none
            there any more; ``None``: its pools do not count.
    """

    def __init__(
        self, outer: ChainUnderWay | None, moves: Callable[[str, int], None] | None
    ) -> None:
        self.types: Types = NO_TYPES if outer is None else outer.types
        """The types of the tasks whose results it has."""
        self.pools: Counter[str] = Counter()
        """How many tasks it has in each pool."""
        self.late = 0
        """How many tasks it has submitted since its campaign stops."""
        self._moves = moves

    def __repr__(self) -> str:
        return f"<ChainUnderWay: {len(self.types)} steps>"

    def favoured(self, options: TaskOptions) -> TaskOptions:
        """Return the options of its next task: the more steps it has done, the sooner that runs."""
        if not self.types:
            return options
        return replace(options, priority=options.priority + len(self.types))

    def submits(self, task: Any) -> None:
        """Take in that it has submitted a task."""
        if self._moves is not None:
            pool = task.type.pool
            self.pools[pool] += 1
            if self.pools[pool] == 1:
                self._moves(pool, 1)
            task.add_done_callback(self._task_ended)

    def ends(self) -> None:
        """Take in that its coroutine has ended; tasks that it has left behind count no more."""
        moves, self._moves = self._moves, None
        for pool, count in self.pools.items():
            if count and moves is not None:
                moves(pool, -1)

    def _task_ended(self, task: Any) -> None:
        pool = task.type.pool
        self.pools[pool] -= 1
        if not self.pools[pool] and self._moves is not None:
            self._moves(pool, -1)


chain_under_way: contextvars.ContextVar[ChainUnderWay | None] = contextvars.ContextVar(
    "steerio_chain_under_way", default=None
)
"""The chain that this code is a part of, if it is one of ``Campaign.run_chains``."""


def chain_of_next(type_name: str) -> Types:
    """Return the chain of a task of this type that is submitted now: empty if it begins one."""
    under_way = chain_under_way.get()
    if under_way is not None:
        return under_way.types
    behind = chain_behind.get()
    if not behind.types:
        return NO_TYPES
    if behind.grows and (type_name in behind.types or behind.by != _here()):
        chain_behind.set(NOTHING)
        return NO_TYPES
    return NO_TYPES if type_name in behind.types else behind.types


def chain_after(type_name: str, chain: Types, others: Iterable[ChainedTask]) -> Types:
    """Return the chain of a task of this type that takes the values of others."""
    types = chain | types_led_to(others)
    return NO_TYPES if type_name in types else types


def types_led_to(tasks: Iterable[ChainedTask]) -> Types:
    """Return the types behind code that goes on with the results of these tasks."""
    return NO_TYPES.union(*[(*task.chain, task.type.name) for task in tasks])


def was_awaited(task: ChainedTask) -> None:
    """Take in that the code that calls this has the result of a task, and may go on with it."""
    under_way = chain_under_way.get()
    if under_way is not None:
        under_way.types |= task.chain | {task.type.name}
        return
    behind = chain_behind.get()
    if not behind.grows:
        return
    here = _here()
    if not here:  # a callback of the loop, whose context others share
        return
    types = behind.types if behind.by == here else NO_TYPES
    if task.type.name not in types or not task.chain <= types or behind.by != here:
        chain_behind.set(Behind(types | task.chain | {task.type.name}, True, here))


class KnownChains:
    """The chains of tasks that have ended, as far as they follow others."""

    def __init__(self) -> None:
        self._of: dict[int, Types] = {}
        self._calls: dict[Types, Behind] = {}
        self._alone: dict[str, Behind] = {}
        """The chain of a call with a task of this type that follows none."""

    def __repr__(self) -> str:
        return f"<KnownChains: {len(self._of)}>"

    def ended(self, task_id: int, chain: Types) -> None:
        """Take in that a task has ended; the oldest of very many is forgotten."""
        if chain:
            self._of[task_id] = chain
            if len(self._of) > KEPT_CHAINS:
                del self._of[next(iter(self._of))]

    def behind_call(self, results: Sequence[Result]) -> Behind:
        """Return the chain of a call with results."""
        none = NO_TYPES
        if len(results) == 1 and results[0].task_id not in self._of:
            alone = self._alone.get(results[0].task_type)
            if alone is not None:
                return alone
            types = frozenset([results[0].task_type])
            self._alone[results[0].task_type] = made = Behind(types, grows=False)
            return made
        types = none.union(*[(*self._of.get(it.task_id, none), it.task_type) for it in results])
        known = self._calls.get(types)
        if known is None:
            if len(self._calls) >= KEPT_CHAINS:
                self._calls.clear()
            known = self._calls[types] = Behind(types, grows=False)
        return known


def _here() -> int:
    """Return the identity of the task of asyncio that runs this; 0: none does."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs
        return 0
    return 0 if task is None else id(task)
