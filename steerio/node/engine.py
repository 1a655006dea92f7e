"""An engine, as a node uses it: an executor of another program, which runs calls somewhere.

Its futures end on threads of that program; their ends are taken to the node's loop together.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

from steerio.model.bounds import REASON_CHARACTERS, cut
from steerio.worker.engine_call import Batch, run_call, say_ready

log = logging.getLogger("steerio.node")

PATIENCE_S = 30.0
"""How long slots wait for the engine's first answer; then tasks wait in its own queue."""
Submits = Callable[..., "Future[Any]"]
"""The ``submit`` of an executor."""
TellsEnd = Callable[[list[Batch] | None, str], None]
"""Is called with the words about a call's attempts, or with the reason why there are none."""


class EngineCall:
    """A call that an engine has, and the function that is told its end."""

    __slots__ = ("future", "tell", "withdrawn")

    def __init__(self, future: Future[Any], tell: TellsEnd) -> None:
        self.future = future
        self.tell = tell
        self.withdrawn = False

    def withdraw(self) -> bool:
        """Keep it from beginning; ``False``: it has begun, or the engine cannot say.

        Its end is not told then.
        """
        with contextlib.suppress(Exception):  # an engine may not be able to cancel at all
            self.withdrawn = self.future.cancel()
        return self.withdrawn


class Engine:
    """The executor of a node's slots, on that node's loop.

    Args:
        submit: of the executor.
        setup: all that its processes have to know, packed.
    """

    def __init__(self, submit: Submits, setup: bytes) -> None:
        self._submit = submit
        self._setup = setup
        self._loop = asyncio.get_running_loop()
        self._ended: deque[EngineCall] = deque()
        self._woken = False
        self._runs = False
        """Whether it has answered since it last failed."""
        self._waiting: list[Callable[[str], None]] = []
        """Those that wait for its answer."""
        self._patience: asyncio.TimerHandle | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<Engine {self._submit!r}: {'runs' if self._runs else 'has not answered'}>"

    def submit(self, batches: list[Batch], tell: TellsEnd) -> EngineCall:
        """Have a call run; its end is told on the loop.

        Raises:
            Exception: any that the executor raises, which takes no calls then.
        """
        return self._call(tell, run_call, batches)

    def when_ready(self, then: Callable[[str], None]) -> None:
        """Call ``then`` once tasks can be submitted: with ``""``, or the reason why they cannot.

        The engine is asked, unless it has answered since it last failed. Its first answer may take
        long, say if it waits for a batch job: then tasks may wait with it.
        """
        if self._runs:
            self._loop.call_soon(then, "")
            return
        self._waiting.append(then)
        if len(self._waiting) > 1:
            return
        try:
            self._call(self._answered, say_ready, os.urandom(8))
        except Exception as error:  # noqa: BLE001 - whatever the program raises
            self._loop.call_soon(self._answered, None, told(error))
            return
        self._patience = self._loop.call_later(PATIENCE_S, self._wait_no_more)

    def failed(self) -> None:
        """Take in that a call has ended without a word on its attempts."""
        self._runs = False

    def close(self) -> None:
        """Tell no end any more."""
        self._closed = True
        self._waiting.clear()
        if self._patience is not None:
            self._patience.cancel()

    def _call(
        self, tell: Callable[[Any, str], None], function: Callable[..., Any], given: Any
    ) -> EngineCall:
        future = self._submit(function, self._setup, given)
        call = EngineCall(future, tell)
        future.add_done_callback(lambda _: self._note_end(call))
        return call

    def _note_end(self, call: EngineCall) -> None:
        """Note, on any thread, that a call has ended."""
        self._ended.append(call)
        if not self._woken:
            self._woken = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._take_ends)

    def _take_ends(self) -> None:
        self._woken = False
        while self._ended:
            call = self._ended.popleft()
            if self._closed or call.withdrawn:
                continue
            try:
                value = call.future.result(0)
            except CancelledError:
                call.tell(None, "the engine cancelled its call")
            except Exception as error:  # noqa: BLE001 - whatever the program raises
                call.tell(None, told(error))
            else:
                call.tell(value, "")

    def _answered(self, reason: str | None, failure: str) -> None:
        """Take in the answer whether tasks can run there."""
        if self._patience is not None:
            self._patience.cancel()
        why = failure or reason or ""
        self._runs = not why
        if why and not self._waiting:  # slots have joined meanwhile
            log.warning("the engine runs no tasks: %s", why)
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(why)

    def _wait_no_more(self) -> None:
        log.warning(
            "the engine has run nothing for %g s (it may wait for a batch job): tasks wait with it",
            PATIENCE_S,
        )
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then("")


def told(error: BaseException) -> str:
    """Return an error of an engine in words."""
    return cut(f"{type(error).__name__}: {error}", REASON_CHARACTERS)
