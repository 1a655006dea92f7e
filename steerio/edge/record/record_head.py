"""The head of a record: a small file that names its schema, and the process that writes it.

The lines themselves stay plain, so that one line of pandas reads them.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from steerio.edge.record.owners import Identity, this_process
from steerio.edge.system.own_files import from_json, to_json, write_own
from steerio.version import __version__

HEAD_FILE = "record.json"
SCHEMA = 3
"""The version of the columns; a column that is added, or that means something else, raises it."""


class RecordHead(Struct, frozen=True):
    """The head of a record.

    Attributes:
        schema: the version of the columns that its lines have by now.
        steerio: the version that wrote it last.
        began: when the first process began to write it, in Unix seconds.
        incarnation: the number of the process that wrote it last, from 1.
        writer: that process.
        closed: whether it has closed the record.
    """

    schema: int
    steerio: str
    began: float
    incarnation: int
    writer: Identity
    closed: bool = False


def read_head(folder: Path) -> RecordHead | None:
    """Return the head of the record in a run directory; ``None``: it has none that can be read.

    Versions of steerio before the first schema wrote none.
    """
    path = folder / HEAD_FILE
    try:
        if path.is_symlink() or not path.is_file():
            return None
        return from_json(path.read_bytes(), RecordHead)
    except (OSError, msgspec.DecodeError):
        return None


def begin_head(folder: Path, written_by: int) -> RecordHead:
    """Write the head for an incarnation that begins, and return it.

    Args:
        folder: the run directory.
        written_by: the incarnation that wrote the last line; 0 if there is no line.

    Raises:
        OSError: it cannot be written.
    """
    before = read_head(folder)
    head = RecordHead(
        schema=SCHEMA if before is None else max(SCHEMA, before.schema),
        steerio=__version__,
        began=time.time() if before is None else before.began,
        incarnation=1 + (written_by if before is None else max(written_by, before.incarnation)),
        writer=this_process(),
    )
    _write(folder, head)
    return head


def close_head(folder: Path, head: RecordHead) -> None:
    """Note that an incarnation has closed the record, unless there is a later one by now.

    If that cannot be noted, others see that its process is gone.
    """
    with contextlib.suppress(OSError):
        if read_head(folder) == head:
            _write(folder, msgspec.structs.replace(head, closed=True))


def _write(folder: Path, head: RecordHead) -> None:
    write_own(folder / HEAD_FILE, to_json(head, indent=2) + b"\n")
