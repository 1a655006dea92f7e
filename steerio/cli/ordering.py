"""``steerio steer``: a person's orders to a running campaign."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import click

from steerio.cli.steering import steering
from steerio.errors import UsageError
from steerio.model.campaign_orders import (
    Answer,
    CampaignView,
    CancelTasks,
    Checkpoint,
    Order,
    PauseAgent,
    QuestionView,
    RankTasks,
    ResumeAgent,
    SetParameter,
    StopCampaign,
    SubmitTask,
)
from steerio.model.showing import counted, printable
from steerio.model.status import Status


def show_campaign(run_dir: str, by: str, campaign: str) -> None:
    """Print a campaign's parameters, open questions, agents and pools."""
    view, status = asyncio.run(_look(run_dir, by, campaign))
    _echo(view.campaign + (f": it ends, {view.stopping}" if view.stopping else ""))
    for name, each in view.parameters.items():
        said = f" ({each.help.rstrip('.')})" if each.help else ""
        _echo(f"  parameter {name} = {each.value!r}: {each.allowed}{said}")
    for question in view.questions:
        _echo(f"  {_question(question)}")
    for name, agent in view.agents.items():
        state = "paused, " if agent.paused else ""
        counts = f"{agent.queued} queued, {agent.under_way} under way"
        _echo(f"  agent {name} ({agent.trigger}): {state}{counts}")
    for name, load in status.pools.items():
        state = f"paused {load.paused}, " if load.paused else ""
        work = f"{load.running} running, {load.queued} queued"
        _echo(f"  pool {name}: {state}{counted(load.workers, 'worker')}, {work}")


def show_questions(run_dir: str, by: str, campaign: str) -> None:
    """Print a campaign's open questions."""
    view, _ = asyncio.run(_look(run_dir, by, campaign))
    for question in view.questions:
        _echo(_question(question))
    if not view.questions:
        _echo("no question is open")


def set_parameter(setting: str, run_dir: str, by: str, **options: str | bool) -> None:
    """Give a parameter another value, written ``NAME=VALUE``.

    Raises:
        UsageError: it is not written so.
    """
    name, sign, value = setting.partition("=")
    if not sign or not name.strip():
        raise UsageError(f"{setting!r} sets nothing: say NAME=VALUE")
    _give(SetParameter(name.strip().replace("-", "_"), value), run_dir, by, **options)


def answer(words: Sequence[str], run_dir: str, by: str, **options: str | bool) -> None:
    """Answer an open question; its number may come first.

    Raises:
        UsageError: there are too many words.
    """
    has_number = len(words) > 1 and words[0].isdigit()
    choice = words[1:] if has_number else words
    if len(choice) != 1:
        raise UsageError(f"{' '.join(choice)!r} is not one choice: put it between quotes")
    _give(Answer(choice[0], int(words[0]) if has_number else 0), run_dir, by, **options)


def pause_agent(agent: str, run_dir: str, by: str, **options: str | bool) -> None:
    """Make no new call of a triggered method."""
    _give(PauseAgent(agent), run_dir, by, **options)


def resume_agent(agent: str, run_dir: str, by: str, **options: str | bool) -> None:
    """Make the calls of a paused method again."""
    _give(ResumeAgent(agent), run_dir, by, **options)


def checkpoint(run_dir: str, by: str, **options: str | bool) -> None:
    """Have a snapshot taken."""
    _give(Checkpoint(), run_dir, by, **options)


def stop_campaign(cancel: bool, run_dir: str, by: str, **options: str | bool) -> None:
    """End a campaign."""
    _give(StopCampaign(cancel), run_dir, by, **options)


def submit_task(
    run_dir: str,
    by: str,
    task_type: str,
    arguments: str,
    kwargs: Sequence[str],
    priority: float | None,
    **options: str | bool,
) -> None:
    """Submit a task; its arguments are written as JSON.

    Raises:
        UsageError: they are not written so.
    """
    args = _json(arguments, "the arguments")
    if type(args).__name__ != "list":
        raise UsageError(f"the arguments are a list, as in '[1, \"C\"]', not {arguments}")
    named: dict[str, Any] = {}
    for each in kwargs:
        name, sign, value = each.partition("=")
        if not sign or not name.isidentifier():
            raise UsageError(f"{each!r} is no keyword argument: say --kwarg NAME=JSON")
        if name in named:
            raise UsageError(f"--kwarg {name} is given twice: say it once")
        named[name] = _json(value, name)
    _give(SubmitTask(task_type, tuple(args), named, priority), run_dir, by, **options)


def cancel_tasks(tasks: Sequence[int], run_dir: str, by: str, **options: str | bool) -> None:
    """Cancel tasks."""
    _give(CancelTasks(tuple(tasks)), run_dir, by, **options)


def rank_tasks(
    tasks: Sequence[int], priority: float, run_dir: str, by: str, **options: str | bool
) -> None:
    """Give queued tasks another priority."""
    _give(RankTasks(tuple(tasks), priority), run_dir, by, **options)


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(
            f"{what} cannot be read as JSON ({error}): a text is written '\"C\"'"
        ) from None


def _give(
    order: Order,
    run_dir: str,
    by: str,
    reason: str | bool,
    campaign: str | bool,
    dry_run: str | bool,
) -> None:
    """Give an order, and print its effect."""
    words = asyncio.run(
        _given(order, run_dir, by, str(reason), str(campaign), dry_run=bool(dry_run))
    )
    _echo(words)


def _echo(text: str) -> None:
    """Print a text, in which names and words of anyone may be."""
    click.echo(printable(text, lines=True))


async def _given(
    order: Order, run_dir: str, by: str, reason: str, campaign: str, *, dry_run: bool
) -> str:
    async with steering(run_dir, by) as session:
        given = await session.order(order, reason=reason, campaign=campaign, dry_run=dry_run)
        return given.words


async def _look(run_dir: str, by: str, campaign: str) -> tuple[CampaignView, Status]:
    async with steering(run_dir, by) as session:
        return await session.look(campaign), await session.status()


def _question(question: QuestionView) -> str:
    left = ""
    if question.left_s is not None:
        left = f", or {question.default} in {question.left_s:.0f} s"
    options = " | ".join(question.options)
    return f"question {question.number} of {question.by}: {question.text} [{options}{left}]"
