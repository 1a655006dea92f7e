"""The questions of a campaign's agents: asked under a number, answered once.

Theory. Question and answer are in the journal before anything is done with them. A resumed campaign
asks again, as its handlers run again: a question that is equal to one that was asked before gets
its number, and its answer if it had one, each once and in order, as calls get recorded results.
A proposal is a question that no agent waits for: its order is carried out when it is approved.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from steerio.edge.record.entries import Decided
from steerio.errors import NotAnswered, UsageError
from steerio.model.bounds import NAME_CHARACTERS, REASON_CHARACTERS, cut, named, seconds
from steerio.model.campaign_orders import QuestionView
from steerio.model.events import Answered, Asked, QuestionClosed
from steerio.model.showing import short

MOST_OPTIONS = 100
"""Most options of a question."""
KEPT_ANSWERS = 1_000
"""Ends of questions that are remembered for those who answer again."""


class KnownQuestion(Struct):
    """A question of an earlier incarnation that was not asked again yet, and its answer if any."""

    asked: Asked
    choice: str | None = None


class OpenQuestion(Struct, eq=False):
    """A question that waits for its answer.

    Attributes:
        asked: as it is announced.
        answer: its answer; ``None``: no agent waits for it, as it is a proposal.
        until: when the default is taken, by the loop's clock.
        accepted: whether it has one, which is about to be told.
        closed: whether it was told that it will have none.
        keeps: whether a call of an agent waits for it, so that no snapshot can be taken meanwhile.
    """

    asked: Asked
    answer: asyncio.Future[str] | None
    until: float | None = None
    accepted: bool = False
    closed: bool = False
    keeps: bool = False


class QuestionedRun(Protocol):
    """A campaign's run, as seen by its questions."""

    @property
    def refuses(self) -> str:
        """Why no question can be asked any more; empty: it can."""
        ...

    def note(self, what: Any, then: Callable[[], None]) -> None:
        """Write into the journal, and call ``then`` when that is done."""
        ...

    def tell(self, event: Asked | Answered | QuestionClosed) -> None:
        """Announce an event."""
        ...


