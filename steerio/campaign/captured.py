"""The content of a snapshot: captured between two turns of the loop, and encoded by a thread."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct

from steerio.campaign.board import Board
from steerio.campaign.board_entries import BoardState
from steerio.campaign.call_queue import CallsState
from steerio.campaign.found_boards import boards_in
from steerio.campaign.state import Places, StateWriter, read_state
from steerio.errors import ObjectMissing, StateError
from steerio.model.events import Advised
from steerio.model.objects import StoredObject
from steerio.session.reference import Reference
from steerio.session.replay import RecordedResult

OBJECTS_BYTES = 64 << 20
"""Most bytes of the store that a snapshot copies."""
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
    because: tuple[int, ...] = ()
    chain: frozenset[str] = frozenset()


class CampaignState(Struct):
    """All of a campaign's state but its boards.

    Attributes:
        kind: the campaign's class; ``version``: of its state.
        attributes: as its ``save_state`` returned them.
        ended: the names of agents that have ended.
        spent: tasks, successes, failures, worker seconds, and seconds of the campaign.
        boards: the state of boards whose items are objects, by the number of the board: so they are
            the same objects as in the attributes.
        generators: the states of the global random generators, of Python and of NumPy.
        versions: those of the task types whose results it may have, by their names.
        recalled: how many of the tasks were recalled.
        notes: the latest of each.
        steered: the `SteeredState`; ``None`` in snapshots of earlier versions.
        advised: recorded answers of advisors that were not asked for again yet.
    """

    kind: str
    version: int
    attributes: Any
    calls: list[CallsState]
    tasks: list[Submission]
    ended: list[str]
    spent: tuple[int, int, int, float, float]
    boards: dict[int, BoardState[Any]]
    generators: tuple[Any, Any]
    versions: dict[str, str]
    recalled: int = 0
    notes: dict[str, float] = {}
    steered: Any = None
    advised: list[Advised] = []


class CapturedBoard(Struct):
    """A board, a copy of its tables, and the place at which ``__init__`` puts it, if it does.

    ``in_head``: its tables are pickled with the `CampaignState`.
    """

    board: Board[Any]
    state: BoardState[Any]
    attribute: str
    place: int | None
    in_head: bool


class Captured(Struct):
    """A campaign's state, of which nothing changes any more.

    Attributes:
        writer: wrote the head, and knows the stored objects that it refers to.
        head: the pickled `CampaignState`.
        boards: its boards.
        versions: the newest version of each name that it has published.
        left: the results of earlier incarnations that no call has asked for.
        pools: the number of workers at home in each pool.
    """

    writer: StateWriter
    head: bytes
    boards: list[CapturedBoard]
    versions: dict[str, Reference]
    left: list[RecordedResult]
    pools: dict[str, int]


class BoardContent(Struct, array_like=True):
    """A board: its entries, pickled, some at a time.

    Attributes:
        attribute: the attribute of the campaign that has it; ``place``: there, as it was made by
            ``__init__``; ``None``: it was made later.
        task_type: the name of its task type.
        made_of: its class and settings, pickled; empty: they cannot be.
        order: the number of the entry that was added last.
        more: other attributes that change, pickled; missing in snapshots of earlier versions.
    """

    attribute: str
    place: int | None
    task_type: str
    made_of: bytes
    order: int
    waiting: list[bytes]
    out: list[bytes]
    ended: list[bytes]
    more: bytes = b""


class ObjectContent(Struct, array_like=True):
    """An object of the store.

    Attributes:
        name: its name; ``parts``: its content.
        version: the number of the version that references to it tell.
    """

    name: bytes
    parts: list[bytes]
    version: int | None


class Content(Struct, array_like=True):
    """The content of a snapshot.

    Attributes:
        head, boards, left, pools: as captured.
        objects: those that the state refers to, or that are versions.
        versions: the name of the object, and the number, of the newest version of each name.
    """

    head: bytes
    boards: list[BoardContent]
    objects: list[ObjectContent]
    versions: dict[str, tuple[bytes, int]]
    left: list[RecordedResult]
    pools: dict[str, int]


_decode = msgspec.msgpack.Decoder(Content).decode


class MadePlaces:
    """The places of the boards that the ``__init__`` of a campaign has made.

    Those in a set have none: its order is another in each process.

    Args:
        campaign: was just made.
    """

    def __init__(self, campaign: object) -> None:
        self._places: dict[int, tuple[weakref.ref[Board[Any]], str, int]] = {}
        for name, value in vars(campaign).items():
            if not issubclass(type(value), (set, frozenset)):
                for place, board in enumerate(boards_in(value)):
                    self._places.setdefault(id(board), (weakref.ref(board), name, place))

    def __repr__(self) -> str:
        return f"<MadePlaces of {len(self._places)} boards>"

    def of(self, board: Board[Any]) -> tuple[str, int] | None:
        """Return the attribute in which a board was put, and its place there."""
        found, name, place = self._places.get(id(board), (None, "", 0))
        return (name, place) if found is not None and found() is board else None


def capture_boards(campaign: object, made: MadePlaces) -> list[CapturedBoard]:
    """Return the boards of a campaign, with copies of their tables."""
    found: dict[int, CapturedBoard] = {}
    for name, value in vars(campaign).items():
        for board in boards_in(value):
            if id(board) not in found:
                attribute, place = made.of(board) or (name, None)
                state = board.state()
                in_head = state.has_objects
                found[id(board)] = CapturedBoard(board, state, attribute, place, in_head)
    return list(found.values())


def encode_captured(
    captured: Captured, content_of: Callable[[StoredObject], Sequence[Any]]
) -> bytes:
    """Return the content of a snapshot (in a thread).

    Args:
        captured: the state.
        content_of: returns the parts of an object of the store.

    Raises:
        StateError: an entry of a board, or one that was made after the campaign, cannot be pickled;
            or an object is too long, or gone.
    """
    write = captured.writer.write

    def content(each: CapturedBoard) -> BoardContent:
        try:
            made_of = write((type(each.board), each.board.settings()))
        except StateError as error:
            if each.place is None:
                raise StateError(f"{each.board!r} was not made in __init__, and {error}") from None
            made_of = b""  # its place in a campaign that was just made tells it, too
        state = each.state
        tables: list[Iterable[Any]] = [state.pairs(), state.out.items(), state.ended]
        if each.in_head:
            tables = [(), (), ()]
        chunks = [[write(some) for some in _some_at_a_time(table)] for table in tables]
        name = each.board.task_type.name
        waiting, out, ended = chunks
        made = each.attribute, each.place, name, made_of, state.order
        return BoardContent(*made, waiting, out, ended, write(state.more))

    boards = [content(each) for each in captured.boards]
    versions = {name: (v.stored.name, v.version or 0) for name, v in captured.versions.items()}
    newest = {version.stored.name: version for version in captured.versions.values()}
    objects = _contents(newest | captured.writer.references, content_of)
    return msgspec.msgpack.encode(
        Content(captured.head, boards, objects, versions, captured.left, captured.pools)
    )


def _contents(
    wanted: dict[bytes, Reference],
    content_of: Callable[[StoredObject], Sequence[Any]],
) -> list[ObjectContent]:
    nbytes = sum(each.stored.nbytes for each in wanted.values())
    if nbytes > OBJECTS_BYTES:
        raise StateError(
            f"its references and versions stand for {nbytes} bytes, and at most {OBJECTS_BYTES} "
            "are copied into a snapshot"
        )
    try:
        return [
            ObjectContent(name, [bytes(part) for part in content_of(each.stored)], each.version)
            for name, each in wanted.items()
        ]
    except ObjectMissing as error:
        raise StateError(str(error)) from None


def decode_content(content: bytes) -> Content:
    """Return the content of a snapshot, still pickled.

    Raises:
        StateError: it is of another version.
    """
    try:
        return _decode(content)
    except msgspec.DecodeError as error:
        raise StateError(f"the snapshot cannot be read: {error}") from None


def restore_boards(contents: list[BoardContent], places: Places) -> None:
    """Note the boards of a snapshot in ``places``, with their state.

    A board that ``__init__`` has made at its place is taken; else one is made anew.

    Raises:
        StateError: that cannot be done.
    """
    boards: list[Board[Any]] = []
    for content in contents:
        there = boards_in(vars(places.campaign).get(content.attribute))
        board = None
        if content.place is not None and content.place < len(there):
            board = there[content.place]
        if board is None or board.task_type.name != content.task_type:
            board = _made_anew(content, places)
        boards.append(board)
    places.boards = boards
    for board, content in zip(boards, contents, strict=True):
        waiting, out, ended = (
            [entry for chunk in table for entry in read_state(chunk, places)]
            for table in (content.waiting, content.out, content.ended)
        )
        more: dict[str, Any] = read_state(content.more, places) if content.more else {}
        board.restore(BoardState(dict(waiting), dict(out), set(ended), content.order, more))


def _made_anew(content: BoardContent, places: Places) -> Board[Any]:
    if not content.made_of:
        raise StateError(
            f"the board in self.{content.attribute} cannot be made again: make it in __init__, or "
            "give it a key function that has a name in its module"
        )
    kind, settings = read_state(content.made_of, places)
    board: Board[Any] = kind.__new__(kind)
    board.__dict__.update(settings)
    return board


def _some_at_a_time(values: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(values)
    while some := list(islice(rest, CHUNK)):
        yield some
