"""Programs that tasks run: a command, its process group, and how it ended.

A program has its standard streams in files, so none of them can fill up or block. It is in a
session of its own, ends with its worker, and takes along all that it has left running.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

from msgspec import Struct

from steerio.edge.system import descendants
from steerio.errors import TaskStopped, UsageError
from steerio.model.showing import short
from steerio.worker import context

LOOK_S = 0.05
"""Time between two looks whether the task of a running program was asked to stop."""
END_LINES, END_BYTES = 20, 4_000
"""Most lines and bytes of a program's errors that are told when it fails."""

R_co = TypeVar("R_co", covariant=True)


class Command(Struct, frozen=True):
    """A program to run, as an executable task yields it.

    Attributes:
        args: the program and its arguments. A program without a slash is looked for in ``PATH``;
            a relative path counts from the folder of the attempt.
        stdin: its standard input: a text, bytes, or the path of a file; by default it is empty.
        env: variables to add or change, or to take away (``None``).
        check: whether another exit code than 0, and a signal, are an error (`ProgramFailed`).
        alone: in an MPI task, whether it is run once, without the launcher.
    """

    args: Sequence[str | os.PathLike[str]]
    stdin: str | bytes | os.PathLike[str] | None = None
    env: Mapping[str, str | None] = {}
    check: bool = True
    alone: bool = False


class Completed(Struct, frozen=True):
    """How a program ended.

    Attributes:
        args: its command line, with the launcher's before it, if there was one.
        exit_code: 0 if all went well; below 0: it was ended by the signal of that number.
        run_s: how long it ran, in seconds.
        folder: the folder it ran in.
        stdout_file: the file with its standard output.
        stderr_file: the file with its standard errors.
    """

    args: list[str]
    exit_code: int
    run_s: float
    folder: Path
    stdout_file: Path
    stderr_file: Path

    @property
    def signal(self) -> str:
        """The name of the signal that ended it, such as ``SIGSEGV``; else empty."""
        if self.exit_code >= 0:
            return ""
        try:
            return signal.Signals(-self.exit_code).name
        except ValueError:  # a real-time signal
            return f"signal {-self.exit_code}"

    @property
    def stdout(self) -> str:
        """Its standard output as text, read from the file now."""
        return self.stdout_file.read_text(encoding="utf-8", errors="replace")

    @property
    def stderr(self) -> str:
        """Its standard errors as text, read from the file now."""
        return self.stderr_file.read_text(encoding="utf-8", errors="replace")

    def last_lines(self) -> str:
        """Return the last lines of its errors, or if there are none, of its output."""
        return _last_lines(self.stderr_file) or _last_lines(self.stdout_file)


CommandLike: TypeAlias = Command | Sequence[str | os.PathLike[str]]
"""A `Command`, or just its ``args``."""
Commands: TypeAlias = Generator[CommandLike, Completed, R_co]
"""The annotation of a function that yields commands and returns a value: ``Commands[float]``."""


def checked(yielded: object) -> Command:
    """Return a command that was yielded, or refuse an object that is none.

    Raises:
        UsageError: it is none, or a part of it is wrong; the message says which.
    """
    command = yielded if isinstance(yielded, Command) else Command(cast("Any", yielded))
    args: object = command.args
    if isinstance(args, str):
        raise UsageError(
            f"a command is a list of texts, as no shell reads it: {shlex.split(args)!r}, or "
            f"{['sh', '-c', args]!r}, not {short(args)}"
        )
    if not isinstance(args, (list, tuple)) or not args:
        raise UsageError(
            f"a command is a list of texts, as in ['sort', 'in.txt'], not {short(args)}"
        )
    for each in cast("Sequence[object]", args):
        if not isinstance(each, (str, os.PathLike)) or "\0" in os.fspath(cast("str", each)):
            raise UsageError(
                f"a command's arguments are texts and paths, and {short(each)} is none: "
                "write it as a text, by str()"
            )
    return command


def find_program(
    args: Sequence[str | os.PathLike[str]], environment: Mapping[str, str]
) -> list[str]:
    """Return a command line with the path of its program.

    Raises:
        UsageError: there is no such program, or it cannot be executed.
    """
    name, *rest = [os.fspath(each) for each in args]
    found = shutil.which(name, path=environment.get("PATH", os.defpath))
    if found is not None:
        return [found, *rest]
    if os.sep not in name:
        where = environment.get("PATH", os.defpath)
        raise UsageError(f"there is no program {name!r} in PATH ({where}) of this worker")
    path = Path(name)
    if path.is_file():
        raise UsageError(
            f"{path.absolute()} may not be executed: chmod +x, or name its interpreter"
        )
    raise UsageError(f"there is no program {path.absolute()}")


