"""The orders to submit, cancel and rank tasks of a campaign.

A task that is ordered is of a type that the campaign's own code has, and its arguments are checked
as those of any other: so no order brings code. The journal has it before it is submitted, and a
resumed campaign submits it again, as its agents do theirs, and gives it its recorded result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import isfinite
from typing import Any

import msgspec

from steerio.campaign.budgets import GiverAccounts
from steerio.campaign.demand import known_types
from steerio.campaign.prepared_orders import Concludes, OrderedRun, PreparedOrder, order_by
from steerio.campaign.usage import worker_seconds
from steerio.edge.record.entries import OrderedTask
from steerio.errors import UsageError, guess
from steerio.model import campaign_orders as co
from steerio.model.bounds import real
from steerio.model.cards import call_in_short
from steerio.model.results import Result
from steerio.model.showing import counted, short, short_name
from steerio.session.current_agent import current_agent, results_behind
from steerio.session.selection import priority_of
from steerio.session.task import Task
from steerio.session.task_checks import make_options
from steerio.session.task_type import TaskType

ARGUMENT_BYTES = 1 << 16
"""Longest arguments of a task that is submitted by an order."""
NAMED = 10
"""So many tasks are named in an answer."""
KEPT_IDS = 1_000
"""Orders by which tasks were submitted, and that snapshots remember."""


class TaskOrders:
    """Carries out the orders about the tasks of one campaign.

    Args:
        run: its run.
    """

    def __init__(self, run: OrderedRun) -> None:
        self.accounts = GiverAccounts()
        self.submitted: deque[tuple[str, str]] = deque(maxlen=KEPT_IDS)
        """The latest orders by which tasks were submitted, by giver and id."""
        self._run = run

    def __repr__(self) -> str:
        return f"<TaskOrders: {self.accounts!r}>"

    # -- submitting ------------------------------------------------------------------------------

    def submit(self, order: co.SubmitTask, given: co.GivenOrder) -> PreparedOrder:
        """Prepare to submit a task.

        Raises:
            UsageError: the campaign has no such type, or takes no tasks, or its giver's budget has
                no room.
            TypeError, EncodingError: the task cannot be called so.
        """
        kind = self._type_of(order.task_type)
        args, kwargs = kind.codec.by_position(*_plain(order))  # where agents look for them
        order = co.SubmitTask(kind.name, args, kwargs, order.priority)
        _options(kind, order)
        self._run.session.check_pool(kind.pool)
        kind.codec.pack(args, kwargs)
        if self._run.stopping:
            raise UsageError(f"no task is submitted, as the campaign ends: {self._run.stopping}")
        now = self._run.session.clock()
        if refusal := self.accounts.refusal(given.by, given.budget, now):
            raise UsageError(refusal)
        entry = OrderedTask(order, given.by, given.id, now)
        call = call_in_short(kind.name, args, kwargs)

        def carry_out(done: Concludes) -> None:
            number = self._submit(kind, entry)
            done(f"submitted task {number}: {call}", tasks=(number,))

        def accepted() -> None:
            self.accounts.submits(given.by, now)

        would = f"would submit {call} to pool {kind.pool}"
        return PreparedOrder(would, carry_out, entry, accepted=accepted)

    def redo(self, entry: OrderedTask) -> int:
        """Submit a task that was ordered in an earlier incarnation; return its id now.

        Raises:
            UsageError, TypeError: that cannot be done any more.
        """
        self.accounts.submits(entry.by, min(entry.at, self._run.session.clock()))
        return self._submit(self._type_of(entry.order.task_type), entry)

    def ended(self, task: Task[Any], result: Result) -> None:
        """Take in the result of a task with tags: if it was ordered, its giver's budget counts."""
        by = task.tags.get(co.ORDERED_BY)
        if by is not None:
            task.awaited = True  # no code has its handle, so none can handle a failure
            self.accounts.worked(by, worker_seconds(result, task.gang))

    def _submit(self, kind: TaskType[..., Any], entry: OrderedTask) -> int:
        order, tags = entry.order, {co.ORDERED_BY: entry.by}
        if entry.id:
            self.submitted.append((entry.by, entry.id))
        token, behind = current_agent.set(""), results_behind.set(())
        try:
            task = self._run.session.submit_with(
                kind, order.args, order.kwargs, _options(kind, order), tags
            )
        finally:
            current_agent.reset(token)
            results_behind.reset(behind)
        if kind.kind == "generator":  # no code has its handle
            task.ignore_items()
        return task.id

    def _type_of(self, name: str) -> TaskType[..., Any]:
        """Return the task type of a name, which may be its last part.

        Raises:
            UsageError: the campaign has none, or several.
        """
        known: dict[str, list[TaskType[..., Any]]] = {}
        for kind in known_types(self._run.campaign):
            known.setdefault(kind.name, []).append(kind)
        found = known.get(name) or [
            kind for full in known if _ends_with(full, name) for kind in known[full]
        ]
        if len(found) == 1:
            return found[0]
        campaign = type(self._run.campaign).__name__
        if found:
            there = ", ".join(sorted(f"{kind.name} (pool {kind.pool})" for kind in found))
            raise UsageError(f"{campaign} has several task types named {short(name)}: {there}")
        last = sorted(short_name(full) for full in known)
        there = ", ".join(last) or "none"
        raise UsageError(
            f"{campaign} has no task type {short(name)} (it has: {there}){guess(name, last)}"
        )

    # -- cancelling and ranking ------------------------------------------------------------------

    def cancel(self, order: co.CancelTasks, given: co.GivenOrder) -> PreparedOrder:
        """Prepare to cancel tasks.

        Raises:
            UsageError: none of them can be cancelled.
        """
        numbers, rest = self._chosen(order.tasks)
        words = _tasks(numbers)

        def carry_out(done: Concludes) -> None:
            left = [number for number in numbers if number in self._run.outstanding]
            reason = order_by(given.by, given.reason)
            self._run.session.cancel(left, f"cancelled {reason}")
            done(f"cancelled {words}{rest}")

        return PreparedOrder(f"would cancel {words}{rest}", carry_out, subjects=_subjects(numbers))

    def rank(self, order: co.RankTasks) -> PreparedOrder:
        """Prepare to give tasks another priority.

        Raises:
            UsageError: none of them can be ranked, or that is no priority.
        """
        numbers, rest = self._chosen(order.tasks)
        priority = priority_of(numbers[0], order.priority)
        words = f"{_tasks(numbers)} at {priority:g}, if still queued{rest}"

        def carry_out(done: Concludes) -> None:
            left = [number for number in numbers if number in self._run.outstanding]
            self._run.session.reprioritise(dict.fromkeys(left, priority))
            done(f"ranked {words}")

        return PreparedOrder(f"would rank {words}", carry_out, subjects=_subjects(numbers))

    def _chosen(self, tasks: Iterable[int]) -> tuple[list[int], str]:
        """Return the tasks that have not ended, and words about the others.

        Raises:
            UsageError: there are only others.
        """
        wanted = list(dict.fromkeys(tasks))
        if not wanted:
            raise UsageError("name at least one task, by its id")
        there = [number for number in wanted if number in self._run.outstanding]
        others = [number for number in wanted if number not in self._run.outstanding]
        ended = [number for number in others if self._run.had(number)]
        unknown = [number for number in others if not self._run.had(number)]
        told: list[str] = []
        if ended:
            told.append(f"{_tasks(ended)} {'has' if len(ended) == 1 else 'have'} ended")
        if unknown:
            none = "is no task" if len(unknown) == 1 else "are no tasks"
            told.append(f"{_tasks(unknown)} {none} of this campaign")
        rest = "; ".join(told)
        if not there:
            raise UsageError(rest)
        return there, f"; {rest}" if rest else ""


