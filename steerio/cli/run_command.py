"""``steerio run``: finds the campaign in a file, gives it its options, and runs it."""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, Union, cast

import click
from msgspec import structs

from steerio.campaign.campaign import Campaign
from steerio.campaign.limits import Limits, parse_graces
from steerio.campaign.plan import Plan
from steerio.campaign.progress import tell
from steerio.campaign.running import run_plan
from steerio.campaign.steered_values import parameters_of
from steerio.cli.failures import show_traceback
from steerio.cli.seeing import Seeing
from steerio.cli.uncollected import uncollected
from steerio.edge.encoding.pickling import send_by_value
from steerio.errors import UsageError
from steerio.launch.mpi import Followers
from steerio.launch.node_process import NodeProcess, can_fork
from steerio.launch.stores import read_setting
from steerio.launch.workers import AskedWorkers, parse_workers
from steerio.model.allowed import parse_allowed
from steerio.session.argument_checks import named_folders
from steerio.session.run_dir import JOURNAL, is_complete
from steerio.worker.loading import load_file

OPTION_TYPES: dict[Any, Any] = {int: int, float: float, str: str, Path: click.Path(path_type=Path)}


def run_file(
    context: click.Context,
    target: str,
    asks_help: bool,
    given: dict[str, Any],
    followers: Followers | None,
) -> None:
    """Run ``FILE[:CAMPAIGN]`` with the options given on the command line."""
    path, name = split_target(target)
    if asks_help:
        show_help(context, find_campaign(load_campaign_file(path), name))
    run_campaign(
        path,
        lambda module: make_campaign(context, find_campaign(module, name)),
        given,
        followers,
    )


def run_campaign(
    path: Path,
    make: Callable[[types.ModuleType], Campaign],
    given: dict[str, Any],
    followers: Followers | None,
) -> None:
    """Run a campaign of a file.

    Args:
        path: the file.
        make: makes the campaign, given the file's module.
        given: the options on the command line.
        followers: the other ranks, if this is rank 0 of a launcher.
    """
    workers = None if given["workers"] is None else read_workers(given["workers"])
    limits = Limits(
        tasks=given["limit_tasks"],
        failures=given["limit_failures"],
        wall_s=given["limit_wall"],
        worker_s=given["limit_worker_seconds"],
    )
    limits = structs.replace(limits, **parse_graces(given["grace"]))
    allow = parse_allowed(given["allow"])
    if given["join"] is not None:
        _check_joining(given)
    store = None if given["store"] is None else read_setting(given["store"])
    seeing = Seeing(dashboard=given["dashboard"], report=given["report"])
    # the node is forked before the file is loaded, which may start threads
    hosts = followers is None and given["join"] is None and can_fork()
    node = NodeProcess.forked() if hosts else None
    try:
        with uncollected():
            module = load_campaign_file(path)
        if given["join"] is not None:
            send_by_value(module.__name__)
        campaign = make(module)
    except BaseException:
        if node is not None:
            node.kill()
        raise
    plan = Plan(
        workers=workers,
        run_dir=given["run_dir"],
        limits=limits,
        progress=given["progress"],
        pin=given["pin"],
        store=store,
        random_seed=given["random_seed"],
        allow=allow,
        resume=given["resume"],
        take_over=given["take_over"],
        durability=given["durability"],
        memo=named_folders(given["memo"]),
        file=str(path),
        files=[(module.__name__, str(path))],
        node=node,
        join=given["join"],
        repl=given["repl"],
        followers=followers,
        on_record=seeing.begin,
    )
    try:
        run_plan(campaign, plan)
    finally:
        folder = campaign.run_dir
        seeing.end(folder)
        if folder is not None:
            tell(f"record: {folder}", sys.stderr)
            if (folder / JOURNAL).exists() and not is_complete(folder):
                tell(f"to go on: steerio resume {folder}", sys.stderr)


def _check_joining(given: dict[str, Any]) -> None:
    """Refuse options of a broker's start for a campaign that joins a running one.

    Raises:
        UsageError: there is one.
    """
    if given["workers"] is not None:
        raise UsageError(
            "--workers does not go with --join: the broker there has its own; add some with "
            f"steerio worker --join {given['join']} --workers {given['workers']}"
        )
    for name in ("store", "random_seed", "allow"):
        if given[name] is not None:
            option = name.replace("_", "-")
            raise UsageError(f"--{option} does not go with --join: the broker there has its own")


