"""The page of a run as one file, which opens without a server and prints well.

Scripts, styles and data are in it; nothing is fetched. Its policy names its own scripts by their
digests, so that no name that a user gave can become another one.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import secrets
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from steerio.dashboard.assets import PAGE, SCRIPTS, STYLE, page_file, plotly_script
from steerio.dashboard.broadcast import Watched
from steerio.dashboard.run_follower import watch
from steerio.edge.system.own_files import to_json
from steerio.errors import UsageError
from steerio.view.answers import SpanWindow, TaskStory
from steerio.view.snapshot import RunSnapshot

BEGINS = b"<!doctype html>"
"""The beginning of a page."""
NAME = "report.html"
"""The name of a report in its run directory."""
MOST_SPANS = 20_000
"""Tasks of a run whose attempts a report has one by one, and the stories of some.

Of a longer run it has shares of time by worker, and failures.
"""
MOST_STORIES = 500
"""Tasks whose causes and consequences a report has."""
STORIES_BYTES = 4_000_000
"""Of these stories together, at most."""
STORIES_S = 60.0
"""For how long stories are told: the logs of workers are searched for each failure."""


class _Details(msgspec.Struct, frozen=True):
    """The answers to questions that a live page asks of its server."""

    spans: SpanWindow | None
    stories: dict[str, TaskStory]


def write_report(run_dir: Path | str, out: Path | str | None = None) -> Path:
    """Write the report of a run, and return its path.

    Args:
        run_dir: the run directory; the run may have ended in any way, or go on.
        out: the file to write, which is replaced if it is there and a page; ``report.html`` in the
            run directory by default.

    Raises:
        UsageError: there is no record, or it cannot be read, or the file not be written, or is
            there and no page.
    """
    target = Path(run_dir) / NAME if out is None else Path(out)
    _check_replaces(target)
    with watch(Path(run_dir)) as watched:
        while watched.advance():
            pass
        page = report_of(watched)
    try:
        _write_whole(target, page)
    except OSError as error:
        raise UsageError(f"the report {target} cannot be written: {error.strerror}") from None
    return target


def _check_replaces(target: Path) -> None:
    """Refuse to replace anything but a page.

    Raises:
        UsageError: something else is there.
    """
    if target.is_dir():
        raise UsageError(f"{target} is a folder: name a file for the report in it")
    with contextlib.suppress(OSError), target.open("rb") as file:
        beginning = file.read(len(BEGINS))
        if beginning and beginning.lower() != BEGINS:
            raise UsageError(f"{target} is there and no page: name another file, or remove it")


def report_of(watched: Watched) -> bytes:
    """Return the page of a run that has been read, with all that it shows."""
    snapshot = watched.snapshot()
    snapshot = msgspec.structs.replace(snapshot, gantt=watched.gantt())
    details = _Details(None, {})
    if snapshot.header.tasks <= MOST_SPANS:  # to look a task of a longer record up takes a while
        spans = watched.spans(snapshot.header.began, snapshot.header.until, MOST_SPANS)
        stories = dict(_stories(watched, snapshot, spans))
        details = _Details(None if spans.left_out else spans, stories)
    return _page(snapshot, details)


def _stories(
    watched: Watched, snapshot: RunSnapshot, spans: SpanWindow
) -> Iterator[tuple[str, TaskStory]]:
    """Yield the stories of tasks: of failures and those around them first, then of others."""
    bad = [group.last_task for group in snapshot.failure_groups]
    bad += [failure.task_id for failure in snapshot.failures]
    waiting = deque(dict.fromkeys(bad))
    others = deque(span.task_id for span in spans.spans)
    told: set[int] = set()
    left, until = STORIES_BYTES, time.monotonic() + STORIES_S
    while (waiting or others) and left > 0 and len(told) < MOST_STORIES:
        if time.monotonic() >= until:
            return
        number = waiting.popleft() if waiting else others.popleft()
        if number in told:
            continue
        story = watched.story(number)
        if story.state == "unknown":
            continue
        told.add(number)
        left -= len(to_json(story))
        if story.failure is not None:
            waiting.extend(each.task_id for each in (*story.before, *story.after))
        yield str(number), story


# ---- the file ------------------------------------------------------------------------------------


def _page(snapshot: RunSnapshot, details: _Details) -> bytes:
    scripts = [_as_inline(page_file(name)) for name in SCRIPTS]
    plotly = plotly_script()
    if plotly is not None:
        scripts.insert(0, _as_inline(plotly.read_bytes()))
    digests = [base64.b64encode(hashlib.sha256(script).digest()).decode() for script in scripts]
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src "
        + " ".join(f"'sha256-{digest}'" for digest in digests)
    )
    page = page_file(PAGE)
    page = re.sub(rb"<script [^>]*></script>\n", b"", page)
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'.encode()
    page = page.replace(b'<meta charset="utf-8">', b'<meta charset="utf-8">\n' + meta, 1)
    link = f'<link rel="stylesheet" href="{STYLE}">'.encode()
    page = page.replace(link, b"<style>\n%b</style>" % page_file(STYLE), 1)
    held = _held("held-snapshot", snapshot) + _held("held-details", details)
    inlined = b"".join(b"<script>%b</script>\n" % script for script in scripts)
    return page.replace(b"</body>", held + inlined + b"</body>", 1)


def _held(name: str, value: Any) -> bytes:
    """Return a value as the text of an element: ``<`` is written so that it begins no other."""
    text = to_json(value).replace(b"<", rb"\u003c")
    return b'<script type="application/json" id="%b">%b</script>\n' % (name.encode(), text)


def _as_inline(script: bytes) -> bytes:
    """Return a script so that nothing in its strings ends its element."""
    return re.sub(rb"<(/script|!--)", rb"<\\\1", script, flags=re.IGNORECASE)


def _write_whole(target: Path, content: bytes) -> None:
    """Write a file under a name of its own first, so that it is there whole or not at all."""
    first = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with first.open("xb") as file:
            file.write(content)
        first.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            first.unlink()
        raise
