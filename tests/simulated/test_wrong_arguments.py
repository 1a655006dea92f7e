"""What sessions, runs and simulations are opened with is refused at once where it is of no use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

import steerio
from steerio import Board, Campaign, Limits, Session, UsageError, task
from steerio.errors import EncodingError
from steerio.testing import KillNode, KillWorker, Model, SimulatedCluster, simulate
from tests.simulated.virtual import on_cluster

pytestmark = pytest.mark.borders

WRONG = [
    ({"settings": 3}, r"settings is a steerio\.Settings, like .* not 3"),
    ({"settings": {}}, r"settings is a steerio\.Settings, like .* not \{\}"),
    ({"store": "file"}, r"store is a steerio\.StoreSetting, like .* not 'file'"),
    ({"run_dir": 3}, "run_dir is the path of a folder, not 3"),
    ({"run_dir": b"runs"}, "run_dir is the path of a folder, not b'runs'"),
    ({"pin": "no"}, "pin is True or False, not 'no'"),
    ({"pin": None}, "pin is True or False, not None"),
]


@task(pool="w")
def work(x: int) -> int:
    return x


class Works(Campaign):
    workers: ClassVar[Any] = {"w": 1}

    async def setup(self) -> None:
        await self.run(work, 1)


class ByNumber(Works):
    workers = 2


class ByName(Works):
    workers = ("w",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        *WRONG,
        ({"preload": "numpy"}, r"preload is a list of names of modules, like .* not 'numpy'"),
        ({"preload": [3]}, r"preload is a list of names of modules, like .* not \[3\]"),
        ({"preload": 3}, r"preload is a list of names of modules, like .* not 3"),
        ({"name": 3}, "the name of a client must be a name of 1 to 250 characters, not 3"),
        ({"name": "a" * 251}, "the name of a client must be a name of 1 to 250 characters"),
    ],
)
async def test_what_a_session_is_opened_with(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        await steerio.open_session(workers=1, **given).__aenter__()


@pytest.mark.parametrize(("given", "said"), [*WRONG, ({"limits": 3}, r"limits is a steerio\.Lim")])
async def test_what_a_campaign_is_run_with(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        await steerio.conduct(Works(), **given)
    with pytest.raises(UsageError, match=said):  # before it says that a loop runs here
        steerio.run(Works(), **given)


class ByMethod(Campaign):
    workers: ClassVar[Any] = {"default": 1}

    def compute(self, x: int) -> int:
        return x

    async def setup(self) -> None:
        with pytest.raises(UsageError, match="a campaign stays in its process: have a function or"):
            await self.run(self.compute, 1)
        with pytest.raises(EncodingError, match="a campaign stays in its process"):
            await self.run(abs, self)  # type: ignore[arg-type]


def test_a_campaign_that_runs_is_sent_nowhere() -> None:
    run = simulate(ByMethod(), model=Model(1))
    assert not run.records


async def test_what_is_no_session_and_no_run_directory() -> None:
    with pytest.raises(UsageError, match=r"session is an open session, .* not 3"):
        await steerio.conduct(Works(), session=3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="run_dir is the path of a folder, not 3"):
        await steerio.connect(3).__aenter__()  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the name of a client must be a name of 1 to 250 char"):
        await steerio.connect(".", name="a" * 251).__aenter__()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tasks": "3"}, r"Limits\.tasks must be a number, not '3'"),
        ({"failures": 2.5}, r"Limits\.failures must be a whole number or None, not 2\.5"),
        ({"wall_s": []}, r"Limits\.wall_s must be a number, not \[\]"),
        ({"drain": "no"}, r"Limits\.drain is True or False, not 'no'"),
    ],
)
def test_limits(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Limits(**given)


def test_a_whole_number_may_be_written_as_a_float() -> None:
    assert Limits(tasks=1e3).tasks == 1000  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": 3}, "model is a Model, or a dict of Models by task type, not 3"),
        ({"nodes": "3"}, "nodes must be a whole number from 1 on, or None, not '3'"),
        ({"workers_per_node": 0}, "workers_per_node must be a whole number from 1 on, not 0"),
        ({"latency_s": -1}, "latency_s must be from 0 .* not -1"),
        ({"start_s": float("nan")}, "start_s must be from 0 .* not nan"),
        ({"walltime_s": "1h"}, "walltime_s must be a number, not '1h'"),
        ({"until_s": "3"}, "until_s must be a number, not '3'"),
        ({"wall_limit_s": "3"}, "wall_limit_s must be a number, not '3'"),
        ({"faults": KillNode(at_s=1, node="node-1")}, r"faults are a list, like .* not KillNode\("),
        ({"faults": [KillWorker(at_s=1, pool="v")]}, r"'v'\) names no pool of this cluster \(w\)"),
        ({"faults": [3]}, r"faults are a list, like .* not \[3\]"),
        ({"limits": 3}, r"limits is a steerio\.Limits"),
        ({"settings": 3}, r"settings is a steerio\.Settings"),
        ({"run_dir": 3}, "run_dir is the path of a folder"),
        ({"workers": "w=2"}, "workers says how many each pool has, like .* not 'w=2'"),
    ],
)
def test_what_a_campaign_is_simulated_with(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        simulate(Works(), **{"model": Model(1), **given})


@pytest.mark.parametrize("campaign", [Works, 3])
def test_what_is_no_campaign(campaign: Any) -> None:
    with pytest.raises(UsageError, match="simulate takes an instance of a Campaign, not"):
        simulate(campaign, model=Model(1))


@pytest.mark.parametrize("kind", [ByNumber, ByName])
async def test_workers_of_a_class_that_do_not_go_by_pool(kind: type[Campaign]) -> None:
    said = r'workers says how many each pool has, like workers=\{"simulate": 2\}, not '
    with pytest.raises(UsageError, match=said):
        await steerio.conduct(kind())


@pytest.mark.parametrize("kind", [ByNumber, ByName])
def test_workers_of_a_simulated_class_that_do_not_go_by_pool(kind: type[Campaign]) -> None:
    with pytest.raises(UsageError, match=r"workers says how many each pool has, like .* not "):
        simulate(kind(), model=Model(1))


@on_cluster(simulate=2, learn=0)
async def test_what_pools_boards_and_priorities_are_asked(
    cluster: SimulatedCluster, session: Session
) -> None:
    pools: Any = session.pools
    asked: list[tuple[Callable[[], Any], str]] = [
        (
            lambda: pools.lend("simulate", to="learn", workers="2"),
            "workers is a whole number above 0",
        ),
        (
            lambda: pools.lend("simulate", to="learn", workers=2, at_least="1"),
            "at_least is between 0",
        ),
        (
            lambda: pools.move("simulate", "learn", "2"),
            "workers is a whole number above 0, not '2'",
        ),
        (lambda: session.reprioritise(3), "takes a dict of priorities by task, .* not 3"),  # type: ignore[arg-type]
        (lambda: Board(work, [1], key=3), "the key of a board is a plain function of an item"),  # type: ignore[arg-type]
    ]
    for ask, said in asked:
        with pytest.raises(UsageError, match=said):
            ask()
    with pytest.raises(UsageError, match=r"follow takes a rule, like .* not 3"):
        await pools.follow(3)
    with pytest.raises(UsageError, match=r"a rule returns numbers of workers by .* not 3"):
        await pools.follow(lambda _: 3)
