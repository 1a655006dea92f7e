"""The exceptions of agents, sorted: those that are errors of the campaign, and the others.

The campaign's end may cancel an agent. Awaiting a cancelled task raises in it. It may leave by
``SystemExit``. Any of these may be in a group beside a genuine error. `heed` tells them apart.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from inspect import CORO_CREATED, getcoroutinestate, iscoroutine
from typing import Any

import anyio

from steerio.errors import leaves
from steerio.session.current_agent import current_agent


async def as_agent(
    name: str, coroutine: Awaitable[None], explained: Callable[[BaseException], bool]
) -> None:
    """Await ``setup`` or ``finish`` as the agent ``name``, in a task of its own.

    `asyncio.TaskGroup` may leave its task marked as cancelled (Python 3.11), which would keep the
    caller's task from its own end.

    Args:
        name: of the agent.
        coroutine: does the agent's work.
        explained: as for `heed`.
    """

    async def do() -> None:
        current_agent.set(name)
        await heed(name, coroutine, lambda: True, explained)

    me = asyncio.current_task()
    assert me is not None
    doing = asyncio.ensure_future(do())
    doing.set_name(name)
    try:
        await heed(name, doing, lambda: was_cancelled() or me.cancelling() > 0, explained)
    finally:
        if iscoroutine(coroutine) and getcoroutinestate(coroutine) == CORO_CREATED:
            coroutine.close()  # cancelled before it began


def was_cancelled() -> bool:
    """Whether this code was cancelled by its scope, or by one around that."""
    return anyio.current_effective_deadline() == -math.inf


async def heed(
    name: str,
    call: Awaitable[Any],
    cancelled: Callable[[], bool],
    explained: Callable[[BaseException], bool],
) -> None:
    """Await a call of an agent; let none of its exceptions pass for the end of the campaign.

    Args:
        name: of the agent.
        call: the call.
        cancelled: returns whether a ``CancelledError`` of the agent was meant for it.
        explained: whether the end of the campaign explains this exception, which may be one of a
            group; then it is no error.

    Raises:
        RuntimeError: it raised an exception that ends tasks or programs, and did not fail.
    """
    try:
        await call
    except asyncio.CancelledError as error:
        if cancelled():
            raise
        if not explained(error):
            raise RuntimeError(_stray(name)) from error
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(_leaving(name, error)) from error
    except BaseExceptionGroup as group:
        _heed_group(name, group, explained)
    except Exception as error:
        if not explained(error):
            raise


def _heed_group(
    name: str, group: BaseExceptionGroup[Any], explained: Callable[[BaseException], bool]
) -> None:
    """Raise the rest of a group, however it is nested: the errors that are not explained.

    A task group ends all its tasks when one of them ends badly. So an exception that comes of the
    campaign's end is often in a group, alone or beside a genuine error.
    """
    left = group.split(lambda error: _is_leaf(error) and explained(error))[1]
    if left is None:
        return
    for error in leaves(left):
        if isinstance(error, (SystemExit, KeyboardInterrupt)):
            raise RuntimeError(_leaving(name, error)) from group
    genuine = left.split(asyncio.CancelledError)[1]
    if genuine is None:
        raise RuntimeError(_stray(name)) from group
    if genuine is group:
        raise group
    raise genuine from None


def _is_leaf(error: BaseException) -> bool:
    return not isinstance(error, BaseExceptionGroup)


def _stray(name: str) -> str:
    return (
        f"{name} was ended by a CancelledError that was not meant for it: it awaited something "
        "that other code had cancelled; catch asyncio.CancelledError there"
    )


def _leaving(name: str, error: BaseException) -> str:
    return f"{name} raised {error!r}; an agent ends its campaign with self.stop()"
