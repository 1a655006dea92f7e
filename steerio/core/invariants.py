"""An invariant of the core: it holds, or the core has a bug."""

from __future__ import annotations

from steerio.core.deadlines import Due
from steerio.errors import SteerioError

Dues = set[tuple[Due, int]]
"""The deadlines that are still to come."""


class InvariantBroken(SteerioError):
    """The core's state contradicts itself: a bug in steerio, never the user's fault."""


def must(holds: bool, what: str, about: object) -> None:
    """Say that an invariant is broken, unless it holds.

    Args:
        holds: whether it does.
        what: says, in words, the invariant.
        about: the thing about which it is.

    Raises:
        InvariantBroken: it does not hold.
    """
    if not holds:
        raise InvariantBroken(f"it does not hold that {what}: {about!r}")
