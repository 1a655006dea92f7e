"""A client's requests to move workers, of which more news may come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import assert_never

from msgspec import Struct

from steerio.client.line import Line
from steerio.client.sinks import MoveSink
from steerio.errors import BrokerLost
from steerio.model import messages as ms
from steerio.model.moving import How


class _AskedMove(Struct):
    """A move of which more news may come.

    A lease ends only when all workers are home again. ``awaited`` is the last word on an agent
    that waits for it; ``ends`` says whether it was asked to be undone, or given back.
    """

    sink: MoveSink
    message: ms.AskMove
    awaited: ms.AwaitMove | None = None
    ends: bool = False


class AskedMoves:
    """The moves of one client that are not over.

    Args:
        line: the way to the broker.
        new_request: returns the number of the client's next request.
    """

    def __init__(self, line: Line, new_request: Callable[[], int]) -> None:
        self._line = line
        self._new_request = new_request
        self._moves: dict[int, _AskedMove] = {}
        self._moved: Counter[tuple[str, str]] = Counter()
        """How many workers were moved for good, by the pools between which."""

    def __repr__(self) -> str:
        return f"<AskedMoves: {len(self)}>"

    def __len__(self) -> int:
        return len(self._moves)

    def ask(
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
        message = ms.AskMove(number, source, target, count, lease, together, how, preempt_after_s)
        self._line.send(message)
        self._moves[number] = _AskedMove(sink, message)
        return number

    def wait(self, request: int, count: int, holds: list[int], cause: str) -> None:
        """Tell the broker that a caller waits until a move has ``count`` workers.

        Args:
            request: the number of the move.
            count: how many workers the caller waits for.
            holds: the leases, by request, that the caller keeps meanwhile.
            cause: the agent that waits.
        """
        if not self._line.lost:
            message = ms.AwaitMove(request, count, holds, cause)
            self._line.send(message)
            if (move := self._moves.get(request)) is not None:
                move.awaited = message

    def end(self, request: int, how: How) -> None:
        """Undo a move, or give back the leased workers; news will tell when that is done."""
        if not self._line.lost:
            self._line.send(ms.EndMove(request, how))
            if (move := self._moves.get(request)) is not None:
                move.ends = True

    def moved(self, message: ms.MoveNews) -> None:
        """Take in how far a move is."""
        number = message.request
        move = self._moves.get(number)
        if move is None:
            return
        asked = move.message
        match message.state:
            case "refused" | "ended":
                over = True
            case "granted":
                over = not asked.lease
                if over:
                    self._moved[asked.source, asked.target] += asked.count
            case "waiting" | "returning" | "deadlocked":
                over = False
            case _:
                assert_never(message.state)
        if over:
            del self._moves[number]
        move.sink.news(message.state, message.came, message.gone, message.reason)

    def restate(self, *, afresh: bool) -> None:
        """Ask a broker again for the moves.

        Args:
            afresh: whether it is another one, at which all workers are at home.
        """
        for (source, target), count in list(self._moved.items()) if afresh else ():
            moved = count - self._moved[target, source]
            if moved > 0:
                how: How = "drain"
                ask = ms.AskMove(
                    self._new_request(), source, target, moved, False, False, how, None
                )
                self._line.send(ask)
        for number, move in list(self._moves.items()):
            if move.ends:
                self.moved(ms.MoveNews(number, "ended", [], [], ""))
                continue
            move.sink.begin_again()
            self._line.send(move.message)
            if move.awaited is not None:
                self._line.send(move.awaited)

    def lose(self, why: str) -> None:
        """End all moves, for this reason."""
        moves, self._moves = self._moves, {}
        for move in moves.values():
            move.sink.news("ended", [], [], why)
