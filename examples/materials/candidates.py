"""Candidates, whose uptake is measured by noisy runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import mean

from frameworks import Framework

NOISE = 0.11
"""Of a short run, as a share of the uptake: one standard deviation, as seen (see the README)."""


@dataclass(eq=False)
class Candidate:
    """A framework that has stayed in shape.

    Attributes:
        framework: it.
        strain: of its cell after molecular dynamics.
        short: its uptakes by short runs, in mol/kg.
        long: its uptake by the long run, 0 until that is known.
    """

    framework: Framework
    strain: float
    short: list[float] = field(default_factory=list[float])
    long: float = 0.0

    @property
    def mean(self) -> float:
        """The mean of the short runs."""
        return mean(self.short)

    @property
    def upper(self) -> float:
        """The mean and one standard error: an unsure candidate gets the benefit of the doubt."""
        return self.mean * (1 + NOISE / len(self.short) ** 0.5)
