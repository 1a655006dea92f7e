"""``steerio why``: tells the story of a task: its reasons, its wait, its end, and its effects."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec

from steerio.edge.record.task_past import folder_of_record, past_of
from steerio.edge.system.own_files import to_json
from steerio.edge.wire.connection import FILE_NAME
from steerio.errors import SteerioError, UsageError
from steerio.model.showing import printable
from steerio.session.opening import connect
from steerio.view.told_story import story_lines

ASK_S = 10.0
"""How long a broker is waited for."""


def tell_why(run_dir: str, task: int, depth: int, lines: int, as_json: bool) -> None:
    """Print the story of a task.

    Args:
        run_dir: the run directory.
        task: the number of the task.
        depth: the number of steps that reasons are followed back.
        lines: how many of the last lines that it printed are shown.
        as_json: whether all is printed as JSON instead.

    Raises:
        UsageError: there is no record, or no such task.
    """
    folder = folder_of_record(Path(run_dir))
    try:
        past = past_of(folder, task, depth)
    except UsageError:
        now = asyncio.run(_ask(folder, task))[0]  # its events may not be recorded yet
        if not now:
            raise
        known = {"task_id": task, "task": None, "now": now}
        click.echo(to_json(known, indent=2) if as_json else printable(f"task {task}: {now}"))
        return
    now, silence = ("", "") if past.task is not None else asyncio.run(_ask(folder, task))
    if as_json:
        click.echo(to_json({**msgspec.to_builtins(past), "now": now or None}, indent=2))
        return
    for line in story_lines(past, now, silence, lines):
        click.echo(printable(line))


async def _ask(folder: Path, task_id: int) -> tuple[str, str]:
    """Return the reason why a task waits now, and why that is not known, if it is not."""
    if not (folder / FILE_NAME).exists():
        return "", "no broker runs there"
    try:
        async with asyncio.timeout(ASK_S), connect(folder, name="why") as session:
            now = await session.client.requests.why(task_id)
            return now, "" if now else "the broker does not have it any more"
    except TimeoutError:
        return "", f"the broker has not answered within {ASK_S:g} s"
    except SteerioError as error:
        return "", str(error)
