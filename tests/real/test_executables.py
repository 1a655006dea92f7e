"""Programs as tasks: files, streams, ends and environment; and none outlives its task."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

import steerio
from steerio import (
    Board,
    Cancelled,
    Command,
    Commands,
    Completed,
    Failed,
    ProgramFailed,
    Session,
    Succeeded,
    TaskType,
    TimedOut,
    Workers,
    executable,
    open_session,
)
from steerio.errors import TaskStopped, UsageError
from tests.real import programs

LARGE = 3_000_000
"""Bytes of output, far more than a pipe holds."""
GONE_S = 5.0
STAY = "trap '' TERM; echo $$ > pid.new; mv pid.new pid; while true; do sleep 60 & wait; done"
"""A program that ignores SIGTERM, and has a child."""


@asynccontextmanager
async def session_in(folder: Path, count: int = 1) -> AsyncIterator[Session]:
    async with open_session(
        workers={"default": count}, pin=False, run_dir=folder / "run"
    ) as session:
        yield session


def kept(folder: Path) -> list[str]:
    """Return the names of the folders that were kept."""
    return names_in(folder / "run/work")


def names_in(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.glob("*"))


@executable
def total(numbers: list[float]) -> Commands[float]:
    Path("in.txt").write_text("\n".join(map(str, numbers)))
    done = yield ["awk", "{ s += $1 } END { print s }", Path("in.txt")]
    assert done.folder == Path.cwd()
    assert done.run_s > 0
    return float(done.stdout)


@executable
def several(text: str) -> Commands[list[str]]:
    first = yield Command(["tr", "a-z", "A-Z"], stdin=text)
    second = yield Command(["wc", "-c"], stdin=first.stdout_file)
    third = yield Command(["cat"], stdin=b"\xff\n")
    fourth = yield ["cat"]
    return [each.stdout.strip() for each in (first, second, third, fourth)]


@executable
def nothing_to_do(known: float | None) -> Commands[float]:
    if known is not None:
        return known
    done = yield ["echo", "1"]
    return float(done.stdout)


@executable
def verbose() -> Commands[tuple[int, int]]:
    code = f"import sys; sys.stdout.write('x' * {LARGE}); sys.stderr.write('y' * {LARGE})"
    done = yield [sys.executable, "-c", code]
    return len(done.stdout), len(done.stderr)


@executable(retries={"failed": 1})
def failing(script: str) -> Commands[None]:
    Path("left.txt").write_text("for who looks")
    yield ["sh", "-c", script]


@executable
def staying(mark: str) -> Commands[str]:
    try:
        yield ["sh", "-c", STAY]
    except TaskStopped:
        Path(mark).write_text("cleaned up")
        raise
    return "unexpected"


@executable
def commands(each: list[Any]) -> Commands[list[str]]:
    said: list[str] = []
    for args in each:
        try:
            said.append((yield args).stdout.strip())
        except (UsageError, ProgramFailed) as error:
            said.append(str(error))
    return said


@steerio.task
def process_id() -> int:
    return os.getpid()


async def pid_in(folder: Path) -> int:
    """Wait until the program that stays has begun in the folder of its attempt."""
    async with asyncio.timeout(programs.START_S):
        while not (found := list((folder / "run/work").glob("*/pid"))):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return int(found[-1].read_text())


@pytest.mark.smoke
async def test_a_program_runs_between_preparing_and_collecting(tmp_path: Path) -> None:
    async with session_in(tmp_path, 2) as session:
        assert await session.run(total, [1.0, 2.5]) == 3.5
        every = session.map(total, [[float(n)] for n in range(20)])
        assert await session.gather(*every) == [float(n) for n in range(20)]
        assert await session.run(several, "abc") == ["ABC", "3", "�", ""]
        assert await session.run(nothing_to_do, 3.0) == 3.0
        assert await session.run(nothing_to_do, None) == 1.0
        assert await session.run(verbose) == (LARGE, LARGE)
    assert kept(tmp_path) == []


async def test_a_program_that_fails_is_told_of_and_each_attempts_folder_is_kept(
    tmp_path: Path,
) -> None:
    async with session_in(tmp_path) as session:
        script = "echo some; echo 'no such basis' >&2; exit 4"
        result = await session.submit(failing, script).result()
        assert isinstance(result, Failed)
        error = result.error.exception
        assert isinstance(error, ProgramFailed)
        assert (error.exit_code, error.signal, error.stderr_end) == (4, "", "no such basis")
        assert "exited with 4" in str(error)
        assert 'yield ["sh", "-c", script]' in result.error.traceback
        assert kept(tmp_path) == [f"failing-{result.task_id}-{n}" for n in (1, 2)]
        folder = Path(error.folder)
        assert folder.name == f"failing-{result.task_id}-2"
        assert names_in(folder) == ["command-1.err", "command-1.out", "left.txt"]

        options = session.options(retries={"failed": 0})
        result = await options.submit(failing, "echo only out; kill -SEGV $$").result()
        assert isinstance(result, Failed)
        error = result.error.exception
        assert isinstance(error, ProgramFailed)
        assert (error.exit_code, error.signal) == (-signal.SIGSEGV, "SIGSEGV")
        assert "was ended by SIGSEGV" in str(error)
        assert error.stderr_end == "only out"


@executable
def collects_wrongly() -> Commands[float]:
    done = yield ["echo", "many"]
    return float(done.stdout)


async def test_an_error_of_the_python_part_keeps_the_folder_too(tmp_path: Path) -> None:
    async with session_in(tmp_path) as session:
        result = await session.submit(collects_wrongly).result()
        assert isinstance(result, Failed)
        assert result.error.type == "ValueError"
        (name,) = kept(tmp_path)
        assert f"the folder of its programs is kept: {tmp_path / 'run/work' / name}" in (
            result.error.traceback
        )


async def test_folders_are_where_and_kept_as_the_task_type_says(tmp_path: Path) -> None:
    def keeping(keep: Any, folder: Path) -> TaskType[[int], None]:
        @executable(keep=keep, folder=folder)
        def ends(code: int) -> Commands[None]:
            yield ["sh", "-c", f"exit {code}"]

        return ends

    async with session_in(tmp_path) as session:
        for keep, left in (("always", 2), ("failure", 1), ("never", 0)):
            kind = keeping(keep, tmp_path / keep)
            await session.run(kind, 0)
            result = await session.submit(kind, 1).result()
            assert isinstance(result, Failed)
            assert isinstance(result.error.exception, ProgramFailed)
            assert bool(result.error.exception.folder) == (keep != "never")
            assert len(list((tmp_path / keep).iterdir())) == left, keep
        (tmp_path / "file").touch()
        result = await session.submit(keeping("never", tmp_path / "file/in"), 0).result()
        assert isinstance(result, Failed)
        assert "no folder for a program can be made in" in result.error.message


async def test_a_program_has_its_workers_environment_with_changes(tmp_path: Path) -> None:
    @executable(env={"GIVEN": "by type", "HOME": None})
    def look() -> Commands[list[str]]:
        say = "echo ${GIVEN-} ${HOME-none} ${OWN-} $OMP_NUM_THREADS $(taskset -cp $$)"
        first = yield ["sh", "-c", say]
        second = yield Command(["sh", "-c", say], env={"GIVEN": None, "OWN": "1"})
        return [first.stdout, second.stdout, os.environ.get("GIVEN", "not here")]

    @steerio.task
    def cores() -> set[int]:
        return os.sched_getaffinity(0)

    async with open_session(workers={"default": Workers(1, cpus=1)}) as session:
        mine = ",".join(map(str, sorted(await session.run(cores))))
        first, second, after = await session.run(look)
        assert first.startswith("by type none 1 ")
        assert second.startswith("none 1 1 ")
        assert first.strip().endswith((f": {mine}", "-1"))
        assert after == "not here"


async def test_wrong_commands_are_named_where_they_are_yielded(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("echo")
    wrong: list[tuple[Any, str]] = [
        ("ls -l 'a b'", "['ls', '-l', 'a b']"),
        (None, "a command is a list of texts, as in ['sort', 'in.txt'], not None"),
        ([], "a command is a list of texts"),
        (["echo", 1], "are texts and paths, and 1 is none"),
        (["no-such-program"], "there is no program 'no-such-program' in PATH (/"),
        (["./here"], "there is no program /"),
        ([str(tmp_path / "plain")], "may not be executed: chmod +x"),
        (["sh", "-c", "exit 1"], "exited with 1"),
    ]
    async with session_in(tmp_path) as session:
        found = await session.run(commands, [*(args for args, _ in wrong), ["echo", "well"]])
        for (args, words), said in zip(wrong, found, strict=False):
            assert words in said, args
        assert found[-1] == "well"


async def test_a_program_that_is_cancelled_ends_with_all_below_it(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with session_in(tmp_path) as session:
        handle = session.submit(staying, str(mark))
        pid = await pid_in(tmp_path)
        family = programs.family(pid)
        assert len(family) == 2
        handle.cancel()
        assert isinstance(await handle.result(), Cancelled)
        programs.wait_for_end(family, within_s=GONE_S)
        assert await session.run(total, [1.0]) == 1.0
    assert len(kept(tmp_path)) == 1


async def test_a_program_that_is_out_of_time_is_ended_and_asked_first(tmp_path: Path) -> None:
    @executable(timeout_s=1.0, cancel_grace_s=20.0)
    def obeying(mark: str) -> Commands[None]:
        try:
            yield ["sh", "-c", "trap 'echo asked; exit 0' TERM; while true; do sleep 0.05; done"]
        finally:
            Path(mark).write_text(Path("command-1.out").read_text())

    async with session_in(tmp_path) as session:
        before = await session.run(process_id)
        result = await session.submit(obeying, str(tmp_path / "mark")).result()
        assert isinstance(result, TimedOut)
        assert (tmp_path / "mark").read_text() == "asked\n"
        assert await session.run(process_id) == before, "its worker is used again"


async def test_no_program_outlives_its_worker_or_its_node(tmp_path: Path) -> None:
    async with session_in(tmp_path) as session:
        options = session.options(retries={"lost": 0})
        worker = await session.run(process_id)
        handle = options.submit(staying, str(tmp_path / "mark"))
        family = programs.family(await pid_in(tmp_path))
        os.kill(worker, signal.SIGKILL)
        programs.wait_for_end(family, within_s=GONE_S)
        assert (await handle.result()).ended_as == "lost"
        assert len(kept(tmp_path)) == 1


async def test_a_program_takes_along_what_it_leaves_running(tmp_path: Path) -> None:
    @executable
    def leaves() -> Commands[int]:
        done = yield ["sh", "-c", "setsid sleep 600 & echo $!"]
        return int(done.stdout)

    async with session_in(tmp_path) as session:
        programs.wait_for_end([await session.run(leaves)], within_s=GONE_S)


async def test_a_command_after_the_stop_is_not_run(tmp_path: Path) -> None:
    @executable(cancel_grace_s=5.0)
    def insists(mark: str) -> Commands[None]:
        try:
            yield ["sh", "-c", "echo $$ > pid.new; mv pid.new pid; sleep 600"]
        finally:
            yield ["touch", mark]

    async with session_in(tmp_path) as session:
        handle = session.submit(insists, str(tmp_path / "mark"))
        await pid_in(tmp_path)
        handle.cancel()
        assert isinstance(await handle.result(), Cancelled)
        assert not (tmp_path / "mark").exists()


@executable(memo=True, version="2")
def counted(mark: str) -> Commands[int]:
    yield ["sh", "-c", f"echo run >> {mark}"]
    return len(Path(mark).read_text().splitlines())


async def test_equal_calls_of_an_executable_with_a_memo_run_it_once(tmp_path: Path) -> None:
    assert counted.is_known_by_name
    async with session_in(tmp_path) as session:
        mark = str(tmp_path / "mark")
        assert [await session.run(counted, mark) for _ in range(3)] == [1, 1, 1]


async def test_an_executable_is_a_task_as_any_other(tmp_path: Path) -> None:
    async with session_in(tmp_path) as session:
        assert await asyncio.wrap_future(session.executor().submit(total, [4.0])) == 4.0
        again = session.options(retries={"failed": 0}, tags={"of": "ours"})
        result = await again.submit(total, [1.0]).result()
        assert isinstance(result, Succeeded)
        assert result.task_type.endswith(":total")


def test_called_directly_it_runs_the_program_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    @executable(folder="own")
    def where() -> Commands[str]:
        done = yield ["pwd"]
        return done.stdout.strip()

    assert where() == str(tmp_path / "own/where")
    assert Path.cwd() == tmp_path
    assert list((tmp_path / "own").iterdir()) == []


def test_the_python_part_can_be_tested_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    steps = total.function.__wrapped__([1.0, 2.0])  # type: ignore[attr-defined]
    assert next(steps)[0] == "awk"
    assert Path("in.txt").read_text() == "1.0\n2.0"
    (tmp_path / "out").write_text("3")
    with pytest.raises(StopIteration) as end:
        steps.send(Completed(["awk"], 0, 1.0, tmp_path, tmp_path / "out", tmp_path / "err"))
    assert end.value.value == 3.0


def test_wrong_options_are_refused_where_they_are_given() -> None:
    def none_yielded(x: int) -> int:
        return x

    with pytest.raises(UsageError, match="none_yielded yields no command, as @executable needs"):
        executable(none_yielded)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="none_yielded yields no command, as @mpi_task needs"):
        steerio.mpi_task(gang=2)(none_yielded)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="keep is one of always, failure, never, not 'fail"):
        executable(keep="failed")  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="variable OMP_NUM_THREADS is a text or None, not 4"):
        executable(env={"OMP_NUM_THREADS": 4})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match="folder is a path, not 4"):
        executable(folder=4)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="ranks_per_worker"):
        steerio.mpi_task(ranks_per_worker=0)
    with pytest.raises(UsageError, match="used with parentheses"):
        steerio.mpi_task(total.function)  # type: ignore[call-arg, arg-type]
    with pytest.raises(UsageError, match="a launcher is a text"):
        steerio.mpi_task(launcher=["srun"])  # type: ignore[arg-type]


class Sums(steerio.Campaign):
    """A board of programs."""

    workers: ClassVar = {"default": 2}

    def __init__(self) -> None:
        self.todo = Board(total, [[float(n)] for n in range(10)], key=str)
        self.found = 0.0

    @steerio.on_success(total)
    async def add(self, result: Succeeded) -> None:
        self.found += result.value


async def test_a_board_hands_programs_out(tmp_path: Path) -> None:
    campaign = Sums()
    await steerio.conduct(campaign, run_dir=tmp_path / "run", pin=False)
    assert campaign.found == 45.0
    assert kept(tmp_path) == []
