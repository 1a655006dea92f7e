"""The entries of a campaign's journal, as the kinds and bodies of frames.

A result is one frame, and so is the mark of a snapshot. Content that is longer than
``PART_BYTES`` comes before that frame, in frames of its own, its *parts*: so no single append keeps
the loop for long, and content whose frame is missing was never whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import Struct

from steerio.errors import JournalDamaged, UsageError
from steerio.model.campaign_orders import (
    PauseAgent,
    Plain,
    ResumeAgent,
    SetParameter,
    SubmitTask,
)
from steerio.model.events import Advised, Answered, Asked
from steerio.model.messages import TaskSettled
from steerio.model.places import WorkerNeeds

PART_BYTES = 1 << 20
"""Length of a part; content up to this travels in the frame itself."""
KEY_BYTES = 16
"""Length of the digest of a call."""
FORMAT = 1
"""The version of these entries, in the first of each incarnation."""

_id = struct.Struct("<Q")


class EntryKind(IntEnum):
    """The kinds of frames."""

    BEGAN = 1
    RESULT = 2
    PART = 3
    SNAPSHOT = 4
    ENDED = 5
    MEMO = 6
    """A result that may be given to any equal call, and so is never removed."""
    RECALLED = 7
    """The digest of a call that was given such a result of this journal."""
    STEERED = 8
    """An order to the campaign, a question of it, or an answer."""
    ADVISED = 9
    """The answer of an advisor, or of the fallback in its place."""


class Parts(Struct, frozen=True, gc=False, array_like=True):
    """The content that came before a frame, in parts.

    Attributes:
        number: under which they were written.
        lengths: of the pieces that they make up.
    """

    number: int
    lengths: list[int]


class Began(Struct, frozen=True, gc=False):
    """An incarnation of the campaign began.

    Attributes:
        format: of the entries.
        campaign: its class, as ``module:qualname``.
        file: the name of the file that defines it, if it was loaded as one; else empty.
        arguments: those of its ``__init__``, by name, pickled; empty: they cannot be.
        random_seed: of workers and tasks.
        version: of steerio.
        workers: how many of each pool were asked for; ``needs``: the needs of each of them.
        parameters: their values, by name.
        run: a name of the run, which all its incarnations have in common, and no other run has;
            empty in journals of earlier versions.
        allow: the functions that workers might run; ``None``: any.
    """

    format: int
    campaign: str
    file: bytes
    arguments: bytes
    random_seed: int
    version: str
    workers: dict[str, int] = {}
    needs: dict[str, WorkerNeeds] = {}
    parameters: dict[str, Plain] = {}
    run: str = ""
    allow: tuple[str, ...] | None = None


class ResultEntry(Struct, frozen=True, gc=False, array_like=True):
    """How a task ended.

    Attributes:
        task_type: the name of its type.
        call: its packed arguments, if they are short; else empty.
        settled: the broker's message; its ``body`` and ``frames`` are the value's.
        frames: the frames of the value.
        parts: they are in these instead.
        recalled: the earlier run from which the result was recalled; empty: a worker computed it.
        tags: those of the task.
    """

    task_type: str
    call: bytes
    settled: TaskSettled
    frames: list[Any]
    parts: Parts | None = None
    recalled: str = ""
    tags: dict[str, str] = {}


class SnapshotEntry(Struct, frozen=True, gc=False, array_like=True):
    """The mark of a whole snapshot.

    Attributes:
        covers: the number of the last frame whose result it includes.
        content: its bytes, if they are few.
        parts: they are in these instead.
        began: the present incarnation, as the frame with that may be removed.
        incarnations: how many there were, with that.
    """

    covers: int
    content: bytes
    parts: Parts | None = None
    began: Began | None = None
    incarnations: int = 0


class OrderedTask(Struct, frozen=True, tag=True):
    """A task that was submitted by an order.

    Attributes:
        order: the order, with the whole name of the task type.
        by: the person or program that gave it.
        id: that of the order.
        at: when, in Unix seconds.
    """

    order: SubmitTask
    by: str
    id: str = ""
    at: float = 0.0


class Decided(Struct, frozen=True, gc=False, tag=True):
    """A proposal was approved or denied.

    Attributes:
        question: its number.
        carried_out: whether its order takes effect with this entry; else it never will.
        at: when, in Unix seconds.
    """

    question: int
    carried_out: bool
    at: float = 0.0


Steered = SetParameter | PauseAgent | ResumeAgent | Asked | Answered | OrderedTask | Decided
"""The orders that change a campaign, and its questions, proposals and answers."""


class SteeredEntry(Struct, frozen=True):
    """Something that a person or program has ordered, or was asked, or has answered."""

    what: Steered


class AdvisedEntry(Struct, frozen=True):
    """An answer of an advisor, or of the fallback in its place, with its question."""

    what: Advised


class EndedEntry(Struct, frozen=True, gc=False):
    """The campaign came to its end.

    Attributes:
        outcome: ``completed``, ``interrupted`` or ``failed``.
        because: the reason, in words.
    """

    outcome: str
    because: str


_encoder = msgspec.msgpack.Encoder()
_encode = _encoder.encode
_decoders: dict[type, Any] = {
    kind: msgspec.msgpack.Decoder(kind)
    for kind in (Began, ResultEntry, SnapshotEntry, SteeredEntry, AdvisedEntry, EndedEntry)
}


def encode_entry(
    entry: Began | SnapshotEntry | SteeredEntry | AdvisedEntry | EndedEntry,
) -> bytes:
    """Return the body of an entry's frame."""
    return _encode(entry)


