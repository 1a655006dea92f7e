"""A part of a random campaign: some methods, and a part of its state, under its own name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, NamedTuple


class Feature(NamedTuple):
    """One feature: methods by name, its state at first, and what `setup` does for it.

    ``outcome`` returns, from the campaign, what must be as in any other run.
    """

    methods: dict[str, Any]
    begin: Callable[[Any], Any]
    prepare: Callable[[Any], Awaitable[None]]
    outcome: Callable[[Any], Any]


def listed(given: Any, who: str, kind: Any = object) -> list[Any]:
    """Return the results of a feature among those that a handler was given."""
    results = given if isinstance(given, list) else [given]
    return [r for r in results if r.args[0] == who and isinstance(r, kind)]


def all_singly(random: Random) -> dict[str, Any]:
    """Return options of a trigger which has every result handled, at the end."""
    choices: list[dict[str, Any]] = [{}, {"every": 1}, {"coalesce": True}, {"concurrent": 2}]
    return random.choice(choices)


async def nothing(_: Any) -> None:
    """Prepare nothing."""
