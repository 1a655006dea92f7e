"""Run directories, with the parameters, log and record of a run."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec

from steerio.edge.record.broker_file import FILE as BROKER
from steerio.edge.system.own_files import from_json, make_own_folder, to_json, writing_to
from steerio.errors import UsageError
from steerio.model.showing import counted, in_words

log = logging.getLogger("steerio.session")

LOG_FILE = "campaign.log"
TASKS = "tasks.jsonl"
JOURNAL = "journal"
"""The folder of the journal in a run directory."""
PARAMETERS, SUMMARY = "parameters.json", "summary.json"
TOKENS = "tokens.json"
"""The file with the access tokens of the run's dashboard."""
TOKENS_LOCK = "tokens.lock"
"""The empty file that a process locks while it changes the tokens."""
_files: set[logging.Handler] = set()
"""The files of the log now: campaigns of one process overlap."""
_level_is_ours: list[bool] = []
"""Not empty while we have set the level of the log."""


def make_run_dir(asked: Path | str | None, name: str) -> Path:
    """Return a fresh run directory: the one asked for, or ``runs/NAME-TIME``.

    Raises:
        UsageError: it holds another run already, or runs in folders of their own, or cannot be made
            or written to.
    """
    path = Path(asked) if asked is not None else Path("runs") / name.lower()
    if asked is not None:
        refuse_used(asked)
    with writing_to(path):
        if asked is None:
            path = _make_dated(path)
        make_own_folder(path)
        (path / LOG_FILE).touch()
    return path


def reopen_run_dir(asked: Path | str) -> Path:
    """Return the run directory of a run to go on with, which may not have begun.

    Raises:
        UsageError: it holds a run without a journal, or other runs in folders of their own, or
            cannot be made or written to.
    """
    refuse_nameless(asked)
    path = Path(asked)
    journal = path / JOURNAL
    with writing_to(path):
        # in this order, as another process may just be making them, and its journal first
        has_tasks = (path / TASKS).exists()
        if journal.exists() and not journal.is_dir():
            raise UsageError(f"{journal} is not a folder, as the journal of a run is")
        if has_tasks and not journal.is_dir():
            raise UsageError(
                f"{path} holds a run without a journal, which cannot be resumed: name a fresh "
                "run directory"
            )
        if not journal.exists():
            _refuse_folder_of_runs(path)
        _refuse_links(path)
        make_own_folder(path)
        (path / LOG_FILE).touch()
    return path


def reopen_for_broker(asked: Path | str) -> Path:
    """Return the run directory of a standing broker for another that goes on with its record.

    Raises:
        UsageError: it cannot be written to, or a link is in the place of a file.
    """
    path = Path(asked)
    with writing_to(path):
        _refuse_links(path)
        (path / LOG_FILE).touch()
    return path


def refuse_campaigns(asked: Path | str) -> None:
    """Refuse a run directory that has the record of a campaign, for a broker.

    Raises:
        UsageError: it has.
    """
    path = Path(asked)
    with writing_to(path):
        if (path / TASKS).exists() or (path / JOURNAL).exists():
            raise UsageError(f"{path} holds the run of a campaign: name a fresh run directory")


def refuse_used(asked: Path | str) -> None:
    """Refuse a run directory that has a record, or links in the place of its files.

    Raises:
        UsageError: it holds another run already, or runs in folders of their own, or has no name.
    """
    refuse_nameless(asked)
    path = Path(asked)
    with writing_to(path):
        if (path / BROKER).exists():
            raise UsageError(
                f"{path} is the run directory of a broker: name a fresh one, and to use that "
                f"broker join={str(path)!r}, or --join"
            )
        if (path / TASKS).exists() or (path / JOURNAL).exists():
            raise UsageError(
                f"{path} holds another run already; name a fresh run directory, or go on with that "
                f"run: resume={str(path)!r}, or steerio resume"
            )
        _refuse_folder_of_runs(path)
        _refuse_links(path)


def _refuse_folder_of_runs(path: Path) -> None:
    """Refuse a folder in which others are run directories: one of those was meant."""
    runs = sorted(each.parent.name for each in path.glob(f"*/{PARAMETERS}"))
    if runs:
        raise UsageError(
            f"{path} holds no run itself, but {counted(len(runs), 'run')} in folders of their own, "
            f"such as {path / runs[-1]}: name one of these, or a fresh run directory"
        )


def refuse_nameless(asked: Path | str) -> None:
    """Refuse a run directory that has no name, which would be the current folder.

    Raises:
        UsageError: it has none.
    """
    if asked == "":
        raise UsageError("the run directory has no name: name a fresh one, or none at all")


def _refuse_links(path: Path) -> None:
    links = [name for name in (LOG_FILE, PARAMETERS, SUMMARY) if (path / name).is_symlink()]
    if links:
        raise UsageError(
            f"{path / links[0]} is a link, through which nothing is written; name a fresh run "
            "directory"
        )


def _make_dated(path: Path) -> Path:
    """Make a fresh folder, named like ``path`` with the time behind it."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")  # noqa: DTZ005 - people read it
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        fresh = path.with_name(f"{path.name}-{stamp}" + (f"-{number}" if number > 1 else ""))
        with contextlib.suppress(FileExistsError):
            fresh.mkdir(mode=0o700)
            return fresh
    raise AssertionError("numbers do not end")


def write_values(path: Path, name: str, values: dict[str, Any]) -> None:
    """Write values to a JSON file of a run directory.

    Raises:
        UsageError: the run directory cannot be written to.
    """
    text = to_json(values, in_words, indent=2)
    with writing_to(path):
        (path / name).write_bytes(text + b"\n")


def write_summary(path: Path, summary: dict[str, Any]) -> None:
    """Record how the run ended."""
    text = to_json(summary, in_words, indent=2)
    try:
        (path / SUMMARY).write_bytes(text + b"\n")
    except OSError as error:  # the campaign's own end is worth more
        log.warning("no summary could be written to %s: %s", path, error.strerror or error)


def remove_summary(path: Path) -> None:
    """Remove the record of an end: the run goes on.

    Raises:
        UsageError: the run directory cannot be written to.
    """
    with writing_to(path):
        (path / SUMMARY).unlink(missing_ok=True)


def is_complete(path: Path) -> bool:
    """Say whether the run there is known to have ended by itself."""
    try:
        summary = from_json((path / SUMMARY).read_bytes(), dict[str, Any])
        return bool(summary["ended"] == "completed" and not summary["limited"])
    except (OSError, KeyError, msgspec.DecodeError):
        return False


@contextlib.contextmanager
def logging_to(path: Path, *, terminal: bool = True) -> Generator[None, None, None]:
    """Send steerio's log to the run directory; with ``terminal``, warnings to the terminal, too.

    Raises:
        UsageError: the run directory cannot be written to.
    """
    with writing_to(path):
        file = logging.FileHandler(path / LOG_FILE, encoding="utf-8", errors="backslashreplace")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handlers: list[logging.Handler] = [file]
    if terminal:
        shown = logging.StreamHandler()
        shown.setLevel(logging.WARNING)
        shown.setFormatter(logging.Formatter("steerio: %(message)s"))
        handlers.append(shown)
    logger = logging.getLogger("steerio")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
        _level_is_ours.append(True)
    _files.add(file)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
        _files.discard(file)
        if _level_is_ours and not _files:
            _level_is_ours.clear()
            logger.setLevel(logging.NOTSET)
