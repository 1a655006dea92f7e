"""The cards by which notebooks show pools, results, tasks, boards, and how far some tasks are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from steerio.model.durations import say_s
from steerio.model.markup import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    PALE,
    RED,
    Markup,
    badge,
    bar,
    card,
    code,
    facts,
    folded,
    joined,
    quiet,
    table,
)
from steerio.model.showing import short, short_name
from steerio.model.status import PoolLoad

COLOURS = {
    "succeeded": GREEN,
    "failed": RED,
    "timed_out": RED,
    "lost": RED,
    "cancelled": GREY,
    "running": BLUE,
}
"""The colours of ends and states; of those that are not named: amber."""
MOST_POOLS = 50
"""Further pools are counted."""


def call_in_short(task_type: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return a call as it would be written, with its arguments in short."""
    given = [*map(short, args), *(f"{name}={short(value)}" for name, value in kwargs.items())]
    return f"{short_name(task_type)}({', '.join(given)})"


def state_badge(state: str) -> Markup:
    """Return the state of a task, or the way it ended, on its colour."""
    return badge(state.replace("_", " "), COLOURS.get(state, AMBER))


def result_card(result: Any) -> Markup:
    """Return the card of a result."""
    error = getattr(result, "error", None)
    parts: list[tuple[str, object]] = [
        ("call", code(call_in_short(result.task_type, result.args, result.kwargs)))
    ]
    if result.ended_as == "succeeded":
        parts.append(("value", code(short(result.value))))
        parts.append(("recalled from", result.recalled))
    elif error is not None:
        parts.append(("error", code(f"{error.type}: {error.message}")))
    elif result.ended_as == "timed_out":
        parts.append(("because", f"it ran longer than {result.timeout_s:g} s"))
    else:
        parts.append(("because", result.reason))
    parts += _travelled(result)
    below: list[object] = [facts(parts)]
    if error is not None and error.traceback:
        below.append(folded("traceback", error.traceback))
    title = f"Task {result.task_id} {short_name(result.task_type)}"
    return card(title, below, state_badge(result.ended_as))


def _travelled(result: Any) -> list[tuple[str, object]]:
    """Return where and when a task ran, its tags, and its cause."""
    timings = result.timings
    times: list[str] = []
    if timings.started is not None and timings.queued is not None:
        times.append(f"waited {say_s(timings.started - timings.queued)}")
    if timings.run_s is not None:
        times.append(f"ran {say_s(timings.run_s)}")
    on = f" on {result.worker}" if result.worker else ""
    tried = f", attempt {result.attempt}" if result.attempt > 1 else ""
    return [
        ("time", ", ".join(times) + (on if times else "") + (tried if times else "")),
        ("tags", _tags(result.tags)),
        ("submitted by", result.cause),
    ]


def _tags(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in tags.items())


def task_card(
    number: int, call: str, state: str, pool: str, tags: Mapping[str, str], cause: str
) -> Markup:
    """Return the card of a task that has not ended."""
    told: list[tuple[str, object]] = [
        ("call", code(call)),
        ("pool", pool),
        ("tags", _tags(tags)),
        ("submitted by", cause),
    ]
    title = f"Task {number} {call.partition('(')[0]}"
    return card(title, [facts(told)], state_badge(state))


def pools_table(pools: Mapping[str, PoolLoad]) -> Markup:
    """Return a table of pools, with a bar of the workers of each."""
    if not pools:
        return quiet("no pools")
    rows: list[list[object]] = []
    for name, load in list(pools.items())[:MOST_POOLS]:
        parts = [(load.busy, GREEN, "busy"), (load.idle, PALE, "idle")]
        parts.append((load.starting, GREY, "starting"))
        said = f"{load.busy}/{load.workers}"
        more = joined([quiet(word) for word in _pool_words(load)], " ")
        rows.append([name, bar(parts, load.workers), said, load.queued, more])
    found = table(["pool", "", "busy", "queued", ""], rows)
    rest = len(pools) - MOST_POOLS
    return joined([found, quiet(f"and {rest} more pools")]) if rest > 0 else found


def _pool_words(load: PoolLoad) -> list[str]:
    counts = [(load.starting, "starting"), (load.draining, "draining"), (load.promised, "promised")]
    words = [f"{count} {what}" for count, what in counts if count]
    if load.paused:
        words.append(f"paused {load.paused}")
    if load.stalled:
        words.append(f"stalled: {load.stalled}")
    if load.failure:
        words.append(f"given up: {load.failure}")
    return words


def board_card(
    task_type: str, waiting: int, running: int, ended: int, best: Iterable[tuple[Any, float]]
) -> Markup:
    """Return the card of a board, with its best entries and their scores."""
    parts = [(ended, GREEN, "ended"), (running, BLUE, "running"), (waiting, PALE, "waiting")]
    told = f"{waiting} waiting, {running} running, {ended} ended"
    rows = [(code(short(key)), f"{score:.6g}") for key, score in best]
    top = [table(["best that wait", "score"], rows)] if rows else []
    whole = waiting + running + ended
    head = joined([bar(parts, whole), told], " ")
    return card(f"Board of {short_name(task_type)}", [head, *top])


def ends_line(ended: Mapping[str, int], whole: int, words: str) -> Markup:
    """Return a bar of the tasks that ended, by kind, and words on them."""
    bad = sum(ended.get(kind, 0) for kind in ("failed", "timed_out", "lost"))
    parts = [
        (ended.get("succeeded", 0), GREEN, "done"),
        (bad, RED, "did not succeed"),
        (ended.get("cancelled", 0), GREY, "cancelled"),
    ]
    line = joined([bar(parts, whole), words], " ")
    return Markup(f"<div>{line}</div>")


def failures_list(failures: Iterable[object]) -> list[Markup]:
    """Return the last failures, one a line."""
    return [Markup(f"<div>{code(failure)}</div>") for failure in failures]


def notes_line(notes: Mapping[str, float]) -> list[Markup]:
    """Return notes in a line, if there are any."""
    if not notes:
        return []
    shown = [joined([quiet(name), f"{value:.6g}"], " ") for name, value in notes.items()]
    return [Markup(f"<div>{joined(shown, ' &nbsp; ')}</div>")]
