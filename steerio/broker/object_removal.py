"""The removal of objects that nothing needs, once all that may need them have said so."""

from __future__ import annotations

from collections.abc import Collection, Container
from math import inf
from typing import Protocol

from steerio.core.effects import FreeObjects, SweepObjects


class Sweeper(Protocol):
    """Removes objects from the store, without keeping its caller waiting."""

    def free(self, names: list[bytes]) -> None:
        """Remove these objects."""
        ...

    def sweep(self, makers: Collection[str], keep: Container[bytes]) -> None:
        """Remove all that these makers have put there, but for the objects that are kept then."""
        ...


class ObjectRemoval:
    """Has objects removed from the store, or spares them for a while.

    Args:
        sweeper: removes them, if there is a store.
        held: the names of all objects that are held.
    """

    def __init__(self, sweeper: Sweeper | None, held: Collection[bytes]) -> None:
        self._sweeper = sweeper
        self._held = held
        self._spares_until = -inf
        self._spared: list[bytes] = []
        self._spared_makers: list[str] = []

    def free_objects(self, effect: FreeObjects, now: float) -> None:
        """Have objects removed."""
        if self._sweeper is None:
            return
        if now < self._spares_until:
            self._spared += effect.names
        else:
            self._sweeper.free(effect.names)

    def sweep_objects(self, effect: SweepObjects, now: float) -> None:
        """Have the objects removed that makers which are gone have left."""
        if self._sweeper is None:
            return
        if now < self._spares_until:
            self._spared_makers += effect.makers
        else:
            self._sweeper.sweep(effect.makers, self._held)

    def spare_until(self, when: float) -> None:
        """Remove no objects before this time: not all that hold some have said so yet."""
        self._spares_until = when

    @property
    def spares_until(self) -> float:
        """When to remove the objects that were spared; infinite if none were."""
        return self._spares_until if self._spared or self._spared_makers else inf

    def remove_spared(self) -> None:
        """Remove the objects that were spared, but for those that are held by now."""
        spared, self._spared = dict.fromkeys(self._spared), []
        makers, self._spared_makers = self._spared_makers, []
        if self._sweeper is not None:
            self._sweeper.free([name for name in spared if name not in self._held])
            self._sweeper.sweep(makers, self._held)
