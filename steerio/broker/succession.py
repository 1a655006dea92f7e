"""The succession of brokers in one run directory, as each of them sees it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Protocol

from steerio.model.objects import Version


class Succession(Protocol):
    """The place of a broker among those that begin in one run directory."""

    incarnation: int
    """How many brokers have begun there; 0: no other will."""
    returns: bool
    """Whether the one before ended without a word, so that its clients may come back."""
    versions: Mapping[str, Version]
    """The newest versions of all names, as that one had them."""
    paused: Mapping[str, str]
    """The pools that were paused there, and why."""

    def next_client(self) -> int:
        """Return a number that no client of this broker or an earlier one has had.

        Raises:
            OSError: it cannot be noted.
        """
        ...

    def keep(self, newest: Mapping[str, Version], paused: Mapping[str, str]) -> None:
        """Keep the newest versions and the pauses of pools for the next broker.

        Raises:
            OSError: they cannot be kept.
        """
        ...

    def close(self) -> None:
        """Take in that the broker ends in good order."""
        ...


class OnlyBroker:
    """The place of a broker that no other follows: it ends with its campaign."""

    def __init__(self) -> None:
        self.incarnation = 0
        self.returns = False
        self.versions: Mapping[str, Version] = {}
        self.paused: Mapping[str, str] = {}
        self._clients = itertools.count()

    def next_client(self) -> int:
        """Return the number of the next client."""
        return next(self._clients)

    def keep(self, newest: Mapping[str, Version], paused: Mapping[str, str]) -> None:
        """Do nothing: no other broker will want them."""

    def close(self) -> None:
        """Do nothing."""