def with_changes(
    environment: Mapping[str, str], *changes: Mapping[str, str | None]
) -> dict[str, str]:
    """Return an environment with variables added, changed and taken away.

    Raises:
        UsageError: a variable's value is no text.
    """
    result = dict(environment)
    for change in changes:
        for name, value in change.items():
            if value is None:
                result.pop(name, None)
            elif isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                result[name] = value
            else:
                raise UsageError(f"variable {name} is a text or None, not {short(value)}")
    return result


def run(
    argv: list[str],
    folder: Path,
    number: int,
    stdin: str | bytes | os.PathLike[str] | None,
    environment: Mapping[str, str],
    cores: Collection[int],
    should_stop: Callable[[], bool],
) -> Completed:
    """Run a program to its end.

    Args:
        argv: the path of the program, and its arguments.
        folder: to run in.
        number: of the command in its attempt, from 1.
        stdin: its standard input.
        environment: its variables.
        cores: those that it may use; none: those of this process.
        should_stop: says whether the task was asked to stop.

    Raises:
        TaskStopped: the task is to stop, and the program has ended.
        UsageError: it cannot be started.
    """
    out, err = folder / f"command-{number}.out", folder / f"command-{number}.err"
    # another process than a worker may start children of its own meanwhile, and adopts none
    before = set(descendants.children()) if context.running_here() is not None else None
    with _reading(stdin, folder / f"command-{number}.in") as source, out.open("wb") as to:
        with err.open("wb") as errors:
            began = time.monotonic()
            process = _started(argv, folder, source, to, errors, environment, cores)
    try:
        _wait(process.pid, should_stop)
    finally:
        _end_all(process, before)
    took_s = time.monotonic() - began
    return Completed(argv, process.returncode, took_s, folder, out, err)


@contextlib.contextmanager
def _reading(
    stdin: str | bytes | os.PathLike[str] | None, file: Path
) -> Generator[Any, None, None]:
    """Open a standard input."""
    if stdin is None:
        yield subprocess.DEVNULL
        return
    if isinstance(stdin, (str, bytes)):
        file.write_bytes(stdin.encode() if isinstance(stdin, str) else stdin)
        stdin = file
    with Path(stdin).open("rb") as source:
        yield source


def _started(
    argv: list[str],
    folder: Path,
    stdin: Any,
    stdout: Any,
    stderr: Any,
    environment: Mapping[str, str],
    cores: Collection[int],
) -> subprocess.Popen[bytes]:
    parent = os.getpid()

    def prepare() -> None:  # in the child
        descendants.die_with_parent(parent)
        if cores and hasattr(os, "sched_setaffinity"):
            with contextlib.suppress(OSError):  # the control group's cores have changed
                os.sched_setaffinity(0, cores)

    try:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env=environment,
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509 - it imports nothing and takes no lock
        )
    except OSError as error:
        raise UsageError(f"{argv[0]} cannot be started: {error.strerror or error}") from error


def _wait(pid: int, should_stop: Callable[[], bool]) -> None:
    """Wait for the end of a program, and leave it as a zombie, so that its number stays its own.

    Raises:
        TaskStopped: the task was asked to stop, and the program, too: it has ended.
    """
    asked = False
    with _watched(pid) as look:
        while not _has_ended(pid):
            if not asked and should_stop():
                asked = True
                _signal_group(pid, signal.SIGTERM)
            look()
    if asked:
        raise TaskStopped


@contextlib.contextmanager
def _watched(pid: int) -> Generator[Callable[[], object], None, None]:
    """Give a function that returns when a process has ended, or a moment has passed."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):  # not on this system
        yield lambda: time.sleep(LOOK_S / 10)
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        yield lambda: poll.poll(LOOK_S * 1000)
    finally:
        os.close(descriptor)


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end_all(process: subprocess.Popen[bytes], before: set[int] | None) -> None:
    """Kill a program if it still runs, and all that it has left, and wait for it.

    Its ranks may be in process groups of their own; when their launcher has ended they are this
    worker's children, and were not among those ``before``.
    """
    descendants.kill_with_all_below(process.pid)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()
    if before is None:
        return
    for pid in set(descendants.children()) - before:
        if not descendants.is_tracker(pid):
            descendants.kill_with_all_below(pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _last_lines(file: Path) -> str:
    with contextlib.suppress(OSError), file.open("rb") as source:
        source.seek(max(0, source.seek(0, os.SEEK_END) - END_BYTES))
        lines = source.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-END_LINES:]).strip()
    return ""
