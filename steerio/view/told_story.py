"""The story of a task in lines, told from its past: its reasons, its wait, its end, its effects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec

from steerio.edge.record.export_files import fields_of, listed
from steerio.edge.record.task_past import Reason, TaskPast
from steerio.model.campaign_orders import ORDERED_BY
from steerio.model.durations import say_s
from steerio.model.showing import counted

SHOWN = 100
"""The longest text of arguments, values and errors that is shown, in characters."""
FOLLOWED = 20
"""The number of tasks that followed of which each has a line."""


def story_lines(past: TaskPast, now: str, silence: str, lines: int) -> Iterator[str]:
    """Yield the lines of a story.

    Args:
        past: the past of the task.
        now: why it waits now, or empty.
        silence: why that is not known, if it is not.
        lines: how many of the last lines that it printed are shown.
    """
    yield _title(past)
    if past.task is not None:
        yield from _content(past.task)
    yield from _submitted(past)
    yield from _waited(past)
    for attempt in past.attempts:
        yield f"attempt {attempt.get('attempt')}: {_attempt(attempt)}"
    yield from _ended(past, now, silence)
    yield from _followed(past)
    yield from _several("printed", past.printed, lines)
    yield from _several("decided", past.decided, lines)


def _title(past: TaskPast) -> str:
    if past.task is not None:
        return f"task {past.task_id}: {past.task['task_type']}, {past.task['ended_as']}"
    last = past.events[-1]
    state = {"TaskQueued": "queued", "TaskRetried": "queued again", "TaskEnded": "ended"}
    said = state.get(str(last["type"]), "running")
    kind = next((e["task_type"] for e in past.events if "task_type" in e), "of unknown type")
    return f"task {past.task_id}: {kind}, {said}"


def _content(task: dict[str, Any]) -> Iterator[str]:
    tags = ", ".join(f"{name}={value}" for name, value in fields_of(task["tags"]).items())
    versions = ", ".join(f"{name} {number}" for name, number in fields_of(task["versions"]).items())
    for name, value in (("args", task["args"]), ("value", task["value"])):
        if value is not None:
            yield f"  {name}: {_short(value)}"
    for name, text in (("error", task["error"]), ("reason", task["reason"])):
        if text:
            yield f"  {name}: {_cut(str(text))}"
    for name, text in (("tags", tags), ("versions", versions)):
        if text:
            yield f"  {name}: {text}"
    if traceback := str(task.get("traceback") or ""):
        yield "  traceback:"
        yield from (f"    {line}" for line in traceback.splitlines())


def _submitted(past: TaskPast) -> Iterator[str]:
    task = past.task
    if task is None:
        return
    giver = fields_of(task["tags"]).get(ORDERED_BY)
    if task["cause"]:
        by, nothing = f"agent {task['cause']}", ", which handled no result then"
    elif giver:
        by, nothing = f"an order of {giver}", ""
    else:
        by, nothing = "a session, and no agent", ", which handled no result then"
    head = f"submitted at {_clock(task['created'])} by {by}"
    if not past.because:
        yield head + nothing
        return
    yield f"{head}, because of"
    yield from _reasons(past.because, "  ", task["created"])
    for stall in past.held:
        held = f"{stall.get('agent') or 'something'} held the event loop"
        length = _between(stall["at"] - stall["seconds"], stall["at"])
        yield f"  {held} for {length} until {_clock(stall['at'])}, at {stall.get('where')}"


def _reasons(reasons: Iterable[Reason], indent: str, until: Any) -> Iterator[str]:
    for reason in reasons:
        if reason.task is None:
            yield f"{indent}task {reason.task_id}, of which the record has no line"
            continue
        before = _between(reason.task["received"], until)
        line = f"{indent}{brief(reason.task)}, {before} before"
        if reason.repeated:
            yield f"{line} (told of above)"
            continue
        by = f" by agent {reason.task['cause']}" if reason.task["cause"] else ""
        if reason.because:
            yield f"{line}; submitted{by} because of"
            yield from _reasons(reason.because, indent + "  ", reason.task["created"])
        elif reason.more:
            further = counted(reason.more, "further result")
            yield f"{line}; submitted{by} because of {further} (--depth)"
        else:
            yield f"{line}; submitted{by}"


def _waited(past: TaskPast) -> Iterator[str]:
    queued = next((e for e in past.events if e["type"] == "TaskQueued"), None)
    at, pool = (queued["at"], queued["pool"]) if queued else (None, None)
    if past.task is not None:
        at, pool = past.task["queued"], pool or past.task["pool"]
    if at is None:
        return
    sent = past.attempts[0].get("sent") if past.attempts else None
    started = next((e["at"] for e in past.events if e["type"] == "TaskStarted"), None)
    until = sent if sent is not None else started
    if until is None and past.task is not None:
        until = past.task["received"]
    waited = "" if until is None else f", waited {_between(at, until)}"
    yield f"queued at {_clock(at)} in pool {pool!r}{waited}{_why_until(past, until)}"
    for stall in past.stalls:
        yield f"  the pool stalled at {_clock(stall['at'])}: {stall['reason']}"
    for event in past.events:
        if event["type"] == "TaskQueued" and event is not queued:
            yield f"queued at {_clock(event['at'])} in pool {event['pool']!r}"


def _why_until(past: TaskPast, until: Any) -> str:
    """Return why a worker took it just then."""
    end = past.wait
    if end is None:
        return ""
    ago = f"{_between(end.at, until)} before"
    match end.kind:
        case "joined":
            return f": worker {end.worker} joined {ago}"
        case "moved":
            return f": worker {end.worker} came from pool {end.source!r} {ago}"
        case _:
            return f": worker {end.worker} was busy with task {end.task_id} until {ago}"


def _attempt(attempt: dict[str, Any]) -> str:
    began = attempt.get("started") or attempt.get("sent")
    ended = attempt.get("ended") or attempt.get("received")
    where = f"worker {attempt.get('worker')} on node {attempt.get('node')}"
    where += _with([fields_of(each).get("worker") for each in listed(attempt.get("others"))])
    if began is None:
        return f"{attempt.get('reason')}; {where}"
    began_late = attempt.get("started") is not None and attempt.get("sent") is not None
    late = f", {_between(attempt['sent'], began)} after it was sent" if began_late else ""
    at = f"at {_clock(began)} for {_between(began, ended)}{late}"
    return f"{attempt.get('reason')}; {where}, {at}"


def _with(others: list[Any]) -> str:
    """Name the other workers of a gang."""
    return f", with {', '.join(map(str, others))}" if others else ""


def _ended(past: TaskPast, now: str, silence: str) -> Iterator[str]:
    if past.task is not None:
        after = _between(past.task["created"], past.task["received"])
        took = f"{after} after it was submitted"
        yield f"{past.task['ended_as']} at {_clock(past.task['received'])}, {took}"
        return
    for event in past.events:
        if event["type"] == "TaskStarted":
            others = _with(listed(event.get("others")))
            on = f"attempt {event['attempt']} on worker {event['worker']}{others}"
            yield f"sent at {_clock(event['at'])}: {on}"
        elif event["type"] == "TaskRetried":
            over = f"attempt {event['attempt']} was over: {event['reason']}"
            yield f"queued again at {_clock(event['at'])}: {over}"
    yield now or f"the record has no end of it, and {silence}"


def _followed(past: TaskPast) -> Iterator[str]:
    count = len(past.followed) + past.more_followed
    if not count:
        return
    yield f"{counted(count, 'task')} followed, because of it"
    for task in past.followed[:FOLLOWED]:
        by = f", by agent {task['cause']}" if task["cause"] else ""
        yield f"  {brief(task)}{by}"
    if count > FOLLOWED:
        yield f"  and {count - FOLLOWED} more (--json has {len(past.followed)})"


def _several(title: str, texts: tuple[str, ...], most: int) -> Iterator[str]:
    if not texts or not most:
        return
    left_out = max(0, len(texts) - most)
    rest = f" (the last {most} of {len(texts)}; --lines)" if left_out else ""
    yield f"{title}{rest}"
    for text in texts[left_out:]:
        yield f"  {text}"


# -- words ----------------------------------------------------------------------------------------


def brief(task: dict[str, Any]) -> str:
    """Return a task in a line."""
    args = "" if task["args"] is None else f" {_short(task['args'])}"
    end = str(task["ended_as"])
    if task["error"]:
        end = f"{end} ({_cut(str(task['error']))})"
    elif task["value"] is not None:
        end = f"gave {_short(task['value'])}"
    return f"task {task['task_id']}: {task['task_type']}{args} {end}"


def _short(value: Any) -> str:
    return _cut(msgspec.json.encode(value).decode())


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _clock(at: Any) -> str:
    """Return a time of day, as in the logs of workers."""
    if not isinstance(at, (int, float)):
        return "an unknown time"
    when = datetime.fromtimestamp(at)  # noqa: DTZ006 - people read it beside their logs
    return f"{when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03}"


def _between(begin: Any, end: Any) -> str:
    """Return a duration; clocks of several machines may differ a little, and none is below 0."""
    if not isinstance(begin, (int, float)) or not isinstance(end, (int, float)):
        return "an unknown time"
    return say_s(max(0.0, end - begin))
