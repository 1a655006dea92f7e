"""``steerio resume``: finds the campaign of a run directory, and goes on with it."""

from __future__ import annotations

import inspect
import os
import types
from pathlib import Path
from typing import Any, cast

import click

from steerio.campaign.campaign import Campaign
from steerio.campaign.parameters import recorded_broker
from steerio.campaign.run_journal import arguments_of, read_latest
from steerio.campaign.steered_values import parameters_of
from steerio.cli.failures import show_traceback
from steerio.cli.leading import leading
from steerio.cli.run_command import find_campaign, made_with, run_campaign
from steerio.edge.record.entries import Began
from steerio.errors import UsageError
from steerio.launch.mpi import Followers
from steerio.session.run_dir import refuse_nameless


def resume_run(given: dict[str, Any]) -> None:
    """Go on with the run in a run directory, with the options given on the command line."""
    refuse_nameless(given["run_dir"])
    with leading(given, given["run_dir"]) as ranks:
        _resume(Path(given["run_dir"]), given, ranks)


def _resume(run_dir: Path, given: dict[str, Any], ranks: Followers | None) -> None:
    began = read_latest(run_dir)
    if began is None:
        raise UsageError(f"the run in {run_dir} had not begun: run it anew")
    if not began.file:
        raise UsageError(
            f"the run in {run_dir} was not started by steerio run: run your program again, with "
            f"steerio.run(campaign, resume={str(run_dir)!r})"
        )
    path = Path(os.fsdecode(began.file))
    if not path.is_file():
        raise UsageError(
            f"the campaign was in {path}, which is not there any more: say where it is now, with "
            f"steerio run FILE --resume {run_dir} and the options that it was given"
        )
    broker = recorded_broker(run_dir)
    if broker is not None and given["join"] is None:
        click.echo(
            f"steerio: the run in {run_dir} had joined the broker in {broker}; it goes on with "
            f"workers of this machine. To join that one: steerio resume {run_dir} --join {broker}",
            err=True,
        )
    options = {**given, "resume": str(run_dir), "run_dir": None, "random_seed": None}
    run_campaign(path, lambda module: _made_again(module, began), options, ranks)


def _made_again(module: types.ModuleType, began: Began) -> Campaign:
    kind = find_campaign(module, began.campaign.rpartition(":")[2])
    arguments = arguments_of(began)
    for parameter in inspect.signature(cast("Any", kind).__init__).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            arguments.pop(parameter.name, None)  # the command line can have given none
    declared = parameters_of(kind)
    kept = {name: value for name, value in began.parameters.items() if name in declared}
    try:
        return made_with(kind, arguments, kept)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - it is the user's code
        show_traceback(error)
        raise UsageError(f"{kind.__name__}(...) could not be made: {error}") from None
