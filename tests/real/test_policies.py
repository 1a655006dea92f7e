"""The policies that a steering system must express in a few lines, on two real workers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import steerio
from steerio import Board, Campaign, Succeeded, on_success, task


@task(pool="simulate")
def energy(molecule: int) -> float:
    return float(-abs(molecule - 30))


@task(pool="learn")
def rank(known: int, waiting: list[int]) -> dict[int, float]:
    return {molecule: float(-abs(molecule - 30)) for molecule in waiting}


@task(pool="infer")
def infer(molecule: int) -> int:
    return molecule


def events(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run_dir / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["type"] == kind]


class OneForOne(Campaign):
    workers: ClassVar = {"simulate": 2, "learn": 0, "infer": 0}

    def __init__(self) -> None:
        self.left = list(range(20))
        self.found: list[float] = []

    async def setup(self) -> None:
        for _ in range(2):
            self.submit(energy, self.left.pop())

    @on_success(energy)
    async def another(self, result: Succeeded) -> None:
        self.found.append(result.value)
        if self.left:
            self.submit(energy, self.left.pop())


class RetrainAfter8(Campaign):
    workers: ClassVar = {"simulate": 1, "learn": 1, "infer": 0}

    def __init__(self) -> None:
        self.todo = Board(energy, range(64))
        self.trained_on: list[int] = []

    @on_success(energy, every=8)
    async def relearn(self, results: list[Succeeded]) -> None:
        self.trained_on.append(len(results))
        scores = await self.run(rank, len(results), self.todo.waiting)
        self.todo.rescore(scores)


class GiveToInference(Campaign):
    workers: ClassVar = {"simulate": 0, "learn": 1, "infer": 1}

    def __init__(self) -> None:
        self.seen: set[int] = set()

    async def setup(self) -> None:
        await self.run(infer, -1)  # the worker of inference has joined
        self.submit(rank, 1, [1, 2, 3])

    @on_success(rank)
    async def give(self, result: Succeeded) -> None:
        await self.pools.move("learn", "infer", 1)
        self.map(infer, range(20))

    @on_success(infer)
    async def count(self, result: Succeeded) -> None:
        self.seen.add(result.value)


def test_a_simulation_is_submitted_once_another_completes(tmp_path: Path) -> None:
    run = steerio.run(OneForOne(), run_dir=tmp_path / "run", progress="off")
    assert len(run.found) == 20


def test_a_model_is_retrained_after_eight_successes(tmp_path: Path) -> None:
    run = steerio.run(RetrainAfter8(), run_dir=tmp_path / "run", progress="off")
    assert run.trained_on == [8] * 8


def test_inference_gets_the_trainers_worker_once_training_ends(tmp_path: Path) -> None:
    run = steerio.run(GiveToInference(), run_dir=tmp_path / "run", progress="off")
    assert run.seen == {-1, *range(20)}
    (moved,) = events(tmp_path / "run", "WorkerMoved")
    assert (moved["source"], moved["pool"]) == ("learn", "infer")
    started = [
        event
        for event in events(tmp_path / "run", "TaskStarted")
        if event["pool"] == "infer" and event["number"] > moved["number"]
    ]
    assert {event["worker"] for event in started} == {"learn-1", "infer-1"}
