"""The past of a campaign: all that its journal tells of the incarnations before."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from steerio.campaign.captured import Content, decode_content
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
from steerio.errors import JournalDamaged, UsageError
from steerio.session.replay import RecordedResult

LONG = 1 << 15
"""A frame of a result is looked into if it may name parts: none of these is longer."""


class Past(Struct):
    """The incarnations of a campaign so far, as its journal has them.

    Attributes:
        began: the latest incarnation; ``None``: there is none.
        incarnations: how many there were.
        ended: the end of that one, unless it was cut off.
        snapshot: the content of the latest snapshot; empty: there is none, or it is ``decoded``.
        covers: for each snapshot that may be needed, the last number whose result it includes.
        results: those behind the latest snapshot, in order; without failures before a failed end.
    """

    began: Began | None = None
    incarnations: int = 0
    ended: EndedEntry | None = None
    snapshot: bytes = b""
    covers: list[int] = []
    results: list[RecordedResult] = []
    decoded: Content | None = None

    def content(self) -> Content | None:
        """Return the content of the latest snapshot, which is decoded once.

        Raises:
            StateError: it is of another version.
        """
        if self.decoded is None and self.snapshot:
            self.decoded, self.snapshot = decode_content(self.snapshot), b""
        return self.decoded


def read_past(frames: Iterable[Frame]) -> Past:
    """Return the past of a campaign, of which these are the frames.

    Raises:
        JournalDamaged: a frame is missing or cannot be read.
        UsageError: a later version of steerio wrote them.
    """
    content = _Content()
    past = content.past
    for frame in frames:
        match frame.kind:
            case EntryKind.RESULT | EntryKind.PART | EntryKind.SNAPSHOT:
                content.add(frame)
            case EntryKind.BEGAN:
                began: Began = decode_entry(Began, frame.body)
                past.began = began
                past.incarnations += 1
                past.ended = None
                _check_format(began)
            case EntryKind.ENDED:
                ended: EndedEntry = decode_entry(EndedEntry, frame.body)
                past.ended = ended
                if ended.outcome == "failed":
                    content.forget_failures()
            case _:
                raise UsageError(
                    f"frame {frame.number} of the journal is of kind {frame.kind}, which this "
                    "version of steerio does not know: resume with the version that wrote it"
                )
    content.check()
    return past


def read_began(frames: Iterable[Frame]) -> Began | None:
    """Return the latest incarnation of a campaign, of which these are the frames; or ``None``.

    Its results and snapshots are passed over.

    Raises:
        JournalDamaged: a frame is missing or cannot be read.
        UsageError: a later version of steerio wrote them.
    """
    began: Began | None = None
    for frame in frames:
        if frame.kind == EntryKind.BEGAN:
            latest: Began = decode_entry(Began, frame.body)
            _check_format(latest)
            began = latest
        elif frame.kind == EntryKind.SNAPSHOT:
            mark: SnapshotEntry = decode_entry(SnapshotEntry, frame.body)
            began = mark.began or began
    return began


class _Content:
    """Results and snapshots, put together from their parts.

    Files are removed that have nothing which the latest snapshots need. So the first that is
    there may have the last part of an older one, or of a result that is in all these snapshots.
    """

    def __init__(self) -> None:
        self.past = Past()
        self._assembly = PartsRead()
        self._missing: dict[int, JournalDamaged] = {}
        """Frames of which parts are missing, as long as no later snapshot stands for them."""

    def add(self, frame: Frame) -> None:
        """Take in a frame of content."""
        try:
            if frame.kind == EntryKind.PART:
                self._assembly.add(frame.body)
            elif frame.kind == EntryKind.RESULT:
                self._add_result(frame)
            else:
                self._add_snapshot(decode_entry(SnapshotEntry, frame.body))
        except JournalDamaged as error:
            self._missing[frame.number] = error

    def forget_failures(self) -> None:
        """Drop results of tasks that did not succeed: one may be why the run has ended.

        Given out again it would end the run again, also if the cause is mended.
        """
        self.past.results = [each for each in self.past.results if _succeeded(each)]

    def check(self) -> None:
        """Check that all is there.

        Raises:
            JournalDamaged: something is missing.
        """
        for error in self._missing.values():
            raise error

    def _add_result(self, frame: Frame) -> None:
        parts = decode_result(frame.body).parts if len(frame.body) < LONG else None
        frames = None if parts is None else self._assembly.take(parts, "a result")
        self.past.results.append(RecordedResult(frame.number, frame.body, frames))

    def _add_snapshot(self, entry: SnapshotEntry) -> None:
        past, covers = self.past, entry.covers
        past.covers.append(covers)
        if entry.began is not None:
            past.began, past.incarnations = entry.began, entry.incarnations
        content = entry.content
        if entry.parts is not None:
            (content,) = self._assembly.take(entry.parts, "a snapshot")
        past.snapshot = content
        past.results = [result for result in past.results if result.number > covers]
        self._missing = {n: error for n, error in self._missing.items() if n > covers}


def _succeeded(recorded: RecordedResult) -> bool:
    return decode_result(recorded.body).settled.ended_as == "succeeded"


def _check_format(began: Began) -> None:
    if began.format > FORMAT:
        raise UsageError(
            f"steerio {began.version} wrote the journal, in format {began.format}; this version "
            f"reads up to format {FORMAT}: resume with that one"
        )
