"""The figures of a snapshot as tables of text: for terminals, logs and mails."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise

from msgspec import Struct

from steerio.model.durations import say_s
from steerio.model.places import say_bytes
from steerio.model.showing import counted
from steerio.session.tally import ends_in_words
from steerio.view.snapshot import (
    IDLE_CAUSES,
    NoteSeries,
    PoolView,
    RunSnapshot,
    Series,
    Spread,
    StallView,
)
from steerio.view.task_figures import ENDS

MOST_ROWS = 12
"""Rows of a table of which there may be many."""
SPARKS = "▁▂▃▄▅▆▇█"
PLAIN_SPARKS = ".:-=+*#@"
"""The same for terminals that have no other characters."""
CURVE = 24
"""Characters of a small curve."""


class Figures(Struct, frozen=True):
    """One table: its title, its columns, and rows as long as these; all but the first are right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def headline(snapshot: RunSnapshot) -> str:
    """Return the state of a run in a line."""
    header, ends = snapshot.header, snapshot.ends
    state = header.state if header.state != "cut off" else "was cut off"
    kinds = {kind: getattr(ends, kind) for kind in ENDS}
    name = header.campaign or header.run
    rate = f"{ends.rate if header.live else ends.mean_rate:.3g}/s"
    line = f"{name} {state}, {say_s(header.until - header.began)}: "
    line += f"{ends_in_words(kinds)}, {rate}"
    if header.open_tasks:
        line += f"; {header.open_tasks} open"
    if header.left_s is not None:
        line += f"; about {say_s(header.left_s)} left"
    return line


def remarks(snapshot: RunSnapshot) -> Iterator[str]:
    """Yield further remarks on the run, each in a line."""
    header = snapshot.header
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(header.began))
    line = f"{header.run}, from {began}"
    if header.incarnation > 1:
        line += f", written by {header.incarnation} processes"
    yield line
    if header.joined:
        yield f"the record is that of the broker in {header.joined}, with all its campaigns"
    if header.because:
        yield f"because: {header.because.strip().partition(chr(10))[0]}"
    for limit in header.limits:
        yield f"limit {limit.name}: {limit.used:g} of {limit.bound:g}"
    for pool in snapshot.pools:
        if pool.failed:
            yield f"pool {pool.name} has failed: {pool.failed}"
        elif pool.paused:
            yield f"pool {pool.name} is paused {pool.paused}"
        elif pool.stalled:
            yield f"nothing can go on in pool {pool.name}: {pool.stalled}"
    yield from _held(snapshot.stalls)
    if header.unread:
        yield f"{counted(header.unread, 'line')} of the record could not be read"


def _held(stalls: Sequence[StallView]) -> Iterator[str]:
    """Say which agent has held the event loop for longest, if one has."""
    if stalls:
        stall, others = stalls[0], len(stalls) - 1
        line = f"{stall.agent or 'something'} held the event loop for {say_s(stall.total_s)} in all"
        line += f", {say_s(stall.longest_s)} at most, at {stall.where}"
        yield line + (f"; so did {counted(others, 'other')}" if others else "")


def all_figures(snapshot: RunSnapshot) -> Iterator[Figures]:
    """Yield all tables that have a row."""
    for table in (
        pool_figures(snapshot),
        board_figures(snapshot),
        _ends(snapshot),
        idle_figures(snapshot),
        _times(snapshot),
        _types(snapshot),
        _causes(snapshot),
        _stalls(snapshot),
        failure_figures(snapshot),
        note_figures(snapshot),
        _versions(snapshot),
        _marks(snapshot),
    ):
        if table.rows:
            yield table


def pool_figures(snapshot: RunSnapshot) -> Figures:
    """Return the pools, as they are now and over time."""
    columns = ("pool", "workers", "busy", "idle", "starting", "lent", "queued", "oldest", "used")
    return Figures("Pools", (*columns, "busy over time"), tuple(map(_pool, snapshot.pools)))


