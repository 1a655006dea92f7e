"""A client's requests to the broker: for moves of workers, drained nodes, the status, reasons.

Each request has a number of its own, which its answer or its news repeat.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec import structs

from steerio.client.asked_moves import AskedMoves
from steerio.client.line import Line
from steerio.errors import BrokerLost
from steerio.model import messages as ms
from steerio.model.campaign_orders import GivenOrder, Look, OrderAnswer

LEDGER_S = 60.0
"""Longest wait for the next part of a ledger."""
FORGOTTEN_IN_MESSAGE = 1_000
"""Most tasks that one message has forgotten."""
FORGOTTEN_AGAIN = 100_000
"""Most tasks that another broker is told again to forget, of which the last may not have heard."""

Answer = ms.Status | ms.TaskReason | ms.NodeNews | ms.LedgerTasks | ms.PauseNews | ms.OrderNews
Question = (
    ms.AskStatus
    | ms.AskWhy
    | ms.AskDrain
    | ms.AskUndrain
    | ms.AskPause
    | ms.AskResume
    | ms.AskLedger
    | ms.GiveOrder
    | ms.AskLook
)
"""The requests that have one answer."""
ANSWERS: dict[type[Question], type[Answer]] = {
    ms.AskStatus: ms.Status,
    ms.AskWhy: ms.TaskReason,
    ms.AskDrain: ms.NodeNews,
    ms.AskUndrain: ms.NodeNews,
    ms.AskPause: ms.PauseNews,
    ms.AskResume: ms.PauseNews,
    ms.AskLedger: ms.LedgerTasks,
    ms.GiveOrder: ms.OrderNews,
    ms.AskLook: ms.OrderNews,
}
"""The kind of each one's answer."""


