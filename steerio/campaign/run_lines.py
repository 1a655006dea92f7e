"""The state of a run as lines of text for a terminal of any width, with or without colour.

Pure: the same look gives the same lines. A line is a list of pieces, each with its style; `plain`
joins their texts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping

from msgspec import Struct

from steerio.model.durations import spoken
from steerio.model.showing import in_one_line
from steerio.model.status import PoolLoad
from steerio.session.tally import FailedTask

Piece = tuple[str, str]
"""A text and its style: empty, or a name of rich's."""
Line = list[Piece]

WIDEST_BAR = 24
NARROWEST_BAR = 6
BESIDE_BAR = 30
"""Columns that the numbers of a pool take beside its name and bar."""
WIDEST_NAME = 20


class RunLook(Struct, frozen=True):
    """A run at one moment.

    Attributes:
        name: of the campaign; ``seconds``: since it began.
        on_boards: entries that wait on its boards.
        done: tasks that succeeded, ``recalled`` of them without a worker; ``bad``: the ends of the
            others, in words.
        rate: tasks a second, of the whole time; ``now``: of the last seconds.
        left: the time left, in words, or empty.
        pools: their loads; ``notes``: the latest of each.
        failures: the last tasks that did not succeed.
        troubles: why nothing can go on, and the like, one a line.
        stopping: why it ends, and the step of its end; or empty.
    """

    name: str
    seconds: float
    on_boards: int
    done: int
    recalled: int
    bad: str
    rate: float
    now: float
    left: str
    pools: Mapping[str, PoolLoad]
    notes: Mapping[str, float]
    failures: tuple[FailedTask, ...]
    troubles: tuple[str, ...]
    stopping: str


def run_lines(look: RunLook, width: int, height: int = 24, *, blocks: bool = True) -> list[Line]:
    """Return the lines that show a run.

    Args:
        look: the run.
        width: columns of the terminal.
        height: its lines, of which one is left free.
        blocks: whether the terminal can show characters beyond ASCII.
    """
    head: Line = [(look.name, "bold"), (spoken(look.seconds), "")]
    recalled = f" ({look.recalled} recalled)" if look.recalled else ""
    head.append((f"{look.done} done{recalled}", "green"))
    if look.bad:
        head.append((look.bad, "red"))
    if look.on_boards:
        head.append((f"{look.on_boards} on boards", ""))
    head.append((f"{look.now:.1f}/s now, {look.rate:.1f}/s in all", ""))
    if look.left:
        head.append((look.left, "bold"))
    lines = packed(head, width)
    tail: list[Line] = []
    if look.notes:
        notes = [(f"{in_one_line(k)}={v:.6g}", "cyan") for k, v in look.notes.items()]
        tail += packed(notes, width)
    tail += [[(str(failure), "red")] for failure in look.failures]
    tail += [line for text in look.troubles for line in folded(text, width, "yellow")]
    if look.stopping:
        tail += folded(f"stopping: {look.stopping}", width, "yellow")
    room = max(height - 1, 4)
    for_pools = max(room - len(lines) - len(tail), 3)
    lines = lines[: room - 1] + pool_lines(look.pools, width, for_pools, blocks=blocks) + tail
    more = "…" if blocks else "..."
    return [cut_to(line, width, more) for line in lines[:room]]


def pool_lines(
    pools: Mapping[str, PoolLoad], width: int, most: int, *, blocks: bool = True
) -> list[Line]:
    """Return a line for each pool: a bar of its workers, and numbers; of many, the first."""
    shown = list(pools.items())
    rest = len(shown) - most
    if rest > 0:
        shown = shown[: most - 1]
    widest = min(max([cells(name) for name in pools], default=0), WIDEST_NAME, width // 3)
    room = width - widest - BESIDE_BAR
    bar_width = min(WIDEST_BAR, room) if room >= NARROWEST_BAR else 0
    lines: list[Line] = []
    for name, load in shown:
        line: Line = [*padded(in_one_line(name, 100), widest), (" ", "")]
        if bar_width:
            line += [*bar(load, bar_width, blocks=blocks), (" ", "")]
        line.append((f"{load.busy}/{load.workers} busy", ""))
        words = [(load.queued, "queued"), (load.starting, "starting"), (load.draining, "draining")]
        between = ", " if width < 60 else "  "
        line += [(f"{between}{n} {what}", "") for n, what in words if n]
        if load.paused:
            line.append((f"{between}paused {in_one_line(load.paused, 100)}", "yellow"))
        lines.append(line)
    if rest > 0:
        lines.append([(f"and {rest + 1} more pools", "dim")])
    return lines


def padded(text: str, width: int) -> Line:
    """Return a text in just so many columns."""
    line = cut_to([(text, "bold")], width)
    return [*line, (" " * (width - sum(cells(part) for part, _ in line)), "")]


def bar(load: PoolLoad, width: int, *, blocks: bool = True) -> Line:
    """Return a bar of the workers of a pool: busy, idle, and not ready yet."""
    full, half, empty = ("█", "░", "·") if blocks else ("#", "-", ".")
    workers = max(load.workers, 1)
    busy = share(load.busy, workers, width)
    idle = min(share(load.idle, workers, width), width - busy)
    return [
        (full * busy, "green"),
        (half * idle, "yellow"),
        (empty * (width - busy - idle), "dim"),
    ]


def share(part: int, whole: int, width: int) -> int:
    """Return how many of ``width`` cells a part takes: none only for none, all only for all."""
    if part <= 0:
        return 0
    if part >= whole:
        return width
    return min(max(round(width * part / whole), 1), width - 1)


def packed(pieces: Iterable[Piece], width: int) -> list[Line]:
    """Return pieces side by side, two spaces apart, in as many lines as they need."""
    lines: list[Line] = []
    used = 0
    for text, style in pieces:
        needed = cells(text)
        if lines and used + 2 + needed <= width:
            lines[-1] += [("  ", ""), (text, style)]
            used += 2 + needed
        else:
            lines.append([(text, style)])
            used = needed
    return lines


def folded(text: str, width: int, style: str) -> list[Line]:
    """Return a text in lines that break between words; one that is too long is not broken."""
    words = [(word, style) for word in in_one_line(text, 500).split()]
    lines: list[Line] = []
    used = 0
    for word, _ in words:
        needed = cells(word)
        if lines and used + 1 + needed <= width:
            lines[-1] = [(f"{lines[-1][0][0]} {word}", style)]
            used += 1 + needed
        else:
            lines.append([(word, style)])
            used = needed
    return lines


def cut_to(line: Line, width: int, more: str = "…") -> Line:
    """Return a line that fits into a width; one that was longer ends in ``more``."""
    if sum(cells(text) for text, _ in line) <= width:
        return line
    room = max(width - len(more), 0)
    short: Line = []
    for text, style in line:
        kept = ""
        for character in text:
            room -= cells(character)
            if room < 0:
                return [*short, (kept, style), (more[:width], "dim")]
            kept += character
        short.append((kept, style))
    return short


def cells(text: str) -> int:
    """Return how many columns a text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def plain(line: Line) -> str:
    """Return a line without its styles."""
    return "".join(text for text, _ in line)
