"""A run that a failure has ended goes on when the cause of that is mended."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

import steerio
from steerio import Board, Campaign, UnhandledFailure, agent, on_success, task
from steerio.errors import TaskFailed


@task
def read(path: str, x: int) -> int:
    with Path(f"{path}.runs").open("a") as runs:
        runs.write(f"{x} ")
    return x + len(Path(path).read_text()) if x == 5 else x


class Boarded(Campaign):
    """Has no handler of failures."""

    workers: ClassVar = {"default": 1}

    def __init__(self, path: Path) -> None:
        self.board = Board(read, [(str(path), x) for x in range(8)])
        self.values: list[int] = []

    @on_success(read)
    async def take_in(self, result: Any) -> None:
        self.values.append(result.value)


class Awaiting(Campaign):
    """Awaits one task after another."""

    workers: ClassVar = {"default": 1}

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.values: list[int] = []

    @agent
    async def walk(self) -> None:
        for x in range(8):
            self.values.append(await self.run(read, self.path, x))


def runs_of(path: Path) -> list[int]:
    """Return how often each of the first tasks was run."""
    runs = Path(f"{path}.runs").read_text().split()
    return [runs.count(str(x)) for x in range(6)]


@pytest.mark.parametrize(("kind", "error"), [(Boarded, UnhandledFailure), (Awaiting, TaskFailed)])
async def test_a_task_whose_failure_has_ended_a_run_runs_again(
    tmp_path: Path, kind: Any, error: type[Exception]
) -> None:
    path, record = tmp_path / "input", tmp_path / "record"
    for _ in range(2):
        with pytest.raises(ExceptionGroup) as raised:
            await steerio.conduct(kind(path), resume=record)
        assert raised.group_contains(error)
    path.write_text("text")
    for _ in range(2):
        again = await steerio.conduct(kind(path), resume=record)
        assert sorted(again.values) == [0, 1, 2, 3, 4, 6, 7, 9]
    assert runs_of(path) == [1, 1, 1, 1, 1, 3]