class Questions:
    """The questions of one run of a campaign.

    Args:
        notes: the run.
    """

    def __init__(self, notes: QuestionedRun) -> None:
        self.count = 0
        """The number of the last question."""
        self.known: list[KnownQuestion] = []
        self.open: dict[int, OpenQuestion] = {}
        self._notes = notes
        self._ends: dict[int, Answered | QuestionClosed] = {}
        self._order: deque[int] = deque()

    def __repr__(self) -> str:
        return f"<Questions: {len(self.open)} open, {self.count} asked>"

    async def ask(
        self,
        text: str,
        options: Sequence[str],
        timeout_s: float | None,
        default: str | None,
        by: str,
        *,
        keeps: bool = False,
    ) -> str:
        """Ask a question, and return its answer.

        Args:
            text: the question.
            options: the answers that it may have.
            timeout_s: seconds after which the default is taken.
            default: one of the options.
            by: the agent that asks.
            keeps: whether the agent's own call waits for it.

        Raises:
            UsageError: the question cannot be asked like that.
            NotAnswered: the campaign ends.
        """
        asked = _checked(text, options, timeout_s, default, by)
        if refused := self._notes.refuses:
            raise NotAnswered(text, refused)
        known = self._claimed(asked)
        if known is not None and known.choice is not None:
            return known.choice
        number = known.asked.question if known is not None else self.count + 1
        self.count = max(self.count, number)
        asked = Asked(0, 0.0, number, asked.text, asked.options, by, asked.timeout_s, asked.default)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        question = OpenQuestion(asked, answer, keeps=keeps)
        self.open[number] = question
        if known is None:
            self._notes.note(asked, _nothing)
        self._notes.tell(asked)
        timer: asyncio.TimerHandle | None = None
        if asked.timeout_s is not None:
            question.until = loop.time() + asked.timeout_s
            timer = loop.call_at(question.until, self._time_is_up, asked)
        try:
            return await answer
        except asyncio.CancelledError:
            self._close(question)
            raise
        finally:
            self.open.pop(number, None)
            if timer is not None:
                timer.cancel()

    def refusal(self, number: int, choice: str) -> tuple[int, str]:
        """Return the question that an answer is for, and why it cannot be given, or nothing."""
        if not number and len(self.open) == 1:
            (number,) = self.open
        question = self.open.get(number)
        if not number or question is None:
            return number, self._not_open(number)
        if question.accepted or question.closed:
            return number, self._not_open(number)
        if choice not in question.asked.options:
            options = ", ".join(repr(each) for each in question.asked.options)
            return number, f"{short(choice)} is no answer to question {number}: say {options}"
        return number, ""

    def put(self, asked: Asked) -> None:
        """Open a proposal, which no agent waits for."""
        self.count = max(self.count, asked.question)
        self.open[asked.question] = OpenQuestion(asked, None)

    def proposals(self) -> list[Asked]:
        """Return the proposals that are open, by number."""
        found = [each.asked for each in self.open.values() if each.asked.order is not None]
        return sorted(found, key=lambda asked: asked.question)

    def answer(
        self,
        number: int,
        choice: str,
        by: str,
        reason: str,
        order: str,
        then: Callable[[], None],
        entry: Decided | None = None,
    ) -> None:
        """Answer an open question; ``then`` is called when its agent goes on.

        Args:
            number: of the question, which is open and has this option.
            choice: the answer.
            by: the person or program that answers.
            reason: why.
            order: the id of the order.
            then: called after.
            entry: for the journal; else the answer is.
        """
        question = self.open[number]
        question.accepted = True
        answered = Answered(0, 0.0, number, choice, by, reason, order)

        def written() -> None:
            self._remember(answered)
            self._notes.tell(answered)
            if question.answer is None:
                self.open.pop(number, None)
            elif not question.answer.done():
                question.answer.set_result(choice)
            then()

        self._notes.note(answered if entry is None else entry, written)

    def end(self, reason: str) -> None:
        """End all open questions of agents: they will not be answered.

        Args:
            reason: why the campaign ends.
        """
        for question in self.open.values():
            if question.answer is not None and not question.answer.done():
                error = NotAnswered(question.asked.text, reason)
                question.answer.set_exception(error)
                self._close(question, reason)

    def views(self, now: float) -> list[QuestionView]:
        """Return the open questions, by number."""
        return [
            QuestionView(
                number,
                each.asked.text,
                each.asked.options,
                each.asked.by,
                None if each.until is None else max(0.0, each.until - now),
                each.asked.default,
                each.asked.order,
            )
            for number, each in sorted(self.open.items())
            if not (each.accepted or each.closed)
        ]

    def keep_off(self, seconds: float) -> str:
        """Return why no snapshot can be taken for so long, as an agent waits; empty: none does."""
        until = asyncio.get_running_loop().time() + seconds
        for number, each in self.open.items():
            waits = each.keeps and not (each.accepted or each.closed)
            if waits and (each.until is None or each.until > until):
                return (
                    f"{each.asked.by} waits for the answer to question {number}, and could not go "
                    "on from there after a resume"
                )
        return ""

    def left(self) -> list[KnownQuestion]:
        """Return those that a later incarnation has to know: open ones, and not asked again."""
        open_now = [KnownQuestion(each.asked) for each in self.open.values()]
        return sorted([*self.known, *open_now], key=lambda each: each.asked.question)

    def _claimed(self, asked: Asked) -> KnownQuestion | None:
        """Take out the first known question that is equal, if there is one."""
        for at, known in enumerate(self.known):
            if (known.asked.text, known.asked.options) == (asked.text, asked.options):
                return self.known.pop(at)
        return None

    def _time_is_up(self, asked: Asked) -> None:
        question = self.open.get(asked.question)
        if question is not None and not question.accepted and asked.default is not None:
            reason = f"no answer within {asked.timeout_s:g} s"
            self.answer(asked.question, asked.default, "", reason, "", _nothing)

    def _close(self, question: OpenQuestion, reason: str = "") -> None:
        """Tell that a question is open no more, unless it has an answer, or this was told."""
        if question.accepted or question.closed:
            return
        question.closed = True
        asked = question.asked
        reason = reason or self._notes.refuses or f"given up by {asked.by}"
        told = QuestionClosed(0, 0.0, asked.question, asked.by, cut(reason, REASON_CHARACTERS))
        self._remember(told)
        self._notes.tell(told)

    def _remember(self, end: Answered | QuestionClosed) -> None:
        if end.question not in self._ends:  # one that was closed may be asked and answered again
            self._order.append(end.question)
        self._ends[end.question] = end
        if len(self._order) > KEPT_ANSWERS:
            del self._ends[self._order.popleft()]

    def _not_open(self, number: int) -> str:
        answered = self._ends.get(number)
        if isinstance(answered, QuestionClosed):
            return f"question {number} was closed without an answer: {answered.reason}"
        if answered is not None:
            by = f"by {answered.by}" if answered.by else f"as there was {answered.reason}"
            return f"question {number} was answered {answered.choice!r} already, {by}"
        if number in self.open:
            return f"question {number} has an answer, which is just being written"
        there = ", ".join(str(each) for each in sorted(self.open)) or "none"
        if not number:
            return f"say which question (open are: {there})"
        return f"no question {number} is open (open are: {there})"


def _checked(
    text: str, options: Sequence[str], timeout_s: float | None, default: str | None, by: str
) -> Asked:
    """Return a question without a number.

    Raises:
        UsageError: it cannot be asked like that.
    """
    is_text = isinstance(text, str)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not is_text or not 0 < len(text) <= REASON_CHARACTERS:
        raise UsageError(
            f"approve asks a question in 1 to {REASON_CHARACTERS} characters, not {short(text)}"
        )
    if isinstance(options, str):
        raise UsageError(f"options are several texts, as in ('yes', 'no'), not {short(options)}")
    several = tuple(named(each, "an option of a question") for each in options)
    if not 0 < len(set(several)) == len(several) <= MOST_OPTIONS:
        raise UsageError(
            f"a question has 1 to {MOST_OPTIONS} options, each of at most {NAME_CHARACTERS} "
            f"characters and no two the same, not {short(options)}"
        )
    if default is not None and default not in several:
        raise UsageError(f"default={short(default)} is none of the options {short(several)}")
    if timeout_s is not None:
        timeout_s = seconds(timeout_s, "timeout_s")
        if default is None:
            raise UsageError("timeout_s goes with default: the answer that is taken then")
    return Asked(0, 0.0, 0, text, several, by, timeout_s, default)


def _nothing() -> None:
    pass
