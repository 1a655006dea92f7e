"""The options of ``steerio steer``: a person's orders to a running broker or campaign."""

from __future__ import annotations

from typing import Any

import click


@click.group()
@click.argument("run_dir", metavar="RUN_DIR")
@click.option(
    "--by", default="", metavar="NAME", help="The giver of the order, for events [USER@HOST]."
)
@click.pass_context
def steer(context: click.Context, run_dir: str, by: str) -> None:
    """Steer a running campaign or broker: its pools, parameters, questions and agents."""
    context.obj = {"run_dir": run_dir, "by": by}


REASON = click.option("--reason", default="", metavar="TEXT", help="Why, for events and status.")


@steer.command()
@click.argument("pools", metavar="[POOL]...", nargs=-1)
@REASON
@click.pass_obj
def pause(given: dict[str, str], /, pools: tuple[str, ...], reason: str) -> None:
    """Hand out no queued task of these pools, or of all, until they are resumed.

    Tasks that run come to their ends, and queues and results stay. Returns when no worker will
    begin another task of theirs.
    """
    from steerio.cli import steering  # each command loads only its own code

    steering.pause_pools(pools=pools, reason=reason, **given)


@steer.command("resume")
@click.argument("pools", metavar="[POOL]...", nargs=-1)
@REASON
@click.pass_obj
def resume_pools(given: dict[str, str], /, pools: tuple[str, ...], reason: str) -> None:
    """Hand out the queued tasks of paused pools again, or of all."""
    from steerio.cli import steering  # each command loads only its own code

    steering.resume_pools(pools=pools, reason=reason, **given)


@steer.command("move")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.argument("workers", metavar="WORKERS", type=int)
@click.pass_obj
def move_workers(given: dict[str, str], /, source: str, target: str, workers: int) -> None:
    """Move workers of one pool to another for good, each when its running task has ended."""
    from steerio.cli import steering  # each command loads only its own code

    steering.move_workers(source=source, target=target, workers=workers, **given)


CAMPAIGN = click.option(
    "--campaign", default="", metavar="NAME", help="Which one, if several use the broker."
)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Only say what would happen.")


def _order_options(command: Any) -> Any:
    """Give a command the options of all orders to a campaign."""
    return REASON(CAMPAIGN(DRY_RUN(command)))


@steer.command("look")
@CAMPAIGN
@click.pass_obj
def look(given: dict[str, str], /, campaign: str) -> None:
    """Show a campaign's parameters, open questions, agents and pools."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.show_campaign(campaign=campaign, **given)


@steer.command("questions")
@CAMPAIGN
@click.pass_obj
def questions(given: dict[str, str], /, campaign: str) -> None:
    """Show a campaign's open questions."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.show_questions(campaign=campaign, **given)


@steer.command("set")
@click.argument("setting", metavar="NAME=VALUE")
@_order_options
@click.pass_obj
def set_parameter(given: dict[str, str], /, setting: str, **options: Any) -> None:
    """Give a parameter of a campaign another value."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.set_parameter(setting, **given, **options)


@steer.command("answer")
@click.argument("words", metavar="[NUMBER] CHOICE", nargs=-1, required=True)
@_order_options
@click.pass_obj
def answer(given: dict[str, str], /, words: tuple[str, ...], **options: Any) -> None:
    """Answer an open question of a campaign; without NUMBER the only one."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.answer(words, **given, **options)


@steer.command("pause-agent")
@click.argument("agent", metavar="NAME")
@_order_options
@click.pass_obj
def pause_agent(given: dict[str, str], /, agent: str, **options: Any) -> None:
    """Make no new call of a triggered method; its calls wait until it is resumed."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.pause_agent(agent, **given, **options)


@steer.command("resume-agent")
@click.argument("agent", metavar="NAME")
@_order_options
@click.pass_obj
def resume_agent(given: dict[str, str], /, agent: str, **options: Any) -> None:
    """Make the calls of a paused method again."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.resume_agent(agent, **given, **options)


@steer.command("checkpoint")
@_order_options
@click.pass_obj
def checkpoint(given: dict[str, str], /, **options: Any) -> None:
    """Have a snapshot of a campaign taken, from which it can be resumed."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.checkpoint(**given, **options)


@steer.command("stop")
@click.option("--cancel", is_flag=True, help="Cancel tasks that run, too.")
@_order_options
@click.pass_obj
def stop_campaign(given: dict[str, str], /, cancel: bool, **options: Any) -> None:
    """End a campaign in good order: tasks that run come to their ends."""
    from steerio.cli import ordering  # each command loads only its own code

    ordering.stop_campaign(cancel, **given, **options)
