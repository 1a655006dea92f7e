"""The messages that have arrived, now or before: taken in in order, and fair to each peer.

Mostly there are none: a step takes in all that arrive.  If more arrive than one step may take in,
the rest waits here by peer, and the peers have their turns: so a peer that says a million things
at once keeps no other one waiting.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from math import inf

from steerio.edge.wire.endpoint import Arrival, RouterEndpoint, Way

MESSAGES_PER_STEP = 1_000
"""Most messages taken in by one step, so that no step holds the loop for long."""
TURN = 100
"""Most messages of a peer that are taken in before others have their turn."""
Take = Callable[[RouterEndpoint, Arrival, float, float], tuple[int, float]]
"""Takes in messages of an arrival, as long as they cost no more than given.

Returns how many it took in, and their cost.
"""


class _Waiting:
    """The arrivals of one peer, of the first of which ``taken`` messages were taken in."""

    __slots__ = ("arrivals", "identity", "router", "taken", "unreachable")

    def __init__(self, router: RouterEndpoint, identity: bytes) -> None:
        self.router = router
        self.identity = identity
        self.arrivals: deque[Arrival] = deque()
        self.taken = 0
        self.unreachable = False


class Inbox:
    """Takes in the messages that arrive, and keeps those that wait.

    Args:
        take: takes in some of them.
        lose: takes in that a peer cannot be reached any more.
    """

    def __init__(self, take: Take, lose: Callable[[RouterEndpoint, bytes, float], None]) -> None:
        self._take = take
        self._lose = lose
        self.waiting: dict[tuple[int, bytes], _Waiting] = {}
        """The peers of which messages wait, by their places."""
        self._turns: deque[_Waiting] = deque()
        self._counts: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self.waiting)

    def __repr__(self) -> str:
        return f"<Inbox: {self._counts.total()} messages of {len(self)} peers>"

    def take_in(self, routers: Sequence[RouterEndpoint], now: float) -> None:
        """Take in messages that have arrived, as many as one step may.

        From an endpoint of which so many wait already none are received: let them wait there.
        """
        take, room = self._take, float(MESSAGES_PER_STEP)
        some_wait = bool(self.waiting)
        for router in routers:
            if some_wait and self.count(router) >= MESSAGES_PER_STEP:
                continue
            for arrival in router.receive(MESSAGES_PER_STEP):
                if some_wait or room <= 0:
                    some_wait = True
                    self.put(router, arrival)
                    continue
                taken, cost = take(router, arrival, now, room)
                room -= cost
                if taken < len(arrival.messages):
                    some_wait = True
                    self.put(router, arrival, taken)
        if some_wait:
            self.take(now, room)

    def words_wait(self, routers: Sequence[RouterEndpoint]) -> bool:
        """Say whether messages are there that were not taken in."""
        if self.waiting:
            return True
        for router in routers:  # noqa: SIM110 - a generator costs more than the asking
            if router.ready():
                return True
        return False

    def count(self, router: RouterEndpoint) -> int:
        """Return the number of messages that wait and came through a router."""
        return self._counts[id(router)]

    def put(self, router: RouterEndpoint, arrival: Arrival, taken: int = 0) -> None:
        """Have an arrival wait, of which ``taken`` messages were taken in."""
        key = (id(router), arrival.peer)
        waiting = self.waiting.get(key)
        if waiting is None:
            waiting = self.waiting[key] = _Waiting(router, arrival.peer)
            waiting.taken = taken
            self._turns.append(waiting)
        waiting.arrivals.append(arrival)
        self._counts[id(router)] += len(arrival.messages) - taken

    def take(self, now: float, room: float) -> None:
        """Take in messages that wait, peer by peer, as long as they cost no more than ``room``."""
        while room > 0 and self._turns:
            waiting = self._turns.popleft()
            room -= self._serve(waiting, now, min(room, TURN))
            if waiting.arrivals:
                self._turns.append(waiting)
            else:
                self._done(waiting, now)

    def take_all(self, router: Way, identity: bytes, now: float) -> None:
        """Take in all that waits from one peer: it is said elsewhere that it has ended."""
        waiting = self.waiting.get((id(router), identity))
        if waiting is not None:  # it stays among the turns, with nothing to take in
            self._serve(waiting, now, inf)

    def unreachable(self, router: RouterEndpoint, identity: bytes, now: float) -> None:
        """Take in that a peer cannot be reached any more, once all that it said is taken in."""
        waiting = self.waiting.get((id(router), identity))
        if waiting is None:
            self._lose(router, identity, now)
        else:
            waiting.unreachable = True

    def _serve(self, waiting: _Waiting, now: float, room: float) -> float:
        """Take in messages of one peer; return their cost."""
        router, arrivals, spent = waiting.router, waiting.arrivals, 0.0
        while arrivals and spent < room:
            arrival, start = arrivals[0], waiting.taken
            some = arrival.messages[start : start + TURN]
            part = arrival._replace(messages=some)
            taken, cost = self._take(router, part, now, room - spent)
            spent += cost
            self._counts[id(router)] -= taken
            waiting.taken += taken
            if waiting.taken >= len(arrival.messages):
                arrivals.popleft()
                waiting.taken = 0
        return spent

    def _done(self, waiting: _Waiting, now: float) -> None:
        del self.waiting[id(waiting.router), waiting.identity]
        if waiting.unreachable:
            self._lose(waiting.router, waiting.identity, now)
