"""Messages that are dropped: counted under a reason, logged, and their objects removed."""

from __future__ import annotations

import logging
from collections import Counter

from steerio.core.core import Core
from steerio.model.objects import Inputs, StoredObject

log = logging.getLogger("steerio.broker")

WRONG = (
    "malformed",
    "protocol",
    "out of place",
    "not allowed",
    "wrong key",
    "another key",
    "refused by a worker",
    "revoked key",
    "unknown task type or foreign id",
)
"""Reasons that no peer in good order gives; the others come of messages that crossed."""
LOGGED_DROPS = 10
"""How many drops for one reason are logged; all are counted."""
LOGGED_CHARACTERS = 500
"""Most characters logged of a text that a peer chose."""


class Drops:
    """The messages that a broker has dropped, counted by reason.

    Args:
        core: is told of objects that came with a message that was dropped.
    """

    def __init__(self, core: Core) -> None:
        self.count: Counter[str] = Counter()
        """How many messages, by reason."""
        self._core = core

    def __repr__(self) -> str:
        return f"<Drops: {dict(self.count)}>"

    def drop(self, why: str, what: str, error: Exception | None = None) -> None:
        """Note a drop: ``what`` says which message, ``why`` is the reason to count it under."""
        self.count[why] += 1
        if self.count[why] <= LOGGED_DROPS:
            level = logging.ERROR if error else logging.WARNING if why in WRONG else logging.INFO
            log.log(level, "dropped (%s): %.*s", why, LOGGED_CHARACTERS, what, exc_info=error)

    def refuse(self, stored: StoredObject | None) -> None:
        """Have the object removed that came with a dropped message, if one did."""
        if stored is not None:
            self._core.refuse(stored.name)

    def refuse_frames(self, inputs: Inputs | None) -> None:
        """Have the frames of a task removed that was dropped, if they are in the store."""
        self.refuse(inputs.frames if inputs is not None else None)
