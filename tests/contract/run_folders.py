"""Run directories in all states, made by the parts that write them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec

from steerio.edge.record.opening_journals import open_folder
from steerio.edge.record.owners import Identity, this_process
from steerio.edge.record.record_files import RecordFiles
from steerio.edge.record.record_head import HEAD_FILE, read_head
from steerio.session.run_dir import JOURNAL, LOG_FILE, PARAMETERS, SUMMARY
from tests.contract.test_record_files import entry, published

FAR = msgspec.structs.replace(this_process(), host="far", machine="far", boot="far", pid=77)
"""A process of another host, which may be alive."""
DEAD = msgspec.structs.replace(this_process(), ticks=1)
"""A process of this machine that is gone: its number is another's by now."""


def make_run(
    folder: Path,
    ended: str | None = "completed",
    *,
    limited: bool = False,
    journal: bool = True,
    record: bool = True,
    writer: Identity | None = None,
    tasks: int = 2,
    age_s: float = 0.0,
) -> Path:
    """Make a run directory.

    Args:
        folder: the run directory.
        ended: as its summary says; ``None``: it has none.
        limited: whether a limit ended it.
        journal: whether it has one.
        record: whether it has the files of a record.
        writer: the process that has the journal and the record; by default it gave them up.
        tasks: how many have ended.
        age_s: how long ago it was last written to.
    """
    folder.mkdir(parents=True)
    (folder / LOG_FILE).touch()
    began = {"campaign": "search:Search", "started": "2026-01-02T03:04:05+00:00"}
    (folder / PARAMETERS).write_text(json.dumps(began))
    if record:
        files = RecordFiles(folder)
        files.write([entry(number) for number in range(tasks)], [published(None)])
        files.close()
        if writer is not None:
            change_head(folder, writer=writer, closed=False)
    if journal:
        make_journal(folder / JOURNAL, writer)
    if ended is not None:
        summary = {"ended": ended, "limited": limited, "succeeded": 5, "did_not_succeed": 1}
        (folder / SUMMARY).write_text(json.dumps(summary))
    set_age(folder, age_s)
    return folder


def make_journal(folder: Path, writer: Identity | None) -> None:
    folder.mkdir()
    opened = open_folder(folder)
    opened.writer.append([(1, b"one"), (1, b"two")])
    opened.writer.close()
    if writer is not None:
        (owner,) = folder.glob("*.owner")
        file = json.loads(owner.read_text())
        file |= {"identity": msgspec.to_builtins(writer), "released": False}
        owner.write_text(json.dumps(file))


def change_head(folder: Path, **changes: Any) -> None:
    head = read_head(folder)
    assert head is not None
    changed = msgspec.structs.replace(head, **changes)
    (folder / HEAD_FILE).write_bytes(msgspec.json.encode(changed))


def set_age(folder: Path, age_s: float) -> None:
    """Have all files look as if they were last written to so long ago."""
    for path in folder.rglob("*"):
        at = path.lstat().st_mtime - age_s
        os.utime(path, (at, at), follow_symlinks=False)
