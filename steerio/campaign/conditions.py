"""The conditions that agents wait for: looked at whenever something has happened, and never polled.

Theory.  A condition is level-triggered: `Conditions.until` returns when it is true, and it is true
then.  It is a function of things that only code on the campaign's loop changes.  So it is looked at
after each thing that happens there: a result was dealt, an agent has gone on to its next wait or to
its end, an event, a change of a board, a pool or a parameter.  That thing often lets code go on
that is not seen, in a task of asyncio that an agent has started; so conditions are looked at in
each of the ``TURNS`` turns of the loop that follow.  One that was true only in between is missed.

An agent *rests* while it waits for a condition without a timeout: if all of a campaign rests, no
condition can come true any more, and the campaign has ended.  That is known only of code that the
campaign itself runs as an agent, and not of tasks of asyncio that an agent has started, unless they
wait for the answer of a person, a program or an advisor.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from steerio.errors import UsageError
from steerio.model.bounds import seconds
from steerio.model.showing import short
from steerio.session.current_agent import current_agent

log = logging.getLogger("steerio.campaign")

TURNS = 4
"""Turns of the loop after a happening in which conditions are looked at."""


class Resting(Protocol):
    """The calls of a method, as seen by its waits."""

    name: str
    resting: int
    """How many of its calls wait for a condition, for as long as it takes."""


class OpenWait(Struct, eq=False):
    """A wait for a condition.

    Attributes:
        condition: returns whether it is true.
        context: of the agent, in which it is called.
        woken: done when the agent should look again.
        where: the agent and the condition, in words.
        rests: the agent's calls, if it has nothing else to go on by.
    """

    condition: Callable[[], Any]
    context: contextvars.Context
    woken: asyncio.Future[None]
    where: str
    rests: Resting | None = None


class Conditions:
    """The conditions that the agents of one run wait for.

    Args:
        look_if_quiet: called when the campaign may have ended, since an agent rests.
    """

    def __init__(self, look_if_quiet: Callable[[], None]) -> None:
        self.used = False
        """Whether an agent has waited for one, so that the steps of agents count."""
        self.own_tasks: dict[asyncio.Task[Any] | None, Resting] = {}
        """The tasks of asyncio in which the campaign runs agents, and whose calls they make."""
        self._look_if_quiet = look_if_quiet
        self._open: dict[OpenWait, None] = {}
        self._turns = 0

    def __repr__(self) -> str:
        return f"<Conditions: {len(self._open)} waits>"

    @property
    def settling(self) -> bool:
        """Whether conditions are still to be looked at, as something has happened."""
        return self._turns > 0

    def happens(self) -> None:
        """Take in that something has happened that may have made a condition true."""
        if self._open:
            if not self._turns:
                asyncio.get_running_loop().call_soon(self._turn)
            self._turns = TURNS

    def look(self) -> bool:
        """Look at all conditions now; return whether an agent goes on."""
        goes_on = False
        for wait in list(self._open):
            if wait.woken.done():
                goes_on = True
            elif _seems_true(wait):
                _wake(wait)
                goes_on = True
        return goes_on

    def names(self) -> str:
        """Return the waits that rest, in words."""
        return ", ".join(wait.where for wait in self._open if wait.rests is not None)

    async def until(self, condition: Callable[[], Any], timeout_s: float | None) -> bool:
        """Wait until a condition is true, or for so many seconds; return whether it is.

        Raises:
            UsageError: it is no condition.
        """
        where = _checked(condition)
        loop = asyncio.get_running_loop()
        until = None
        if timeout_s is not None:
            until = loop.time() + seconds(timeout_s, "timeout_s", or_zero=True)
        self.used = True
        is_true = _holds(condition, where)
        if is_true:
            await asyncio.sleep(0)  # others go on, even beside a loop that waits for nothing new
            is_true = _holds(condition, where)
        while not is_true and (until is None or loop.time() < until):
            await self._wait(condition, until, where)
            is_true = _holds(condition, where)
        return is_true

    async def _wait(self, condition: Callable[[], Any], until: float | None, where: str) -> None:
        """Wait until a condition seems true."""
        loop = asyncio.get_running_loop()
        wait = OpenWait(condition, contextvars.copy_context(), loop.create_future(), where)
        timer: asyncio.TimerHandle | None = None
        if until is not None:
            timer = loop.call_at(until, _wake, wait)
        else:
            wait.rests = self.own_tasks.get(asyncio.current_task())
        self._open[wait] = None
        if wait.rests is not None:
            wait.rests.resting += 1
            loop.call_soon(self._look_if_quiet)
        try:
            await wait.woken
        finally:
            del self._open[wait]
            _rest_ends(wait)
            if timer is not None:
                timer.cancel()

    def _turn(self) -> None:
        self._turns -= 1
        self.look()
        if self._open and self._turns > 0:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._turns = 0
            self._look_if_quiet()


def _seems_true(wait: OpenWait) -> bool:
    """Whether an agent should look: its condition is true, or raises, which it has to hear of."""
    try:
        return bool(wait.context.run(wait.condition))
    except Exception:  # noqa: BLE001 - the agent gets it
        return True


def _wake(wait: OpenWait) -> None:
    if not wait.woken.done():
        wait.woken.set_result(None)
        _rest_ends(wait)


def _rest_ends(wait: OpenWait) -> None:
    rested, wait.rests = wait.rests, None
    if rested is not None:
        rested.resting -= 1


def _holds(condition: Callable[[], Any], where: str) -> bool:
    """Return whether a condition is true; an error of it is noted to be one.

    Raises:
        UsageError: it is no condition.
    """
    try:
        value = condition()
        if not inspect.isawaitable(value):
            return bool(value)
    except Exception as error:
        error.add_note(f"raised by {where}, which self.until waits for")
        raise
    if inspect.iscoroutine(value):
        value.close()
    raise UsageError(f"{where} returned an awaitable, which is always true: it must be a function "
                     "that returns at once")  # fmt: skip


def _checked(condition: object) -> str:
    """Return a wait for a condition in words.

    Raises:
        UsageError: it is none.
    """
    if not callable(condition) or inspect.iscoroutinefunction(condition):
        raise UsageError(
            "until takes a plain function that is called again and again, as in "
            f"self.until(lambda: len(self.known) >= 8), not {short(condition)}"
        )
    code = getattr(condition, "__code__", None)
    place = f" ({code.co_filename.rpartition('/')[2]}:{code.co_firstlineno})" if code else ""
    name = getattr(condition, "__qualname__", type(condition).__name__)
    name = name.rpartition("<locals>.")[2]
    called = "a lambda" if name == "<lambda>" else name
    return f"the condition of {current_agent.get() or 'a program'}, {called}{place}"
