"""One claim, the figure measured for it, and whether the figure meets its bar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bench.pairs import Pair, Spread, ratios, spread

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A claim and its figure; `figure` is None when the claim could not be measured.

    `spread` holds the quartiles of the rounds, and `detail` what the figure was made of
    (the two sides of a ratio, or why there is no figure).
    """

    claim: str
    figure: float | None
    bar: float
    aim: float
    better: Better
    unit: str
    spread: tuple[float, float] | None
    rounds: int
    detail: str

    @property
    def met(self) -> bool:
        """Whether the figure reaches its bar."""
        if self.figure is None:
            return False
        return self.figure >= self.bar if self.better == "higher" else self.figure <= self.bar

    @property
    def aim_met(self) -> bool:
        """Whether it reaches its aim too."""
        if self.figure is None:
            return False
        return self.figure >= self.aim if self.better == "higher" else self.figure <= self.aim

    def beside(self, words: str) -> Measurement:
        """The same, with more said in its detail of what was measured beside."""
        return replace(self, detail=f"{self.detail}; beside it: {words}")


@dataclass(frozen=True, slots=True)
class Claim:
    """What is promised: at least (or at most) `bar`, and better still `aim`."""

    text: str
    bar: float
    aim: float
    better: Better
    unit: str

    def measured(self, figure: Spread, detail: str = "") -> Measurement:
        """Give the claim its figure, the median of some rounds."""
        return Measurement(
            claim=self.text,
            figure=figure.median,
            bar=self.bar,
            aim=self.aim,
            better=self.better,
            unit=self.unit,
            spread=(figure.low, figure.high),
            rounds=figure.rounds,
            detail=detail,
        )

    def against_floor(self, pairs: Sequence[Pair], side_unit: str, scale: float = 1) -> Measurement:
        """The ratio of the pairs; the detail quotes both sides, times `scale`, in `side_unit`."""
        ours = spread([pair.ours * scale for pair in pairs])
        floor = spread([pair.floor * scale for pair in pairs])
        detail = f"ours {amount(ours.median)}, floor {amount(floor.median)} {side_unit}"
        return self.measured(ratios(pairs), detail)

    def not_measured(self, reason: str) -> Measurement:
        """Say why the claim has no figure."""
        return Measurement(
            claim=self.text,
            figure=None,
            bar=self.bar,
            aim=self.aim,
            better=self.better,
            unit=self.unit,
            spread=None,
            rounds=0,
            detail=f"not measured: {reason}",
        )


def amount(value: float) -> str:
    """A figure with three digits that matter, thousands separated."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def write_json(measurements: Sequence[Measurement], path: Path) -> None:
    """Write the list that other programs read: one object per claim."""
    rows = [
        {
            "claim": row.claim,
            "figure": row.figure,
            "bar": row.bar,
            "aim": row.aim,
            "met": row.met,
            "aim_met": row.aim_met,
            "better": row.better,
            "spread": row.spread,
            "unit": row.unit,
            "rounds": row.rounds,
            "detail": row.detail,
        }
        for row in measurements
    ]
    path.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
