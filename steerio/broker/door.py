"""The door of a broker's network address: the keys that open it, as the broker sees them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Protocol


class Door(Protocol):
    """The keys of a network address, by their labels, and the connections that show them."""

    @property
    def revoked(self) -> frozenset[str]:
        """The labels of keys that were revoked, as of the last look."""
        ...

    @property
    def refused(self) -> Counter[str]:
        """How many connections were refused, by reason."""
        ...

    def look(self) -> frozenset[str]:
        """Look which keys are revoked by now, and return their labels."""
        ...

    def cut(self, labels: Collection[str]) -> None:
        """End the connections that have shown keys of these labels."""
        ...
