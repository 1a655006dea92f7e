"""Messages between a campaign and the prompts that are attached to it (``steerio attach``)."""

from __future__ import annotations

from msgspec import Struct

STATEMENT_BYTES = 64 << 10
"""Longest statement, in UTF-8: a longer one is refused."""
OUTPUT_CHARACTERS = 100_000
"""Most characters of all that one statement prints: the rest is dropped, with a note."""
VALUE_CHARACTERS = 20_000
"""Longest repr of a value, and longest traceback: a longer one is cut in its middle."""


class RunStatement(Struct, frozen=True, gc=False, tag=True):
    """A prompt has a statement, or several in lines, run in the campaign's process."""

    text: str


class InterruptStatement(Struct, frozen=True, gc=False, tag=True):
    """A prompt has its statement cancelled at the ``await`` at which it is."""


class PromptAttached(Struct, frozen=True, gc=False, tag=True):
    """The campaign takes statements of this prompt; its first message."""

    campaign: str
    pid: int


class TurnedAway(Struct, frozen=True, gc=False, tag=True):
    """The campaign takes no statements of this prompt, and closes the connection."""

    reason: str


class StatementPrinted(Struct, frozen=True, gc=False, tag=True):
    """A statement printed a text, or has a value, which is shown as text."""

    text: str


class StatementEnded(Struct, frozen=True, gc=False, tag=True):
    """A statement is over: the campaign takes the next.

    Attributes:
        outcome: ``ran``, ``interrupted``, or the type of the exception.
        traceback: of that exception, without frames of steerio; else empty.
    """

    outcome: str
    traceback: str = ""

    @property
    def ran(self) -> bool:
        """Whether it came to its end."""
        return self.outcome == RAN


RAN = "ran"
INTERRUPTED = "interrupted"

FromPrompt = RunStatement | InterruptStatement
"""The messages that a campaign takes of a prompt."""
ToPrompt = PromptAttached | TurnedAway | StatementPrinted | StatementEnded
"""The messages that a prompt takes of its campaign."""
