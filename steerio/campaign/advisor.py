"""Advisors: functions that a campaign asks for its next step, each with a limit and a fallback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from msgspec import Struct

from steerio.errors import UsageError
from steerio.model.advice import read_answer
from steerio.model.bounds import named, seconds
from steerio.model.showing import short

C = TypeVar("C", bound=Struct)

TIMEOUT_S = 30.0
"""Seconds that a campaign waits for an advisor, unless it says otherwise."""


class Advisor:
    """A function that a campaign asks for its next step, and the rule to follow without an answer.

    The function is ``async def advise(view, choices)``: it is given a copy of the view and the type
    of the choices, and returns one of that type, a dict, or a text with a JSON object in it, such
    as a language model's. It may be slow, fail or answer nonsense: ``fallback`` is followed then.

    Args:
        advise: the function.
        fallback: ``def rule(view)``, which returns a choice at once; or one choice for all.
        timeout_s: seconds from a question to its answer, with the wait for a turn.
        per_hour: most questions that are put to it in an hour; ``None``: any number.
        at_a_time: most questions that it has at a time; others wait for their turn.
        name: as events and the audit call it; by default that of the function.

    Raises:
        UsageError: it cannot be made so.
    """

    def __init__(
        self,
        advise: Callable[[Any, Any], Awaitable[object]],
        *,
        fallback: Callable[[Any], Struct] | Struct,
        timeout_s: float = TIMEOUT_S,
        per_hour: int | None = None,
        at_a_time: int = 1,
        name: str = "",
    ) -> None:
        if not callable(advise):
            raise UsageError(
                f"an advisor is made of async def advise(view, choices), not {short(advise)}"
            )
        if isinstance(fallback, type) or not (isinstance(fallback, Struct) or callable(fallback)):
            raise UsageError(
                "the fallback of an advisor is one of its choices, or def rule(view), which "
                f"returns one; not {short(fallback)}"
            )
        self.advise = advise
        self.fallback = fallback
        self.timeout_s = seconds(timeout_s, "timeout_s of an advisor")
        self.per_hour = None if per_hour is None else _positive(per_hour, "per_hour")
        self.at_a_time = _positive(at_a_time, "at_a_time")
        self.name = named(name or _name_of(advise), "name of an advisor")

    def __repr__(self) -> str:
        return f"<Advisor {self.name}>"

    def fallen_back(self, view: Struct, choices: type[C]) -> C:
        """Return the choice that is made without an answer.

        Raises:
            UsageError: the fallback is none of the choices.
        """
        fallback = self.fallback
        made = fallback if isinstance(fallback, Struct) else fallback(view)
        read = read_answer(made, choices) if isinstance(made, choices) else None
        if read is None or read.value is None or read.clipped:
            because = "" if read is None else f": {read.wrong or read.clipped[0]}"
            raise UsageError(
                f"the fallback of advisor {self.name} is {short(made)}, which is no "
                f"{choices.__name__} within its limits{because}"
            )
        return cast("C", made)


def _positive(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{what} of an advisor is a whole number from 1, not {short(value)}")
    return value


def _name_of(advise: object) -> str:
    return str(getattr(advise, "__name__", "") or type(advise).__name__)
