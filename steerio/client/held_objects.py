"""A client's side of the store: what it holds, and the versions that it publishes or asks for."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

from steerio.errors import BrokerLost
from steerio.model import messages as ms
from steerio.model.objects import StoredObject, Version


class ClientObjects:
    """What one client says of objects, and hears of versions.

    Args:
        say: sends a message to the broker.
        loop: the client's.
    """

    def __init__(self, say: Callable[[ms.ToBroker], None], loop: asyncio.AbstractEventLoop) -> None:
        self._say = say
        self._loop = loop
        self._thread = threading.get_ident()
        self._lost = ""
        self._dropped: list[bytes] = []
        self._telling = False
        """Whether it will be told of what was dropped."""
        self._requests = 0
        self._awaited: dict[int, asyncio.Future[Version]] = {}

    def hold(self, stored: StoredObject) -> None:
        """Tell the broker of an object that was put into the store and is needed here.

        Raises:
            BrokerLost: the broker has ended.
        """
        if self._lost:
            raise BrokerLost(self._lost)
        self._say(ms.HoldObject(stored))

    def let_go(self, name: bytes) -> None:
        """Need an object no more: once less.  Any thread may call, and garbage collection does."""
        self._dropped.append(name)
        if self._telling or self._lost:
            return
        self._telling = True  # by another thread, too, perhaps: then it is told of twice
        if threading.get_ident() == self._thread:
            if not self._loop.is_closed():
                self._loop.call_soon(self._tell_dropped)
        else:
            with contextlib.suppress(RuntimeError):  # the loop has just been closed
                self._loop.call_soon_threadsafe(self._tell_dropped)

    def _tell_dropped(self) -> None:
        self._telling = False  # first, so that who still sees it set is among the dropped
        dropped, self._dropped = self._dropped, []
        if not self._lost and dropped:
            self._say(ms.LetGo(dropped))

    def publish(self, name: str, stored: StoredObject) -> asyncio.Future[Version]:
        """Make an object the next version of a name; the future gives that.

        Raises:
            BrokerLost: the broker has ended.
        """
        request, answer = self._ask()
        self._say(ms.PublishVersion(request, name, stored))
        return answer

    def newer(self, name: str, after: int) -> asyncio.Future[Version]:
        """Return a future of the newest version of a name, once one is newer than ``after``.

        Its object is then held until it is let go.

        Raises:
            BrokerLost: the broker has ended.
        """
        request, answer = self._ask()
        self._say(ms.AskVersion(request, name, after))
        return answer

    def _ask(self) -> tuple[int, asyncio.Future[Version]]:
        if self._lost:
            raise BrokerLost(self._lost)
        self._requests += 1
        answer = self._awaited[self._requests] = self._loop.create_future()
        return self._requests, answer

    def heard(self, news: ms.VersionNews) -> None:
        """Take in what the broker says of a version."""
        answer = self._awaited.pop(news.request, None)
        if answer is not None and not answer.done():
            answer.set_result(news.version)

    def lose(self, reason: str) -> None:
        """Hear no more: the broker has ended."""
        self._lost = reason
        for answer in self._awaited.values():
            if not answer.done():
                answer.set_exception(BrokerLost(reason))
                answer.exception()  # retrieved, should nobody be waiting
        self._awaited.clear()