def _pool(pool: PoolView) -> tuple[str, ...]:
    numbers = (pool.workers, pool.busy, pool.idle, pool.starting, pool.lent, pool.queued)
    return (
        pool.name,
        *map(str, numbers),
        say_s(pool.oldest_s) if pool.queued else "",
        f"{pool.busy_share:.0%}",
        curve(pool.busy_bins),
    )


def board_figures(snapshot: RunSnapshot) -> Figures:
    """Return the boards of campaigns, as they are now and over time."""
    rows = tuple(
        (
            board.name,
            board.pool,
            *map(str, (board.waiting, board.out, board.ended)),
            say_s(board.oldest_s) if board.waiting else "",
            curve(board.waiting_bins),
        )
        for board in snapshot.boards[:MOST_ROWS]
    )
    columns = ("board", "pool", "waiting", "out", "ended", "oldest", "waiting over time")
    return Figures("Boards", columns, rows)


def _ends(snapshot: RunSnapshot) -> Figures:
    ends = snapshot.ends
    counts = {
        "succeeded": ends.succeeded,
        "failed": ends.failed,
        "cancelled": ends.cancelled,
        "timed out": ends.timed_out,
        "lost": ends.lost,
        "tried again": ends.retried,
    }
    bins = {
        "succeeded": ends.succeeded_bins,
        "failed": ends.failed_bins,
        "cancelled": ends.cancelled_bins,
        "timed out": ends.timed_out_bins,
        "lost": ends.lost_bins,
    }
    rows = tuple(
        (name, str(count), curve(bins.get(name, ()))) for name, count in counts.items() if count
    )
    return Figures("Ends", ("tasks", "count", "over time"), rows)


def idle_figures(snapshot: RunSnapshot) -> Figures:
    """Return the time of workers: in tasks, and without one by cause."""
    idle = snapshot.idle
    whole = idle.busy_s + idle.total_s
    parts = {"busy": idle.busy_s, **{name: idle.by_cause[name] for name in IDLE_CAUSES}}
    rows = tuple(
        (name.replace("_", " "), say_s(seconds), f"{seconds / whole:.1%}")
        for name, seconds in parts.items()
        if whole and seconds
    )
    return Figures("Time of workers", ("cause", "in all", "share"), rows)


def _times(snapshot: RunSnapshot) -> Figures:
    spreads = {
        "reaction of agents": snapshot.reaction,
        "submission": snapshot.decision,
        "queue": snapshot.queueing,
        "to the worker": snapshot.dispatch,
        "run": snapshot.run,
        "report": snapshot.report,
    }
    rows = tuple((name, *_spread(spread)) for name, spread in spreads.items() if spread.count)
    sizes = {"arguments": snapshot.args_bytes, "values": snapshot.value_bytes}
    rows += tuple(
        (name, *_spread(spread, of_bytes=True)) for name, spread in sizes.items() if spread.most
    )
    return Figures("Times and sizes", ("of a task", "10 %", "median", "90 %", "99 %", "most"), rows)


def _spread(spread: Spread, *, of_bytes: bool = False) -> tuple[str, ...]:
    numbers = (spread.p10, spread.p50, spread.p90, spread.p99, spread.most)
    return tuple(say_bytes(int(number)) if of_bytes else say_s(number) for number in numbers)


def _types(snapshot: RunSnapshot) -> Figures:
    rows = tuple(
        (
            kind.task_type,
            kind.pool,
            str(kind.succeeded),
            str(kind.failed + kind.cancelled + kind.timed_out + kind.lost),
            str(kind.retried),
            say_s(kind.run.p50),
            say_s(kind.run.p99),
            say_s(kind.wait.p50),
        )
        for kind in snapshot.types[:MOST_ROWS]
    )
    columns = ("type", "pool", "succeeded", "not well", "again", "run", "run 99 %", "wait")
    return Figures("Task types", columns, rows)