class Call(Struct, frozen=True, gc=False, array_like=True):
    """A call whose result is to be recorded.

    Attributes:
        key: the digest of all of it.
        task_type: the name of its type.
        body: its packed arguments, if they are short; else empty.
        memo: whether a value may be given to any equal call.
        recalled: the earlier run that its result is recalled from, if it is.
        tags: those of the task, which are no part of the digest.
    """

    key: bytes
    task_type: str
    body: bytes
    memo: bool = False
    recalled: str = ""
    tags: dict[str, str] = {}


def encode_result(
    call: Call, settled: TaskSettled, frames: Sequence[Any], parts: Parts | None = None
) -> bytes:
    """Return the body of a result's frame: the digest of its call, and the entry."""
    parts_of_it = [memoryview(frame) for frame in frames] if frames else ()
    # as the fields of a `ResultEntry`, which takes as long to make as all of this
    fields = (call.task_type, call.body, settled, parts_of_it, parts)
    more = (call.recalled, call.tags) if call.tags else (call.recalled,) if call.recalled else ()
    return call.key + _encode((*fields, *more) if more else fields)


def key_of(body: bytes) -> bytes:
    """Return the digest of the call of a result's frame."""
    return body[:KEY_BYTES]


def check_format(began: Began) -> None:
    """Refuse a journal of a later version.

    Raises:
        UsageError: it is one.
    """
    if began.format > FORMAT:
        raise UsageError(
            f"steerio {began.version} wrote the journal, in format {began.format}; this version "
            f"reads up to format {FORMAT}: resume with that one"
        )


def decode_result(body: bytes) -> ResultEntry:
    """Return the entry of a result's frame.

    Raises:
        JournalDamaged: it is none.
    """
    entry: ResultEntry = _decode(ResultEntry, memoryview(body)[KEY_BYTES:])
    return entry


def decode_entry(kind: type[Any], body: bytes) -> Any:
    """Return an entry of this type.

    Raises:
        JournalDamaged: it is none.
    """
    return _decode(kind, body)


def _decode(kind: type[Any], body: bytes | memoryview) -> Any:
    try:
        return _decoders[kind].decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = f"a {kind.__name__} of it cannot be read ({error}): it is of another version"
        raise JournalDamaged("the journal", 0, reason) from None


def parts_of(number: int, pieces: Sequence[Any]) -> Iterator[bytes]:
    """Yield the bodies of the parts of some pieces of content."""
    head = _id.pack(number)
    for piece in pieces:
        whole = memoryview(piece).cast("B")
        for at in range(0, len(whole), PART_BYTES):
            yield head + whole[at : at + PART_BYTES]


def part_id(body: bytes) -> int:
    """Return the number under which a part was written."""
    (number,) = _id.unpack_from(body)
    return int(number)


class PartsRead:
    """Puts the parts that are read together again."""

    def __init__(self) -> None:
        self._read: dict[int, list[bytes]] = {}

    def add(self, body: bytes) -> None:
        """Take in a part."""
        self._read.setdefault(part_id(body), []).append(body[_id.size :])

    def take(self, parts: Parts, what: str) -> list[bytes]:
        """Return the pieces that these parts make up.

        Raises:
            JournalDamaged: some are missing.
        """
        whole = b"".join(self._read.pop(parts.number, []))
        if len(whole) != sum(parts.lengths):
            raise JournalDamaged("the journal", 0, f"a part of {what} is missing")
        ends = list(accumulate(parts.lengths))
        return [whole[end - length : end] for end, length in zip(ends, parts.lengths, strict=True)]
