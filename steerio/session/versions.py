"""Versions of a name, for a value that is published again and again, such as a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from steerio.model.bounds import named
from steerio.model.objects import Version, check_number
from steerio.session.reference import Latest, Reference
from steerio.session.session_store import SessionStore


class Versions:
    """One name in the store and its versions; ``session.versions(name)`` returns it.

    Versions are numbered from 1.  The newest one is kept until the broker ends; an older one
    as long as a task that uses it, or a reference to it, is there.

    Raises:
        UsageError: the name is empty, too long or no text.
    """

    def __init__(self, store: SessionStore, name: str) -> None:
        self.name = named(name, "the name of versions (like 'model')")
        self.seen = 0
        """The newest version that was published or returned here."""
        self._store = store

    def __repr__(self) -> str:
        return f"<Versions of {self.name!r}: {self.seen} seen>"

    @property
    def latest(self) -> Any:
        """A stand-in among a task's arguments for the newest version when the task *starts*.

        ``result.versions`` says which one it was.  A task submitted before the first version
        is lost at once.  It is only a name: a task of another session is given that one's.
        """
        return Latest(self.name)

    async def publish(self, value: object) -> int:
        """Make a value the newest version; return its number.

        Of several at the same time the one that is stored last is the newest.  While this is
        awaited the value must not be changed, as for ``session.put``.

        Raises:
            EncodingError, StoreFull, BrokerLost: as for ``session.put``.
        """
        return (await self._publish(value)).number

    async def _publish(self, value: object) -> Version:
        stored = await self._store.store(value)
        version = await self._store.versions.publish(self.name, stored)
        self.seen = max(self.seen, version.number)
        return version

    async def current(self) -> Any:
        """Return a `Reference` to the newest version, which does not change; wait for the first.

        Raises:
            BrokerLost: the broker has ended.
        """
        return await self.next(after=0)

    async def next(self, *, after: int | None = None) -> Any:
        """Return a `Reference` to a version newer than ``after`` (default: than all `seen`).

        Raises:
            UsageError: ``after`` is no number of a version.
            BrokerLost: the broker has ended.
        """
        check_number("after", after, least=0, or_none=True)
        newer = self._store.versions.newer(self.name, self.seen if after is None else after)
        reference = await asyncio.shield(newer)  # others may wait for the same
        self.seen = max(self.seen, reference.version or 0)
        return reference

    async def __aiter__(self) -> AsyncIterator[Reference]:
        """Iterate over versions as they come; a slow reader gets the newest, and skips others."""
        while True:
            yield await self.next()