def read_workers(text: str) -> AskedWorkers | int:
    """Read ``--workers``: a number alone is for the campaign's only pool.

    Raises:
        UsageError: it does not read like that.
    """
    return int(text) if text.strip().isdigit() else parse_workers(text)


def split_target(target: str) -> tuple[Path, str]:
    """Split ``FILE[:CAMPAIGN]``.

    Raises:
        UsageError: there is no such file.
    """
    file, _, name = target.rpartition(":") if ":" in target else (target, "", "")
    try:
        if Path(target).exists():  # a colon in the name of a file
            file, name = target, ""
        path = Path(file)
        if not file:
            raise UsageError(f"{target!r} names no file: say FILE or FILE:CAMPAIGN")
        if path.is_dir():
            raise UsageError(f"{file!r} is a folder; name a file in it")
        if not path.is_file():
            if path.exists():
                raise UsageError(f"{file!r} is no file that could be read")
            hint = f"; did you mean {file}.py?" if Path(f"{file}.py").is_file() else ""
            raise UsageError(f"there is no file {file!r}{hint}")
        return path.resolve(), name
    except OSError as error:
        raise UsageError(f"{file[:80]!r} cannot be looked for: {error.strerror}") from None


def load_campaign_file(path: Path) -> types.ModuleType:
    """Load the file under its own name, as its workers will.

    Raises:
        UsageError: it does not load; its traceback is shown.
    """
    if path.suffix != ".py":
        raise UsageError(f"{path.name} is not a Python file: its name does not end in .py")
    name = re.sub(r"\W", "_", path.stem)
    if name in sys.modules:
        name = f"{name}_campaign"
    try:
        return load_file(name, path)
    except SystemExit as end:
        raise UsageError(
            f"{path.name} ended the program as it was loaded (sys.exit({end.code!r})): do that "
            "below 'if __name__ == \"__main__\":'"
        ) from None
    except Exception as error:  # noqa: BLE001 - it is the user's code
        show_traceback(error)
        what = f"{type(error).__name__}: {error}"
        raise UsageError(f"{path.name} could not be loaded: {what}") from None


def find_campaign(module: types.ModuleType, name: str) -> type[Campaign]:
    """Return the campaign of that name, or the only one there is.

    Raises:
        UsageError: there is none, or more than one.
    """
    kinds = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Campaign)
        and value.__module__ == module.__name__
    }
    if name:
        if name not in kinds:
            found = ", ".join(kinds) or "none"
            raise UsageError(f"{module.__name__} has no campaign {name!r} (it has: {found})")
        return kinds[name]
    if len(kinds) != 1:
        if not kinds:
            raise UsageError(f"{module.__name__} has no class that derives from steerio.Campaign")
        raise UsageError(
            f"{module.__name__} has several campaigns ({', '.join(kinds)}); say which: FILE:NAME"
        )
    return next(iter(kinds.values()))


def make_campaign(context: click.Context, kind: type[Campaign]) -> Campaign:
    """Make a campaign with its own options, the keyword arguments of its ``__init__``.

    Raises:
        UsageError: its ``__init__`` raises.
        click.ClickException: an option is unknown, missing, or of the wrong type.
    """
    params = [*campaign_options(kind), *parameter_options(kind)]
    command = click.Command(kind.__name__, params=params, add_help_option=False)
    name = f"{context.command_path} ... {kind.__name__}"
    try:
        inner = command.make_context(name, list(context.args))
    except click.NoSuchOption as error:
        known = [said for p in context.command.params + command.params for said in p.opts]
        from difflib import (
            get_close_matches,
        )  # only for errors: a run that goes well starts without it

        close = get_close_matches(error.option_name, known)
        raise click.NoSuchOption(error.option_name, possibilities=close, ctx=context) from None
    options = {name: value for name, value in inner.params.items() if value is not None}
    of_init = {each.name for each in campaign_options(kind)}
    steered = (parameters_of(kind).keys() - of_init) & options.keys()
    values = {name: options.pop(name) for name in steered}
    try:
        return made_with(kind, options, values)
    except UsageError:
        raise
    except SystemExit as end:
        what = f"it ended the program (sys.exit({end.code!r}))"
        raise UsageError(f"{kind.__name__}(...) could not be made: {what}") from None
    except Exception as error:  # noqa: BLE001 - it is the user's code
        show_traceback(error)
        raise UsageError(f"{kind.__name__}(...) could not be made: {error}") from None


