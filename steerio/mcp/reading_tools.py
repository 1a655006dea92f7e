"""The tools that only read: a run as a whole, its tasks, failures, events, questions and orders."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Any

from steerio.edge.record.record_files import EVENTS_FILE, TASKS_FILE
from steerio.edge.record.task_past import past_of
from steerio.errors import BrokerLost, OrderRefused, UsageError
from steerio.mcp import tool_inputs as ti
from steerio.mcp.marked_answers import ToolAnswer
from steerio.mcp.overview_parts import counts_of, names_of
from steerio.mcp.seen_run import ASK_S, SeenRun
from steerio.model.campaign_orders import CampaignView
from steerio.view.audit_lines import audited
from steerio.view.questions import story_of
from steerio.view.record_search import lines_with
from steerio.view.recorded_events import EventQuery, events_behind, last_events
from steerio.view.seen_lines import details_of
from steerio.view.snapshot import FailureView
from steerio.view.things_noted import raw_text
from steerio.view.told_story import story_lines

PRINTED = 20
"""Lines that a task printed, in its story."""
HIDDEN = frozenset({"host", "pid"})
"""Fields of events that an assistant has no use for."""
MOST_ANSWERED = 20
"""Questions that were answered, the last ones."""
ENDED = "the run takes no orders now: it has ended, or its broker does not answer"
"""Why there is nothing to be seen but the record."""


async def overview(run: SeenRun, asked: ti.OverviewInput) -> ToolAnswer:
    """Tell the run as a whole."""
    snapshot, whole = await run.snapshot()
    view, why_not = await look(run, asked.campaign)
    facts = {
        "live": snapshot.header.live,
        "takes_orders": view is not None,
        "record_read_to_its_end": whole,
        "your_role": run.gate.role,
        **counts_of(snapshot),
    }
    if view is not None:
        facts["at_event"] = view.at_event
    data = names_of(snapshot, view)
    if why_not:
        data["takes_no_orders"] = why_not
    return ToolAnswer(facts, data)


async def look(run: SeenRun, campaign: str) -> tuple[CampaignView | None, str]:
    """Return the campaign at a glance, or why it cannot be looked at."""
    try:
        async with asyncio.timeout(ASK_S):
            session = await run.session()
            return await session.look(campaign or run.campaign), ""
    except OrderRefused as error:
        return None, error.reason
    except (BrokerLost, TimeoutError):
        return None, ENDED


async def tasks(run: SeenRun, asked: ti.TasksInput) -> ToolAnswer:
    """Tell the stories of tasks."""
    told: list[dict[str, Any]] = []
    for task_id in asked.ids:
        lines, state = await _story(run, task_id, asked.depth)
        told.append({"task_id": task_id, "state": state, "story": lines})
    return ToolAnswer({"tasks": len(told)}, told)


async def _story(run: SeenRun, task_id: int, depth: int) -> tuple[list[str], str]:
    try:
        past = await run.in_thread(past_of, run.record, task_id, depth)
    except UsageError:
        now = await _why(run, task_id)
        return ([now], "not ended") if now else (["the run has no such task"], "unknown")
    now = "" if past.task is not None else await _why(run, task_id)
    silence = "the broker of the run tells no more"
    state = "not ended" if past.task is None else str(past.task.get("ended_as"))
    return [*story_lines(past, now, silence, PRINTED)], state


async def _why(run: SeenRun, task_id: int) -> str:
    """Return why a task waits now; empty if that is not known."""
    try:
        async with asyncio.timeout(ASK_S):
            return await (await run.session()).client.requests.why(task_id)
    except (BrokerLost, TimeoutError):
        return ""


async def results(run: SeenRun, asked: ti.ResultsInput) -> ToolAnswer:
    """Tell how tasks ended, and their values in short."""
    found = [await run.in_thread(result_of, run.record, task_id) for task_id in asked.ids]
    ended = sum(each["state"] == "ended" for each in found)
    return ToolAnswer({"tasks": len(found), "ended": ended}, found)


def result_of(record: Path, task_id: int) -> dict[str, Any]:
    """Return how a task ended, or how far it is, from the record.

    Raises:
        UsageError: it cannot be read.
    """
    line = line_of(record, task_id)
    if line is None:
        story = story_of(record, task_id)
        return {"task_id": task_id, "state": story.state, "task_type": story.task_type}
    task, text = line
    details = details_of(text)
    return {
        "task_id": task_id,
        "state": "ended",
        "ended_as": task.ended_as,
        "task_type": task.task_type,
        "pool": task.pool,
        "args": raw_text(details.args),
        "value": raw_text(details.value),
        "error": task.error or task.reason or "",
        "value_bytes": task.value_bytes,
    }


def line_of(record: Path, task_id: int) -> Any:
    """Return the line of a task that has ended, with its text; ``None`` if it has not.

    Raises:
        UsageError: the record cannot be read.
    """
    try:
        lines = lines_with(record / TASKS_FILE, b'"task_id":%d,' % task_id, task_id)
        return next(lines, None)
    except OSError as error:
        raise UsageError(f"the record cannot be read: {error.strerror}") from None


async def failures(run: SeenRun, asked: ti.FailuresInput) -> ToolAnswer:
    """Tell the last tasks that did not end well."""
    snapshot, whole = await run.snapshot()
    ends = snapshot.ends
    facts = {
        "failed": ends.failed,
        "cancelled": ends.cancelled,
        "timed_out": ends.timed_out,
        "lost": ends.lost,
        "record_read_to_its_end": whole,
    }
    return ToolAnswer(facts, [_failure(each) for each in snapshot.failures[: asked.last]])


def _failure(failure: FailureView) -> dict[str, Any]:
    return {
        "task_id": failure.task_id,
        "task_type": failure.task_type,
        "pool": failure.pool,
        "ended_as": failure.ended_as,
        "error_type": failure.error_type,
        "message": failure.message,
        "traceback": failure.traceback,
        "args": failure.args,
        "worker": failure.worker,
        "submitted_by": failure.cause,
        "attempts": failure.attempts,
        "at": failure.at,
        "run_s": failure.run_s,
    }


async def events(run: SeenRun, asked: ti.EventsInput) -> ToolAnswer:
    """Tell events of the record."""
    query = EventQuery(asked.types, asked.pool, asked.task_id)
    try:
        if asked.since is None:
            found = await run.in_thread(last_events, run.record, asked.most, query)
        else:
            since = asked.since
            found = await run.in_thread(events_behind, run.record, since, asked.most, query)
    except OSError as error:
        raise UsageError(f"the record cannot be read: {error.strerror}") from None
    facts = {"events": len(found.events), "next_since": found.until, "more": found.more}
    return ToolAnswer(facts, [_shown(event) for event in found.events])


def _shown(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in HIDDEN}


async def questions(run: SeenRun, asked: ti.QuestionsInput) -> ToolAnswer:
    """Tell the open questions, and the last answers, or ends without an answer."""
    view, why_not = await look(run, asked.campaign)
    query = EventQuery(("Answered", "QuestionClosed"))
    answered = []
    if (run.record / EVENTS_FILE).is_file():
        found = await run.in_thread(last_events, run.record, MOST_ANSWERED, query)
        answered = [_shown(event) for event in found.events]
    data: dict[str, Any] = {"answered": answered}
    if view is not None:
        data["open"] = [
            {
                "question": each.number,
                "text": each.text,
                "options": each.options,
                "by": each.by,
                "seconds_left": each.left_s,
                "default": each.default,
            }
            for each in view.questions
        ]
    else:
        data["takes_no_orders"] = why_not
    return ToolAnswer({"open": len(view.questions) if view else 0}, data)


async def audit(run: SeenRun, asked: ti.AuditInput) -> ToolAnswer:
    """Tell the last orders and questions of the run."""
    lines = await run.in_thread(_last_audited, run.record, asked.last)
    return ToolAnswer({"lines": len(lines)}, lines)


def _last_audited(record: Path, most: int) -> list[str]:
    try:
        return [*deque(audited(record), maxlen=most)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"the record cannot be read: {error.strerror}") from None
