"""The runs in a folder, as their run directories tell: state, tasks, size. Nothing is changed."""

from __future__ import annotations

import re
import stat
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from steerio.edge.record.broker_file import FILE as BROKER_FILE
from steerio.edge.record.broker_file import KEPT_FILE
from steerio.edge.record.disk import Folder
from steerio.edge.record.owners import Hold, Identity, hold_of, look, this_process
from steerio.edge.record.record_files import EVENTS_FILE, TASKS_FILE
from steerio.edge.record.record_head import HEAD_FILE, RecordHead, read_head
from steerio.edge.record.record_lines import endings, open_regular
from steerio.edge.system.own_files import from_json
from steerio.edge.wire.connection import FILE_NAME, NAMES, read_connection
from steerio.edge.wire.prompt_place import PLACE_FILE
from steerio.errors import UsageError
from steerio.launch.finding import has_ended
from steerio.launch.stores import OBJECTS
from steerio.session.run_dir import JOURNAL, LOG_FILE, PARAMETERS, SUMMARY, TOKENS, TOKENS_LOCK

RunState = Literal[
    "running", "unknown", "completed", "limited", "interrupted", "failed", "ended", "cut off"
]
"""How a run stands. Of a broker that has ended in order there is no more to say than that;
``unknown``: its process may be alive, on another host, say."""
ENDED: frozenset[RunState] = frozenset({"completed", "limited", "interrupted", "failed", "ended"})
"""The states of runs that have ended in order."""
RESUMABLE: frozenset[RunState] = frozenset({"limited", "interrupted", "failed", "cut off"})
"""The states of runs that have more to do, if they have a journal."""
OWN_FOLDERS = (JOURNAL, OBJECTS)
OWN_FILES = frozenset(
    {TASKS_FILE, EVENTS_FILE, HEAD_FILE, LOG_FILE, PARAMETERS, SUMMARY, *NAMES.values()}
    | {BROKER_FILE, KEPT_FILE, PLACE_FILE, TOKENS, TOKENS_LOCK, "random_seed", "workers.log"}
)
_OWN_NAME = re.compile(r"workers-rank\d+\.log|\.[a-z]+\.json\.[0-9a-f]{8}")
"""Other names of files that steerio writes: logs of ranks, and files half written."""


class RecordedRun(Struct, frozen=True):
    """A run, as its run directory has it.

    Attributes:
        path: of the run directory.
        campaign: the name of the campaign's class; ``broker``: there is none.
        began: when it began, in Unix seconds; ``None``: that is not known.
        changed: when it was last written to, in Unix seconds.
        state: how it stands; ``holder``: the process that has it, in words, if one has or may.
        incarnation: the number of the process that wrote the record last; 0: not known.
        resumable: whether it has more to do, and the journal to go on from.
        tasks: how many of its tasks have ended, by their end.
        nbytes: the size of its files; ``journal_nbytes``: of those, the journal's.
    """

    path: Path
    campaign: str
    began: float | None
    changed: float
    state: RunState
    holder: str
    incarnation: int
    resumable: bool
    tasks: dict[str, int]
    nbytes: int
    journal_nbytes: int


def find_runs(folder: Path) -> list[Path]:
    """Return the run directories in a folder, or itself if it is one; links are not followed.

    Raises:
        UsageError: there is no such folder, or it cannot be read.
    """
    if is_run(folder):
        return [folder]
    try:
        return [path for path in sorted(folder.iterdir()) if is_run(path)]
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror or error}") from None


def is_run(folder: Path) -> bool:
    """Say whether a folder, which is no link, holds a run."""

    def has(*names: str) -> bool:
        return all(_is(stat.S_ISREG, folder / name) for name in names)

    return _is(stat.S_ISDIR, folder) and (
        has(TASKS_FILE, EVENTS_FILE)
        or has(LOG_FILE, PARAMETERS)
        or (_is(stat.S_ISDIR, folder / JOURNAL) and _has_owner(folder / JOURNAL))
    )


