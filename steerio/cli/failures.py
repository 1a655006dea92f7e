"""Failures as users see them: with their own lines, and without ours."""

from __future__ import annotations

import functools
import traceback
from pathlib import Path
from types import TracebackType

import click

from steerio.errors import SteerioError, leaves

OURS = str(Path(__file__).parents[1])


@functools.cache
def not_the_users() -> tuple[str, ...]:
    """Return the beginnings of the names of files that are no user's."""
    import sysconfig  # only for failures: a run that goes well starts without it

    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return ("<frozen", OURS, *(sysconfig.get_path(name) for name in names))


def show_failure(group: BaseExceptionGroup[BaseException]) -> None:
    """Show why a campaign failed: our own errors in words, all others with their traceback."""
    for error in leaves(group):
        if not isinstance(error, SteerioError):
            show_traceback(error)
            continue
        place = traceback.extract_tb(from_the_user(error.__traceback__), limit=1)
        where = f" in {place[0].name} ({place[0].filename}:{place[0].lineno})" if place else ""
        click.echo(f"steerio: {type(error).__name__}{where}: {error}", err=True)


def show_traceback(error: BaseException) -> None:
    """Show an exception and its causes, each from the user's own line on."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    if any(from_the_user(link.__traceback__) for link in chain):
        for link in chain:
            trace = link.__traceback__
            link.__traceback__ = from_the_user(trace) or _after_ours(trace)
    elif isinstance(error, SyntaxError):
        error.__traceback__ = None
    traceback.print_exception(error)


def from_the_user(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from its first line that is neither ours nor a library's."""
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(not_the_users()):
            return trace
        trace = trace.tb_next
    return None


def _after_ours(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without lines of the user from behind our last line."""
    rest = trace
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith(OURS):
            rest = trace.tb_next
        trace = trace.tb_next
    return rest
