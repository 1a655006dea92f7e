"""Bounds of the texts that users put into messages: texts are cut, with a note; tags are refused.

A text for people to read (a reason, a report, an error) is worth more cut than not at all. Data is
not cut: it would be another value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from steerio.errors import UsageError
from steerio.model.showing import short

REASON_CHARACTERS = 10_000
"""Longest reason, such as why a task was cancelled, a worker ended or a node leaves."""
REPORT_CHARACTERS = 10_000
"""Longest message of a report."""
NAME_CHARACTERS = 250
"""Longest name: of a pool, a node, a client, a version, an event's topic."""
TYPE_CHARACTERS = 10_000
"""Longest name of a task type: its module's, and the path to its function in that."""
TAGS_CHARACTERS = 1 << 16
"""Most characters of all tags of a task, keys and values."""
MOST_BEHIND = 16
"""Most results that are recorded as the reason for a task, of those that its agent handled."""
MOST_NEEDED = 100_000
"""Most references among the arguments of one task."""
LONGEST_S = 1e9
"""Longest time that is accepted, in seconds: thirty years."""


def cut(text: str, most: int) -> str:
    """Return a text of at most ``most`` characters, and a note of how much was cut out of it.

    The cut is in its middle: the end of a traceback says most.
    """
    if len(text) <= most:
        return text
    tail = most // 4
    return f"{text[: most - tail]} [... {len(text) - most} characters cut ...] {text[-tail:]}"


def said(text: object, what: str, most: int = REASON_CHARACTERS) -> str:
    """Return a text that a user gave, cut; ``what`` names it in errors.

    Raises:
        UsageError: it is no text.
    """
    if not isinstance(text, str):
        raise UsageError(f"{what} must be a text, not {short(text)}: str(...) makes one of it")
    return cut(str(text), most)


def named(name: object, what: str) -> str:
    """Return a name, checked; ``what`` names it in errors.

    Raises:
        UsageError: it is no text, empty, or too long.
    """
    if not isinstance(name, str) or not 0 < len(name) <= NAME_CHARACTERS:
        raise UsageError(
            f"{what} must be a name of 1 to {NAME_CHARACTERS} characters, not {short(name)}"
        )
    return str(name)


def seconds(value: Any, what: str, *, or_zero: bool = False) -> float:
    """Return a number of seconds.

    Raises:
        UsageError: it is no number, or one out of bounds.
    """
    number = real(value, what)
    if not (0 < number <= LONGEST_S or (or_zero and number == 0)):
        least = "from 0" if or_zero else "above 0"
        raise UsageError(f"{what} must be {least} and at most {LONGEST_S:g} seconds, not {value!r}")
    return number


def real(value: Any, what: str) -> float:
    """Return a number as a float; one of another library (NumPy's) is one, a text is none.

    Raises:
        UsageError: it is no number.
    """
    number: object = value
    if not isinstance(number, bool | str | bytes | bytearray):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            pass
    raise UsageError(f"{what} must be a number, not {short(value)}")


def tagged(tags: object) -> dict[str, str] | None:
    """Return the tags of a task; ``None`` if there are none.

    Raises:
        UsageError: they do not go from text to text, or are too long.
    """
    if tags is None:
        return None
    if not isinstance(tags, Mapping):
        raise UsageError(f"tags go from name to text, as in {{'batch': '3'}}, not {short(tags)}")
    checked: dict[str, str] = {}
    length = 0
    for key, value in cast("Mapping[object, object]", tags).items():
        if not isinstance(key, str) or not isinstance(value, str):
            wrong = value if isinstance(key, str) else key
            raise UsageError(
                f"tags go from text to text, as in {{'batch': '3'}}: {short(wrong)} in "
                f"{{{short(key)}: {short(value)}}} is none; str(...) makes one of it"
            )
        checked[str(key)] = str(value)
        length += len(key) + len(value)
    if length > TAGS_CHARACTERS:
        raise UsageError(
            f"the tags of a task may have {TAGS_CHARACTERS} characters in all, not {length}: "
            "give long data as an argument, or put it into the store"
        )
    return checked or None
