"""The versions that a session has published, and those that its code waits for."""

from __future__ import annotations

import asyncio
from functools import partial

from steerio.client.client import Client
from steerio.model.objects import StoredObject, Version
from steerio.session.reference import Keeper, Reference


class KnownVersions:
    """The versions of one session.

    Args:
        client: asks the broker.
        store: has the values.
    """

    def __init__(self, client: Client, store: Keeper) -> None:
        self.published: dict[str, Version] = {}
        """The newest version of each name, of those that were published here."""
        self._client = client
        self._store = store
        self._asked: dict[tuple[str, int], asyncio.Future[Reference]] = {}

    def __repr__(self) -> str:
        return f"<KnownVersions: {len(self.published)} names>"

    async def publish(self, name: str, stored: StoredObject, number: int = 1) -> Version:
        """Make an object the newest version of a name, of this number or more."""
        version = await self._client.objects.publish(name, stored, number)
        newest = self.published.get(name)
        if newest is None or newest.number < version.number:
            self.published[name] = version
        return version

    def published_now(self) -> dict[str, Reference]:
        """Return references to the newest versions, by name, which keep them in the store."""
        for version in self.published.values():
            self._client.objects.hold(version.stored)
        return {n: Reference(self._store, v.stored, v.number) for n, v in self.published.items()}

    def newer(self, name: str, after: int) -> asyncio.Future[Reference]:
        """Return a future of the newest version of a name, once one is newer than ``after``.

        Callers that ask the same at the same time share the future.

        Raises:
            BrokerLost: the broker has ended.
        """
        newer = self._asked.get((name, after))
        if newer is None:
            newer = asyncio.get_running_loop().create_future()
            answer = self._client.objects.newer(name, after)
            answer.add_done_callback(partial(self._answer, (name, after)))
            self._asked[name, after] = newer
        return newer

    def _answer(self, asked: tuple[str, int], answer: asyncio.Future[Version]) -> None:
        """Make the reference to the version that came; without a waiter it is let go at once."""
        newer = self._asked.pop(asked)
        error = answer.exception()
        if error is not None:
            newer.set_exception(error)
            newer.exception()  # retrieved, in case nothing waits for it
        else:
            version = answer.result()
            newer.set_result(Reference(self._store, version.stored, version.number))
