"""The batch jobs of a run directory: submitted, asked for, cancelled.

The folder ``batch/`` of the run directory has the script and the output of each job, and
``jobs.jsonl`` a line for each that was submitted. Every call runs a command of the batch system and
waits for its answer, so it belongs into a thread.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from steerio.edge.system.outside_commands import CommandAnswer, run_command
from steerio.edge.system.own_files import writing_to
from steerio.errors import BatchFailed, UsageError
from steerio.launch.batch_script import Wish, script_of
from steerio.launch.batch_systems import SYSTEMS, BatchJob, BatchSystem

FOLDER, FILE = "batch", "jobs.jsonl"
ANSWER_S = 60.0
"""Longest wait for the answer of a batch system, which may have many users to serve."""


class Launched(Struct, frozen=True):
    """A job that was submitted.

    Attributes:
        job: its number, as the batch system gave it.
        name: of the block: that of its script, its output and its nodes.
        system: the batch system.
        nodes: how many were asked for.
        at: when it was submitted, in Unix seconds.
    """

    job: str
    name: str
    system: str
    nodes: int
    at: float


def new_block(run_dir: Path) -> tuple[str, Path]:
    """Return the name of a block that has none yet, and its script's file, which is empty.

    Raises:
        UsageError: the run directory cannot be written to.
    """
    with writing_to(run_dir):
        folder = run_dir / FOLDER
        folder.mkdir(exist_ok=True)
        for number in itertools.count(1):
            file = folder / f"block{number}.sh"
            try:
                file.touch(mode=0o700, exist_ok=False)
            except FileExistsError:
                continue
            return file.stem, file
    raise AssertionError("numbers do not end")


def launch(run_dir: Path, system: BatchSystem, wish: Wish, script: str = "") -> Launched:
    """Submit a job whose nodes join the broker of a run directory.

    Args:
        run_dir: of the broker.
        system: the batch system.
        wish: for the job.
        script: the text of a script that was edited; ``""``: one by the wish.

    Raises:
        UsageError: the wish cannot be, or the run directory cannot be written to.
        BatchFailed: the batch system has not taken the job.
    """
    wish.check()
    run_dir = run_dir.absolute()
    name, file = new_block(run_dir)
    try:
        with writing_to(run_dir):
            output = file.with_suffix(".out")
            file.write_text(script or script_of(system, wish, name, run_dir, output))
        answer = _run(system, system.submit(str(file)), file if system.from_input else None)
        try:
            job = system.submitted(answer.output)
        except ValueError as error:
            raise BatchFailed(
                system.name, f"{answer.words!r} was its answer, and {error}"
            ) from None
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    launched = Launched(job, name, system.name, wish.nodes, time.time())
    with writing_to(run_dir), (run_dir / FOLDER / FILE).open("ab") as lines:
        lines.write(msgspec.json.encode(launched) + b"\n")
    return launched


def launched_in(run_dir: Path) -> list[Launched]:
    """Return the jobs that were submitted for a run directory, the first one first.

    Raises:
        UsageError: their file is damaged.
    """
    file = run_dir / FOLDER / FILE
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    try:
        return [msgspec.json.decode(line, type=Launched) for line in lines]
    except msgspec.DecodeError as error:
        raise UsageError(f"{file} is damaged ({error}): remove the line, or the file") from None


def states_of(jobs: Sequence[Launched], within_s: float = ANSWER_S) -> dict[str, BatchJob]:
    """Ask for the state of jobs, by one command for each batch system.

    A job that its batch system knows no more has ended.

    Args:
        jobs: of one or more batch systems.
        within_s: seconds that each batch system has to answer.

    Raises:
        BatchFailed: a batch system has not answered.
    """
    found = {each.job: BatchJob("ended") for each in jobs}
    for name, system in SYSTEMS.items():
        numbers = [each.job for each in jobs if each.system == name]
        if not numbers:
            continue
        try:
            answer = run_command(system.ask(numbers), within_s)
            told = system.states(answer.output + (answer.errors if answer.status else ""))
        except (OSError, TimeoutError, ValueError) as error:
            raise BatchFailed(name, f"{' '.join(system.ask(numbers))}: {error}") from None
        if answer.status and not told and not _knows_none(answer):
            raise BatchFailed(name, answer.words)
        found.update((job, state) for job, state in told.items() if job in found)
    return found


def cancel(jobs: Sequence[Launched], within_s: float = ANSWER_S) -> None:
    """Cancel jobs; those that have ended are no matter.

    Args:
        jobs: of one or more batch systems.
        within_s: seconds that each batch system has, also to say which of them have ended.

    Raises:
        BatchFailed: a batch system has not taken the order.
    """
    for name, system in SYSTEMS.items():
        numbers = [each.job for each in jobs if each.system == name]
        if not numbers:
            continue
        until = time.monotonic() + within_s
        try:
            _run(system, system.cancel(numbers), within_s=within_s)
        except BatchFailed:
            # some batch systems refuse a job that has just ended
            here = [each for each in jobs if each.system == name]
            left_s = until - time.monotonic()
            if left_s <= 0:
                raise
            if any(state.state != "ended" for state in states_of(here, left_s).values()):
                raise


def _run(
    system: BatchSystem,
    command: Sequence[str],
    given: Path | None = None,
    within_s: float = ANSWER_S,
) -> CommandAnswer:
    try:
        answer = run_command(command, within_s, given)
    except FileNotFoundError:
        raise BatchFailed(
            system.name,
            f"there is no command {command[0]!r} here: go to a machine from which jobs are "
            f"submitted, or put its folder into PATH ({os.environ.get('PATH', '')})",
        ) from None
    except (OSError, TimeoutError) as error:
        raise BatchFailed(system.name, f"{' '.join(command)}: {error}") from None
    if answer.status:
        raise BatchFailed(system.name, answer.words)
    return answer


UNKNOWN = ("unknown job id", "is not found", "no matching job", "invalid job id", "not find job")
"""Parts of answers by which batch systems say that they know none of the jobs any more."""


def _knows_none(answer: CommandAnswer) -> bool:
    said = (answer.output + answer.errors).lower()
    return any(words in said for words in UNKNOWN)
