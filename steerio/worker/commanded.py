"""Functions that yield commands, and are called as the functions of any other task.

Called, such a function is stepped through: each command that it yields is run, and it is sent how
that ended. In a gang only the first worker does this; the others lend their places to its ranks.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from msgspec import Struct

from steerio.edge.encoding.callables import PROGRAM
from steerio.errors import ProgramFailed, TaskStopped, UsageError
from steerio.worker import context, members, programs, rank_places
from steerio.worker.found_launcher import find_launcher
from steerio.worker.launchers import DIALECTS, Launch
from steerio.worker.meeting import VARIABLES
from steerio.worker.programs import Command, Commands, Completed
from steerio.worker.rank_places import MemberPlace
from steerio.worker.running_task import RunningTask
from steerio.worker.work_folders import Keep, in_folder, make_folder

P = ParamSpec("P")
R = TypeVar("R")


class Ranks(Struct, frozen=True):
    """The MPI ranks of a task type: how many each worker of its gang has, and their launcher."""

    per_worker: int
    launcher: str


class ProgramSetting(Struct, frozen=True):
    """The setting of a task type that runs programs.

    Attributes:
        env: variables for its programs; ``None``: taken away.
        keep: when the folder of an attempt is kept.
        folder: the folder for those of its attempts; ``""``: that of the worker.
        ranks: of its MPI programs; ``None``: its programs run without a launcher.
    """

    env: Mapping[str, str | None] = {}
    keep: Keep = "failure"
    folder: str = ""
    ranks: Ranks | None = None


def commanded(function: Callable[P, Commands[R]], setting: ProgramSetting) -> Callable[P, R]:
    """Return the function that runs the commands which another yields, and returns its value."""

    @functools.wraps(function)
    def run_commands(*args: P.args, **kwargs: P.kwargs) -> Any:
        running = context.running_here()
        name = getattr(function, "__name__", "program")
        if running is None:
            return _lead(function(*args, **kwargs), setting, name, [members.own_place(0)])
        if running.on_engine:
            raise UsageError(
                f"programs run on workers of steerio, not on an engine: have {name} run in a pool "
                "with such workers, as in workers={...: 2}"
            )
        if not isinstance(running, RunningTask):
            raise UsageError(
                f"no program runs in a simulation: give {name} a model with a value, as in "
                "Model(600, value=lambda *args: 1.0)"
            )
        gang, token, stop = running.gang, running.gang_token, running.should_stop
        if gang.rank > 0:
            return members.lend(gang, token, stop)
        name = f"{name}-{running.task_id}-{running.attempt}"
        with members.borrowed(gang, token, stop) as places:
            return _lead(function(*args, **kwargs), setting, name, places)

    # but for the folder, which may have another path on each host
    setattr(run_commands, PROGRAM, repr((setting.env, setting.keep, setting.ranks)))
    return run_commands


def _lead(steps: Commands[R], setting: ProgramSetting, name: str, places: list[MemberPlace]) -> R:
    """Step through a function, in a folder of its own."""
    folder = make_folder(setting.folder, name)
    kept = "" if setting.keep == "never" else str(folder)
    with in_folder(folder, setting.keep):
        try:
            return _step_through(steps, Runner(setting, folder, places), kept)
        except Exception as error:
            if kept and not isinstance(error, ProgramFailed):
                error.add_note(f"the folder of its programs is kept: {folder}")
            raise
        finally:
            steps.close()


def _step_through(steps: Commands[R], runner: Runner, kept: str) -> R:
    stopped = False
    send: Callable[[], object] = functools.partial(next, steps)
    while True:
        try:
            yielded = send()
        except StopIteration as end:
            value: R = end.value
            return value
        if stopped:
            raise UsageError(
                f"it yields {yielded!r} after it was asked to stop, and no program is run any more"
            )
        try:
            command = programs.checked(yielded)
            done = runner.run(command)
        except UsageError as error:
            send = functools.partial(steps.throw, error)
        except TaskStopped as stop:
            stopped, send = True, functools.partial(steps.throw, stop)
        else:
            if command.check and done.exit_code:
                facts = done.args, done.exit_code, done.signal, kept, done.last_lines()
                send = functools.partial(steps.throw, ProgramFailed(*facts))
            else:
                send = functools.partial(steps.send, done)


class Runner:
    """Runs the commands of one attempt.

    Args:
        setting: of the task type.
        folder: of the attempt.
        places: of the workers of its gang.
    """

    def __init__(self, setting: ProgramSetting, folder: Path, places: list[MemberPlace]) -> None:
        self._setting = setting
        self._folder = folder
        self._places = places
        self._count = 0

    def __repr__(self) -> str:
        return f"<Runner in {self._folder}: {self._count} commands>"

    def run(self, command: Command) -> Completed:
        """Run a command to its end.

        Raises:
            TaskStopped: the task is to stop.
            UsageError: the program cannot be started.
        """
        self._count += 1
        environment = dict(os.environ)
        if self._setting.ranks is not None:  # ranks have numbers of their own
            environment = {n: value for n, value in environment.items() if n not in VARIABLES}
        environment = programs.with_changes(environment, self._setting.env, command.env)
        argv = programs.find_program(command.args, environment)
        cores: set[int] = set()
        if self._setting.ranks is not None and not command.alone:
            fixed = {**self._setting.env, **command.env}
            argv = self._launched(argv, self._setting.ranks, environment, fixed)
            cores = rank_places.cores_of(self._places, self._places[0].host)
        stop = context.should_stop
        return programs.run(
            argv, self._folder, self._count, command.stdin, environment, cores, stop
        )

    def _launched(
        self,
        argv: list[str],
        ranks: Ranks,
        environment: Mapping[str, str],
        fixed: Mapping[str, str | None],
    ) -> list[str]:
        """Return the command line by which a launcher starts the ranks of a program."""
        launcher = find_launcher(ranks.launcher, environment)
        hosts = rank_places.host_ranks(self._places, ranks.per_worker)
        exported = ["PATH", "LD_LIBRARY_PATH", *(n for n, value in fixed.items() if value)]
        known = sorted({name for name in exported if name in environment})
        launch = Launch(hosts, known, as_root=os.geteuid() == 0)
        line = DIALECTS[launcher.dialect](launcher.command, launch)
        if len(self._places) > 1 or ranks.per_worker > 1:
            script = self._folder / f"command-{self._count}.sh"
            script.write_text(rank_places.script_of(self._places, ranks.per_worker, fixed))
            argv = ["/bin/sh", str(script), *argv]
        return [*line, *argv]
