"""How long a benchmark may take: every module states its rounds for both."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """The whole measurement, or the quick look that says only whether things are alright."""

    quick: bool

    def of(self, whole: int, quick: int) -> int:
        """One of two numbers: of rounds, of tasks."""
        return quick if self.quick else whole