class ClientRequests:
    """One client's requests that are not answered yet, or of which more news may come."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self._line = line
        self._loop = loop
        self._requests = 0
        self._answers: dict[int, tuple[asyncio.Future[Any], Question]] = {}
        """The waits for an answer, each with its question."""
        self._take_tasks: Callable[[list[ms.LedgerTask]], None] | None = None
        """Takes in the tasks of the ledger, part by part, while that is asked for."""
        self._forgotten: deque[int] = deque(maxlen=FORGOTTEN_AGAIN)
        moves = self._moves = AskedMoves(line, self._new_request)
        self.ask_move, self.await_move, self.end_move = moves.ask, moves.wait, moves.end
        self.moved = moves.moved

    def __repr__(self) -> str:
        return f"<ClientRequests: {len(self._answers)} to be answered, {len(self._moves)} moves>"

    # -- requests with one answer ----------------------------------------------------------------

    async def status(self, timeout_s: float | None = 10.0) -> ms.Status:
        """Return the broker's whole status.

        Args:
            timeout_s: longest wait for the answer; ``None``: until there is one, also while this
                client is away from the broker.

        Raises:
            BrokerLost: the broker ended, or did not answer in time.
        """
        question = ms.AskStatus(self._new_request())
        status: ms.Status = await self._answer_within(timeout_s, question)
        return status

    async def why(self, task_id: int, timeout_s: float = 10.0) -> str:
        """Return why a task runs or waits now; empty if the broker does not have it.

        Raises:
            BrokerLost: the broker ended, or did not answer in time.
        """
        question = ms.AskWhy(self._new_request(), task_id)
        answer: ms.TaskReason = await self._answer_within(timeout_s, question)
        return answer.reason

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

    async def pause(self, pool: str, reason: str) -> ms.PauseNews:
        """Have a pool paused, and return the news of it when that has taken effect.

        Raises:
            BrokerLost: the broker has ended.
        """
        news: ms.PauseNews = await self._answer_to(ms.AskPause(self._new_request(), pool, reason))
        return news

    async def resume(self, pool: str, reason: str) -> ms.PauseNews:
        """Have a paused pool resumed; return the news of whether it is.

        Raises:
            BrokerLost: the broker has ended.
        """
        news: ms.PauseNews = await self._answer_to(ms.AskResume(self._new_request(), pool, reason))
        return news

    async def order(self, given: GivenOrder, to: str) -> OrderAnswer:
        """Give a campaign an order, and return its answer, or the broker's.

        Raises:
            BrokerLost: the broker has ended.
        """
        if isinstance(given.order, Look):
            return await self.look(to)
        message = ms.GiveOrder(self._new_request(), to, given)
        news: ms.OrderNews = await self._answer_to(message)
        return news.answer

    async def look(self, to: str) -> OrderAnswer:
        """Ask a campaign how it is.

        Raises:
            BrokerLost: the broker has ended.
        """
        news: ms.OrderNews = await self._answer_to(ms.AskLook(self._new_request(), to))
        return news.answer

    async def ledger(self, take: Callable[[list[ms.LedgerTask]], None]) -> None:
        """Ask for all tasks of this client's ledger, and return when the last was taken in.

        The results of those that have ended follow ``take``'s call with them.

        Raises:
            BrokerLost: the broker ended, or did not answer in time.
        """
        self._take_tasks, count, more = take, 0, True
        try:
            while more:
                question = ms.AskLedger(self._new_request(), count)
                part: ms.LedgerTasks = await self._answer_within(LEDGER_S, question)
                count, more = count + len(part.tasks), part.more
        finally:
            self._take_tasks = None

    def forget(self, tasks: list[int]) -> None:
        """Have the results of a detached client's tasks forgotten.

        Raises:
            BrokerLost: the broker has ended.
        """
        if self._line.lost:
            raise BrokerLost(self._line.lost)
        self._line.refuse_threads()
        self._say_forgotten(tasks)
        self._forgotten.extend(tasks)

    def _say_forgotten(self, tasks: list[int]) -> None:
        for start in range(0, len(tasks), FORGOTTEN_IN_MESSAGE):
            self._line.say(ms.ForgetTasks(tasks[start : start + FORGOTTEN_IN_MESSAGE]))

    async def _answer_within(self, timeout_s: float | None, message: Question) -> Any:
        if timeout_s is None:
            return await self._answer_to(message)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer_to(message)
        except TimeoutError:
            raise BrokerLost(f"no answer from the broker within {timeout_s:g} s") from None

    async def _answer_to(self, message: Question) -> Any:
        if self._line.lost:
            raise BrokerLost(self._line.lost)
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._line.send(message)
        self._answers[message.request] = answer, message if self._line.away else _again(message)
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

    def ledger_told(self, message: ms.LedgerTasks) -> None:
        """Take in a part of the ledger, if that was asked for."""
        if message.request in self._answers and self._take_tasks is not None:
            self._take_tasks(message.tasks)
            self.answered(message)

    def answered(self, answer: Answer) -> None:
        """Take in an answer of the broker, unless it is to something that was not asked."""
        waiter, question = self._answers.get(answer.request, (None, None))
        if question is None or ANSWERS[type(question)] is not type(answer):
            return
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)

    def restate(self, *, afresh: bool) -> None:
        """Ask a broker again for all that was not answered, and for the moves.

        Args:
            afresh: whether it is another one, at which all workers are at home.
        """
        for number, (answer, question) in list(self._answers.items()):
            self._line.send(question)
            self._answers[number] = answer, _again(question)
        self._say_forgotten(list(self._forgotten))
        self._moves.restate(afresh=afresh)

    def lose(self, reason: str, why: str) -> None:
        """End all requests: moves end for ``why``, waits for an answer raise with ``reason``."""
        self._moves.lose(why)
        for answer, _ in self._answers.values():
            if not answer.done():
                answer.set_exception(BrokerLost(reason))


def _again(question: Question) -> Question:
    """Return a question that was asked, to be asked again."""
    return structs.replace(question, again=True) if isinstance(question, ms.AskPause) else question
