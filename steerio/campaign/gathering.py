"""The gathering of results and events into calls: which of them make a call, and when.

Theory.  Results come when they come, and a handler wants them in portions of its own: so many of
them (``every``), the newest alone (``latest``), those of a burst once that is over
(``debounce_s``), and none of them too late (``within_s``, from the first of a portion on, if at
least ``quorum`` are there by then).  `Gathering` is such a wish, checked when it is written;
`Gathered` is a portion on its way, and says by itself when it is due.  It is told the time.
"""

from __future__ import annotations

import math
import operator
from typing import Any, cast

from msgspec import Struct

from steerio.errors import UsageError
from steerio.model.bounds import seconds


class Gathering(Struct, frozen=True):
    """A wish for the portions in which a handler is given results or events.

    Attributes:
        every: how many make a call; the handler then gets them as a list.
        coalesce: whether a new one joins the call that waits, if there is one.
        latest: whether it takes the place of all that no call was begun with.
        debounce_s: for how many seconds none must have come before a call.
        within_s: seconds after which the first of a portion waits for no others.
        quorum: how many must be there then.
    """

    every: int | None = None
    coalesce: bool = False
    latest: bool = False
    debounce_s: float | None = None
    within_s: float | None = None
    quorum: int = 1

    @property
    def at_once(self) -> bool:
        """Whether each result is a call by itself, and waits for no others."""
        return self.every is None and self.debounce_s is None

    @property
    def by_time(self) -> bool:
        """Whether time alone may make a call of those that are there."""
        return self.debounce_s is not None or self.within_s is not None


def checked_gathering(
    every: int | None,
    coalesce: bool,
    latest: bool,
    debounce_s: float | None,
    within_s: float | None,
    quorum: int | None,
) -> Gathering:
    """Return the wish that the options of a trigger tell.

    Raises:
        UsageError: one is invalid, or two of them make no sense together.
    """
    for name, flag in (("coalesce", coalesce), ("latest", latest)):
        if not isinstance(flag, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"{name} is True or False, not {flag!r}")
    if every is not None:
        every = whole("every", every)
    if debounce_s is not None:
        debounce_s = seconds(debounce_s, "debounce_s")
    if within_s is not None:
        within_s = seconds(within_s, "within_s")
    least = 1 if quorum is None else whole("quorum", quorum)
    _check_together(every, coalesce, latest, debounce_s, within_s, quorum)
    if every is None and coalesce:
        every = 1
    return Gathering(every, coalesce, latest, debounce_s, within_s, least)


def _check_together(
    every: int | None,
    coalesce: bool,
    latest: bool,
    debounce_s: float | None,
    within_s: float | None,
    quorum: int | None,
) -> None:
    """Refuse options that make no sense together.

    Raises:
        UsageError: they are such.
    """
    if latest and (every is not None or coalesce):
        raise UsageError(
            "latest=True gives the newest alone, and every= and coalesce=True give lists: "
            "take one of them"
        )
    if debounce_s is not None and every is not None:
        raise UsageError(
            "every= calls by number, and debounce_s= once none has come for a while: take one of "
            "them; within_s= says how long every= may wait"
        )
    if debounce_s is not None and not (coalesce or latest):
        raise UsageError(
            "debounce_s= goes with coalesce=True (a list of all that came) or with latest=True "
            "(the newest of them)"
        )
    if within_s is not None and debounce_s is None and (every is None or every == 1):
        raise UsageError(
            "within_s= says how long a call may wait for others: it goes with every=, of 2 or "
            "more, or with debounce_s="
        )
    if within_s is not None and debounce_s is not None and within_s <= debounce_s:
        raise UsageError(
            f"within_s={within_s:g} must be more than debounce_s={debounce_s:g}, which else would "
            "never come true"
        )
    if quorum is not None and (every is None or within_s is None or quorum >= every):
        raise UsageError(
            "quorum= is the least number that is called with after within_s=: it goes with "
            f"within_s= and every=, and is less than that, so quorum={quorum} cannot be"
        )


class Gathered:
    """The results or events of a call to come.

    Args:
        wish: says when they are a call.
    """

    def __init__(self, wish: Gathering) -> None:
        self.items: list[Any] = []
        """Those that are there; of a wish for the latest at most one."""
        self.first_at = 0.0
        """When the first of the last portion came."""
        self._wish = wish
        self._last_at = 0.0

    def __repr__(self) -> str:
        return f"<Gathered: {len(self.items)}>"

    def add(self, item: Any, now: float = 0.0) -> None:
        """Take in one; the time counts only if the wish is `Gathering.by_time`."""
        if not self.items:
            self.first_at = now
        if self._wish.latest:
            self.items.clear()
        self.items.append(item)
        self._last_at = now

    def take_back(self, call: Any, first_at: float) -> None:
        """Take in again those of a call that was not begun: more have come.

        Args:
            call: as `take` returned it.
            first_at: when the first of them came.
        """
        self.items[:0] = [call] if self._wish.every is None else call
        self.first_at = first_at

    @property
    def due_at(self) -> float:
        """When they are a call, if no more come; infinite: not before more come."""
        wish = self._wish
        if not self.items:
            return math.inf
        at = math.inf
        if wish.debounce_s is not None:
            at = self._last_at + wish.debounce_s
        elif wish.every is None or len(self.items) >= wish.every:
            return -math.inf
        if wish.within_s is not None and len(self.items) >= wish.quorum:
            at = min(at, self.first_at + wish.within_s)
        return at

    @property
    def may_be_rest(self) -> bool:
        """Whether they are a call if no more will ever come."""
        return self._wish.by_time and len(self.items) >= max(1, self._wish.quorum)

    def take(self) -> Any:
        """Return the argument of the call, and begin with the next."""
        items, self.items = self.items, []
        return items[-1] if self._wish.every is None else items


def whole(name: str, value: object) -> int:
    """Return a whole number above 0.

    Raises:
        UsageError: it is none.
    """
    try:
        number = 0 if isinstance(value, bool) else operator.index(cast("int", value))
    except TypeError:
        number = 0
    if number < 1:
        raise UsageError(f"{name} must be a whole number above 0, not {value!r}")
    return number
