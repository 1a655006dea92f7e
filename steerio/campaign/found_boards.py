"""The search for the boards of a campaign: in its attributes, and in lists and dicts there."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any, TypeGuard, cast

from steerio.campaign.board import Board

LOOKED_INTO = 100
"""Entries of a list or dict in an attribute among which boards are looked for."""
HOLDERS = (Board, list, tuple, set, frozenset, dict)
"""The types of attributes in which boards are looked for."""


def is_board(value: object) -> TypeGuard[Board[Any]]:
    """Whether a value is a board.  Only its type is looked at, so that no proxy is fetched."""
    return issubclass(type(value), Board)


def boards_in(value: object) -> list[Board[Any]]:
    """Return the value, if it is a board, or the boards in it, if it is a list, tuple, set or dict.

    Only its first ``LOOKED_INTO`` entries are looked at, and not their contents.
    """
    if is_board(value):
        return [value]
    if issubclass(type(value), dict):
        entries: Iterable[object] = cast("dict[object, object]", value).values()
    elif issubclass(type(value), HOLDERS):
        entries = cast("Iterable[object]", value)
    else:
        return []
    return [entry for entry in islice(entries, LOOKED_INTO) if is_board(entry)]


def boards_of(campaign: object) -> list[Board[Any]]:
    """Return the boards in the attributes of a campaign, in order, each once."""
    found = [board for value in vars(campaign).values() for board in boards_in(value)]
    return list(dict.fromkeys(found))


def board_names(campaign: object, boards: Iterable[Board[Any]]) -> dict[str, Board[Any]]:
    """Return the boards of a campaign by their names: ``Class.attribute``, or a place in that."""
    left = {id(board) for board in boards}
    named: dict[str, Board[Any]] = {}
    for attribute, value in vars(campaign).items():
        for place, board in enumerate(boards_in(value)):
            if id(board) in left:
                left.discard(id(board))
                inside = "" if board is value else f"[{place}]"
                named[f"{type(campaign).__name__}.{attribute}{inside}"] = board
    return named


def hidden_boards(campaign: object) -> dict[str, Board[Any]]:
    """Return boards that are one step too deep to be found: in attributes of attributes, by path.

    Of a proxy only its own attributes are looked at, so that none is fetched.
    """
    hidden: dict[str, Board[Any]] = {}
    for name, value in vars(campaign).items():
        try:
            inside: dict[str, object] = object.__getattribute__(value, "__dict__")
        except AttributeError:
            continue
        if not is_board(value):
            hidden |= {f"self.{name}.{n}": b for n, v in inside.items() for b in boards_in(v)}
    known = boards_of(campaign)
    return {path: board for path, board in hidden.items() if board not in known}
