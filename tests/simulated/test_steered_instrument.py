"""The example of a steered instrument, on virtual time: deadlines, orders, faults of both ends."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import steerio
from steerio import Answer, Asked, SetParameter
from steerio.testing import KillWorker, Model, RandomKills, constant, simulate

EXAMPLE = Path(__file__).parents[2] / "examples" / "instrument"
NAMES = ("beamline", "analysis", "instrument", "line", "control", "compare")


def load() -> list[Any]:
    """Load the modules of the example, which is a folder of scripts and no package."""
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(EXAMPLE))
        before = {name: sys.modules.pop(name, None) for name in NAMES}
        loaded = [import_module(name) for name in NAMES]
        sys.modules.update({name: module for name, module in before.items() if module is not None})
    return loaded


beamline, analysis, instrument, line, control, compare = load()

SHOTS = 12
SHOT = b'{"type":"Shot","number":1,"settings":[0],"readings":[0],"share":0.1,'
SHOT += b'"next_in_s":1,"at_s":2}\n'
KEEP = {"by": "fallback", "fallback": "keep"}


def run(campaign: Any, rate_s: float = 0.1, **given: Any) -> Any:
    """Simulate a campaign whose ratings are computed with few particles."""
    model = {analysis.fit: Model(0.05), analysis.rate: Model(rate_s)}
    workers = {"fit": 1, "track": 4}
    return simulate(campaign, model=model, workers=workers, **given).campaign


def new(kind: Any = None, **given: Any) -> Any:
    """Make a campaign with a short series of shots."""
    return (kind or compare.InMemory)(**{"shots": SHOTS, "particles": 200, **given})


def test_a_campaign_that_ends_before_the_first_shot_says_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asyncio.run(new(control.Control).finish())
    assert capsys.readouterr().out == ""


# -- deadlines ------------------------------------------------------------------------------------


def test_each_shot_has_its_decision_and_the_model_is_better_than_none() -> None:
    steered = run(new())
    kept = compare.run(1, KEEP, fitted=False, shots=SHOTS).campaign
    assert [shot.number for shot in steered.shots] == list(range(SHOTS))
    assert (steered.late, steered.refused, kept.rated) == (0, 0, 0)
    assert steered.rated > 5 * SHOTS
    assert steered.shots[0].readings == kept.shots[0].readings
    assert sum(s.share for s in steered.shots) > sum(s.share for s in kept.shots)


def test_the_best_that_is_rated_by_the_deadline_is_set_and_the_rest_is_cancelled() -> None:
    simulated = simulate(
        new(),
        model={analysis.fit: Model(0.05), analysis.rate: Model(constant(0.3))},
        workers={"fit": 1, "track": 1},
    )
    assert simulated.campaign.late == 0
    assert 2 * SHOTS <= simulated.campaign.rated <= 3 * SHOTS + 1
    assert simulated.ended["cancelled"] >= SHOTS - 1


@pytest.mark.parametrize("fallback", ["step", "keep"])
def test_a_decision_for_which_nothing_is_rated_in_time_is_late_and_by_the_rule(
    fallback: str,
) -> None:
    campaign = new()
    campaign.fallback = fallback
    slow = run(campaign, rate_s=5.0)
    assert (slow.late, slow.rated, slow.refused) == (SHOTS, 0, 0)
    moved = [shot.settings != list(beamline.NOMINAL) for shot in slow.shots[1:]]
    assert moved == [fallback == "step"] * (SHOTS - 1)


def test_an_older_model_is_used_while_the_newest_is_not_fitted() -> None:
    model = {analysis.fit: Model(1.5), analysis.rate: Model(0.05)}
    simulated = simulate(new(), model=model, workers={"fit": 1, "track": 2}).campaign
    assert 1 <= simulated.late <= 3
    assert simulated.rated > SHOTS


@pytest.mark.parametrize("seed", range(3))
def test_workers_that_are_killed_every_few_seconds_hold_nothing_up(seed: int) -> None:
    killed = run(new(seed=seed), seed=seed, start_s=1.0, faults=[RandomKills(rate_per_s=1 / 2)])
    assert [shot.number for shot in killed.shots] == list(range(SHOTS))
    assert killed.refused == 0


def test_a_campaign_whose_workers_are_all_gone_goes_on_by_the_rule() -> None:
    starts = iter([0.0] * 5)
    kills = [KillWorker(at_s=4.2, pool="fit"), *[KillWorker(at_s=4.2, pool="track")] * 4]
    left = run(new(), start_s=lambda _rng, _pool: next(starts, 1e6), faults=kills)
    assert len(left.shots) == SHOTS
    assert 0 < left.late < SHOTS


# -- orders ---------------------------------------------------------------------------------------


class Attended(compare.InMemory):
    """A person takes over after the fourth shot, and hands back after the eighth."""

    @steerio.agent
    async def person(self) -> None:
        await self.until(lambda: len(self.shots) >= 4)
        await self.session.order(SetParameter("by", "person"), by="ada")
        await self.session.order(SetParameter("h1", 1.25), by="ada", reason="it looks lost")
        await self.until(lambda: len(self.shots) >= 8)
        await self.session.order(SetParameter("by", "model"), by="ada")


def test_a_person_takes_over_and_hands_back() -> None:
    attended = run(new(Attended))
    by_hand = [shot.settings for shot in attended.shots[5:8]]
    assert {settings[0] for settings in by_hand} == {1.25}
    assert by_hand[0][1:] == by_hand[2][1:]
    assert attended.shots[10].settings != by_hand[-1]


class Asking(compare.InMemory):
    """A person lets the model steer when there were five shots."""

    @steerio.agent
    async def person(self) -> None:
        async with self.events(Asked, since=0) as events:
            asked = await anext(events)
        await self.until(lambda: len(self.shots) >= 5)
        await self.session.order(Answer("model", asked.question), by="ada")


def test_the_model_steers_when_a_person_lets_it() -> None:
    asking = run(new(Asking, ask=True))
    assert asking.by == "model"
    assert 0 < asking.rated < run(new()).rated


def test_a_question_that_no_one_answers_keeps_no_campaign_from_its_end() -> None:
    asking = run(new(ask=True))
    assert (len(asking.shots), asking.rated, asking.late) == (SHOTS, 0, 0)


# -- faults of the instrument ---------------------------------------------------------------------


class Lost(compare.InMemory):
    """The line is cut between two shots."""

    @contextlib.asynccontextmanager
    async def instrument(self) -> AsyncIterator[Any]:
        async with super().instrument() as reached:
            asyncio.get_running_loop().call_later(3.5, reached._reader.feed_eof)
            yield reached


class Faulty(compare.InMemory):
    """The instrument fails after three shots."""

    fault = "hangs"

    def instrument(self) -> Any:
        fault = (self.fault, 3)
        return compare.in_memory(instrument.BeamLine(1.0, SHOTS, self.seed, fault))


class Raving(Faulty):
    fault = "nonsense"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Lost, "is gone after shot 2: it closed the line"),
        (Faulty, "hangs: it has said nothing for 6.0 s after shot 2"),
        (Raving, r"says nonsense .*x1b\[31mseven"),
    ],
)
def test_an_instrument_that_fails_ends_the_campaign_in_words(kind: Any, words: str) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(line.InstrumentError, match=words)):
        run(new(kind))


@pytest.mark.parametrize(
    "said",
    [
        b"\n",
        b"\xff\xfe\n",
        b"[]\n",
        b'{"type":"Fire"}\n',
        SHOT,
        SHOT.replace(b"[0]", b"[0,0,0,0,0,1e999]"),
        SHOT.replace(b"[0]", b"[0,0,0,0,0,0]").replace(b"1,", b"-1,"),
    ],
)
def test_a_line_that_is_no_message_is_told_as_nonsense(said: bytes) -> None:
    with pytest.raises(line.InstrumentError, match="says nonsense"):
        line.checked(said, "it")


# -- settings that the instrument refuses ---------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b'{"type":"Set","shot":0,"settings":[0,0,0,0,0,0]}', "late: the next shot is 1"),
        (b'{"type":"Set","shot":7,"settings":[0,0,0,0,0,0]}', "early: the next shot is 1"),
        (b'{"type":"Set","shot":1,"settings":[0]}', "a setting has 6 numbers of"),
        (b'{"type":"Set","shot":1,"settings":[0,0,0,0,0,99]}', "a setting has 6 numbers of"),
        (b"set it, please", "this is no setting"),
    ],
)
def test_the_instrument_refuses_a_setting_in_words_and_keeps_the_former(
    said: bytes, reason: str
) -> None:
    beam = instrument.BeamLine(1.0, 3)
    beam.shoot(1.0, 0.0)
    refused = beam.take(said)
    assert reason in refused.reason
    assert beam.settings == list(beamline.NOMINAL)
    assert beam.take(b'{"type":"Set","shot":1,"settings":[1,0,0,0,0,0]}') is None
    assert beam.settings[0] == 1.0


class Stalled(compare.InMemory):
    """Its loop stands still for two shots, once."""

    async def decide(self, shot: Any, deadline: float) -> list[float]:
        if shot.number == 3:
            await asyncio.sleep(2.3)
        return await super().decide(shot, deadline)


def test_a_policy_that_was_held_up_for_two_shots_is_in_time_again_for_those_that_follow() -> None:
    held = run(new(Stalled))
    assert held.refused == 2
    assert 2 <= held.late <= 3
    assert held.shots[7].settings != held.shots[6].settings


class Slow(compare.InMemory):
    """It sends each setting when the next shot was fired already."""

    async def decide(self, shot: Any, deadline: float) -> list[float]:
        await asyncio.sleep(1.5)
        return [0.5] * 6


def test_settings_that_come_after_their_shot_are_refused_and_counted() -> None:
    slow = run(new(Slow))
    assert slow.refused > 3
    assert {shot.settings[0] for shot in slow.shots} <= {0.0, 0.5}
