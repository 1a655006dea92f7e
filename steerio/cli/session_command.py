"""``steerio session``: the names of detached sessions, listed and dropped."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from msgspec import Struct

from steerio.broker.ledger import Ledger
from steerio.edge.record.ledger_files import FolderOnDisk
from steerio.edge.system.own_files import to_json
from steerio.edge.wire.connection import FILE_NAME
from steerio.errors import JournalDamaged, SteerioError, UsageError
from steerio.model.showing import counted, printable, short
from steerio.session.opening import connect
from steerio.session.task import Task

ANSWER_S = 10.0
"""How long a broker is waited for."""
CANCELLED_S = 60.0
"""How long tasks that are cancelled may take to end."""
REASON = "its detached session is dropped"


class LeftSession(Struct, frozen=True):
    """The detached sessions of one name.

    Attributes:
        name: the name.
        state: ``here`` (a session of it is open), ``away``, or ``unknown`` (no broker tells).
        ended: tasks whose results are kept; ``open_tasks``: tasks that have not ended.
        trouble: why its tasks are not known, if they are not.
    """

    name: str
    state: str
    ended: int = 0
    open_tasks: int = 0
    trouble: str = ""


def list_sessions(run_dir: str, as_json: bool) -> None:
    """Print the names of detached sessions that have tasks in a run directory.

    Raises:
        UsageError: there is no such folder.
    """
    found = _found(Path(run_dir))
    if as_json:
        click.echo(to_json(found, indent=2))
        return
    for each in found:
        tasks = each.trouble or f"{each.ended} ended, {each.open_tasks} not"
        click.echo(printable(f"{each.name} ({each.state}): {tasks}"))
    if not found:
        click.echo(f"no detached session has tasks in {run_dir}")


def drop_session(run_dir: str, name: str, cancel: bool) -> None:
    """Forget the tasks of the detached sessions of a name, and so the name.

    Args:
        run_dir: the broker's run directory.
        name: the name.
        cancel: whether tasks that have not ended are cancelled.

    Raises:
        UsageError: there is no such name, a session of it is open, tasks have not ended, or no
            broker runs there.
    """
    found = {each.name: each for each in _found(Path(run_dir))}
    if name not in found:
        there = ", ".join(map(short, found)) or "none"
        raise UsageError(
            f"no detached session {short(name)} has tasks in {run_dir} (there: {there})"
        )
    if found[name].state == "here":
        raise UsageError(f"a session of the name {short(name)} is open: end it first")
    count = asyncio.run(_drop(run_dir, name, cancel))
    click.echo(printable(f"dropped {name}: {counted(count, 'task')} forgotten"))


def _found(folder: Path) -> list[LeftSession]:
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    ledgers = FolderOnDisk(folder)
    names = ledgers.names()
    clients = asyncio.run(_clients(folder)) if names else None
    found: list[LeftSession] = []
    for name in names:
        away = clients is not None and f"{name} (away)" in clients
        here = clients is not None and name in clients
        state = "away" if away else "here" if here else "unknown"
        try:
            ledger = Ledger(ledgers.read(name), 0, 0)
        except (JournalDamaged, OSError) as error:
            found.append(LeftSession(name, state, trouble=str(error)))
            continue
        if not ledger.empty or state != "unknown":
            found.append(
                LeftSession(name, state, len(ledger) - ledger.outstanding_count,
                            ledger.outstanding_count)
            )  # fmt: skip
    return found


async def _clients(folder: Path) -> list[str] | None:
    """Return the clients that the broker has; ``None``, if none answers."""
    if not (folder / FILE_NAME).exists():
        return None
    try:
        async with asyncio.timeout(ANSWER_S), connect(folder) as session:
            return (await session.status()).clients
    except (TimeoutError, SteerioError):
        return None


async def _drop(run_dir: str, name: str, cancel: bool) -> int:
    async with connect(run_dir, name=name, detach=True) as session:
        await session.status()  # by then the results are here
        tasks = list(session.earlier)
        left = [task for task in tasks if not task.done]
        if left and not cancel:
            verb = "has" if len(left) == 1 else "have"
            raise UsageError(
                f"{counted(len(left), 'task')} of {short(name)} {verb} not ended: --cancel cancels "
                "them; the results of the others are kept as well"
            )
        session.cancel(left, REASON)
        await _end(left)
        session.forget(*tasks)
        return len(tasks)


async def _end(tasks: list[Task[object]]) -> None:
    """Await the ends of tasks.

    Raises:
        UsageError: that takes too long.
    """
    try:
        async with asyncio.timeout(CANCELLED_S):
            for task in tasks:
                await task.result()
    except TimeoutError:
        raise UsageError(
            f"tasks that are cancelled have not ended within {CANCELLED_S:g} s: try again later"
        ) from None
