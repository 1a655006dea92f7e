"""The options of ``steerio steer``: a person's orders to a running broker or campaign."""

from __future__ import annotations

import functools
from typing import Any

import click


@click.group()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--by", default="", metavar="NAME", help="Giver of orders, for events [USER@HOST].")
@click.pass_context
def steer(context: click.Context, run_dir: str, by: str) -> None:
    """Steer a running campaign or broker: pools, tasks, parameters, questions and agents."""
    context.obj = {"run_dir": run_dir, "by": by}


REASON = click.option("--reason", default="", metavar="TEXT", help="Why, for events and status.")

CAMPAIGN = click.option(
    "--campaign", default="", metavar="NAME", help="Which one, if several use the broker."
)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Only say what would happen.")
BY = click.option("--by", default="", metavar="NAME", help="As before the order's name.")


def _giver(command: Any) -> Any:
    """Give a command the option ``--by``, and hand it the run directory and the giver."""

    @BY
    @click.pass_obj
    @functools.wraps(command)
    def with_giver(given: dict[str, str], /, by: str, **options: Any) -> Any:
        return command(given if not by else {**given, "by": by}, **options)

    return with_giver


def _order_options(command: Any) -> Any:
    """Give a command the options of all orders to a campaign."""
    return REASON(CAMPAIGN(DRY_RUN(_giver(command))))


@steer.command()
@click.argument("pools", metavar="[POOL]...", nargs=-1)
@_order_options
def pause(given: dict[str, str], /, pools: tuple[str, ...], **options: Any) -> None:
    """Hand out no queued task of these pools, or of all, until they are resumed.

    Tasks that run come to their ends, and queues and results stay. Returns when no worker will
    begin another task of theirs.
    """
    from steerio.cli import steering  # each command loads only its own code

    steering.pause_pools(pools=pools, **given, **options)


@steer.command("resume")
@click.argument("pools", metavar="[POOL]...", nargs=-1)
@_order_options
def resume_pools(given: dict[str, str], /, pools: tuple[str, ...], **options: Any) -> None:
    """Hand out the queued tasks of paused pools again, or of all."""
    from steerio.cli import steering  # each command loads only its own code

    steering.resume_pools(pools=pools, **given, **options)


@steer.command("move")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.argument("workers", metavar="WORKERS", type=int)
@_order_options
def move_workers(
    given: dict[str, str], /, source: str, target: str, workers: int, **options: Any
) -> None:
    """Move workers of one pool to another for good, each when its running task has ended."""
    from steerio.cli import steering  # each command loads only its own code

    steering.move_workers(source=source, target=target, workers=workers, **given, **options)


@steer.command("submit")
@click.argument("task_type", metavar="TYPE")
@click.argument("arguments", metavar="[ARGS]", default="[]")
@click.option(
    "--kwarg",
    "kwargs",
    multiple=True,
    metavar="NAME=JSON",
    help="An argument by its name, as JSON.",
)
@click.option("--priority", type=float, default=None, help="Higher goes first [of its type].")
@_order_options
def submit_task(given: dict[str, str], /, **options: Any) -> None:
    """Submit a task of a type that the campaign knows; ARGS is a list of arguments, as JSON.

    Agents hear of its result as of others.
    """
    from steerio.cli import ordering  # each command loads only its own code

    ordering.submit_task(given["run_dir"], given["by"], **options)


@steer.command("cancel")
@click.argument("tasks", metavar="TASK...", nargs=-1, required=True, type=int)
@_order_options
def cancel_tasks(given: dict[str, str], /, tasks: tuple[int, ...], **options: Any) -> None:
    """Cancel tasks of a campaign, by their ids."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.cancel_tasks(tasks, **given, **options)


@steer.command("rank")
@click.argument("tasks", metavar="TASK...", nargs=-1, required=True, type=int)
@click.option("--priority", type=float, required=True, help="Their new one; higher goes first.")
@_order_options
def rank_tasks(
    given: dict[str, str], /, tasks: tuple[int, ...], priority: float, **options: Any
) -> None:
    """Give queued tasks of a campaign another priority, by their ids."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.rank_tasks(tasks, priority, **given, **options)


@steer.command("look")
@CAMPAIGN
@_giver
def look(given: dict[str, str], /, campaign: str) -> None:
    """Show a campaign's parameters, open questions, agents and pools."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.show_campaign(campaign=campaign, **given)


@steer.command("questions")
@CAMPAIGN
@_giver
def questions(given: dict[str, str], /, campaign: str) -> None:
    """Show a campaign's open questions."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.show_questions(campaign=campaign, **given)


@steer.command("set")
@click.argument("setting", metavar="NAME=VALUE")
@_order_options
def set_parameter(given: dict[str, str], /, setting: str, **options: Any) -> None:
    """Give a parameter of a campaign another value."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.set_parameter(setting, **given, **options)


@steer.command("answer")
@click.argument("words", metavar="[NUMBER] CHOICE", nargs=-1, required=True)
@_order_options
def answer(given: dict[str, str], /, words: tuple[str, ...], **options: Any) -> None:
    """Answer an open question of a campaign; without NUMBER the only one."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.answer(words, **given, **options)


@steer.command("pause-agent")
@click.argument("agent", metavar="NAME")
@_order_options
def pause_agent(given: dict[str, str], /, agent: str, **options: Any) -> None:
    """Make no new call of a triggered method; its calls wait until it is resumed."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.pause_agent(agent, **given, **options)


@steer.command("resume-agent")
@click.argument("agent", metavar="NAME")
@_order_options
def resume_agent(given: dict[str, str], /, agent: str, **options: Any) -> None:
    """Make the calls of a paused method again."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.resume_agent(agent, **given, **options)


@steer.command("checkpoint")
@_order_options
def checkpoint(given: dict[str, str], /, **options: Any) -> None:
    """Have a snapshot of a campaign taken, from which it can be resumed."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.checkpoint(**given, **options)


@steer.command("stop")
@click.option("--cancel", is_flag=True, help="Cancel tasks that run, too.")
@_order_options
def stop_campaign(given: dict[str, str], /, cancel: bool, **options: Any) -> None:
    """End a campaign in good order: tasks that run come to their ends."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.stop_campaign(cancel, **given, **options)
