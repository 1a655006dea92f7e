"""The loop that runs the coroutines of ``async def`` tasks, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any, Protocol

STOP_CHECK_S = 0.02
"""Time between two looks of a waiting task whether it was asked to stop."""


class Stoppable(Protocol):
    """Says whether the current run was asked to stop."""

    @property
    def asked_to_stop(self) -> bool:
        """Whether it was."""
        ...


class CoroutineRunner:
    """The loop of a worker's coroutines; it is made for the first.

    Args:
        slot: says whether the current run was asked to stop.
    """

    def __init__(self, slot: Stoppable) -> None:
        self._slot = slot
        self._runner: asyncio.Runner | None = None

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on a loop that is kept for the next; cancel tasks that it left there.

        Raises:
            BaseException: any that the coroutine raises.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            # without a copy all later tasks would share the context of the first
            return self._runner.run(self._alone(coroutine), context=copy_context())
        except Exception:
            raise
        except BaseException:  # it may have struck inside the loop: take a fresh one
            with contextlib.suppress(BaseException):
                self._runner.close()
            self._runner = None
            raise

    def close(self) -> None:
        """Close the loop; the next coroutine has another."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    async def _alone(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine, and cancel the tasks that it left running."""
        try:
            return await self._watched(coroutine)
        finally:
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)

    async def _watched(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine, and cancel it once it is asked to stop."""
        task = asyncio.ensure_future(coroutine)
        while not task.done():
            await asyncio.wait({task}, timeout=STOP_CHECK_S)
            if self._slot.asked_to_stop:
                task.cancel()
                break
        return await task
