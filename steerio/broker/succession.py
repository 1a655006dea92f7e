"""The succession of brokers in one run directory, as each of them sees it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from typing import Protocol

from steerio.core.core import Core
from steerio.model.objects import Version

log = logging.getLogger("steerio.broker")


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


class StateKeeper:
    """Keeps newest versions and pauses for the next broker, whenever they have changed.

    Args:
        core: has them.
        succession: the place of its broker.
    """

    def __init__(self, core: Core, succession: Succession) -> None:
        self._core = core
        self._succession = succession
        self._kept = 0, 0
        """How many versions had been published, and pools paused, when that was kept last."""
        self._failed = False
        """Whether it has told that they cannot be kept."""

    def keep(self) -> None:
        """Keep newest versions and pauses for the next broker, before anyone hears of a new one.

        Also before the objects of those that were newest are removed.
        """
        counts = self._core.versions_published, self._core.pauses
        if counts == self._kept:
            return
        try:
            self._succession.keep(self._core.newest_versions, self._core.paused)
        except OSError as error:  # the next step tries that again
            if not self._failed:
                log.warning("versions and pauses cannot be kept for a next broker: %s", error)
            self._failed = True
        else:
            self._kept, self._failed = counts, False
