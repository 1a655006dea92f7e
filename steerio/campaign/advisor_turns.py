"""The turns of advisors: a few questions at a time, each in a task of its own, so many an hour.

An advisor keeps its turn until its call has really ended: one that does not let itself be cancelled
gets no more questions than it may have at a time.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import deque
from typing import Any, Literal

from msgspec import Struct

from steerio.campaign.advisor import Advisor
from steerio.model.advice import WRONG_CHARACTERS, ReadAnswer, read_answer
from steerio.model.showing import in_one_line

HOUR_S = 3600.0
MOST_WAITING = 100
"""Most questions that wait for their turn at one advisor."""

Kind = Literal["answer", "late", "wrong", "raised", "spent", "full", "long", "ends"]


class AdvisorOutcome(Struct, frozen=True):
    """The end of a question: an answer, or why there is none."""

    kind: Kind
    reason: str = ""
    read: ReadAnswer[Any] = ReadAnswer()


class Turns:
    """The turns of one advisor: the questions that it has, those that wait, and their hours.

    Args:
        loop: tells the time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.calls: dict[asyncio.Task[AdvisorOutcome], None] = {}
        self.waiting: deque[AdvisorQuestion] = deque()
        self.warned: set[Kind] = set()
        self._loop = loop
        self._asked_at: deque[float] = deque()

    def __repr__(self) -> str:
        return f"<Turns: {len(self.calls)} under way, {len(self.waiting)} waiting>"

    def take(self, question: AdvisorQuestion) -> None:
        """Put a question to its advisor, now or when it has a turn."""
        self.waiting.append(question)
        self.go_on()
        if len(self.waiting) > MOST_WAITING:
            self.waiting.pop().settle(
                AdvisorOutcome("full", f"{MOST_WAITING} questions wait for their turn")
            )

    def leave(self, question: AdvisorQuestion) -> None:
        """Take back a question that has ended, or whose agent was cancelled."""
        if question.call is not None:
            question.call.cancel()
        elif question in self.waiting:
            self.waiting.remove(question)

    def go_on(self) -> None:
        """Begin with questions that wait, as far as there are turns."""
        while self.waiting and len(self.calls) < self.waiting[0].advisor.at_a_time:
            question = self.waiting.popleft()
            if question.outcome.done():  # its agent is about to take it back
                continue
            spent = self._spent(question.advisor)
            if spent:
                question.settle(AdvisorOutcome("spent", spent))
            else:
                self._asked_at.append(self._loop.time())
                self._begin(question)

    def _begin(self, question: AdvisorQuestion) -> None:
        call = self._loop.create_task(
            _answer(question.advisor, question.view, question.choices),
            name=f"advisor {question.advisor.name}",
            context=question.context,
        )
        question.call = call
        self.calls[call] = None

        def over(call: asyncio.Task[AdvisorOutcome]) -> None:
            del self.calls[call]
            if call.cancelled():
                question.settle(AdvisorOutcome("raised", "it cancelled itself"))
            elif call.exception() is None:
                question.settle(call.result())
            self.go_on()

        call.add_done_callback(over)

    def _spent(self, advisor: Advisor) -> str:
        """Return why an advisor may be asked nothing more now; empty: it may."""
        now, asked = self._loop.time(), self._asked_at
        while asked and asked[0] <= now - HOUR_S:
            asked.popleft()
        if advisor.per_hour is None or len(asked) < advisor.per_hour:
            return ""
        left = asked[-advisor.per_hour] + HOUR_S - now
        return f"its {advisor.per_hour} questions an hour are spent; the next is in {left:.0f} s"


class AdvisorQuestion:
    """A question to an advisor, until it has ended.

    Attributes:
        advisor, view, choices: the question; the view is the advisor's own copy.
        outcome: its end.
        call: the task that asks it, once it has its turn.
        context: the context variables of the agent that asks.
    """

    def __init__(self, advisor: Advisor, view: Struct, choices: type[Struct]) -> None:
        self.advisor, self.view, self.choices = advisor, view, choices
        self.outcome: asyncio.Future[AdvisorOutcome] = asyncio.get_running_loop().create_future()
        self.call: asyncio.Task[AdvisorOutcome] | None = None
        self.context = contextvars.copy_context()

    def __repr__(self) -> str:
        return f"<Question to {self.advisor.name}>"

    def settle(self, outcome: AdvisorOutcome) -> None:
        """End it, if it has not ended yet."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def time_is_up(self) -> None:
        """End it, as its time limit is reached."""
        which = "answer" if self.call is not None else "turn"
        self.settle(AdvisorOutcome("late", f"no {which} within {self.advisor.timeout_s:g} s"))


async def _answer(advisor: Advisor, view: Struct, choices: type[Struct]) -> AdvisorOutcome:
    """Ask an advisor, and read its answer; raises nothing but its cancellation."""
    try:
        asked: object = advisor.advise(view, choices)
        if not inspect.isawaitable(asked):
            return AdvisorOutcome("wrong", "its function returned no awaitable: write async def")
        answer = await asked
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - an advisor never ends a campaign
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        return AdvisorOutcome("raised", in_one_line(said, WRONG_CHARACTERS))
    read = read_answer(answer, choices)
    if read.value is None:
        return AdvisorOutcome("wrong", f"its answer is none: {read.wrong}")
    return AdvisorOutcome("answer", read=read)
