"""A client's requests to the broker: for moves of workers, drained nodes, the status.

Each request has a number of its own, which its answer or its news repeat.
"""

from __future__ import annotations

import asyncio
from typing import Any, assert_never

from steerio.client.line import Line
from steerio.client.sinks import MoveSink
from steerio.errors import BrokerLost
from steerio.model import messages as ms
from steerio.model.moving import How


class ClientRequests:
    """One client's requests that are not answered yet, or of which more news may come."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self._line = line
        self._loop = loop
        self._requests = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._moves: dict[int, MoveSink] = {}
        """The moves of which more news may come."""
        self._leases: set[int] = set()
        """The moves among these that end only when all workers are home again."""

    def __repr__(self) -> str:
        return f"<ClientRequests: {len(self._answers)} to be answered, {len(self._moves)} moves>"

    # -- moves --------------------------------------------------------------------------------

    def ask_move(
        self,
        sink: MoveSink,
        source: str,
        target: str,
        count: int,
        *,
        lease: bool,
        together: bool,
        how: How,
        preempt_after_s: float | None,
    ) -> int:
        """Ask for workers to be moved; returns the request's number.

        Raises:
            BrokerLost: the broker has ended.
        """
        if self._line.lost:
            raise BrokerLost(self._line.lost)
        number = self._new_request()
        self._line.send(
            ms.AskMove(number, source, target, count, lease, together, how, preempt_after_s)
        )
        self._moves[number] = sink
        if lease:
            self._leases.add(number)
        return number

    def await_move(self, request: int, count: int, holds: list[int], cause: str) -> None:
        """Tell the broker that a caller waits until a move has ``count`` workers.

        Args:
            request: the number of the move.
            count: how many workers the caller waits for.
            holds: the leases, by request, that the caller keeps meanwhile.
            cause: the agent that waits.
        """
        if not self._line.lost:
            self._line.send(ms.AwaitMove(request, count, holds, cause))

    def end_move(self, request: int, how: How) -> None:
        """Undo a move, or give back the leased workers; news will tell when that is done."""
        if not self._line.lost:
            self._line.send(ms.EndMove(request, how))

    # -- requests with one answer ----------------------------------------------------------------

    async def status(self, timeout_s: float = 10.0) -> ms.Status:
        """Return the broker's whole status.

        Raises:
            BrokerLost: the broker ended, or did not answer in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                status: ms.Status = await self._answer_to(ms.AskStatus(self._new_request()))
        except TimeoutError:
            raise BrokerLost(f"no answer from the broker within {timeout_s:g} s") from None
        return status

    async def drain_node(self, node: str, within_s: float | None, *, retire: bool) -> ms.NodeNews:
        """Have a node drained, and return the news of it when it is done.

        Raises:
            BrokerLost: the broker has ended.
        """
        message = ms.AskDrain(self._new_request(), node, within_s, retire)
        news: ms.NodeNews = await self._answer_to(message)
        return news

    async def undrain_node(self, node: str) -> ms.NodeNews:
        """Let a node take tasks again; return the news of whether it will.

        Raises:
            BrokerLost: the broker has ended.
        """
        news: ms.NodeNews = await self._answer_to(ms.AskUndrain(self._new_request(), node))
        return news

    async def _answer_to(self, message: ms.AskStatus | ms.AskDrain | ms.AskUndrain) -> Any:
        if self._line.lost:
            raise BrokerLost(self._line.lost)
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._line.send(message)
        self._answers[message.request] = answer
        try:
            return await answer
        finally:
            self._answers.pop(message.request, None)

    def _new_request(self) -> int:
        self._requests += 1
        return self._requests

    def stop_broker(self, reason: str) -> None:
        """Ask the broker to end, with all clients, nodes and workers that joined it."""
        self._line.send(ms.StopBroker(reason))

    # -- from the client ----------------------------------------------------------------------

    def answered(self, answer: ms.Status | ms.NodeNews) -> None:
        """Take in an answer of the broker."""
        waiter = self._answers.get(answer.request)
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    def moved(self, message: ms.MoveNews) -> None:
        """Take in how far a move is."""
        number = message.request
        sink = self._moves.get(number)
        if sink is None:
            return
        match message.state:
            case "refused" | "ended":
                over = True
            case "granted":
                over = number not in self._leases
            case "waiting" | "returning" | "deadlocked":
                over = False
            case _:
                assert_never(message.state)
        if over:
            del self._moves[number]
            self._leases.discard(number)
        sink.news(message.state, message.came, message.gone, message.reason)

    def lose(self, reason: str, why: str) -> None:
        """End all requests: moves end for ``why``, waits for an answer raise with ``reason``."""
        moves, self._moves = self._moves, {}
        self._leases.clear()
        for move in moves.values():
            move.news("ended", [], [], why)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(BrokerLost(reason))