def _causes(snapshot: RunSnapshot) -> Figures:
    rows = tuple(
        (
            each.cause or "(session)",
            str(each.ended),
            str(each.failed),
            say_s(each.run_s),
            say_s(each.reaction.p50) if each.reaction.count else "",
        )
        for each in snapshot.causes[:MOST_ROWS]
    )
    return Figures("Agents", ("submitted by", "ended", "not well", "run", "reaction"), rows)


def _stalls(snapshot: RunSnapshot) -> Figures:
    rows = tuple(
        (
            stall.agent,
            str(stall.count),
            say_s(stall.total_s),
            say_s(stall.longest_s),
            stall.where,
        )
        for stall in snapshot.stalls[:MOST_ROWS]
    )
    columns = ("agent", "times", "in all", "longest", "which was at")
    return Figures("Event loop held by", columns, rows)


def failure_figures(snapshot: RunSnapshot, most: int = MOST_ROWS) -> Figures:
    """Return the failures that are alike, the most frequent first."""
    rows = tuple(
        (
            f"{group.error or group.ended_as.replace('_', ' ')}",
            group.task_type,
            str(group.count),
            str(group.last_task),
        )
        for group in snapshot.failure_groups[:most]
    )
    return Figures("Not well", ("error", "type", "count", "last task"), rows)


def note_figures(snapshot: RunSnapshot) -> Figures:
    """Return the quantities that the campaign noted."""
    rows = tuple(
        (
            note.name,
            *(f"{number:.6g}" for number in (note.last, note.least, note.most)),
            str(note.count),
            curve(_between(note)),
        )
        for note in snapshot.notes[:MOST_ROWS]
    )
    return Figures("Noted", ("quantity", "last", "least", "most", "times", "over tasks"), rows)


def _versions(snapshot: RunSnapshot) -> Figures:
    rows = tuple(
        (
            version.name,
            str(version.newest),
            say_bytes(version.nbytes),
            str(version.uses),
            f"{version.lag.p50:.3g}",
            f"{version.lag.most:.3g}",
            say_s(version.age_s.p50),
        )
        for version in snapshot.versions[:MOST_ROWS]
    )
    columns = ("version", "newest", "size", "used", "behind", "at most", "age")
    return Figures("Versions", columns, rows)


def _marks(snapshot: RunSnapshot) -> Figures:
    counts: dict[tuple[str, str], int] = {}
    for mark in snapshot.marks:
        where = f"{mark.source} to {mark.pool}" if mark.source else mark.pool
        key = mark.kind.replace("_", " "), where
        counts[key] = counts.get(key, 0) + mark.count
    rows = tuple((kind, where, str(count)) for (kind, where), count in counts.items())
    return Figures("Events", ("event", "pool", "count"), rows[:MOST_ROWS])


def _between(note: NoteSeries) -> Series:
    """Return the values of a quantity, moved so that the least of them is 0."""
    finite = [value for value in note.value if abs(value) < float("inf")]
    least = min(finite, default=0.0)
    return tuple(value - least if value in finite else 0.0 for value in note.value)


def curve(numbers: Sequence[float], width: int = CURVE) -> str:
    """Return a small curve of numbers that are not negative, in characters."""
    if not numbers or max(numbers) <= 0:
        return ""
    count = min(width, len(numbers))
    edges = [round(index * len(numbers) / count) for index in range(count + 1)]
    means = [sum(numbers[a:b]) / (b - a) for a, b in pairwise(edges) if b > a]
    most = max(means)
    return "".join(SPARKS[min(7, int(8 * mean / most))] if mean > 0 else " " for mean in means)


def encoded(text: str, encoding: str | None) -> str:
    """Return a text with other characters for small curves, if an encoding lacks them."""
    try:
        SPARKS.encode(encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return text.translate(str.maketrans(SPARKS, PLAIN_SPARKS))
    return text
