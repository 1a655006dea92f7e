"""A part of a benchmark: the claims of one module, and how they are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

from bench.effort import Effort
from bench.measurement import Claim, Measurement


@dataclass(frozen=True, slots=True)
class Part:
    """The claims of one module, and how they are measured."""

    claims: Sequence[Claim]
    measure: Callable[[Effort], list[Measurement]]


def name_of(module: ModuleType) -> str:
    """The name that `--only` takes."""
    return module.__name__.rpartition(".")[2]
