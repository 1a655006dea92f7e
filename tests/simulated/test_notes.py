"""Notes are numbers of a user's own: events, and the latest of each name at hand."""

from __future__ import annotations

import decimal
import fractions
import math
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from steerio import (
    Campaign,
    Limits,
    Published,
    Session,
    Succeeded,
    UsageError,
    agent,
    on_success,
    task,
)
from steerio.campaign.conductor import drive
from steerio.campaign.limits import Spent
from steerio.campaign.summing_up import RunOutcome
from steerio.session.notes import MOST_NAMES
from steerio.testing import SimulatedCluster, simulate
from steerio.testing.record import MemoryRecord
from tests.simulated.kept_runs import CrashingDisk, cut, play
from tests.simulated.virtual import AS_ASKED, of_kind, on_cluster, simulation


@task
def half(rest: float) -> float:
    return rest / 2


class Lowest(Campaign):
    workers: ClassVar = {"simulate": 2}

    def __init__(self) -> None:
        self.best = math.inf

    async def setup(self) -> None:
        self.map(simulation, [3.0, 1.0, 2.0])

    @on_success(simulation)
    async def compare(self, result: Succeeded) -> None:
        self.best = min(self.best, result.value)
        self.note(best=self.best)

    async def finish(self) -> None:
        self.note(regret=np.float32(0.5))


@pytest.mark.smoke
def test_each_note_is_an_event_and_the_latest_are_told_at_the_end(tmp_path: Path) -> None:
    run = simulate(Lowest(), model=AS_ASKED, run_dir=tmp_path / "run")
    notes = of_kind(run.events, Published)
    assert [(note.topic, note.value) for note in notes] == [
        ("note", {"best": 1.0}),
        ("note", {"best": 1.0}),
        ("note", {"best": 1.0}),
        ("note", {"regret": 0.5}),
    ]
    assert run.notes == {"best": 1.0, "regret": 0.5}
    assert run.campaign.session.notes == run.notes
    assert b'"value":{"best":1.0}' in (tmp_path / "run/events.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (-2.5, -2.5),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int8(-3), -3.0),
        (np.array(7), 7.0),
        (decimal.Decimal("1.5"), 1.5),
        (fractions.Fraction(1, 4), 0.25),
        (10**300, 1e300),
    ],
)
def test_a_number_of_any_library_is_noted_as_a_plain_one(value: Any, number: float) -> None:
    @on_cluster(1)
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        session.note(value=value)
        assert type(session.notes["value"]) is float
        assert session.notes == {"value": number}

    scene()


@on_cluster(1)
async def test_a_number_that_is_not_known_is_noted_as_such(
    cluster: SimulatedCluster, session: Session
) -> None:
    async with session.events(Published) as events:
        session.note(loss=math.nan, self=2)
        note = await anext(events)
    assert math.isnan(note.value["loss"])
    assert note.value["self"] == 2
    assert math.isnan(session.notes["loss"])


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({}, r"takes numbers by name, as in note\(best=-3.2\)"),
        ({"best": "3"}, r"the note best must be a number, not '3' \(str\)"),
        ({"best": True}, r"the note best must be a number, not True \(bool\)"),
        ({"best": np.bool_(True)}, r"the note best must be a number"),
        ({"best": 1j}, r"the note best must be a number, not 1j \(complex\)"),
        ({"best": np.complex64(1)}, r"the note best must be a number"),
        ({"best": None}, r"the note best must be a number, not None \(NoneType\)"),
        ({"best": [1.0]}, r"the note best must be a number, not \[1.0\] \(list\)"),
        ({"best": np.ones(1)}, r"the note best must be a number, not array\(\[1.\]\) \(ndarray\)"),
        ({"best": np.datetime64("2026-01-01")}, r"the note best must be a number"),
        ({"best": 10**400}, r"the note best must be a number, not <int of 1329 bits> \(int\)"),
        ({"best": decimal.Decimal("sNaN")}, r"the note best must be a number"),
        ({"best": math.inf}, r"the note best must be finite, not inf: note it once it is known"),
        ({"best": np.float64("-inf")}, r"the note best must be finite, not -inf"),
        ({"best so far": 1.0}, r"named like a variable, .* not 'best so far'"),
        ({"": 1.0}, r"named like a variable"),
        ({f"{'long' * 20}{n}": 1.0 for n in range(50)}, r"51 notes at once take \d+ bytes, and"),
        (
            {f"n{n}": 1.0 for n in range(MOST_NAMES)},
            r"notes may have 100 names, and good, n0, .* it 101",
        ),
    ],
)
def test_a_wrong_note_is_refused_by_its_name_and_nothing_is_noted(
    numbers: dict[str, Any], said: str
) -> None:
    @on_cluster(1)
    async def scene(cluster: SimulatedCluster, session: Session) -> None:
        with pytest.raises(UsageError, match=said):
            session.note(**{"good": 1.0, **numbers} if numbers else {})
        assert not session.notes
        await session.status()
        assert of_kind(cluster.record.events, Published) == []

    scene()


@on_cluster(1)
async def test_the_topic_of_notes_is_theirs_alone(
    cluster: SimulatedCluster, session: Session
) -> None:
    class note:  # noqa: N801 - it is the name that matters
        pass

    with pytest.raises(UsageError, match="'note' is the topic of notes"):
        session.publish(note())


@on_cluster(2)
async def test_a_campaign_begins_without_the_notes_of_the_one_before(
    cluster: SimulatedCluster, session: Session
) -> None:
    session.note(other=1.0)
    await drive(Lowest(), session, Limits())
    assert session.notes == {"best": 1.0, "regret": 0.5}


def test_the_summary_of_a_run_has_its_last_notes() -> None:
    outcome = RunOutcome("completed", "", 1.0, Spent(Limits()), {}, 0, {"best": -7.25})
    assert outcome.summary()["notes"] == {"best": -7.25}
    assert outcome.in_short("Search", {}).endswith("busy: no workers; best=-7.25")
    unknown = RunOutcome("completed", "", 1.0, Spent(Limits()), {}, 0, {"best": math.nan})
    assert b'"best":null' in msgspec.json.encode(unknown.summary())


class Halving(Campaign):
    """Notes the rest after each of its steps."""

    workers: ClassVar = {"default": 1}

    def __init__(self) -> None:
        self.rest = 64.0
        self.told_at_resume: dict[str, float] | None = None

    @agent
    async def halve(self) -> None:
        while self.rest > 1:
            self.rest = await self.run(half, self.rest)
            self.note(rest=self.rest)
            await self.checkpoint()

    async def resumed(self) -> None:
        self.told_at_resume = dict(self.session.notes)
        assert self.told_at_resume == {"rest": self.rest}


def test_after_a_resume_the_latest_notes_are_those_of_the_snapshot() -> None:
    whole = CrashingDisk()
    assert play(Halving(), whole, every_s=1.0).snapshots.taken > 1
    restored = 0
    for at in range(3, whole.changes):
        files = cut(Halving(), CrashingDisk(), at, every_s=1.0)
        if files is None:  # it came to its end with fewer changes
            break
        again, record = Halving(), MemoryRecord(None)
        play(again, CrashingDisk(files), every_s=1.0, record=record)
        assert again.session.notes == {"rest": 1.0}
        restored += again.told_at_resume is not None
        noted = [note.value["rest"] for note in of_kind(record.events, Published)]
        begun = 64.0 if again.told_at_resume is None else again.told_at_resume["rest"]
        assert noted == [rest for rest in (32.0, 16.0, 8.0, 4.0, 2.0, 1.0) if rest < begun]
    assert restored > 3
