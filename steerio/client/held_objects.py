"""A client's side of the store: the objects it holds, the versions it publishes or asks for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

from steerio.errors import BrokerLost
from steerio.model import messages as ms
from steerio.model.objects import StoredObject, Version


class ClientObjects:
    """The messages of one client on objects, and the broker's news on versions.

    Args:
        say: sends a message to the broker.
        loop: the client's loop.
    """

    def __init__(self, say: Callable[[ms.ToBroker], None], loop: asyncio.AbstractEventLoop) -> None:
        self._say = say
        self._loop = loop
        self._thread = threading.get_ident()
        self._lost = ""
        self._dropped: list[bytes] = []
        self._telling = False
        """Whether a call of `_tell_dropped` is due, which tells the broker."""
        self._requests = 0
        self._awaited: dict[int, tuple[asyncio.Future[Version], ms.ToBroker]] = {}
        """The waits for an answer, each with its question."""
        self._holds: dict[bytes, tuple[StoredObject, int]] | None = None
        """The objects that are held here, and how often, if another broker may have to be told."""

    def hold(self, stored: StoredObject) -> None:
        """Tell the broker that an object was put into the store and is needed here.

        Raises:
            BrokerLost: the broker has ended.
        """
        if self._lost:
            raise BrokerLost(self._lost)
        self._say(ms.HoldObject(stored))
        self.holds(stored)

    def keep_count(self, *, wanted: bool) -> None:
        """Note from now on which objects are held here, for `restate`, or do not."""
        self._holds = {} if wanted else None

    def holds(self, stored: StoredObject) -> None:
        """Take in that one more hold of an object is this client's."""
        if self._holds is not None:
            _, count = self._holds.get(stored.name, (stored, 0))
            self._holds[stored.name] = stored, count + 1

    def restate(self) -> None:
        """Tell another broker of the objects that are held here, and ask it again."""
        for stored, count in (self._holds or {}).values():
            for _ in range(count):
                self._say(ms.HoldObject(stored))
        for _, question in self._awaited.values():
            self._say(question)

    def let_go(self, name: bytes) -> None:
        """Give up one hold of an object.  Any thread may call this, and garbage collection does."""
        self._dropped.append(name)
        if self._telling or self._lost:
            return
        self._telling = True  # if two threads both come here, the second call has nothing to tell
        if threading.get_ident() == self._thread:
            if not self._loop.is_closed():
                self._loop.call_soon(self._tell_dropped)
        else:
            with contextlib.suppress(RuntimeError):  # the loop has just been closed
                self._loop.call_soon_threadsafe(self._tell_dropped)

    def _tell_dropped(self) -> None:
        self._telling = False  # first: a name added while it was set is in the list taken next
        dropped, self._dropped = self._dropped, []
        if not self._lost and dropped:
            self._say(ms.LetGo(dropped))
            if self._holds is not None:
                for name in dropped:
                    self._forget(self._holds, name)

    @staticmethod
    def _forget(holds: dict[bytes, tuple[StoredObject, int]], name: bytes) -> None:
        stored, count = holds.pop(name, (None, 0))
        if stored is not None and count > 1:
            holds[name] = stored, count - 1

    def publish(self, name: str, stored: StoredObject, number: int = 1) -> asyncio.Future[Version]:
        """Make an object the next version of a name; the future returns that version.

        Its number is ``number`` or more.

        Raises:
            BrokerLost: the broker has ended.
        """
        return self._ask(lambda request: ms.PublishVersion(request, name, stored, number))

    def newer(self, name: str, after: int) -> asyncio.Future[Version]:
        """Return a future of the newest version of a name, done when one is newer than ``after``.

        Its object is then held until it is let go.

        Raises:
            BrokerLost: the broker has ended.
        """
        return self._ask(lambda request: ms.AskVersion(request, name, after))

    def _ask(
        self, question: Callable[[int], ms.PublishVersion | ms.AskVersion]
    ) -> asyncio.Future[Version]:
        if self._lost:
            raise BrokerLost(self._lost)
        self._requests += 1
        answer = self._loop.create_future()
        message = question(self._requests)
        self._awaited[self._requests] = answer, message
        self._say(message)
        return answer

    def heard(self, news: ms.VersionNews) -> None:
        """Take in the broker's answer on a version; one that was asked for is held from now on."""
        answer, question = self._awaited.pop(news.request, (None, None))
        if isinstance(question, ms.AskVersion):
            self.holds(news.version.stored)
        if answer is not None and not answer.done():
            answer.set_result(news.version)

    def lose(self, reason: str) -> None:
        """End all waits: the broker has ended."""
        self._lost = reason
        for answer, _ in self._awaited.values():
            if not answer.done():
                answer.set_exception(BrokerLost(reason))
                answer.exception()  # retrieved, in case that nothing awaits it
        self._awaited.clear()
