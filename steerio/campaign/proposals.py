"""Proposals: orders of those that may not give them, each put as a question to others.

Theory. A proposal is checked as in a dry run, and then in the journal before its giver hears its
number. The entry of its approval stands for its order, too: whatever ends the process, a resumed
campaign finds the proposal open, or its order carried out, once. An approved order is checked anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from steerio.campaign.asked_questions import KnownQuestion, Questions
from steerio.campaign.prepared_orders import PreparedOrder
from steerio.edge.record.entries import Decided, Steered
from steerio.errors import SteerioError, UsageError
from steerio.model import campaign_orders as co
from steerio.model.bounds import REASON_CHARACTERS, cut
from steerio.model.events import Asked
from steerio.model.showing import counted

APPROVE, DENY = "approve", "deny"
MOST_OPEN = 20
"""Most open proposals of one giver."""
PROPOSAL_BYTES, OPEN_BYTES = 1 << 14, 1 << 19
"""Longest proposal, and all that are open: each look at the campaign shows them in full."""

Ends = Callable[[co.OrderAnswer], None]
Notes = Callable[[Steered | None, Callable[[], None]], None]


class ProposalsHome(Protocol):
    """The desk, as seen by its proposals."""

    def prepared(self, given: co.GivenOrder) -> PreparedOrder:
        """Return an order that can be carried out, or raise why not."""
        ...

    def carry_out(
        self, given: co.GivenOrder, prepared: PreparedOrder, note: Notes, ends: Ends
    ) -> None:
        """Carry an order out, once it is noted."""
        ...

    def decided(
        self,
        given: co.GivenOrder,
        answer: co.OrderAnswer,
        approved_by: str,
        subjects: Iterable[str],
    ) -> None:
        """Take in how a proposal ended, to announce it."""
        ...

    def note(self, what: Steered, then: Callable[[], None]) -> None:
        """Write into the journal, and call ``then`` when that is done."""
        ...

    def tell(self, event: Asked) -> None:
        """Announce a question."""
        ...

    @property
    def now(self) -> float:
        """The time, in Unix seconds."""
        ...

    @property
    def is_kept(self) -> bool:
        """Whether the run has a journal."""
        ...


class Proposals:
    """The proposals to one run of a campaign.

    Args:
        home: the desk.
        questions: those of the run, among which proposals are.
    """

    def __init__(self, home: ProposalsHome, questions: Questions) -> None:
        self._home = home
        self._questions = questions

    def __repr__(self) -> str:
        return f"<Proposals: {len(self._questions.proposals())} open>"

    def put(self, given: co.GivenOrder, would: str, ends: Ends) -> None:
        """Put an order as a question; ``ends`` is called with its number.

        Raises:
            UsageError: its giver has too many open.
        """
        questions = self._questions
        there = [each for each in questions.proposals() if each.by == given.by]
        if len(there) >= MOST_OPEN:
            raise UsageError(
                f"{counted(len(there), 'proposal')} of {given.by} are open, and there may be "
                f"{MOST_OPEN}: wait until some are decided"
            )
        number = questions.count + 1
        words = f"{given.by} proposes: {co.order_in_words(given.order, in_full=True)}"
        text = cut(words + (f" ({given.reason})" if given.reason else ""), REASON_CHARACTERS)
        asked = Asked(0, 0.0, number, text, (APPROVE, DENY), given.by, order=given)
        self._check_room(asked)
        questions.put(asked)

        def written() -> None:
            self._home.tell(asked)
            ends(co.OrderAnswer(False, f"proposed as question {number}: {would}", question=number))

        self._home.note(asked, written)

    def _check_room(self, asked: Asked) -> None:
        """Refuse a proposal for which looks at the campaign have no room.

        Raises:
            UsageError: it is too long, or there are too many.
        """
        length = _length(asked)
        if length > PROPOSAL_BYTES:
            raise UsageError(
                f"a proposal has at most {PROPOSAL_BYTES} bytes with its reason, as a person is to "
                f"read it, and this one has {length}"
            )
        if length + sum(map(_length, self._questions.proposals())) > OPEN_BYTES:
            raise UsageError(
                f"the open proposals have {OPEN_BYTES} bytes at most: wait until some are decided"
            )

    def decide(self, number: int, choice: str, given: co.GivenOrder, ends: Ends) -> None:
        """Approve or deny a proposal that is open; ``ends`` is called when that is done.

        Args:
            number: of its question.
            choice: whether to approve it.
            given: the order that answers it.
            ends: called with an answer to that.
        """
        proposal = self._questions.open[number].asked.order
        assert proposal is not None
        if choice == DENY:
            why = f"denied by {given.by}" + (f": {given.reason}" if given.reason else "")
            denied = co.OrderAnswer(True, f"denied question {number}")
            self._end_unchanged(number, choice, given, why, lambda: ends(denied))
            return
        try:
            prepared = self._home.prepared(proposal)
        except (SteerioError, TypeError) as error:
            words = f"approved by {given.by}, but it cannot be carried out any more: {error}"
            refused = co.OrderAnswer(False, f"question {number} was {words}")
            self._end_unchanged(number, choice, given, words, lambda: ends(refused))
            return

        def note(what: Steered | None, written: Callable[[], None]) -> None:
            del what  # the approval stands for it
            entry = Decided(number, not prepared.is_so, self._home.now)
            self._answer(number, choice, given, written, entry)

        def ended(answer: co.OrderAnswer) -> None:
            self._conclude(proposal, answer, number, given.by, prepared)
            did = "approved" if answer.done else "approved, but it was refused:"
            words = f"{did} question {number}: {answer.words}" if answer.done else (
                f"question {number} was {did} {answer.words}"
            )  # fmt: skip
            ends(co.OrderAnswer(answer.done, words, tasks=answer.tasks))

        self._home.carry_out(proposal, prepared, note, ended)

    def end(self, reason: str) -> None:
        """End all that are open: the campaign ends."""
        again = "; it is open again if the campaign is resumed" if self._home.is_kept else ""
        words = f"not decided, as the campaign ends: {reason}{again}"
        for asked in self._questions.proposals():
            if self._questions.open[asked.question].accepted:
                continue
            del self._questions.open[asked.question]
            assert asked.order is not None
            answer = co.OrderAnswer(False, words, question=asked.question)
            self._home.decided(asked.order, answer, "", ())

    def restore(self, known: Iterable[KnownQuestion]) -> list[Asked]:
        """Open the proposals of an earlier incarnation again, and return them."""
        for each in known:
            self._questions.put(each.asked)
            self._home.tell(each.asked)
        return self._questions.proposals()

    def _end_unchanged(
        self,
        number: int,
        choice: str,
        given: co.GivenOrder,
        words: str,
        then: Callable[[], None],
    ) -> None:
        """End a proposal whose order is not carried out."""
        proposal = self._questions.open[number].asked.order
        assert proposal is not None

        def written() -> None:
            answer = co.OrderAnswer(False, words)
            self._conclude(proposal, answer, number, given.by if choice == APPROVE else "", None)
            then()

        entry = Decided(number, carried_out=False, at=self._home.now)
        self._answer(number, choice, given, written, entry)

    def _answer(
        self,
        number: int,
        choice: str,
        given: co.GivenOrder,
        then: Callable[[], None],
        entry: Decided,
    ) -> None:
        about = (given.by, given.reason, given.id)
        self._questions.answer(number, choice, *about, then, entry)

    def _conclude(
        self,
        proposal: co.GivenOrder,
        answer: co.OrderAnswer,
        number: int,
        approved_by: str,
        prepared: PreparedOrder | None,
    ) -> None:
        told = co.OrderAnswer(answer.done, answer.words, None, number, answer.tasks)
        subjects = prepared.subjects if prepared is not None and prepared.tells else ()
        self._home.decided(proposal, told, approved_by, subjects if answer.done else ())


def check_approval(asked: Asked, choice: str, by: str) -> None:
    """Refuse that a giver approves its own proposal, which it may deny.

    Raises:
        UsageError: it does.
    """
    if asked.order is not None and choice == APPROVE and asked.order.by == by:
        raise UsageError(
            f"question {asked.question} is a proposal of {by}, so another giver has to approve it; "
            "one with the role 'steer' may give the order itself"
        )


def _length(asked: Asked) -> int:
    return len(msgspec.json.encode(asked))
