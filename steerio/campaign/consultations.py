"""The consultations of a campaign's advisors: each ends in time, with an answer or the fallback.

Theory. A question is put to its advisor in a task of its own, when the advisor has a turn for it.
The first of these ends it: the answer, its time limit, the end of the campaign. After the limit the
task is cancelled. The outcome is in the journal before its agent goes on; a resumed campaign that
consults again with an equal view gets it, each once and in their order, and asks no advisor.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import logging
from collections.abc import Callable
from typing import Protocol, TypeVar, cast

from msgspec import Struct

from steerio.campaign.advisor import Advisor
from steerio.campaign.advisor_turns import AdvisorOutcome, AdvisorQuestion, Kind, Turns
from steerio.errors import UsageError
from steerio.model.advice import (
    VIEW_CHARACTERS,
    Advice,
    as_json,
    check_choices,
    from_json,
    view_as_json,
)
from steerio.model.bounds import cut
from steerio.model.events import Advised
from steerio.model.showing import short

log = logging.getLogger("steerio.campaign")

C = TypeVar("C", bound=Struct)

SHOWN_VIEW_CHARACTERS = 1_000
"""Characters of a view that its event has."""


class ConsultingRun(Protocol):
    """A campaign's run, as seen by its consultations."""

    @property
    def refuses(self) -> str:
        """Why no question can be asked any more; empty: it can."""
        ...

    def note_advice(self, advised: Advised, then: Callable[[], None]) -> None:
        """Write into the journal, if there is one, and call ``then`` when that is done."""
        ...

    def announce(self, advised: Advised) -> None:
        """Announce an event."""
        ...


class Consultations:
    """The consultations of one run of a campaign.

    Args:
        run: the run.
    """

    def __init__(self, run: ConsultingRun) -> None:
        self.known: list[Advised] = []
        """Recorded outcomes that no call has asked for again."""
        self._run = run
        self._turns: dict[str, Turns] = {}
        self._open: dict[AdvisorQuestion, None] = {}

    def __repr__(self) -> str:
        return f"<Consultations: {len(self._open)} open, {len(self.known)} recorded>"

    async def consult(self, advisor: Advisor, view: Struct, choices: type[C], by: str) -> Advice[C]:
        """Ask an advisor, and return its answer, or the fallback's.

        Args:
            advisor: the advisor.
            view: shown to it.
            choices: the type of the answer.
            by: the agent that asks.

        Raises:
            UsageError: it cannot be asked so, or the fallback is none of the choices.
        """
        if not isinstance(advisor, Advisor):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"consult asks a steerio.Advisor(...), not {short(advisor)}")
        check_choices(choices)
        if isinstance(advisor.fallback, Struct):
            advisor.fallen_back(view, choices)  # an error now, not when the advisor fails first
        shown = view_as_json(view)
        digest = hashlib.blake2b(shown.encode(), digest_size=16).hexdigest()
        known = self._claimed(advisor, choices, digest, by)
        if known is not None:
            return known
        loop = asyncio.get_running_loop()
        began = loop.time()
        outcome = await self._outcome(advisor, view, shown, choices)
        self._warn(advisor, outcome)
        read = outcome.read
        answered = outcome.kind == "answer"
        value = cast("C", read.value) if answered else advisor.fallen_back(view, choices)
        advised = Advised(
            0,
            0.0,
            advisor=advisor.name,
            by=by,
            choices=choices.__name__,
            view=cut(shown, SHOWN_VIEW_CHARACTERS),
            digest=digest,
            answer=as_json(value),
            source="advisor" if answered else "fallback",
            reason=outcome.reason,
            clipped=read.clipped,
            seconds=loop.time() - began,
        )
        if outcome.kind != "ends":  # else it is asked again if the campaign is resumed
            await self._noted(advised)
        self._run.announce(advised)
        return _advice(advised, value)

    def end(self, reason: str) -> None:
        """End all open questions: the campaign ends."""
        for question in list(self._open):
            question.settle(AdvisorOutcome("ends", f"the campaign ends: {reason}"))

    @property
    def under_way(self) -> str:
        """A call that has not ended, in words: an advisor may not let itself be cancelled."""
        for turns in self._turns.values():
            for call in turns.calls:
                return f"the call of {call.get_name()}"
        return ""

    def close(self) -> None:
        """Cancel the calls that have not ended."""
        for turns in self._turns.values():
            for call in turns.calls:
                call.cancel()

    async def _outcome(
        self, advisor: Advisor, view: Struct, shown: str, choices: type[Struct]
    ) -> AdvisorOutcome:
        if refused := self._run.refuses:
            return AdvisorOutcome("ends", f"the campaign ends: {refused}")
        if len(shown) > VIEW_CHARACTERS:
            reason = f"the view has {len(shown)} characters, and may have {VIEW_CHARACTERS}"
            return AdvisorOutcome("long", reason)
        question = AdvisorQuestion(advisor, _copied(view), choices)
        loop = asyncio.get_running_loop()
        turns = self._turns.setdefault(advisor.name, Turns(loop))
        timer = loop.call_later(advisor.timeout_s, question.time_is_up)
        self._open[question] = None
        try:
            turns.take(question)
            return await question.outcome
        finally:
            timer.cancel()
            del self._open[question]
            turns.leave(question)

    async def _noted(self, advised: Advised) -> None:
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not written.done():
                written.set_result(None)

        self._run.note_advice(advised, done)
        await written

    def _claimed(
        self, advisor: Advisor, choices: type[C], digest: str, by: str
    ) -> Advice[C] | None:
        """Take out the first recorded outcome of an equal question, if there is one."""
        asked = advisor.name, choices.__name__, digest, by
        for at, known in enumerate(self.known):
            if (known.advisor, known.choices, known.digest, known.by) == asked:
                del self.known[at]
                value = from_json(known.answer, choices)
                return None if value is None else _advice(known, value, recorded=True)
        return None

    def _warn(self, advisor: Advisor, outcome: AdvisorOutcome) -> None:
        """Warn of a fallback, once of each kind."""
        if outcome.kind in ("answer", "ends"):
            return
        turns = self._turns.get(advisor.name)
        warned = turns.warned if turns is not None else set[Kind]()
        level = logging.DEBUG if outcome.kind in warned else logging.WARNING
        warned.add(outcome.kind)
        log.log(level, "the fallback of advisor %s is followed: %s", advisor.name, outcome.reason)


def _advice(advised: Advised, value: C, *, recorded: bool = False) -> Advice[C]:
    return Advice(
        value,
        advised.source,
        advised.reason,
        advised.clipped,
        advised.seconds,
        recorded,
    )


def _copied(view: Struct) -> Struct:
    """Return a copy of a view, which shares nothing with the campaign.

    Raises:
        UsageError: it cannot be copied.
    """
    try:
        return copy.deepcopy(view)
    except Exception as error:
        raise UsageError(
            f"{type(view).__qualname__} cannot be copied for an advisor: {error}"
        ) from error
