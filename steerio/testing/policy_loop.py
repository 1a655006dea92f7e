"""The loop of a simulated campaign's process, which is busy while a handler computes.

In virtual time code takes no time, so a policy that decides for a second a result looks as good as
one that decides at once. With costs it does not. The code of a handler runs at the beginning of its
cost; until that is over the loop is busy: no other step of the campaign's agents is taken, nothing
that the broker says is heard, and the messages of the handler are on their way only then. Broker,
nodes and workers go on meanwhile. All that waits for the loop takes its turns in the order in which
it came, as on a real loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Mapping
from math import inf
from typing import Any, Literal, cast

from steerio.errors import UsageError
from steerio.testing.course import check_duration

HandlerCost = float | Callable[..., float] | Literal["measured"]
"""The cost of a call: seconds, a function that draws them, or the processor time that it takes."""
HandlerCosts = HandlerCost | Mapping[str, HandlerCost]
"""The costs of the handlers of a campaign, by method; or one for all."""


class PolicyLoop:
    """The times at which a campaign's loop is busy, and the line of those that wait for it.

    Args:
        loop: the virtual loop on which all runs.
        costs: of the handlers, by method; or one for all.
        seed: of the costs that are drawn.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, costs: HandlerCosts, seed: int | str
    ) -> None:
        self.busy_s: dict[str, float] = {}
        """The seconds that each agent has cost, by its name."""
        self._loop = loop
        by_method = isinstance(costs, Mapping)
        self._of_each = cast("Mapping[str, HandlerCost]", costs if by_method else {})
        self._of_all = cast("HandlerCost", 0.0 if by_method else costs)
        self._seed = seed
        self._free_at = 0.0
        self._began: float | None = None
        """The processor time at which the step that is measured began."""
        self._agent = ""
        """The agent whose step this is."""
        self._line: deque[Callable[[], bool]] = deque()
        """Those that wait; each takes its turn, and says whether the next waits for it to end."""
        self._in_turn: object = None
        self._timer: asyncio.TimerHandle | None = None
        self._context = contextvars.copy_context()
        self._made = loop.get_task_factory()
        loop.set_task_factory(self._make_task)

    def __repr__(self) -> str:
        return f"<PolicyLoop: {len(self._line)} wait, busy until {self._free_at:g} s>"

    def close(self) -> None:
        """Let the loop make its tasks as before."""
        self._loop.set_task_factory(self._made)

    def time(self) -> float:
        """Return the time on the campaign's clock: that at which the code under way has come."""
        now = max(self._loop.time(), self._free_at)
        return now if self._began is None else now + time.thread_time() - self._began

    @property
    def busy(self) -> bool:
        """Whether a handler computes now."""
        return self._loop.time() < self._free_at

    # -- handlers -------------------------------------------------------------------------------

    def check(self, names: list[str]) -> None:
        """Refuse costs that are none, and those of methods that are no agents.

        Raises:
            UsageError: there is one.
        """
        _check_cost(self._of_all, "handler_cost")
        known = sorted({name.rpartition(".")[2] for name in names})
        for name, cost in self._of_each.items():
            if name not in known:
                raise UsageError(
                    f"handler_cost has {name!r}, which is no agent of the campaign "
                    f"(agents: {', '.join(known) or 'none'})"
                )
            _check_cost(cost, f"handler_cost of {name}")

    def charged(
        self, name: str, method: Callable[..., Coroutine[Any, Any, Any]], *, lasts: bool
    ) -> Callable[..., Any]:
        """Return a method whose calls have their cost.

        Args:
            name: the agent, as ``Class.method``.
            method: the method.
            lasts: whether it is called once for the whole run: it costs each time that it goes on.
        """
        cost = self._of_each.get(name.rpartition(".")[2], self._of_all)
        rng = random.Random(f"{self._seed}/cost of {name}")
        self.busy_s[name] = 0.0
        measured = cost == "measured"

        def seconds_of(*args: Any) -> float:
            if isinstance(cost, str):
                return 0.0
            if not callable(cost):
                return cost
            drawn = cost(rng, *args)
            check_duration(drawn, f"the handler {name}")
            return drawn

        @functools.wraps(method)  # its arguments are looked at
        def call(*args: Any) -> PacedCall:
            cost_s = seconds_of(*args)
            return PacedCall(self, name, method(*args), cost_s, measured=measured, lasts=lasts)

        return call

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> asyncio.Future[Any]:
        """Make a task; one that an agent starts takes its steps in turn with the agents."""
        if self._agent:
            measured = self._began is not None
            coroutine = PacedCall(self, self._agent, coroutine, 0.0, measured=measured, lasts=False)
        assert self._made is not None
        return self._made(loop, coroutine, **options)

    # -- turns ----------------------------------------------------------------------------------

    def waits(self, turn: Callable[[], bool]) -> None:
        """Put something at the end of the line; it is called when it has its turn."""
        self._line.append(turn)
        self._look_later()

    @property
    def free(self) -> bool:
        """Whether a step may be taken at once."""
        return self._in_turn is None and not self._line and not self.busy

    def give_turn(self, holder: object) -> None:
        """Keep all others waiting until this one has taken its step."""
        self._in_turn = holder

    def give_up(self, holder: object) -> None:
        """Take in that this one takes no step in its turn."""
        if self._in_turn is holder:
            self._in_turn = None
            self._look_later()

    def begin(self, name: str, cost_s: float, *, measured: bool) -> None:
        """Begin a step of an agent."""
        self._agent = name
        if measured:
            self._began = time.thread_time()
        elif cost_s:
            self._take(cost_s)

    def end(self, holder: object) -> None:
        """End a step that was taken by ``holder``."""
        if self._began is not None:
            took_s = time.thread_time() - self._began
            self._began = None
            self._take(took_s)
        self._agent = ""
        if self._in_turn is holder:
            self._in_turn = None
        self._look_later()

    def _take(self, cost_s: float) -> None:
        self._free_at = max(self._loop.time(), self._free_at) + cost_s
        self.busy_s[self._agent] += cost_s

    def _look_later(self) -> None:
        if self._line and self._timer is None and self._in_turn is None:
            at = max(self._loop.time(), self._free_at)
            self._timer = self._loop.call_at(at, self._look, context=self._context)

    def _look(self) -> None:
        """Give those that wait their turns, until one makes the loop busy."""
        self._timer = None
        while self._line and self._in_turn is None and not self.busy:
            turn = self._line.popleft()
            if turn():
                break
        self._look_later()


