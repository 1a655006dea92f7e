"""The items of generator tasks, sent as they are yielded, while the reader keeps up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from steerio.edge.encoding.values import ANY_VALUE, total_bytes
from steerio.edge.wire.cutting import check_frames
from steerio.errors import TaskStopped
from steerio.model import messages as ms
from steerio.model.tasks import TaskSpec
from steerio.worker.broker_link import BrokerLink
from steerio.worker.context import PROGRESS_EVERY_S
from steerio.worker.coroutines import STOP_CHECK_S
from steerio.worker.items_ahead import Ahead
from steerio.worker.slots import Slot
from steerio.worker.stop_signal import StopSignal
from steerio.worker.task_objects import WorkerObjects


class ItemSender:
    """Sends the items of one worker's generator tasks.

    Args:
        broker: the way to the broker.
        stop: the signal that stops the task.
        slot: says whether the task was asked to stop.
        ahead: the lead of a task over its reader.
        objects: the way to the store, for long items.
        take_in: takes in the messages that have arrived, waiting up to so many seconds for one.
    """

    def __init__(
        self,
        broker: BrokerLink,
        stop: StopSignal,
        slot: Slot,
        ahead: Ahead,
        objects: WorkerObjects,
        take_in: Callable[[float], None],
    ) -> None:
        self._broker = broker
        self._stop = stop
        self._slot = slot
        self._ahead = ahead
        self._objects = objects
        self._take_in = take_in
        self._last_item = 0.0
        self._unread: set[int] = set()
        """Attempts that the worker was sent whose items have no reader."""

    def __repr__(self) -> str:
        return f"<ItemSender of attempt {self._stop.run}>"

    def granted(self, message: ms.GrantRun) -> None:
        """Take in that a reader has taken some items of an attempt, or that it has no reader."""
        if message.run == self._stop.run:
            self._ahead.granted(message.count)
        elif not message.count:  # of one that the worker holds
            self._unread.add(message.run)

    def send_all(self, items: Iterable[Any], spec: TaskSpec) -> Any:
        """Send the items of a generator, and return its value."""
        self._begin_items()
        iterator = iter(items)
        index = 0
        while True:
            try:
                item = next(iterator)
            except StopIteration as end:
                return end.value
            self._send_item(index, item, spec)
            index += 1
            while self._ahead.full:
                self._check_stop()
                self._take_grants(STOP_CHECK_S)
            self._check_stop()

    async def send_all_async(self, items: AsyncIterator[Any], spec: TaskSpec) -> None:
        """Send the items of an async generator; it can return nothing, so its value is ``None``."""
        self._begin_items()
        index = 0
        async for item in items:
            self._send_item(index, item, spec)
            index += 1
            while self._ahead.full:
                self._take_grants(0)
                if self._ahead.full:
                    await asyncio.sleep(STOP_CHECK_S)

    def _begin_items(self) -> None:
        self._ahead.begin(unread=self._stop.run in self._unread)
        self._unread = {run for run in self._unread if run > self._stop.run}
        self._last_item = 0.0

    def _take_grants(self, timeout_s: float) -> None:
        with self._stop.uninterrupted():
            self._take_in(timeout_s)
        if self._broker.ending:  # no reader is left that could take more items
            raise TaskStopped

    def _check_stop(self) -> None:
        if self._slot.asked_to_stop:
            raise TaskStopped

    def _send_item(self, index: int, item: Any, spec: TaskSpec) -> None:
        if self._broker.forked:
            return
        if self._ahead.unread:
            now = time.monotonic()
            if now - self._last_item >= PROGRESS_EVERY_S:
                self._last_item = now
                self._broker.say_inside(ms.YieldItem(self._stop.run, index, b"", 0))
            return
        body, frames = ANY_VALUE.pack(item, f"item {index} of a generator task")
        stored = None
        if frames:
            with (
                self._stop.uninterrupted()
            ):  # the broker must hear of the object, so that it is freed
                stored = self._objects.put_away(frames, spec)
                if stored is not None:
                    self._ahead.yielded(stored.nbytes)
                    self._broker.say(ms.YieldItem(self._stop.run, index, body, 0, stored))
                    return
            check_frames(frames, f"item {index} of a generator task")
        self._ahead.yielded(len(body) + total_bytes(frames))
        self._broker.say_inside(ms.YieldItem(self._stop.run, index, body, len(frames)), frames)
