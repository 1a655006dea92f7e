"""A search whose next places an advisor chooses: a script, or a language model.

    steerio run examples/advised/search.py --quick                 a script advises, no network
    steerio run examples/advised/search.py --by openai             a server that speaks as OpenAI's
    steerio run examples/advised/search.py --by pydantic-ai        a model of pydantic-ai

After every eight heights the advisor is asked where to look next, and how wide, while eight more
are computed. An answer outside of the limits is clipped; without one in time, or if it is nonsense,
the search goes on by its own rule. `steerio audit RUN_DIR` lists what was asked and answered.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable
from typing import Annotated, ClassVar

from adapters import Advise, openai_compatible, pydantic_ai
from msgspec import Meta, Struct

from steerio import Advisor, Campaign, Succeeded, on_success, task, transient

BATCH = 8


@task(pool="simulate")
def height(x: float) -> float:
    """Stand for a simulation: slow, and told apart only by its result."""
    time.sleep(0.02)
    return math.sin(3 * x) - 0.1 * (x - 4) ** 2


class Seen(Struct):
    """A place, and its height."""

    x: float
    height: float


class View(Struct):
    """The part of the search that its advisor is shown."""

    task: str
    best: Seen
    last: list[Seen]
    left: int


class NextStep(Struct):
    """The next eight places: so far at most from one."""

    around: Annotated[float, Meta(ge=0, le=8, description="where to look next")]
    width: Annotated[float, Meta(ge=0.05, le=4, description="how far from there")]


def rule(view: View) -> NextStep:
    """Look around the best: the fallback."""
    return NextStep(view.best.x, 0.5)


def scripted() -> Advise:
    """Return an advisor that looks far at first, then nearer and nearer; once it says nonsense."""
    asked = 0

    async def advise(view: Struct, choices: type[Struct]) -> object:
        nonlocal asked
        assert isinstance(view, View)
        asked += 1
        await asyncio.sleep(0.05)
        if asked == 2:
            return "I would look higher up."
        return f'Let us see. {{"around": {view.best.x}, "width": {10 / asked**2}}}'

    return advise


ADVISORS: dict[str, Callable[[], Advise]] = {
    "script": scripted,
    "openai": openai_compatible,
    "pydantic-ai": pydantic_ai,
}


class Search(Campaign):
    """Look for the highest place of a line, with advice.

    Args:
        budget: simulations to spend.
        by: the advisor: script, openai or pydantic-ai.
        timeout_s: seconds to wait for an answer.
        quick: spend only 48.
    """

    workers: ClassVar = {"simulate": 2}

    def __init__(
        self, budget: int = 200, by: str = "script", timeout_s: float = 20.0, quick: bool = False
    ) -> None:
        if by not in ADVISORS:
            raise ValueError(f"by is one of {', '.join(ADVISORS)}, not {by!r}")
        self.by, self.timeout_s = by, timeout_s
        self.left = 48 if quick else budget
        self.best = Seen(0.0, -math.inf)
        self.chance = random.Random(1)

    @transient
    def advisor(self) -> Advisor:
        """The advisor: made anew when the campaign is resumed, and no part of its state."""
        return Advisor(
            ADVISORS[self.by](),
            fallback=rule,
            timeout_s=self.timeout_s,
            per_hour=100,
            name=self.by,
        )

    async def setup(self) -> None:
        """Look everywhere first; name a missing variable now, and not later."""
        assert self.advisor.name == self.by
        self.look(NextStep(4.0, 4.0), 2 * BATCH)

    @on_success(height, every=BATCH)
    async def think(self, results: list[Succeeded]) -> None:
        """Ask where to look next, while the other eight are computed."""
        last = [Seen(each.args[0], each.value) for each in results]
        self.best = max(self.best, *last, key=lambda seen: seen.height)
        if self.left <= 0:
            return
        view = View("find the x in 0..8 with the greatest height", self.best, last, self.left)
        advice = await self.consult(self.advisor, view, NextStep)
        step = advice.value
        print(f"around {step.around:.2f}, width {step.width:.2f}, by the {advice.by}", end="")
        print("".join(f" ({each})" for each in (*advice.clipped, advice.because) if each))
        self.look(step, BATCH)

    def look(self, step: NextStep, places: int) -> None:
        """Compute heights of some places, while there is budget."""
        for _ in range(min(places, self.left)):
            self.left -= 1
            near = step.around + self.chance.uniform(-step.width, step.width)
            self.submit(height, min(max(near, 0.0), 8.0))

    async def finish(self) -> None:
        """Say what was found."""
        print(f"highest: {self.best.height:.3f} at x = {self.best.x:.3f}")