def recorded_run(folder: Path) -> RecordedRun:
    """Return the run of a run directory.

    Raises:
        OSError: it cannot be read.
    """
    head, parameters = read_head(folder), _values(folder / PARAMETERS)
    state, holder = state_of(folder)
    journal = _is(stat.S_ISDIR, folder / JOURNAL)
    sizes = dict(sizes_of(folder))
    began = _began(parameters) if head is None else head.began
    return RecordedRun(
        path=folder,
        campaign=str(parameters.get("campaign", "broker")).rpartition(":")[2],
        began=began,
        changed=max((each.st_mtime for each in sizes.values()), default=0.0),
        state=state,
        holder=holder,
        incarnation=0 if head is None else head.incarnation,
        resumable=journal and state in RESUMABLE,
        tasks=_tasks(folder),
        nbytes=sum(each.st_size for each in sizes.values()),
        journal_nbytes=sum(
            each.st_size for path, each in sizes.items() if path.parent == folder / JOURNAL
        ),
    )


def state_of(folder: Path) -> tuple[RunState, str]:
    """Return how the run of a run directory stands, and the process that has it, if one has.

    Raises:
        OSError: it cannot be read.
    """
    head, summary = read_head(folder), _values(folder / SUMMARY)
    holds = [hold for hold in _holds(folder, head) if hold[0] != "free"]
    if holds:
        hold, holder = min(holds)  # held comes before unknown
        return ("running" if hold == "held" else "unknown"), holder
    match summary.get("ended"):
        case "completed":
            return ("limited" if summary.get("limited") else "completed"), ""
        case "interrupted" | "failed" as ended:
            return ended, ""
        case _:
            pass
    if head is not None and head.closed and not _is(stat.S_ISDIR, folder / JOURNAL):
        return "ended", ""
    known = head is not None or _has_owner(folder / JOURNAL)
    return ("cut off" if known else "unknown"), ""


def sizes_of(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Yield the files of a run directory and of the folders in it, each with its status.

    Files that are gone meanwhile are passed over.
    """
    for path in sorted(folder.iterdir()):
        try:
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode):
                yield from sizes_of(path)
            else:
                yield path, found
        except FileNotFoundError:
            continue


def is_own(name: str) -> bool:
    """Say whether a file of this name in a run directory is one that steerio writes."""
    return name in OWN_FILES or _OWN_NAME.fullmatch(name) is not None


def _holds(folder: Path, head: RecordHead | None) -> Iterator[tuple[Hold, str]]:
    """Yield whether a process has the run, by each of the files that tell."""
    me = this_process()
    if _is(stat.S_ISDIR, folder / JOURNAL):
        hold, _, file = look(Folder(folder / JOURNAL), me)
        yield hold, "" if file is None else _in_words(file.identity)
    if head is not None and not head.closed:
        yield hold_of(head.writer, me), _in_words(head.writer)
    if _is(stat.S_ISREG, folder / FILE_NAME):
        try:
            connection = read_connection(folder)
        except UsageError:  # of another version, or another user
            yield "unknown", ""
            return
        process = f"process {connection.pid} on {connection.host}"
        if not has_ended(connection):
            yield ("held" if connection.counted_here else "unknown"), process


def _in_words(process: Identity) -> str:
    return f"process {process.pid} on {process.host}"


def _tasks(folder: Path) -> dict[str, int]:
    """Return how many tasks have ended, by their end; by the summary if they are elsewhere."""
    if _is(stat.S_ISREG, folder / TASKS_FILE):
        return dict(Counter(endings(folder)).most_common())
    summary = _values(folder / SUMMARY)
    counts = {"succeeded": summary.get("succeeded"), "failed": summary.get("did_not_succeed")}
    return {name: count for name, count in counts.items() if isinstance(count, int) and count}


def _values(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file; nothing if it has none that can be read."""
    try:
        with open_regular(path) as file:
            return from_json(file.read(), dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return {}


def _began(parameters: dict[str, Any]) -> float | None:
    try:
        return datetime.fromisoformat(str(parameters.get("started"))).timestamp()
    except ValueError:
        return None


def _has_owner(journal: Path) -> bool:
    try:
        return any(path.suffix == ".owner" for path in journal.iterdir())
    except OSError:
        return False


def _is(kind: Any, path: Path) -> bool:
    try:
        return bool(kind(path.lstat().st_mode))
    except OSError:
        return False
