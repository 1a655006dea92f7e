"""Drawings of the lives of tasks, workers, moves and peers, for the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from steerio.core.lifecycle import ROLES, STEPS, TRANSITIONS, TURNS

S = TypeVar("S", bound=StrEnum)
F = TypeVar("F", bound=StrEnum)


def mermaid() -> str:
    """Return the life of a task as a Mermaid state diagram."""
    return _draw(
        "QUEUED: submitted",
        [(a.name, f.name, b.name) for (a, f), b in TRANSITIONS.items()],
        "ENDED",
    )


def draw_workers() -> str:
    """Return the life of a worker as a Mermaid state diagram."""
    return _draw("STARTING", [(a.name, f.name, b.name) for (a, f), b in TURNS.items()], "GONE")


def draw_moves() -> str:
    """Return the life of a move as a Mermaid state diagram."""
    return _draw("WAITING: asked for", _names(STEPS), "ENDED")


def draw_peers() -> str:
    """Return the life of a peer as a Mermaid state diagram."""
    return _draw("STRANGER", _names(ROLES), "GONE")


def _names(table: Mapping[tuple[S, F], S]) -> list[tuple[str, str, str]]:
    return [(a.name, f.name, b.name) for (a, f), b in table.items()]


def _draw(born: str, arrows: list[tuple[str, str, str]], dead: str) -> str:
    lines = ["stateDiagram-v2", f"    [*] --> {born}"]
    lines += [f"    {a} --> {b}: {fact}" for a, fact, b in arrows]
    return "\n".join([*lines, f"    {dead} --> [*]"])
