"""Notes: numbers of a user's own, by name, such as the best value so far.

A note is an event, `Published` under the topic ``note``: event streams and the record have each.
The latest of each name is kept here, for progress and for the summary of a run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from numbers import Real
from types import MappingProxyType
from typing import Any

import msgspec

from steerio.client.client import Client
from steerio.edge.record.record_files import SHOWN_BYTES
from steerio.errors import UsageError
from steerio.model.showing import counted, short

NOTE = "note"
"""The topic of notes, under which nothing else is published."""
MOST_NAMES = 100
"""Most names of the notes of one session, or of one campaign on it."""

_encode = msgspec.msgpack.Encoder().encode


class NotedNumbers:
    """The notes of one session."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._latest: dict[str, float] = {}
        self.latest: Mapping[str, float] = MappingProxyType(self._latest)
        """The latest number of each name, in the order in which the names came."""

    def __repr__(self) -> str:
        return f"<NotedNumbers: {in_line(self._latest) or 'none'}>"

    def add(self, numbers: Mapping[str, object]) -> None:
        """Publish numbers, and keep them as the latest of their names.

        Raises:
            UsageError: a name or a number is none, or there are too many; nothing is published.
        """
        checked = checked_notes(numbers)
        latest = self._latest
        if not checked.keys() <= latest.keys():
            names = len(latest.keys() | checked.keys())
            if names > MOST_NAMES:
                raise UsageError(
                    f"notes may have {MOST_NAMES} names, and {', '.join(checked)} would make it "
                    f"{names}: note the numbers to be followed, and keep the rest in a file"
                )
        body = _encode(checked)
        if len(body) > SHOWN_BYTES:
            raise UsageError(
                f"{counted(len(checked), 'note')} at once take {len(body)} bytes, and at most "
                f"{SHOWN_BYTES} are published: note fewer at a time, or give them shorter names"
            )
        latest.update(checked)
        self._client.watch.publish(NOTE, body)

    def begin(self, latest: Mapping[str, float] | None = None) -> None:
        """Forget the latest numbers, or have these in their place: a campaign begins."""
        self._latest.clear()
        self._latest.update(latest or {})


def checked_notes(numbers: Mapping[str, object]) -> dict[str, float]:
    """Return notes as plain numbers.

    Raises:
        UsageError: there are none, or a name or a number is none.
    """
    if not numbers:
        raise UsageError("note(...) takes numbers by name, as in note(best=-3.2)")
    checked: dict[str, float] = {}
    for name, value in numbers.items():
        if not name.isidentifier():
            raise UsageError(
                f"a note is named like a variable, with letters, digits and _, not {short(name)}"
            )
        number = value if type(value) is float else _number(name, value)
        if math.isinf(number):
            raise UsageError(
                f"the note {name} must be finite, not {number}: note it once it is known, or as "
                "math.nan"
            )
        checked[name] = number
    return checked


def _number(name: str, value: Any) -> float:
    """Return a number of any library as a float.

    Raises:
        UsageError: it is none.
    """
    # the scalars of NumPy, PyTorch and their kin, and their arrays without a dimension
    plain: object = value.item() if getattr(value, "shape", None) == () else value
    if not isinstance(plain, bool) and isinstance(plain, Real | Decimal):
        try:
            return float(plain)
        except (OverflowError, ValueError):  # an integer of 400 digits, a signalling NaN
            pass
    raise UsageError(
        f"the note {name} must be a number, not {short(value)} ({type(value).__name__})"
    )


def in_line(notes: Mapping[str, float]) -> str:
    """Return notes in a line, like ``best=-3.2, regret=0.1``."""
    return ", ".join(f"{name}={number:.6g}" for name, number in notes.items())
