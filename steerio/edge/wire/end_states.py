"""The states of the connection below a session, as each end knows them, as one table."""

from __future__ import annotations

from enum import Enum, auto


class EndState(Enum):
    """The state of the connection, as far as an end knows."""

    FRESH = auto()
    OPEN = auto()
    DOWN = auto()


class EndFact(Enum):
    """A fact about the connection, as an end notices it."""

    HEARD = auto()
    BROKE = auto()
    TRIED = auto()


STEPS = {
    (EndState.FRESH, EndFact.HEARD): EndState.OPEN,
    (EndState.FRESH, EndFact.BROKE): EndState.DOWN,
    (EndState.OPEN, EndFact.HEARD): EndState.OPEN,
    (EndState.OPEN, EndFact.BROKE): EndState.DOWN,
    (EndState.DOWN, EndFact.BROKE): EndState.DOWN,
    (EndState.DOWN, EndFact.HEARD): EndState.OPEN,
    (EndState.DOWN, EndFact.TRIED): EndState.OPEN,
}
"""The states of an end, and the facts that change them."""


def draw_ends() -> str:
    """Return the states of an end as a Mermaid state diagram."""
    steps = [f"    {was.name} --> {is_.name}: {fact.name}" for (was, fact), is_ in STEPS.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> FRESH", *steps])
