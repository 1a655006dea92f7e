"""Random campaigns, made of some features; what each comes to depends on its seed only."""

from __future__ import annotations

import threading
from random import Random
from typing import Any, ClassVar

from steerio import Campaign, every
from steerio.campaign.attributes import transient
from tests.simulated.random_features import FEATURES
from tests.simulated.random_parts import Feature
from tests.simulated.random_tasks import measure

QUIET_TICKS = 3
"""Looks at a campaign with nothing to do, after which the agent with the clock stops it."""


class RandomCampaign(Campaign):
    """The base of random campaigns."""

    workers: ClassVar = {"default": 2, "learn": 1}
    quiet = 0
    features: ClassVar[dict[str, Feature]] = {}

    def __init__(self) -> None:
        self.state = {name: feature.begin(self) for name, feature in self.features.items()}
        self.same = self.state
        self.drawn: dict[str, list[int]] = {}

    async def setup(self) -> None:
        for feature in self.features.values():
            await feature.prepare(self)

    async def resumed(self) -> None:
        self.quiet = 0

    @transient
    def table(self) -> dict[str, Any]:
        return {"lock": threading.Lock()}

    def outcome(self) -> dict[str, Any]:
        """Return all that must be as in any other run."""
        assert self.same is self.state
        own = {name: feature.outcome(self) for name, feature in self.features.items()}
        return {name: (_ordered(self.state[name]), own[name]) for name in own}


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value)}
    return sorted(value) if isinstance(value, list) else value


def _clock(random: Random) -> Any:
    """Return an ``@every`` that does some work, and stops the campaign when all is quiet."""
    count = random.randint(0, 4)

    @every(random.choice((1.0, 4.0)))
    async def tick(self: Any) -> None:
        if self.ticks < count:
            self.ticks += 1
            self.submit(measure, "clock", self.ticks)
        last = self.session.client.last_id
        quiet = not self.session.pending and self.ticks == count and last == self.last
        self.quiet, self.last = self.quiet + 1 if quiet else 0, last
        if self.quiet == QUIET_TICKS:
            self.stop(reason="all is done")

    return tick


def make_campaign(seed: int | str) -> type[RandomCampaign]:
    """Return the class of a random campaign."""
    random = Random(f"campaign {seed}")
    methods: dict[str, Any] = {}
    features: dict[str, Feature] = {}
    for n in range(random.randint(1, 4)):
        name = f"f{n}"
        features[name] = feature = random.choice(FEATURES)(random, name)
        methods |= {f"{name}_{what}": method for what, method in feature.methods.items()}
    if random.random() < 0.25:
        methods |= {"tick": _clock(random), "ticks": 0, "last": 0}
    if random.random() < 0.25:
        methods |= {"save_state": _save_state, "restore_state": _restore_state}
    named = {"features": features, "__qualname__": "Generated", "__module__": __name__}
    return type("Generated", (RandomCampaign,), named | methods)


def _save_state(self: Any) -> Any:
    return ["mine", Campaign.save_state(self)]


def _restore_state(self: Any, state: Any, version: int) -> None:
    assert state[0] == "mine"
    Campaign.restore_state(self, state[1], version)
