"""The orders to one campaign: checked, carried out between two steps of its agents, and told of.

Theory. An order arrives as a message does, on the campaign's loop, so no agent runs meanwhile. If
it changes anything, the journal has it first; then it takes effect, is announced by an event, and
answered. A repeated order, by the id of its giver, is the same order. An order may say which event
it is based on: it is refused if the parameter, question or agent that it is about has changed
since; as long as the broker has not numbered a change, that counts as later than any event.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Protocol, assert_never

from msgspec import Struct

from steerio.campaign.asked_questions import KnownQuestion, Questions
from steerio.campaign.calls import Calls
from steerio.campaign.campaign import Campaign
from steerio.campaign.dealing import Dealing
from steerio.campaign.lasting_agents import LastingAgents
from steerio.campaign.steered_values import give_values, parameters_of, values_of
from steerio.client.campaign_line import Answers
from steerio.edge.record.entries import Steered
from steerio.errors import UsageError
from steerio.model import campaign_orders as co
from steerio.model.bounds import REASON_CHARACTERS, cut
from steerio.model.events import Announcement, Answered, Asked, Ordered, ParameterChanged
from steerio.session.session import Session

log = logging.getLogger("steerio.campaign")

KEPT_ORDERS = 1_000
"""Orders whose answers are remembered, for their repetitions."""
CHECKPOINT_S = 60.0
"""Longest wait of an order for its snapshot."""


class SteeredState(Struct):
    """The part of a snapshot that orders have made.

    Attributes:
        parameters: the values of all, by name.
        paused: the names of paused agents.
        asked: how many questions were asked.
        questions: those that a later incarnation may ask again.
    """

    parameters: dict[str, co.Plain] = {}
    paused: list[str] = []
    asked: int = 0
    questions: list[KnownQuestion] = []


class AskedSnapshots(Protocol):
    """The snapshots of one run, as seen by an order to take one."""

    def ask(self, told: Callable[[str], None]) -> None:
        """Take one as soon as possible; ``told`` is called with nothing, or why it was not."""
        ...


class OrderedRun(Protocol):
    """One run of a campaign, as seen by its orders."""

    campaign: Campaign
    session: Session
    dealing: Dealing
    agents: LastingAgents
    stopping: str

    @property
    def takes_snapshots(self) -> AskedSnapshots | None:
        """Its snapshots, if it has a journal."""
        ...

    @property
    def refuses(self) -> str:
        """Why no question can be asked any more; empty: it can."""
        ...

    def note(self, what: Steered, then: Callable[[], None]) -> None:
        """Write into the journal, if there is one, and call ``then`` when that is done."""
        ...

    def stop(self, *, cancel: bool, reason: str) -> None:
        """Begin to end."""
        ...

    def steered(self) -> None:
        """Take in that an order has changed something that an agent may decide by."""
        ...


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
        self._changed: dict[str, float] = {}
        """The numbers of the last events about parameters, questions and agents."""
        self._answers: dict[tuple[str, str], co.OrderAnswer | list[Answers]] = {}
        """The answers to orders, or those who wait for them, by giver and id."""
        self._recent: deque[tuple[str, str]] = deque()
        self._again: deque[tuple[int, Steered]] = deque()
        """Orders of an earlier incarnation, each with the number of results told before it."""
        self._told = 0

    def __repr__(self) -> str:
        return f"<OrderDesk of {self._name}: {len(self._recent)} orders>"

    def open(self) -> None:
        """Take orders from now on."""
        self._line.take(self._carry)

    def close(self) -> None:
        """Take none any more."""
        self._line.take(None)

    # -- carrying out ------------------------------------------------------------------------

    def _carry(self, given: co.GivenOrder, at_event: int, answers: Answers) -> None:
        if isinstance(given.order, co.Look):
            answers(co.OrderAnswer(True, "", self.view(at_event)))
            return
        key = given.by, given.id
        known = self._answers.get(key) if given.id else None
        if isinstance(known, co.OrderAnswer):
            answers(known)
            return
        if known is not None:
            known.append(answers)
            return
        waiting = [answers]
        if given.id:
            self._remember(key, waiting)

        def done(words: str, *, refused: bool = False) -> None:
            answer = co.OrderAnswer(not refused, cut(words, REASON_CHARACTERS))
            if given.id:
                self._answers[key] = answer
            self._announce_order(given, answer)
            for each in waiting:
                each(answer)

        self.redo_rest()
        try:
            self._carry_out(given, done)
        except UsageError as error:
            done(str(error), refused=True)

    def _carry_out(self, given: co.GivenOrder, done: Callable[..., None]) -> None:
        """Carry an order out, and say so by ``done``.

        Raises:
            UsageError: it cannot be.
        """
        match order := given.order:
            case co.SetParameter():
                self._set(order, given, done)
            case co.Answer():
                self._answer(order, given, done)
            case co.PauseAgent() | co.ResumeAgent():
                self._pause(order, given, done)
            case co.Checkpoint():
                self._checkpoint(given, done)
            case co.StopCampaign(cancel):
                self._stop(cancel, given, done)
            case (
                co.PausePools()
                | co.ResumePools()
                | co.MoveWorkers()
                | co.SubmitTask()
                | co.CancelTasks()
                | co.RankTasks()
            ):
                raise UsageError("not taken")
            case co.Look():
                pass  # it was answered
            case _:
                assert_never(order)

    def _set(self, order: co.SetParameter, given: co.GivenOrder, done: Callable[..., None]) -> None:
        campaign = self._run.campaign
        declared = parameters_of(type(campaign))
        if order.name not in declared:
            there = ", ".join(declared) or "none"
            raise UsageError(f"{self._name} has no parameter {order.name!r} (it has: {there})")
        new = declared[order.name].checked_text(campaign, order.value)
        self._check_based(f"parameter {order.name}", given)
        if given.dry_run:
            done(f"would set {order.name} from {getattr(campaign, order.name)!r} to {new!r}")
            return
        subject = f"parameter {order.name}"
        before = self._changed.get(subject, 0.0)
        self._changed[subject] = inf

        def written() -> None:
            old = getattr(campaign, order.name)
            vars(campaign)[order.name] = new
            if old == new:
                self._changed[subject] = before
                done(f"{order.name} is {new!r} already")
                return
            self._tell_changed(order.name, old, new, given)
            self._run.steered()
            done(f"{order.name} is {new!r} now, and was {old!r}")

        self._run.note(co.SetParameter(order.name, new), written)

    def _tell_changed(self, name: str, old: co.Plain, new: co.Plain, given: co.GivenOrder) -> None:
        event = ParameterChanged(0, 0.0, name, old, new, given.by, given.reason, given.id)
        self._announce(event, f"parameter {name}")

    def _answer(self, order: co.Answer, given: co.GivenOrder, done: Callable[..., None]) -> None:
        number, refusal = self.questions.refusal(order.question, order.choice)
        if refusal:
            raise UsageError(refusal)
        self._check_based(f"question {number}", given)
        text = self.questions.open[number].asked.text
        words = f"question {number} ({text}) {order.choice!r}"
        if given.dry_run:
            done(f"would answer {words}")
            return
        self.questions.answer(
            number,
            order.choice,
            given.by,
            given.reason,
            given.id,
            lambda: done(f"answered {words}"),
        )

    def _pause(
        self, order: co.PauseAgent | co.ResumeAgent, given: co.GivenOrder, done: Callable[..., None]
    ) -> None:
        calls = self._calls_of(order.agent)
        name, pauses = calls[0].name, isinstance(order, co.PauseAgent)
        self._check_based(f"agent {name}", given)
        word = "paused" if pauses else "resumed"
        queued = sum(each.pending for each in calls)
        if (calls[0].paused is not None) == pauses:
            done(f"{name} is {'paused' if pauses else 'not paused'} already")
        elif pauses and self._run.stopping:
            raise UsageError(f"{name} is not paused, as the campaign ends: {self._run.stopping}")
        elif given.dry_run:
            done(f"{name} would be {word}, with {queued} calls queued")
        else:
            self._changed[f"agent {name}"] = inf

            def written() -> None:
                self._hold(calls, pauses=pauses)
                done(f"{name} is {word}, with {queued} calls queued")

            self._run.note(type(order)(name), written)

    def _hold(self, calls: list[Calls], *, pauses: bool) -> None:
        for each in calls:
            if not pauses:
                each.resume()
            elif not self._run.stopping:  # else its calls would keep the campaign from its end
                each.pause()

    def _calls_of(self, agent: str) -> list[Calls]:
        """Return the calls of a triggered method.

        Raises:
            UsageError: there is none of that name, or it is called once.
        """
        names = agent, f"{self._name}.{agent}"
        found = [each for each in self._run.dealing.calls if each.name in names]
        if not found:
            there = ", ".join(dict.fromkeys(each.name for each in self._run.dealing.calls))
            raise UsageError(f"{self._name} has no agent {agent!r} (it has: {there or 'none'})")
        if found[0].trigger.kind == "agent":
            raise UsageError(
                f"{found[0].name} is an @agent, which is called once: only methods with other "
                "triggers are paused"
            )
        return found

    def _checkpoint(self, given: co.GivenOrder, done: Callable[..., None]) -> None:
        snapshots = self._run.takes_snapshots
        if snapshots is None:
            raise UsageError("this run has no journal, so no snapshot can be taken")
        if given.dry_run:
            done("would take a snapshot as soon as no call is under way")
            return
        over = False

        def told(reason: str) -> None:
            nonlocal over
            if not over:
                over = True
                timer.cancel()
                done(f"no snapshot was taken: {reason}" if reason else "a snapshot was taken",
                     refused=bool(reason))  # fmt: skip

        timer = asyncio.get_running_loop().call_later(
            CHECKPOINT_S,
            told,
            f"within {CHECKPOINT_S:g} s calls were under way all the time, or an @agent did not "
            "call checkpoint(); it is taken once it can be",
        )
        snapshots.ask(told)

    def _stop(self, cancel: bool, given: co.GivenOrder, done: Callable[..., None]) -> None:
        if self._run.stopping:
            done(f"it ends already: {self._run.stopping}")
        elif given.dry_run:
            done("would end" + (", and cancel running tasks" if cancel else ""))
        else:
            done("it ends")
            why = f"by {given.by}" + (f": {given.reason}" if given.reason else "")
            self._run.stop(cancel=cancel, reason=why)

    def _check_based(self, subject: str, given: co.GivenOrder) -> None:
        """Refuse an order whose subject has changed since the event that it is based on.

        Raises:
            UsageError: it has.
        """
        last = self._changed.get(subject, 0.0)
        if given.based_on is not None and last > given.based_on:
            when = "just now" if last == inf else f"at event {last:.0f}"
            raise UsageError(
                f"{subject} has changed since event {given.based_on}, {when}: look again"
            )

    def _remember(self, key: tuple[str, str], waiting: list[Answers]) -> None:
        self._answers[key] = waiting
        self._recent.append(key)
        if len(self._recent) > KEPT_ORDERS:
            self._answers.pop(self._recent.popleft(), None)

    # -- events ----------------------------------------------------------------------------------

    def tell(self, event: Asked | Answered) -> None:
        """Announce that a question was asked, or answered."""
        self._announce(event, f"question {event.question}")

    def note(self, what: Any, then: Callable[[], None]) -> None:
        """Write into the journal, and call ``then`` when that is done."""
        self._run.note(what, then)

    @property
    def refuses(self) -> str:
        """Why no question can be asked any more; empty: it can."""
        return self._run.refuses

    def assigned(self, name: str, old: co.Plain, new: co.Plain, by: str) -> None:
        """Take in that the campaign itself has given a parameter another value."""
        event = ParameterChanged(0, 0.0, name, old, new, by)
        self._announce(event, f"parameter {name}")

    def _announce(self, event: Announcement, subject: str) -> None:
        self._changed[subject] = inf

        def numbered(number: int) -> None:
            self._changed[subject] = number

        self._line.announce(event, numbered)

    def _announce_order(self, given: co.GivenOrder, answer: co.OrderAnswer) -> None:
        words = co.order_in_words(given.order)
        event = Ordered(
            0,
            0.0,
            words,
            answer.words,
            answer.done,
            given.by,
            given.reason,
            given.id,
            given.dry_run,
        )
        if isinstance(given.order, co.PauseAgent | co.ResumeAgent) and answer.done:
            name = self._calls_of(given.order.agent)[0].name
            if self._changed.get(f"agent {name}") == inf:
                self._announce(event, f"agent {name}")
                return
        self._line.announce(event)

    def carried_out(self, order: str, outcome: str, by: str) -> None:
        """Announce an order that was carried out elsewhere: a statement of an attached prompt."""
        self._line.announce(Ordered(0, 0.0, cut(order, REASON_CHARACTERS), outcome, True, by))

    # -- the state -------------------------------------------------------------------------------

    def stops(self, reason: str) -> None:
        """End open questions, and make the calls of paused agents: the campaign ends."""
        self.questions.end(reason)
        self._hold([each for each in self._run.dealing.calls if each.paused], pauses=False)

    def view(self, at_event: int) -> co.CampaignView:
        """Return the campaign at a glance."""
        campaign = self._run.campaign
        parameters = {
            name: co.ParameterView(
                getattr(campaign, name),
                each.default,
                each.limits.kind.__name__,
                str(each.limits),
                each.help,
            )
            for name, each in parameters_of(type(campaign)).items()
        }
        agents: dict[str, co.AgentView] = {}
        for calls in self._run.dealing.calls:
            name = calls.name.rpartition(".")[2]
            before = agents.get(name, co.AgentView("", 0, 0))
            agents[name] = co.AgentView(
                " ".join(filter(None, (before.trigger, calls.trigger.name))),
                before.queued + calls.pending,
                before.under_way + self._under_way(calls),
                calls.paused is not None,
            )
        numbered = [int(each) for each in self._changed.values() if each < inf]
        now = asyncio.get_running_loop().time()
        return co.CampaignView(
            self._name,
            parameters,
            self.questions.views(now),
            agents,
            self._run.stopping,
            max([at_event, *numbered]),
        )

    def _under_way(self, calls: Calls) -> int:
        if calls.trigger.kind == "agent":
            return int(calls.name not in self._run.agents.ended)
        return calls.busy

    def state(self) -> SteeredState:
        """Return the part of a snapshot that orders have made."""
        paused = {each.name for each in self._run.dealing.calls if each.paused is not None}
        questions = self.questions
        return SteeredState(
            values_of(self._run.campaign), sorted(paused), questions.count, questions.left()
        )

    def restore(self, state: SteeredState, after: list[tuple[int, Steered]]) -> None:
        """Go on where an earlier incarnation was.

        Args:
            state: of the snapshot; empty, if there is none.
            after: all that the journal has behind it, each with the number of results before it.

        Raises:
            UsageError: a parameter may not have its value any more.
        """
        give_values(self._run.campaign, state.parameters)
        paused = [each for each in self._run.dealing.calls if each.name in state.paused]
        self._hold(paused, pauses=True)
        questions = self.questions
        questions.count, questions.known = state.asked, list(state.questions)
        for results, what in after:
            match what:
                case Asked():
                    questions.known.append(KnownQuestion(what))
                    questions.count = max(questions.count, what.question)
                case Answered(question=number, choice=choice):
                    for known in questions.known:
                        if known.asked.question == number:
                            known.choice = choice
                case co.SetParameter() | co.PauseAgent() | co.ResumeAgent():
                    self._again.append((results, what))
                case _:
                    assert_never(what)
        self._redo(0)

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

    def _redo(self, told: float) -> None:
        while self._again and self._again[0][0] <= told:
            _, what = self._again.popleft()
            try:
                if isinstance(what, co.SetParameter):
                    give_values(self._run.campaign, {what.name: what.value})
                elif isinstance(what, co.PauseAgent | co.ResumeAgent):
                    pauses = isinstance(what, co.PauseAgent)
                    self._hold(self._calls_of(what.agent), pauses=pauses)
            except UsageError as error:
                log.warning("an order of an earlier incarnation is not repeated: %s", error)
