"""A client's request to be let in, and the broker's answer."""

from __future__ import annotations

import asyncio

from steerio.client.line import Line
from steerio.errors import BrokerLost, JoinRefused
from steerio.model import messages as ms


class Joining:
    """The wait of one client until the broker lets it in.

    Args:
        line: the way to the broker.
        loop: the client's loop.
    """

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self._line = line
        self._answer: asyncio.Future[ms.Accepted] = loop.create_future()

    def __repr__(self) -> str:
        return f"<Joining: {'answered' if self._answer.done() else 'not answered'}>"

    async def ask(self, request: ms.JoinClient, timeout_s: float) -> ms.Accepted:
        """Ask the broker to be let in, and return its answer.

        Raises:
            JoinRefused: it does not let this client in; the message says why.
            BrokerLost: it did not answer in time.
        """
        self._line.open()
        self._line.send(request)
        try:
            with self._line.asking():
                async with asyncio.timeout(timeout_s):
                    return await self._answer
        except TimeoutError:
            raise BrokerLost(
                f"the broker did not answer within {timeout_s:g} s: it stands still, has ended "
                "without cleaning up, its machine cannot be reached, or does not accept our key"
            ) from None

    # -- from the client ----------------------------------------------------------------------

    def accepted(self, message: ms.Accepted) -> None:
        """Take in that the client is in."""
        if not self._answer.done():
            self._answer.set_result(message)

    def refused(self, reason: str, again: bool) -> bool:
        """Take in that the client is not let in; ``False``: it was in, and is no longer."""
        if self._answer.done():
            return False
        self._answer.set_exception(JoinRefused(reason, again))
        return True

    def lose(self, reason: str) -> None:
        """Take in that no answer will come."""
        if not self._answer.done():
            self._answer.set_exception(BrokerLost(reason))
            self._answer.exception()  # retrieved, in case that nothing awaits it
