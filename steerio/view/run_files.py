"""The files of a run directory, read on as they grow: its whole lines, and the facts in the others.

A last line of which a part is written is read again when it is whole. Nothing is written and
nothing is locked, so a run is not slowed by being looked at.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast

import msgspec

from steerio.edge.record.export_files import fields_of, said_of_run
from steerio.edge.record.record_head import read_head
from steerio.edge.record.record_lines import open_regular
from steerio.model.showing import short
from steerio.session.recorded_runs import state_of
from steerio.session.run_dir import PARAMETERS, SUMMARY
from steerio.view.shown_view import RunFacts

T = TypeVar("T")
CHUNK = 1 << 20
"""Bytes that are read at a time; more if a line is longer."""
LIVE = frozenset({"running", "unknown"})
"""The states in which a run may go on."""


class LinesDecoder(Protocol[T]):
    """A decoder of lines of JSON, as msgspec has them."""

    def decode(self, line: bytes, /) -> T:
        """Return the value of one line."""
        ...

    def decode_lines(self, data: bytes, /) -> list[T]:
        """Return the values of some lines."""
        ...


class FollowedFile(Generic[T]):
    """A file of lines that grows.

    Args:
        path: the file; it need not be there yet.
        decoder: of its lines.
    """

    def __init__(self, path: Path, decoder: LinesDecoder[T]) -> None:
        self.path = path
        self.offset = 0
        """The bytes that are read, up to the end of a line."""
        self.unread = 0
        """Lines that could not be read."""
        self._decoder = decoder

    def __repr__(self) -> str:
        return f"<FollowedFile {self.path} at {self.offset}>"

    def read(self) -> tuple[list[T], bytes]:
        """Return the next whole lines, and the text of all of them; none if there are none now.

        Raises:
            OSError: it cannot be read.
        """
        data = self._chunk()
        self.offset += len(data)
        if not data:
            return [], b""
        try:
            data.decode()  # the decoder passes over fields that it does not know
            return self._decoder.decode_lines(data), data
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            return self._one_by_one(data)

    def _chunk(self) -> bytes:
        try:
            file = open_regular(self.path)
        except FileNotFoundError:
            return b""
        with file:
            size = os.fstat(file.fileno()).st_size
            if size < self.offset:  # another file of that name
                self.offset = size
            length = CHUNK
            while True:
                data = os.pread(file.fileno(), length, self.offset)
                end = data.rfind(b"\n")
                if end >= 0:
                    return data[: end + 1]
                if len(data) < length:
                    return b""
                length *= 2

    def _one_by_one(self, data: bytes) -> tuple[list[T], bytes]:
        found: list[T] = []
        readable: list[bytes] = []
        for line in data.splitlines(keepends=True):
            try:
                line.decode()
                found.append(self._decoder.decode(line))
                readable.append(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self.unread += 1
        return found, b"".join(readable)


def facts_of(folder: Path, joined: str) -> RunFacts:
    """Return all that the other files of a run directory say.

    Raises:
        OSError: they cannot be read.
    """
    parameters, summary = said_of_run(folder, PARAMETERS), said_of_run(folder, SUMMARY)
    state, holder = state_of(folder)
    live = state in LIVE
    bounds = {
        name: float(bound)
        for name, bound in fields_of(parameters.get("limits")).items()
        if isinstance(bound, int | float) and not isinstance(bound, bool)
    }
    facts = {
        name: value if isinstance(value, str) else _text(value)
        for name, value in parameters.items()
        if name not in ("campaign", "limits", "joined") and value not in (None, {}, [])
    }
    if holder:
        facts["process"] = holder
    head, seconds = read_head(folder), summary.get("seconds")
    return RunFacts(
        run=folder.resolve().name,
        campaign=str(parameters.get("campaign", "")).rpartition(":")[2],
        state=state,
        live=live,
        because="" if live else str(summary.get("because", "")),
        joined=joined,
        bounds=bounds,
        facts=facts,
        seconds=float(seconds) if isinstance(seconds, int | float) and not live else None,
        incarnation=1 if head is None else head.incarnation,
    )


def began_of(folder: Path) -> float:
    """Return when the run began, if no line tells; 0 if nothing does."""
    head = read_head(folder)
    if head is not None:
        return head.began
    try:
        started = said_of_run(folder, PARAMETERS).get("started")
        return datetime.fromisoformat(str(started)).timestamp()
    except ValueError:
        return 0.0


def _text(value: Any) -> str:
    """Return a value of ``parameters.json`` as text."""
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return ", ".join(f"{name}={short(item)}" for name, item in pairs)
    return " ".join(map(str, cast("Any", value))) if isinstance(value, list) else str(value)
