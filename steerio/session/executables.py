"""Task types whose work is done by programs: executables, and MPI programs over gangs."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypedDict, TypeVar, Unpack, overload

from steerio.errors import UsageError, guess
from steerio.launch.needs import Needs
from steerio.model.objects import check_number
from steerio.model.showing import short
from steerio.session.task_checks import check_decorated
from steerio.session.task_type import TaskType, task
from steerio.worker.commanded import ProgramSetting, Ranks, commanded
from steerio.worker.programs import Commands, with_changes
from steerio.worker.work_folders import KEEPS, Keep

P = ParamSpec("P")
R = TypeVar("R")

LAUNCHERS_GRACE_S = 3.0
"""Grace of MPI tasks: launchers end their ranks one by one, those on other hosts by the network."""


class TaskKeywords(TypedDict, total=False):
    """The options of `task` that are those of an executable as well."""

    pool: str
    priority: float
    timeout_s: float | None
    retries: Mapping[str, int] | None
    preload: list[str]
    cancel_grace_s: float
    needs: Needs | None
    threshold_bytes: int | None
    version: str
    memo: bool


@overload
def executable(function: Callable[P, Commands[R]], /) -> TaskType[P, R]: ...


@overload
def executable(
    *,
    env: Mapping[str, str | None] | None = ...,
    keep: Keep = ...,
    folder: str | os.PathLike[str] = ...,
    **options: Unpack[TaskKeywords],
) -> Callable[[Callable[P, Commands[R]]], TaskType[P, R]]: ...


def executable(
    function: Callable[..., Any] | None = None,
    /,
    *,
    env: Mapping[str, str | None] | None = None,
    keep: Keep = "failure",
    folder: str | os.PathLike[str] = "",
    **options: Unpack[TaskKeywords],
) -> Any:
    """Make a function that yields commands a task type: each is run, and it gets how that ended.

    Args:
        function: when used without parentheses.
        env: variables for its programs, beside those of the worker; ``None`` takes one away.
        keep: when the folder of an attempt is kept: ``failure`` (also if it was stopped),
            ``always`` or ``never``.
        folder: the folder for those of its attempts; by default ``work`` in the run directory.
        options: those of `task`, but for ``gang``.

    Raises:
        UsageError: an option is wrong, or the function is no generator function.
    """
    setting = _setting(env, keep, folder, None)

    def decorate(function: Callable[..., Any]) -> TaskType[..., Any]:
        return task(**options)(commanded(_checked(function, "executable"), setting))

    return decorate if function is None else decorate(function)


def mpi_task(
    function: None = None,
    /,
    *,
    gang: int = 1,
    ranks_per_worker: int = 1,
    launcher: str = "",
    env: Mapping[str, str | None] | None = None,
    keep: Keep = "failure",
    folder: str | os.PathLike[str] = "",
    **options: Unpack[TaskKeywords],
) -> Callable[[Callable[P, Commands[R]]], TaskType[P, R]]:
    """Make a function that yields commands a task type whose commands run under an MPI launcher.

    Args:
        function: none: it is used with parentheses.
        gang: the number of workers of its pool that it takes together, all or none.
        ranks_per_worker: the number of ranks that share the cores and devices of each.
        launcher: its kind (``openmpi``, ``mpich``, ``srun``, ``pals``, ``aprun``, ``jsrun``,
            ``flux``) or its command; by default it is found on the first worker.
        env: as for `executable`.
        keep: as for `executable`.
        folder: as for `executable`; if the workers are on several hosts, one that all of them see.
        options: those of `task`; ``cancel_grace_s`` is 3 by default.

    Raises:
        UsageError: an option is wrong, or the function is no generator function.
    """
    if function is not None:  # pyright: ignore[reportUnnecessaryComparison]
        raise UsageError("@mpi_task is used with parentheses, as in @mpi_task(gang=2)")
    check_number("ranks_per_worker", ranks_per_worker, least=1)
    if not isinstance(launcher, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"a launcher is a text, such as 'openmpi', not {short(launcher)}")
    setting = _setting(env, keep, folder, Ranks(ranks_per_worker, launcher))
    options.setdefault("cancel_grace_s", LAUNCHERS_GRACE_S)

    def decorate(function: Callable[P, Commands[R]]) -> TaskType[P, R]:
        return task(gang=gang, **options)(commanded(_checked(function, "mpi_task"), setting))

    return decorate


def _setting(
    env: Mapping[str, str | None] | None,
    keep: object,
    folder: str | os.PathLike[str],
    ranks: Ranks | None,
) -> ProgramSetting:
    """Return the setting of a task type.

    Raises:
        UsageError: a part of it is wrong.
    """
    if keep not in KEEPS:
        raise UsageError(
            f"keep is one of {', '.join(KEEPS)}, not {short(keep)}{guess(str(keep), KEEPS)}"
        )
    with_changes({}, env or {})
    if not isinstance(folder, (str, os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"folder is a path, not {short(folder)}")
    place = os.path.abspath(folder) if folder else ""  # noqa: PTH100 - of the campaign's process
    return ProgramSetting(dict(env or {}), keep, place, ranks)


def _checked(function: Callable[P, Commands[R]], name: str) -> Callable[P, Commands[R]]:
    """Refuse a function that yields no commands.

    Raises:
        UsageError: it is no generator function, or cannot be a task type.
    """
    check_decorated(function)
    if not inspect.isgeneratorfunction(function):
        called = getattr(function, "__qualname__", short(function))
        raise UsageError(
            f"{called} yields no command, as @{name} needs it: "
            'done = yield ["program", "argument"]. For plain Python there is @task'
        )
    return function