def made_with(
    kind: type[Campaign], arguments: Mapping[str, Any], values: Mapping[str, Any]
) -> Campaign:
    """Make a campaign whose ``__init__`` finds these values of its parameters.

    Raises:
        UsageError: a parameter may not have its value.
    """
    made: Any = kind.__new__(kind, **arguments)
    for name, value in values.items():
        setattr(made, name, value)
    made.__init__(**arguments)
    return cast("Campaign", made)


def parameter_options(kind: type[Campaign]) -> list[click.Parameter]:
    """Return the options for a campaign's parameters, but those that ``__init__`` takes, too."""
    of_init = {each.name for each in campaign_options(kind)}
    options: list[click.Parameter] = []
    for name, each in parameters_of(kind).items():
        if name in of_init:
            continue
        flag = f"--{name.replace('_', '-')}"
        said = f"{each.help.rstrip('.')}: {each.limits}" if each.help else str(each.limits)
        told = f"{said} [{each.default!r}]"
        if each.limits.kind is bool:
            options.append(click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=told))
        else:
            options.append(click.Option([flag], type=each.limits.kind, help=told))
    return options


def show_help(context: click.Context, kind: type[Campaign]) -> NoReturn:
    """Show the options of ``run``, and those of a campaign."""
    click.echo(context.get_help())
    formatter = click.HelpFormatter()
    parameters = [*campaign_options(kind), *parameter_options(kind)]
    records = [r for p in parameters if (r := p.get_help_record(context)) is not None]
    if records:
        with formatter.section(f"Options of {kind.__name__}"):
            formatter.write_dl(records)
        click.echo("\n" + formatter.getvalue(), nl=False)
    context.exit()


def campaign_options(kind: type[Campaign]) -> list[click.Parameter]:
    """Return the campaign's own options: the keyword arguments of its ``__init__``."""
    if kind.__init__ is object.__init__:
        return []
    hints = _hints(kind)
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    said = _said_of_arguments(kind)
    options: list[click.Parameter] = []
    for parameter in parameters:
        option = _option(parameter, hints.get(parameter.name))
        if option is not None:
            option.help = said.get(parameter.name)
            options.append(option)
    return options


def _said_of_arguments(kind: type[Campaign]) -> dict[str, str]:
    """Return the texts of docstrings for arguments under ``Args:``, as Google's style has it."""
    said: dict[str, str] = {}
    for doc in (kind.__doc__, kind.__init__.__doc__):
        _, _, arguments = inspect.cleandoc(doc or "").partition("Args:\n")
        block = re.match(r"(?:[ ]+\S.*\n?|\s*\n)*", arguments)
        for found in re.finditer(
            r"^ {4}(\w+)[^:\n]*: (.+(?:\n {5,}\S.*)*)", block.group() if block else "", re.MULTILINE
        ):
            said[found.group(1)] = " ".join(found.group(2).split())
    return said


def _hints(kind: type[Campaign]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind.__init__)
    except (NameError, TypeError):
        return {}


def _option(parameter: inspect.Parameter, hint: Any) -> click.Option | None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return None
    flag = f"--{parameter.name.replace('_', '-')}"
    required = parameter.default is parameter.empty
    default = None if required else parameter.default
    if typing.get_origin(hint) in (Union, types.UnionType):
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        hint = inner[0] if len(inner) == 1 else None
    if hint is None and default is not None:
        hint = cast("Any", type(default))
    if hint is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=bool(default), show_default=True)
    kind = OPTION_TYPES.get(hint, str)
    if hint is not None and hint not in OPTION_TYPES and not required:
        return None  # a list, a dict...: nothing for a command line
    if required:  # a default of None would count as one
        return click.Option([flag], type=kind, required=True)
    return click.Option([flag], type=kind, default=default, show_default=True)
