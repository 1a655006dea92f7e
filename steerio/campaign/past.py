"""The past of a campaign: all that its journal tells of the incarnations before."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from steerio.campaign.captured import Content, decode_content
from steerio.edge.record.entries import (
    AdvisedEntry,
    Began,
    EndedEntry,
    EntryKind,
    PartsRead,
    SnapshotEntry,
    Steered,
    SteeredEntry,
    check_format,
    decode_entry,
    decode_result,
    key_of,
)
from steerio.edge.record.frames import Frame
from steerio.edge.record.known_results import (
    MAY_HAVE_PARTS,
    Find,
    KnownResults,
    nothing_found,
)
from steerio.errors import JournalDamaged, UsageError
from steerio.model.events import Advised
from steerio.session.replay import RecordedResult


class Past(Struct):
    """The incarnations of a campaign so far, as its journal has them.

    Attributes:
        began: the latest incarnation; ``None``: there is none.
        incarnations: how many there were.
        ended: the end of that one, unless it was cut off.
        snapshot: the content of the latest snapshot; empty: there is none, or it is ``decoded``.
        covers: for each snapshot that may be needed, the last number whose result it includes.
        results: those behind the latest snapshot, in order; without failures before a failed end.
        steered: orders, questions and answers behind it, each with the number of its frame.
        advised: answers of advisors behind it, each with the number of its frame.
        known: those of task types with a memo, from the start.
    """

    began: Began | None = None
    incarnations: int = 0
    ended: EndedEntry | None = None
    snapshot: bytes = b""
    covers: list[int] = []
    results: list[RecordedResult] = []
    steered: list[tuple[int, Steered]] = []
    advised: list[tuple[int, Advised]] = []
    known: KnownResults = msgspec.field(default_factory=KnownResults)
    decoded: Content | None = None

    def content(self) -> Content | None:
        """Return the content of the latest snapshot, which is decoded once.

        Raises:
            StateError: it is of another version.
        """
        if self.decoded is None and self.snapshot:
            self.decoded, self.snapshot = decode_content(self.snapshot), b""
        return self.decoded


def read_past(frames: Iterable[Frame], find: Find = nothing_found) -> Past:
    """Return the past of a campaign, of which these are the frames.

    Args:
        frames: all that the journal has, in order.
        find: returns one of them by its number, later.

    Raises:
        JournalDamaged: a frame is missing or cannot be read.
        UsageError: a later version of steerio wrote them.
    """
    content = _Content(KnownResults(find))
    past = content.past
    for frame in frames:
        match frame.kind:
            case (
                EntryKind.RESULT
                | EntryKind.MEMO
                | EntryKind.RECALLED
                | EntryKind.PART
                | EntryKind.SNAPSHOT
                | EntryKind.STEERED
                | EntryKind.ADVISED
            ):
                content.add(frame)
            case EntryKind.BEGAN:
                began: Began = decode_entry(Began, frame.body)
                past.began = began
                past.incarnations += 1
                past.ended = None
                check_format(began)
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
            check_format(latest)
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

    def __init__(self, known: KnownResults) -> None:
        self.past = Past(known=known)
        self._assembly = PartsRead()
        self._missing: dict[int, JournalDamaged] = {}
        """Frames of which parts are missing, as long as no later snapshot stands for them."""

    def add(self, frame: Frame) -> None:
        """Take in a frame of content."""
        try:
            if frame.kind == EntryKind.PART:
                self._assembly.add(frame.body)
                self.past.known.see(frame)
            elif frame.kind == EntryKind.RESULT:
                self._add_result(frame)
            elif frame.kind == EntryKind.MEMO:
                self._add_memo(frame)
            elif frame.kind == EntryKind.STEERED:
                entry: SteeredEntry = decode_entry(SteeredEntry, frame.body)
                self.past.steered.append((frame.number, entry.what))
            elif frame.kind == EntryKind.ADVISED:
                advised: AdvisedEntry = decode_entry(AdvisedEntry, frame.body)
                self.past.advised.append((frame.number, advised.what))
            elif frame.kind == EntryKind.RECALLED:
                self._refer_to(frame.number, frame.body, again=True)
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
        self.past.results.append(
            RecordedResult(frame.number, frame.body, self._frames_of(frame.body))
        )

    def _frames_of(self, body: bytes) -> list[bytes] | None:
        """Return the frames of a result's value, if they were in parts."""
        parts = decode_result(body).parts if len(body) < MAY_HAVE_PARTS else None
        return None if parts is None else self._assembly.take(parts, "a result")

    def _add_memo(self, frame: Frame) -> None:
        """Add a result whose value stays in the journal."""
        self._frames_of(frame.body)  # checks that its parts are there, and lets go of them
        self.past.known.see(frame)
        self._refer_to(frame.number, key_of(frame.body))

    def _refer_to(self, number: int, key: bytes, *, again: bool = False) -> None:
        if key in self.past.known:
            self.past.results.append(RecordedResult(number, key, by_key=True, again=again))

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
        past.steered = [each for each in past.steered if each[0] > covers]
        past.advised = [each for each in past.advised if each[0] > covers]
        self._missing = {n: error for n, error in self._missing.items() if n > covers}


def _succeeded(recorded: RecordedResult) -> bool:
    return recorded.by_key or decode_result(recorded.body).settled.ended_as == "succeeded"
