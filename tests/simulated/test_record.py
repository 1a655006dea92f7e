"""The record says of a task what it was given, which versions it used, and how it was tried."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from steerio import Campaign, Limits, task
from steerio.campaign.parameters import in_short, write_parameters
from steerio.testing import KillWorker, Model, SimulatedCluster, simulate
from tests.simulated.virtual import in_virtual_time

pytestmark = pytest.mark.borders


@task(retries={"lost": 2})
def norm(x: Any) -> Any:
    return x


class Once(Campaign):
    workers: ClassVar = {"default": 1}

    async def setup(self) -> None:
        await self.run(norm, np.array([3.0, 4.0]))


def test_lost_attempts_are_in_the_record_with_their_times() -> None:
    model = Model(10.0, value=lambda x: np.array([5.0]))
    run = simulate(Once(), model=model, faults=[KillWorker(at_s=4.0)])
    (entry,) = run.records
    assert (entry.attempt, entry.args, entry.value) == (2, [[[3.0, 4.0]], {}], [5.0])
    assert entry.earlier is not None
    (first,) = entry.earlier
    assert (first.attempt, first.worker, first.received) == (1, "default-1", 4.0)
    assert first.reason.startswith("lost: ")
    assert entry.versions is None


@in_virtual_time
async def test_the_version_that_each_attempt_used_is_in_the_record() -> None:
    cluster = SimulatedCluster({"default": 1}, model=Model(10.0), faults=[KillWorker(at_s=14.0)])
    async with cluster, cluster.session() as session:
        models = session.versions("model")
        await models.publish("first")
        await session.run(norm, models.latest)
        await models.publish("second")
        again = session.submit(norm, models.latest)
        await session.submit(norm, models.latest)
        await again
    first, second, third = cluster.record.tasks
    assert (first.versions, first.earlier) == ({"model": 1}, None)
    assert second.versions == third.versions == {"model": 2}
    assert second.earlier is not None
    assert [attempt.versions for attempt in second.earlier] == [{"model": 2}]


@dataclass
class Point:
    x: float


class Made(Campaign):
    """Keeps nothing of what it is made with."""

    def __init__(self, seed: int, *names: str, **more: Any) -> None:
        pass


class Plain(Campaign):
    pass


def parameters_of(folder: Path, campaign: Campaign) -> dict[str, Any]:
    write_parameters(folder, campaign, {"default": 1}, {}, Limits(), 0)
    said: dict[str, Any] = json.loads((folder / "parameters.json").read_text())["arguments"]
    return said


def test_all_that_a_campaign_is_made_with_is_in_the_record(tmp_path: Path) -> None:
    values = {
        "none": None,
        "path": Path("a/b"),
        "array": np.array([1.5, 2.0]),
        "point": Point(1.0),
        "many": list(range(10_000)),
        "odd": object(),
        "nested": {"a": (1, 2)},
    }
    assert parameters_of(tmp_path, Made(7, "a", "b", **values)) == {
        "seed": 7,
        "names": ["a", "b"],
        "more": "<dict of 7>",
    }
    for name, expected in {
        "none": None,
        "path": "a/b",
        "array": [1.5, 2.0],
        "point": {"x": 1.0},
        "many": "<list of 10000>",
        "odd": "<object>",
        "nested": {"a": [1, 2]},
    }.items():
        assert parameters_of(tmp_path, Made(values[name])) == {  # type: ignore[arg-type]
            "seed": expected,
            "names": [],
            "more": {},
        }
    assert parameters_of(tmp_path, Plain()) == {}
    with pytest.raises(TypeError, match=r"Plain\(\) takes no arguments"):
        Plain(1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.zeros((1000, 1000)), "<ndarray of 1000>"),
        ([1.5] * 1_000_000, "<list of 1000000>"),
        (dict.fromkeys(range(100_000)), "<dict of 100000>"),
    ],
)
def test_of_long_values_only_the_length_is_looked_at(value: Any, shown: str) -> None:
    tracemalloc.start()
    try:
        assert in_short(value) == shown
        assert tracemalloc.get_traced_memory()[1] < 100_000, "nothing is made of them"
    finally:
        tracemalloc.stop()
