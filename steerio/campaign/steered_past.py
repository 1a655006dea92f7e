"""The orders, questions and proposals of earlier incarnations, which hold in this one.

Theory. Each was written into the journal behind as many results as were told before it. It is
repeated when as many have been replayed; all that are left are, when something new happens.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable
from math import inf
from typing import Protocol, assert_never

from steerio.campaign.agent_orders import AgentOrders
from steerio.campaign.asked_questions import KnownQuestion, Questions
from steerio.campaign.prepared_orders import OrderedRun
from steerio.campaign.steered_state import SteeredState
from steerio.campaign.steered_values import give_values, values_of
from steerio.campaign.task_orders import TaskOrders
from steerio.edge.record.entries import Decided, OrderedTask, Steered
from steerio.errors import SteerioError
from steerio.model import campaign_orders as co
from steerio.model.events import Answered, Asked

log = logging.getLogger("steerio.campaign")

Redone = co.SetParameter | co.PauseAgent | co.ResumeAgent | OrderedTask
"""The orders that are repeated."""


class PastHome(Protocol):
    """The desk, as seen by the orders of earlier incarnations."""

    questions: Questions

    def remember(self, by: str, id: str, answer: co.OrderAnswer) -> None:
        """Have an order answered so, if it is repeated."""
        ...

    def propose_again(self, known: Iterable[KnownQuestion]) -> None:
        """Open proposals again."""
        ...


class SteeredPast:
    """The orders of earlier incarnations of one campaign that are still to be repeated.

    Args:
        desk: takes the orders of this one.
        agents, tasks: carry orders out.
    """

    def __init__(self, desk: PastHome, agents: AgentOrders, tasks: TaskOrders) -> None:
        self._desk = desk
        self._agents = agents
        self._tasks = tasks
        self._again: deque[tuple[int, Redone]] = deque()
        """Each with the number of results told before it."""
        self._told = 0

    def __repr__(self) -> str:
        return f"<SteeredPast: {len(self._again)} to be repeated>"

    def state(self, run: OrderedRun) -> SteeredState:
        """Return the part of a snapshot that orders have made."""
        paused = {each.name for each in run.dealing.calls if each.paused is not None}
        questions, tasks = self._desk.questions, self._tasks
        return SteeredState(
            values_of(run.campaign),
            sorted(paused),
            questions.count,
            questions.left(),
            tasks.accounts.copied(),
            list(tasks.submitted),
        )

    def restore(
        self, run: OrderedRun, state: SteeredState, after: list[tuple[int, Steered]]
    ) -> None:
        """Go on where an earlier incarnation was; see `OrderDesk.restore`.

        Raises:
            UsageError: a parameter may not have its value any more.
        """
        give_values(run.campaign, state.parameters)
        paused = [each for each in run.dealing.calls if each.name in state.paused]
        self._agents.hold(paused, pauses=True)
        self._tasks.accounts.restore(state.accounts, run.session.clock())
        for by, id in state.submitted:
            self._tasks.submitted.append((by, id))
            self._submitted(by, id)
        questions = self._desk.questions
        questions.count = state.asked
        known = {each.asked.question: each for each in state.questions}
        for results, what in after:
            match what:
                case Asked():
                    known[what.question] = KnownQuestion(what)
                    questions.count = max(questions.count, what.question)
                case Answered(question=number, choice=choice):
                    if number in known:
                        known[number].choice = choice
                case Decided():
                    decided = known.pop(what.question, None)
                    self._decided(results, what, decided)
                case co.SetParameter() | co.PauseAgent() | co.ResumeAgent() | OrderedTask():
                    self._again.append((results, what))
                case _:
                    assert_never(what)
        questions.known = [each for each in known.values() if each.asked.order is None]
        self._redo(0)
        self._desk.propose_again(each for each in known.values() if each.asked.order is not None)

    def _decided(self, results: int, what: Decided, known: KnownQuestion | None) -> None:
        """Take in a proposal that was approved or denied."""
        given = None if known is None else known.asked.order
        if given is None:
            return
        words = "carried out" if what.carried_out else "not carried out"
        answer = co.OrderAnswer(
            what.carried_out,
            f"{words}, before the campaign was resumed",
            question=what.question,
        )
        self._desk.remember(given.by, given.id, answer)
        if not what.carried_out:
            return
        match given.order:
            case co.SetParameter() | co.PauseAgent() | co.ResumeAgent() as order:
                self._again.append((results, order))
            case co.SubmitTask() as order:
                entry = OrderedTask(order, given.by, given.id, what.at)
                self._again.append((results, entry))
            case _:
                pass  # it has no effect on later incarnations

    @property
    def has_tasks(self) -> bool:
        """Whether tasks are still to be submitted again."""
        return any(isinstance(what, OrderedTask) for _, what in self._again)

    def result_told(self, *, replayed: bool) -> None:
        """Take in a result: orders that came after it in an earlier incarnation are repeated."""
        if self._again:
            if replayed:
                self._told += 1
                self._redo(self._told)
            else:
                self.redo_rest()

    def redo_rest(self) -> None:
        """Repeat all orders of earlier incarnations now: something new happens."""
        self._redo(inf)

    def redo_tasks(self) -> None:
        """Submit all ordered tasks again now, as no more results are replayed without them."""
        tasks = [what for _, what in self._again if isinstance(what, OrderedTask)]
        self._again = deque(each for each in self._again if not isinstance(each[1], OrderedTask))
        for what in tasks:
            self._redo_one(what)

    def _redo(self, told: float) -> None:
        while self._again and self._again[0][0] <= told:
            self._redo_one(self._again.popleft()[1])

    def _redo_one(self, what: Redone) -> None:
        try:
            if isinstance(what, OrderedTask):
                number = self._tasks.redo(what)
                self._submitted(what.by, what.id, number)
            else:
                self._agents.redo(what)
        except (SteerioError, TypeError) as error:
            log.warning("an order of an earlier incarnation is not repeated: %s", error)

    def _submitted(self, by: str, id: str, number: int = 0) -> None:
        words = f"submitted task {number} again" if number else "its task was submitted"
        tasks = (number,) if number else ()
        answer = co.OrderAnswer(True, f"{words}, as the campaign was resumed", tasks=tasks)
        self._desk.remember(by, id, answer)
