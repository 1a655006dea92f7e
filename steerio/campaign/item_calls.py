"""The calls of an ``@on_item`` method: each task's items in order, and few of them waiting."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from typing import Any, cast

from steerio.campaign.call_queue import CallsState
from steerio.campaign.calls import Calls, CallsHome
from steerio.campaign.item_flows import ItemFlow, StreamedItem
from steerio.campaign.trigger_marks import Trigger
from steerio.errors import StateError
from steerio.session.chains import Behind

ITEMS_WAITING = 16
"""Items that wait for their calls before tasks are held back; or those of one call, if more."""


def items_of(call: Any) -> list[StreamedItem]:
    """Return the items of a call, which has one or a list of them."""
    return cast("list[StreamedItem]", call if isinstance(call, list) else [call])


def next_call(queue: Iterable[Collection[int]], under_way: Collection[int]) -> int | None:
    """Return the place of the first call that may begin, if there is one.

    A call waits for those before it that have items of the same tasks.

    Args:
        queue: the tasks of each queued call.
        under_way: those of the calls that are under way.
    """
    before = set(under_way)
    for place, tasks in enumerate(queue):
        if before.isdisjoint(tasks):
            return place
        before.update(tasks)
    return None


class ItemCalls(Calls):
    """The calls of one ``@on_item``."""

    def __init__(
        self, home: CallsHome, name: str, trigger: Trigger, method: Callable[..., Any]
    ) -> None:
        super().__init__(home, name, trigger, method)
        self._line: deque[ItemFlow] = deque()
        """The flows that wait for room."""
        self._tasks: Counter[int] = Counter()
        """The tasks whose items calls under way have."""

    @property
    def is_full(self) -> bool:
        """Whether tasks are held back, for calls wait."""
        wish = self.trigger.gathering
        if wish.latest:
            return False
        waiting = sum(len(items_of(call)) for call in self._queue)
        if wish.debounce_s is not None:
            waiting += len(self._gathered.items)
        return waiting >= max(ITEMS_WAITING, wish.every or 1)

    def line_up(self, flow: ItemFlow) -> None:
        """Have a flow go on once there is room."""
        self._line.append(flow)

    @property
    def holds_last(self) -> bool:
        """Whether items of a task that has ended wait for room."""
        return any(flow.holds_last for flow in self._line)

    async def _take(self) -> Any:
        """Wait for a call that may begin, and take it."""
        while True:
            if self.paused is not None or self._queue_home.held is not None:
                await self._held()
                continue
            place = next_call(map(_tasks_of, self._queue), self._tasks)
            if place is None:
                waiter = asyncio.get_running_loop().create_future()
                self._waiting.append(waiter)
                await waiter
                continue
            call = self._queue[place]
            del self._queue[place]
            while self._line and not self.is_full:
                self._line.popleft().has_room()
            if not isinstance(call, StreamedItem) or not _is_given_up(call):
                return call

    async def _make_call(self, *args: Any) -> None:
        """Make a call; meanwhile no other with items of the same tasks begins."""
        tasks = Counter(_tasks_of(args[0]))
        self._tasks += tasks
        try:
            await super()._make_call(*args)
        finally:
            self._tasks -= tasks
            self._wake_next()

    def _behind_of(self, results: Any) -> tuple[tuple[int, ...], Behind]:
        """Return the tasks behind a call, and its chain: that of the tasks that yield the items."""
        tasks = {item.task.id: item.task for item in items_of(results)}
        types = frozenset[str]().union(*[(*task.chain, task.type.name) for task in tasks.values()])
        return tuple(tasks), Behind(types, grows=False)

    def state(self, place: int) -> CallsState | None:
        """Return the items of ended tasks that it holds; other tasks will yield theirs again.

        Raises:
            StateError: some of them have not come here yet.
        """
        if self.holds_last:
            raise StateError(f"{self.name} has still to take items of a task that has ended")
        queue = [kept for call in self._queue if (kept := _of_ended(call))]
        collected = [item for item in self._gathered.items if item.task.done()]
        in_batches = self.trigger.every is not None
        if not (queue or collected):
            return None
        return CallsState(self.name, place, in_batches, collected, queue)


def _tasks_of(call: Any) -> list[int]:
    return list({item.task.id for item in items_of(call)})


def _is_given_up(item: StreamedItem) -> bool:
    """Whether its task was cancelled by its handle: no code wants to know more of it."""
    return item.task.yielded is not None and item.task.yielded.stopping


def _of_ended(call: Any) -> Any:
    """Return those items of a call whose tasks have ended, as a call; ``None``: there are none."""
    left = [item for item in items_of(call) if item.task.done()]
    if isinstance(call, list):
        return left or None
    return left[0] if left else None