def _plain(order: co.SubmitTask) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a task as plain values, the same however the order came.

    Raises:
        UsageError: one is no plain value, or they are long.
    """
    try:
        packed = msgspec.msgpack.encode((order.args, order.kwargs))
        msgspec.json.encode((order.args, order.kwargs))  # as events tell of it
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(
            f"the arguments of an ordered task are numbers, texts, lists and the like: {error}"
        ) from None
    if len(packed) > ARGUMENT_BYTES:
        raise UsageError(
            f"the arguments of an ordered task are at most {ARGUMENT_BYTES} bytes, not "
            f"{len(packed)}: have an agent submit it, or put them into a file"
        )
    args, kwargs = msgspec.msgpack.decode(packed)
    return tuple(args), kwargs


def _options(kind: TaskType[..., Any], order: co.SubmitTask) -> Any:
    if order.priority is None:
        return kind.options
    if not isfinite(priority := real(order.priority, "priority")):
        raise UsageError(f"priority must be a finite number, not {order.priority!r}")
    return make_options(kind.options, priority)


def _ends_with(full: str, name: str) -> bool:
    return bool(name) and full.endswith((f":{name}", f".{name}"))


def _subjects(numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"task {number}" for number in numbers)


def _tasks(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return f"task {numbers[0]}"
    if len(numbers) > NAMED:
        return counted(len(numbers), "task")
    return f"tasks {', '.join(map(str, numbers))}"
