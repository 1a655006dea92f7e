"""The past of a campaign: all that its journal tells of the incarnations before."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from steerio.edge.record.entries import (
    FORMAT,
    Began,
    EndedEntry,
    EntryKind,
    PartsRead,
    SnapshotEntry,
    decode_entry,
    decode_result,
)
from steerio.edge.record.frames import Frame
from steerio.errors import UsageError
from steerio.session.replay import RecordedResult

LONG = 1 << 15
"""A frame of a result is looked into if it may name parts: none of these is longer."""


class Past(Struct):
    """The incarnations of a campaign so far, as its journal has them.

    Attributes:
        began: the latest incarnation; ``None``: there is none.
        incarnations: how many there were.
        ended: the end of that one, unless it was cut off.
        snapshot: the content of the latest snapshot; empty: there is none.
        covers: for each snapshot that may be needed, the last number whose result it includes.
        results: those behind the latest snapshot, in order.
    """

    began: Began | None = None
    incarnations: int = 0
    ended: EndedEntry | None = None
    snapshot: bytes = b""
    covers: list[int] = []
    results: list[RecordedResult] = []


def read_past(frames: Iterable[Frame]) -> Past:
    """Return the past of a campaign, of which these are the frames.

    Raises:
        JournalDamaged: a frame is missing or cannot be read.
        UsageError: a later version of steerio wrote them.
    """
    past = Past()
    assembly = PartsRead()
    for frame in frames:
        match frame.kind:
            case EntryKind.RESULT:
                past.results.append(_result(frame, assembly))
            case EntryKind.PART:
                assembly.add(frame.body)
            case EntryKind.SNAPSHOT:
                _take_snapshot(past, decode_entry(SnapshotEntry, frame.body), assembly)
            case EntryKind.BEGAN:
                began: Began = decode_entry(Began, frame.body)
                _check_format(began)
                past.began, past.ended = began, None
                past.incarnations += 1
            case EntryKind.ENDED:
                past.ended = decode_entry(EndedEntry, frame.body)
            case _:
                raise UsageError(
                    f"frame {frame.number} of the journal is of kind {frame.kind}, which this "
                    "version of steerio does not know: resume with the version that wrote it"
                )
    return past


def _result(frame: Frame, assembly: PartsRead) -> RecordedResult:
    if len(frame.body) < LONG:
        parts = decode_result(frame.body).parts
        if parts is not None:
            return RecordedResult(frame.number, frame.body, assembly.take(parts, "a result"))
    return RecordedResult(frame.number, frame.body)


def _take_snapshot(past: Past, entry: SnapshotEntry, assembly: PartsRead) -> None:
    content = entry.content
    if entry.parts is not None:
        (content,) = assembly.take(entry.parts, "a snapshot")
    past.snapshot = content
    past.covers.append(entry.covers)
    past.results = [result for result in past.results if result.number > entry.covers]


def _check_format(began: Began) -> None:
    if began.format > FORMAT:
        raise UsageError(
            f"steerio {began.version} wrote the journal, in format {began.format}; this version "
            f"reads up to format {FORMAT}: resume with that one"
        )