class PacedCall(Coroutine[Any, Any, Any]):
    """A call of an agent, or a task that an agent started: its steps take turns on the loop.

    Args:
        policy: the loop.
        name: the agent.
        call: the call, not begun.
        cost_s: the seconds of its first step, or of all if it ``lasts``.
        measured: whether its steps cost the processor time that they take.
        lasts: whether each step costs.
    """

    def __init__(
        self,
        policy: PolicyLoop,
        name: str,
        call: Coroutine[Any, Any, Any],
        cost_s: float,
        *,
        measured: bool,
        lasts: bool,
    ) -> None:
        self.cr_await = call
        """The call: a deadlock is told with the line at which that waits."""
        self._policy = policy
        self._name = name
        self._cost_s = cost_s
        self._measured = measured
        self._lasts = lasts
        self._place: asyncio.Future[None] | None = None

    @property
    def cr_running(self) -> bool:
        """Whether the call runs now; all names with ``cr`` are those of a coroutine."""
        return bool(getattr(self.cr_await, "cr_running", False))

    @property
    def cr_suspended(self) -> bool:
        """Whether it waits, so that it can be cancelled."""
        return self._place is not None or bool(getattr(self.cr_await, "cr_suspended", False))

    @property
    def cr_frame(self) -> Any:
        """The frame of the call."""
        return getattr(self.cr_await, "cr_frame", None)

    @property
    def cr_code(self) -> Any:
        """The code of the call."""
        return getattr(self.cr_await, "cr_code", None)

    def __await__(self) -> Generator[Any, Any, Any]:
        return iter(self)

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        """Take the next step, or wait for the turn to take it."""
        policy = self._policy
        if self._place is None and not policy.free:
            self._place = asyncio.get_running_loop().create_future()
            policy.waits(self._called)
            return self._place.__await__().send(None)
        self._place = None
        return self._step(lambda: self.cr_await.send(value), self._cost_s)

    def throw(self, *error: Any) -> Any:
        """Go on with an error, at once: a cancelled call does not wait for its turn."""
        if self._place is not None:
            self._policy.give_up(self)
            self._place = None
        return self._step(lambda: self.cr_await.throw(*error), 0.0)

    def close(self) -> None:
        """End the call."""
        self.cr_await.close()

    def _called(self) -> bool:
        """Take the turn; ``False``: it is not waited for any more."""
        if self._place is None or self._place.done():
            return False
        self._policy.give_turn(self)
        self._place.set_result(None)
        return True

    def _step(self, step: Callable[[], Any], cost_s: float) -> Any:
        policy = self._policy
        policy.begin(self._name, cost_s, measured=self._measured)
        try:
            return step()
        finally:
            policy.end(self)
            if not self._lasts:
                self._cost_s = 0.0


def _check_cost(cost: object, what: str) -> None:
    if cost == "measured" or callable(cost):
        return
    if not isinstance(cost, (int, float)) or not 0 <= cost < inf:
        raise UsageError(
            f"{what} is 0 or more seconds, a function that draws them, or 'measured', not {cost!r}"
        )
