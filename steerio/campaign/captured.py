"""The content of a snapshot: captured between two turns of the loop, and encoded by a thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct

from steerio.campaign.board import Board, BoardState
from steerio.campaign.calls import CallsState
from steerio.campaign.found_boards import boards_in
from steerio.campaign.state import read_state, write_state
from steerio.errors import StateError
from steerio.session.replay import Recorded

CHUNK = 1_000
"""Entries of a board that are pickled at a time: the loop has its turn in between."""


class Submission(Struct):
    """A task that is out, as it is to be submitted again."""

    task_type: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    options: Any
    tags: dict[str, str]
    cause: str


class CampaignState(Struct):
    """All of a campaign's state but its boards.

    Attributes:
        kind: the campaign's class; ``version``: of its state.
        attributes: as its ``save_state`` returned them.
        ended: the names of agents that have ended.
        spent: tasks, successes, failures, worker seconds, and seconds of the campaign.
    """

    kind: str
    version: int
    attributes: Any
    calls: list[CallsState]
    tasks: list[Submission]
    ended: list[str]
    spent: tuple[int, int, int, float, float]


class CapturedBoard(Struct):
    """A board, a copy of its tables, and its place in the campaign."""

    board: Board[Any]
    state: BoardState[Any]
    attribute: str
    place: int


class Captured(Struct):
    """A campaign's state, of which nothing changes any more.

    Attributes:
        campaign: whose it is.
        head: the pickled `CampaignState`.
        boards: its boards.
        left: the results of earlier incarnations that no call has asked for.
        pools: the number of workers at home in each pool.
    """

    campaign: object
    head: bytes
    boards: list[CapturedBoard]
    left: list[Recorded]
    pools: dict[str, int]


class BoardContent(Struct, array_like=True):
    """A board: its entries, pickled, some at a time.

    Attributes:
        attribute, place: the attribute of the campaign that has it, and its place there.
        made_of: its class and settings, pickled; empty: they cannot be.
        order: the number of the entry that was added last.
    """

    attribute: str
    place: int
    made_of: bytes
    order: int
    waiting: list[bytes]
    out: list[bytes]
    ended: list[bytes]


class Content(Struct, array_like=True):
    """The content of a snapshot."""

    head: bytes
    boards: list[BoardContent]
    left: list[Recorded]
    pools: dict[str, int]


_decode = msgspec.msgpack.Decoder(Content).decode


def capture_boards(campaign: object) -> list[CapturedBoard]:
    """Return the boards of a campaign, with copies of their tables."""
    found: dict[int, CapturedBoard] = {}
    for name, value in vars(campaign).items():
        for place, board in enumerate(boards_in(value)):
            if id(board) not in found:
                found[id(board)] = CapturedBoard(board, board.state(), name, place)
    return list(found.values())


def encode_captured(captured: Captured) -> bytes:
    """Return the content of a snapshot (in a thread).

    Raises:
        StateError: an entry of a board cannot be pickled.
    """
    boards = [each.board for each in captured.boards]

    def write(value: object) -> bytes:
        return write_state(value, captured.campaign, boards)

    def content(each: CapturedBoard) -> BoardContent:
        try:
            made_of = write((type(each.board), each.board.settings()))
        except StateError:  # its place in a campaign that was just made tells it, too
            made_of = b""
        state = each.state
        tables = (state.waiting.items(), state.out.items(), state.ended)
        chunks = [[write(some) for some in _some_at_a_time(table)] for table in tables]
        return BoardContent(each.attribute, each.place, made_of, state.order, *chunks)

    contents = [content(each) for each in captured.boards]
    return msgspec.msgpack.encode(Content(captured.head, contents, captured.left, captured.pools))


def decode_content(content: bytes) -> Content:
    """Return the content of a snapshot, still pickled.

    Raises:
        StateError: it is of another version.
    """
    try:
        return _decode(content)
    except msgspec.DecodeError as error:
        raise StateError(f"the snapshot cannot be read: {error}") from None


def restored_boards(contents: list[BoardContent], campaign: object) -> list[Board[Any]]:
    """Return boards with the state that a snapshot has of them.

    A board that the campaign made at its place is taken if it is for the same task type; else one
    is made anew.

    Raises:
        StateError: that cannot be done.
    """
    boards: list[Board[Any]] = []
    for content in contents:
        there = boards_in(vars(campaign).get(content.attribute))
        board = there[content.place] if content.place < len(there) else None
        if board is None:
            board = _made_anew(content, campaign)
        boards.append(board)
    for board, content in zip(boards, contents, strict=True):
        waiting, out, ended = (
            [entry for chunk in table for entry in read_state(chunk, campaign, boards)]
            for table in (content.waiting, content.out, content.ended)
        )
        board.restore(BoardState(dict(waiting), dict(out), set(ended), content.order))
    return boards


def _made_anew(content: BoardContent, campaign: object) -> Board[Any]:
    if not content.made_of:
        raise StateError(
            f"the board in self.{content.attribute} cannot be made again: make it in __init__, or "
            "give it a key function that has a name in its module"
        )
    kind, settings = read_state(content.made_of, campaign, [])
    board: Board[Any] = kind.__new__(kind)
    board.__dict__.update(settings)
    return board


def _some_at_a_time(values: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(values)
    while some := list(islice(rest, CHUNK)):
        yield some
