"""``steerio why``: tells the story of a task: its reasons, its wait, its end, and its effects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import msgspec

from steerio.edge.record.task_past import folder_of_record, past_of
from steerio.edge.record.tasks_found import Troubles, task_of_key, troubles_of
from steerio.edge.system.own_files import to_json
from steerio.edge.wire.connection import FILE_NAME
from steerio.errors import SteerioError, UsageError
from steerio.model.showing import counted, printable, short
from steerio.session.opening import connect
from steerio.view.told_story import brief, story_lines

LISTED = 10
"""The most tasks that failed, and that wait, which are listed."""
ASK_S = 10.0
"""How long a broker is waited for."""


def tell_why(run_dir: str, task: str | None, depth: int, lines: int, as_json: bool) -> None:
    """Print the story of a task, or which tasks have one that may be asked for.

    Args:
        run_dir: the run directory.
        task: the number or key of the task; ``None``: list those that failed or wait.
        depth: the number of steps that reasons are followed back.
        lines: how many of the last lines that it printed are shown.
        as_json: whether all is printed as JSON instead.

    Raises:
        UsageError: there is no record, or no such task.
    """
    folder = folder_of_record(Path(run_dir))
    if task is None:
        tell_troubles(run_dir, folder, as_json)
    elif task.isascii() and task.isdecimal():
        _tell_number(folder, int(task), task, depth, lines, as_json)
    else:
        _tell_number(folder, _number_of(folder, task), task, depth, lines, as_json)


def _number_of(folder: Path, key: str) -> int:
    """Return the number of the task of a key.

    Raises:
        UsageError: the record has none.
    """
    number = task_of_key(folder, key)
    if number is None:
        raise UsageError(
            f"no task with the key {short(key)} has ended in {folder}: the record has the key of a "
            "task once it has ended; name a task that goes on by its number"
        )
    return number


def _tell_number(
    folder: Path, number: int, said: str, depth: int, lines: int, as_json: bool
) -> None:
    try:
        past = past_of(folder, number, depth)
    except UsageError:
        now = asyncio.run(_ask(folder, number))[0]  # its events may not be recorded yet
        if not now:
            keyed = task_of_key(folder, said)
            if keyed is None:
                raise
            _tell_number(folder, keyed, "", depth, lines, as_json)  # its key looks like a number
            return
        known = {"task_id": number, "task": None, "now": now}
        click.echo(to_json(known, indent=2) if as_json else printable(f"task {number}: {now}"))
        return
    now, silence = ("", "") if past.task is not None else asyncio.run(_ask(folder, number))
    if as_json:
        click.echo(to_json({**msgspec.to_builtins(past), "now": now or None}, indent=2))
        return
    for line in story_lines(past, now, silence, lines):
        click.echo(printable(line))


def tell_troubles(run_dir: str, folder: Path, as_json: bool) -> None:
    """Print the last tasks of a run that failed, and those that wait."""
    found = troubles_of(folder, LISTED)
    numbers = [int(event["task_id"]) for event in found.waiting]
    told, _ = asyncio.run(_ask_all(folder, numbers)) if numbers else ([], "")
    now = dict(zip(numbers, told, strict=False))
    if as_json:
        click.echo(to_json({**msgspec.to_builtins(found), "now": now}, indent=2))
        return
    for line in _troubles(found, now, run_dir):
        click.echo(printable(line))


def _troubles(found: Troubles, now: Mapping[int, str], run_dir: str) -> Iterator[str]:
    if found.failed:
        last = "the last " if found.more_failed else ""
        yield f"{last}{counted(len(found.failed), 'task')} failed, timed out or lost"
        yield from (f"  {brief(task)}" for task in found.failed)
    if found.waiting:
        count = len(found.waiting) + found.more_waiting
        yield f"{counted(count, 'task')} that {'waits' if count == 1 else 'wait'} for a worker"
        for event in found.waiting:
            number = event["task_id"]
            why = f": {now[number]}" if now.get(number) else ""
            yield f"  task {number}: {event.get('task_type')}{why}"
        if found.more_waiting:
            yield f"  and {found.more_waiting} more"
    if found.failed or found.waiting:
        yield f"the story of one: steerio why {run_dir} TASK"
    else:
        yield "no task has failed, and none waits; the story of any: steerio why RUN_DIR TASK"


async def _ask(folder: Path, task_id: int) -> tuple[str, str]:
    """Return the reason why a task waits now, and why that is not known, if it is not."""
    told, silence = await _ask_all(folder, [task_id])
    now = told[0] if told else ""
    return now, silence if now or silence else "the broker does not have it any more"


async def _ask_all(folder: Path, numbers: Sequence[int]) -> tuple[list[str], str]:
    """Return the reasons why tasks wait now, and why these are not known, if they are not."""
    if not (folder / FILE_NAME).exists():
        return [], "no broker runs there"
    told: list[str] = []
    try:
        async with asyncio.timeout(ASK_S), connect(folder, name="why") as session:
            for number in numbers:
                told.append(await session.client.requests.why(number))
            return told, ""
    except TimeoutError:
        return told, f"the broker has not answered within {ASK_S:g} s"
    except SteerioError as error:
        return told, str(error)
