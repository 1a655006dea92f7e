"""The command ``steerio launch``: batch jobs whose nodes join a standing broker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from steerio.errors import UsageError
from steerio.launch.batch_jobs import FOLDER, Launched, cancel, launch, launched_in, states_of
from steerio.launch.batch_script import Wish, script_of
from steerio.launch.batch_systems import BatchJob, BatchSystem, batch_system
from steerio.launch.finding import find_broker
from steerio.launch.walltime import parse_seconds


def launch_or_look(
    run_dir: str,
    scheduler: str | None,
    walltime: str | None,
    as_list: bool,
    as_json: bool,
    to_cancel: Sequence[str],
    dry_run: bool,
    script: str | None,
    **wished: Any,
) -> None:
    """Submit a job, or print its script; or list the jobs of a run directory, or cancel some.

    Raises:
        UsageError: the options do not go together, or one cannot be; no broker runs there.
        BatchFailed: the batch system has refused, or does not answer.
    """
    folder = Path(run_dir)
    if as_list or to_cancel:
        if scheduler or walltime or dry_run or script:
            raise UsageError("--list and --cancel are for jobs that were submitted: say no others")
        if to_cancel:
            _cancel(folder, to_cancel)
        if as_list:
            _show(folder, as_json)
        return
    if scheduler is None or walltime is None:
        raise UsageError(
            "say --scheduler slurm|pbs|lsf|flux and --walltime TIME, like 2h; or --list, or "
            "--cancel JOB"
        )
    system = batch_system(scheduler)
    wish = Wish(walltime_s=parse_seconds(walltime), **wished)
    wish.check()
    if dry_run:
        click.echo(_script(system, wish, folder), nl=False)
        return
    text = "" if script is None else _read(script)
    connection = find_broker(folder)
    if not connection.remote:
        click.echo(
            f"steerio: the broker in {run_dir} listens to its own machine only: nodes on others "
            "cannot join it. Start it with --host",
            err=True,
        )
    launched = launch(folder, system, wish, text)
    click.echo(f"job {launched.job} of {system.name} is submitted: {launched.name}")
    click.echo(f"script and output: {folder / FOLDER / launched.name}.sh, .out")
    click.echo(f"its state: steerio launch {run_dir} --list    end it: --cancel {launched.job}")


def _script(system: BatchSystem, wish: Wish, run_dir: Path) -> str:
    place = run_dir.absolute()
    return script_of(system, wish, "block", place, place / FOLDER / "block.out")


def _read(script: str) -> str:
    try:
        text = Path(script).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--script {script} cannot be read: {error}") from None
    if not text.startswith("#!"):
        raise UsageError(f"--script {script} is no script: its first line begins with #!")
    return text


def _cancel(run_dir: Path, named: Sequence[str]) -> None:
    jobs = launched_in(run_dir)
    for name in named:
        if all(name not in (each.job, each.name) for each in jobs):
            raise UsageError(
                f"{name!r} is no job of {run_dir}: steerio launch {run_dir} --list shows them"
            )
    chosen = [each for each in jobs if each.job in named or each.name in named]
    cancel(chosen)
    for each in chosen:
        click.echo(f"job {each.job} of {each.system} is cancelled")


def _show(run_dir: Path, as_json: bool) -> None:
    jobs = launched_in(run_dir)
    states = states_of(jobs)
    if as_json:
        rows = [{**msgspec.to_builtins(j), **msgspec.to_builtins(states[j.job])} for j in jobs]
        click.echo(msgspec.json.format(msgspec.json.encode(rows), indent=2))
        return
    if not jobs:
        click.echo(f"no job was submitted for {run_dir}")
    for each in jobs:
        click.echo(_line(each, states[each.job]))


def _line(job: Launched, state: BatchJob) -> str:
    nodes = f"{job.nodes} node" + "s" * (job.nodes != 1)
    reason = f" ({state.reason})" if state.reason else ""
    return f"{job.name}  job {job.job} of {job.system}  {nodes}  {state.state}{reason}"
