"""Scripts, ranks of launchers and guests of a broker that were cut off and go on."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.real.programs import python, steerio_command
from tests.real.resumable import OFTEN, Place, summed
from tests.real.test_mpi import LAUNCHERS, launch, rendezvous
from tests.real.test_standing_broker import broker_in, workers_in


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


SCRIPT = """
import asyncio, time
from dataclasses import dataclass
from pathlib import Path

import steerio
from steerio import Campaign, on_success, task
from search import note

@dataclass(frozen=True)
class Point:
    x: int
    scale: float = 2.0

@task
def scaled(point: Point, table, model) -> float:
    note("calls", point.x)
    gate = Path("gate")
    while point.x >= int(gate.read_text()):
        time.sleep(0.005)
    return point.x * point.scale + float(table[1]) + model["bias"]

class Script(Campaign):
    workers = {"default": 2}

    def __init__(self, points: list[Point]) -> None:
        self.points = points
        self.values = {}
        self.table = None

    async def setup(self):
        self.table = await self.put(bytes(range(250)) * 1_000)
        await self.versions("model").publish({"bias": 0.25})
        for point in self.points:
            self.submit(scaled, point, self.table, self.versions("model").latest)

    @on_success(scaled)
    async def record(self, result):
        point = result.args[0]
        assert type(point) is Point and point.x not in self.values
        self.values[point.x] = result.value
        note("told", point.x)
        print(f"recorded {len(self.values)}.", flush=True)

def main():
    points = [Point(x) for x in range(24)]
    HOW
    print("sum", sum(campaign.values.values()), "of", len(campaign.values), flush=True)

if __name__ == "__main__":
    main()
"""
WAYS = {
    "run": 'campaign = steerio.run(Script(points), resume="record")',
    "conduct": 'campaign = asyncio.run(steerio.conduct(Script(points), resume="record"))',
}
SCALED = f"sum {sum(2.0 * x + 1.25 for x in range(24))} of 24\n"


@pytest.mark.parametrize("often", ["", OFTEN], ids=["replayed", "from a snapshot"])
@pytest.mark.parametrize("way", WAYS)
def test_a_script_with_its_own_classes_references_and_versions_goes_on(
    place: Place, way: str, often: str
) -> None:
    script = place.folder / "script.py"
    script.write_text(often + SCRIPT.replace("HOW", WAYS[way]))
    place.cut_at(14, *python("script.py"), after="snapshot at" if often else "recorded")
    told, before = place.told, place.calls
    assert len(told) == 14
    output = place.done(*python("script.py"))
    assert SCALED in output
    assert ("recorded 14." in output) == (not often)
    assert not told.keys() & (place.calls - before).keys()
    assert SCALED in place.done(*python("script.py"))
    output = place.done(*place.resume(), status=2)
    assert "was not started by steerio run: run your program again" in output


@pytest.mark.parametrize("name", LAUNCHERS)
def test_ranks_go_on_with_a_run_that_others_began(place: Place, name: str) -> None:
    begun = steerio_command("run", "search.py", "--resume", "record")
    place.cut_at(6, *launch(name, 3, *begun))
    told, before = place.told, place.calls
    place.cut_at(14, *launch(name, 2, *begun))
    assert not told.keys() & (place.calls - before).keys()
    told, before = place.told, place.calls
    output = place.done(*launch(name, 4, *place.resume()))
    assert output.count(summed()) == 1
    assert not told.keys() & (place.calls - before).keys()
    assert rendezvous() == []
    assert summed() in place.done(*place.resume("--workers", "1"))
    assert summed() in place.done(*launch(name, 2, *place.resume()))
    place.done(*steerio_command("clean"))  # a launcher kills the ranks of another


def test_a_campaign_that_joined_a_broker_goes_on_there_or_alone(place: Place) -> None:
    with broker_in(place.folder) as broker, workers_in(place.folder, "--workers", "2") as node:
        joined = place.run("--join", "broker")
        place.cut_at(12, *joined)
        told, before = place.told, place.calls
        place.cut_at(20, *place.resume("--join", "broker"))
        assert not told.keys() & (place.calls - before).keys()
        told, before = place.told, place.calls
        assert summed() in place.done(*place.resume("--join", "broker"))
        assert not told.keys() & (place.calls - before).keys()
        before = place.calls
        assert summed() in place.done(*place.resume())
        assert place.calls == before
        broker.signal(signal.SIGTERM)
        assert broker.status() == 0, broker
        node.status()
