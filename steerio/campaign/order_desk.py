"""The orders to one campaign: checked, carried out between two steps of its agents, and told of.

Theory. An order arrives as a message does, on the campaign's loop, so no agent runs meanwhile. It
is *prepared*: checked as far as that can be done without an effect, which is all of a dry run. Then
the journal has it, if it is to hold in later incarnations; then it takes effect, is announced by an
event, and answered. A repeated order, by the id of its giver, is the same order. The role of its
giver decides whether it is carried out, put as a question, or refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from steerio.campaign.asked_questions import KnownQuestion, Questions
from steerio.campaign.budgets import OrderRate
from steerio.campaign.campaign_view import view_of
from steerio.campaign.order_subjects import Subjects
from steerio.campaign.prepared_orders import Concludes, OrderedRun, PreparedOrder
from steerio.campaign.preparing import OrderPreparer, check_role
from steerio.campaign.proposals import Ends, Notes, Proposals, check_approval
from steerio.campaign.steered_past import SteeredPast
from steerio.campaign.steered_state import SteeredState as SteeredState
from steerio.client.campaign_line import Answers
from steerio.edge.record.entries import Steered
from steerio.errors import SteerioError, UsageError
from steerio.model import campaign_orders as co
from steerio.model.bounds import REASON_CHARACTERS, cut
from steerio.model.events import Answered, Asked, Ordered, ParameterChanged, QuestionClosed
from steerio.model.results import Result
from steerio.model.roles import includes
from steerio.session.task import Task

KEPT_ORDERS = 1_000
"""Orders whose answers are remembered, for their repetitions."""


class OrderDesk:
    """Carries out the orders to one campaign.

    Args:
        run: the campaign's run.
    """

    def __init__(self, run: OrderedRun) -> None:
        self.questions = Questions(self)
        self._run = run
        self._line = run.session.client.campaign
        self._name = type(run.campaign).__name__
        self._subjects = Subjects(self._line)
        self._preparer = preparer = OrderPreparer(run, self._subjects)
        self._proposals = Proposals(self, self.questions)
        self._rate = OrderRate()
        """The orders of those that may only propose."""
        self._past = SteeredPast(self, preparer.agents, preparer.tasks)
        self._answers: dict[tuple[str, str], co.OrderAnswer | list[Answers]] = {}
        """The answers to orders, or those who wait for them, by giver and id."""
        self._recent: deque[tuple[str, str]] = deque()

    def __repr__(self) -> str:
        return f"<OrderDesk of {self._name}: {len(self._recent)} orders>"

    def open(self) -> None:
        """Take orders from now on."""
        self._line.take(self._carry)

    def close(self) -> None:
        """Take none any more, and end open questions: tasks of asyncio may still wait for them."""
        reason = self._run.stopping or "it is over"
        self.questions.end(reason)
        self._proposals.end(reason)
        self._preparer.pools.close()
        self._line.take(None)

    # -- taking orders in ------------------------------------------------------------------------

    def _carry(self, given: co.GivenOrder, at_event: int, answers: Answers) -> None:
        if isinstance(given.order, co.Look):
            answers(co.OrderAnswer(True, "", self.view(at_event)))
            return
        proposes = not includes(given.role, "steer")
        if proposes and (busy := self._rate.refusal(given.by, self.now)):
            answers(co.OrderAnswer(False, busy))  # and no event, or these would fill the record
            return
        key = given.by, given.id
        counts = bool(given.id) and not given.dry_run  # a try is not the order itself
        known = self._answers.get(key) if counts else None
        if isinstance(known, co.OrderAnswer):
            answers(known)
            return
        if known is not None:
            known.append(answers)
            return
        waiting = [answers]
        if counts:
            self._remember(key, waiting)

        def ends(answer: co.OrderAnswer) -> None:
            if counts and self._answers.get(key) is waiting:
                self._answers[key] = answer
            for each in waiting:
                each(answer)

        self.redo_rest()
        self._take_in(given, ends)

    def _take_in(self, given: co.GivenOrder, ends: Ends) -> None:
        """Carry an order out, put it as a question, or refuse it, and say so by ``ends``."""

        def told(done: bool, words: str) -> None:
            answer = co.OrderAnswer(done, cut(words, REASON_CHARACTERS))
            self._tell_order(given, answer)
            ends(answer)

        proposes = not includes(given.role, "steer")
        try:
            check_role(given)
            prepared = self.prepared(given)
            if given.dry_run:
                told(True, f"would be proposed: {prepared.would}" if proposes else prepared.would)
            elif prepared.is_so:
                told(True, prepared.would)
            elif not proposes:
                self.carry_out(
                    given, prepared, self._note_plain, self._tells(given, prepared, ends)
                )
            elif self.refuses:
                told(False, f"nothing can be proposed, as the campaign ends: {self.refuses}")
            else:
                self._proposals.put(given, prepared.would, ends)
        except (SteerioError, TypeError) as error:
            told(False, str(error))

    def _tells(self, given: co.GivenOrder, prepared: PreparedOrder, ends: Ends) -> Ends:
        def told(answer: co.OrderAnswer) -> None:
            tells = prepared.tells and answer.done
            self._tell_order(given, answer, prepared.subjects if tells else ())
            ends(answer)

        return told

    def prepared(self, given: co.GivenOrder) -> PreparedOrder:
        """Return an order that can be carried out.

        Raises:
            SteerioError, TypeError: it cannot be.
        """
        order = given.order
        if isinstance(order, co.Answer):
            prepared = self._answer(order, given)
        else:
            prepared = self._preparer.prepared(order, given)
        self._subjects.check(prepared.subjects, given)
        return prepared

    def carry_out(
        self, given: co.GivenOrder, prepared: PreparedOrder, note: Notes, ends: Ends
    ) -> None:
        """Carry an order out once it is noted, and say by ``ends`` how it ended."""
        prepared.accepted()
        before = self._subjects.begin(prepared.subjects)

        def done(
            words: str,
            *,
            refused: bool = False,
            unchanged: bool = False,
            tasks: tuple[int, ...] = (),
        ) -> None:
            if refused or unchanged:
                self._subjects.undo(before)
            ends(co.OrderAnswer(not refused, cut(words, REASON_CHARACTERS), tasks=tasks))

        def written() -> None:
            try:
                prepared.carry_out(done)
            except (SteerioError, TypeError) as error:
                done(str(error), refused=True)

        note(prepared.journal, written)

    def _note_plain(self, what: Steered | None, then: Callable[[], None]) -> None:
        if what is None:
            then()
        else:
            self._run.note(what, then)

    def _answer(self, order: co.Answer, given: co.GivenOrder) -> PreparedOrder:
        number, refusal = self.questions.refusal(order.question, order.choice)
        if refusal:
            raise UsageError(refusal)
        asked = self.questions.open[number].asked
        check_approval(asked, order.choice, given.by)
        subject = f"question {number}"
        words = f"question {number} ({asked.text}) {order.choice!r}"

        def carry_out(done: Concludes) -> None:
            if asked.order is not None:
                self._proposals.decide(
                    number,
                    order.choice,
                    given,
                    lambda answer: done(answer.words, refused=not answer.done, tasks=answer.tasks),
                )
                return
            about = (number, order.choice, given.by, given.reason, given.id)
            self.questions.answer(*about, lambda: done(f"answered {words}"))

        return PreparedOrder(f"would answer {words}", carry_out, None, (subject,), tells=False)

    def _remember(self, key: tuple[str, str], answer: co.OrderAnswer | list[Answers]) -> None:
        self._answers[key] = answer
        self._recent.append(key)
        if len(self._recent) > KEPT_ORDERS:
            self._answers.pop(self._recent.popleft(), None)

    # -- events ----------------------------------------------------------------------------------

    def tell(self, event: Asked | Answered | QuestionClosed) -> None:
        """Announce that a question was asked, answered, or closed."""
        self._subjects.announce(event, f"question {event.question}")

    def note(self, what: Any, then: Callable[[], None]) -> None:
        """Write into the journal, and call ``then`` when that is done."""
        self._run.note(what, then)

    @property
    def refuses(self) -> str:
        """Why no question can be asked any more; empty: it can."""
        return self._run.refuses

    @property
    def now(self) -> float:
        """The time, in Unix seconds."""
        return self._run.session.clock()

    @property
    def is_kept(self) -> bool:
        """Whether the run has a journal."""
        return self._run.is_kept

    def assigned(self, name: str, old: co.Plain, new: co.Plain, by: str) -> None:
        """Take in that the campaign itself has given a parameter another value."""
        event = ParameterChanged(0, 0.0, name, old, new, by)
        self._subjects.announce(event, f"parameter {name}")

    def pool_changed(self, pool: str, number: int) -> None:
        """Take in an event that tells of a pool, by whose order ever."""
        self._subjects.changed(f"pool {pool}", number)

    def task_ended(self, task: Task[Any], result: Result) -> None:
        """Take in the result of a task that has tags."""
        self._preparer.tasks.ended(task, result)

    def decided(
        self,
        given: co.GivenOrder,
        answer: co.OrderAnswer,
        approved_by: str,
        subjects: Iterable[str],
    ) -> None:
        """Take in how a proposal ended: announce it, and answer its repetitions so."""
        self.remember(given.by, given.id, answer)
        self._tell_order(given, answer, subjects, approved_by)

    def _tell_order(
        self,
        given: co.GivenOrder,
        answer: co.OrderAnswer,
        subjects: Iterable[str] = (),
        approved_by: str = "",
    ) -> None:
        event = Ordered(
            0,
            0.0,
            cut(co.order_in_words(given.order), REASON_CHARACTERS),
            answer.words,
            answer.done,
            given.by,
            given.reason,
            given.id,
            given.dry_run,
            question=answer.question,
            approved_by=approved_by,
        )
        self._subjects.announce(event, *subjects)

    def carried_out(self, order: str, outcome: str, by: str) -> None:
        """Announce an order that was carried out elsewhere: a statement of an attached prompt."""
        self._line.announce(Ordered(0, 0.0, cut(order, REASON_CHARACTERS), outcome, True, by))

    # -- the state -------------------------------------------------------------------------------

    def stops(self, reason: str) -> None:
        """End open questions, and make the calls of paused agents: the campaign ends."""
        self.questions.end(reason)
        self._proposals.end(reason)
        paused = [each for each in self._run.dealing.calls if each.paused]
        self._preparer.agents.hold(paused, pauses=False)

    def view(self, at_event: int) -> co.CampaignView:
        """Return the campaign at a glance."""
        questions = self.questions.views(asyncio.get_running_loop().time())
        return view_of(self._run, questions, max(at_event, self._subjects.newest))

    def remember(self, by: str, id: str, answer: co.OrderAnswer) -> None:
        """Have an order answered so from now on, if it is repeated."""
        key = by, id
        if not id:
            return
        if key in self._answers:
            self._answers[key] = answer
        else:
            self._remember(key, answer)

    def propose_again(self, known: Iterable[KnownQuestion]) -> None:
        """Open proposals of an earlier incarnation again."""
        for asked in self._proposals.restore(known):
            if asked.order is not None:
                words = f"proposed as question {asked.question}"
                answer = co.OrderAnswer(False, words, question=asked.question)
                self.remember(asked.order.by, asked.order.id, answer)

    def state(self) -> SteeredState:
        """Return the part of a snapshot that orders have made."""
        return self._past.state(self._run)

    def restore(self, state: SteeredState, after: list[tuple[int, Steered]]) -> None:
        """Go on where an earlier incarnation was.

        Args:
            state: of the snapshot; empty, if there is none.
            after: all that the journal has behind it, each with the number of results before it.

        Raises:
            UsageError: a parameter may not have its value any more.
        """
        self._past.restore(self._run, state, after)

    def result_told(self, *, replayed: bool) -> None:
        """Take in a result: orders that came after it in an earlier incarnation are repeated."""
        self._past.result_told(replayed=replayed)

    def redo_rest(self) -> None:
        """Repeat all orders of earlier incarnations now: something new happens."""
        self._past.redo_rest()

    @property
    def submits_again(self) -> bool:
        """Whether ordered tasks of earlier incarnations are still to be submitted."""
        return self._past.has_tasks

    def submit_again(self) -> None:
        """Submit them now, as no more results are told without them."""
        self._past.redo_tasks()
