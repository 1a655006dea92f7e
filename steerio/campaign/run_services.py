"""The services of a run to its agents, orders and advisors: each goes to the part that does it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from steerio.campaign.advisor import Advisor
from steerio.campaign.ending_run import EndingRun
from steerio.campaign.snapshot_taker import SnapshotTaker
from steerio.edge.record.entries import Steered
from steerio.errors import UsageError
from steerio.model.advice import Advice
from steerio.model.campaign_orders import Plain
from steerio.model.events import Advised
from steerio.model.results import Result
from steerio.session.current_agent import current_agent

C = TypeVar("C", bound=Struct)


class RunServices(EndingRun):
    """One run of a campaign, as seen by its agents, its orders and its advisors."""

    # -- snapshots ---------------------------------------------------------------------

    @property
    def held(self) -> asyncio.Future[None] | None:
        """Done when calls that would begin need be held no more; ``None``: they need not be."""
        return None if self._keeping is None else self._keeping.snapshots.held

    async def checkpoint(self, until: Callable[[], Any] | None) -> None:
        """Wait while a snapshot is taken, if one is due, and until a condition is true."""
        snapshots = None if self._keeping is None else self._keeping.snapshots
        await self.agents.checkpoint(snapshots, until)

    @property
    def recovered(self) -> list[Result]:
        """The recorded results that no call has asked for since the campaign was resumed."""
        return [] if self._keeping is None else self._keeping.recovered

    # -- orders, questions and parameters ---------------------------------------------------

    @property
    def is_kept(self) -> bool:
        """Whether it has a journal."""
        return self._keeping is not None

    @property
    def takes_snapshots(self) -> SnapshotTaker | None:
        """Its snapshots, if it has a journal."""
        return None if self._keeping is None else self._keeping.snapshots

    @property
    def refuses(self) -> str:
        """Why no question can be asked any more; empty: it can."""
        if self._disowned:
            return self.stopping or "it is over"
        return "" if self._finishing else self.stopping

    def note(self, what: Steered, then: Callable[[], None]) -> None:
        """Write into the journal, if there is one, and call ``then`` when that is done."""
        if self._keeping is None:
            then()
        else:
            self._keeping.note(what, then)

    def steered(self) -> None:
        """Take in that an order has changed something that an agent may decide by."""
        self.conditions.happens()
        self.idleness.happens()

    def changed(self, name: str, old: Plain, new: Plain, by: str) -> None:
        """Take in that the campaign has given a parameter another value."""
        if not self._disowned:
            self.conditions.happens()
            self.desk.assigned(name, old, new, by)

    async def ask(
        self, question: str, options: Sequence[str], timeout_s: float | None, default: str | None
    ) -> str:
        """Ask a question, and return its answer; see ``Campaign.approve``."""
        by = current_agent.get() or self._name
        keeps = asyncio.current_task() in self.conditions.own_tasks
        if keeps and (snapshots := self.takes_snapshots) is not None:
            asyncio.get_running_loop().call_soon(snapshots.look)  # one that is due is in vain now
        with self._answer_may_come():
            return await self.desk.questions.ask(
                question, options, timeout_s, default, by, keeps=keeps
            )

    async def until(self, condition: Callable[[], Any], timeout_s: float | None) -> bool:
        """Wait until a condition is true; see ``Campaign.until``.

        Raises:
            UsageError: nothing would end the wait.
        """
        if timeout_s is None and (self._finishing or not self._started):
            raise UsageError(
                f"{current_agent.get()} waits with until, and needs a timeout_s= for it: the end "
                "of a wait in vain is known only while the agents run"
            )
        return await self.conditions.until(condition, timeout_s)

    async def rests_until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition is true; in an ``@agent`` as in ``checkpoint``.

        Raises:
            UsageError: nothing would end the wait.
        """
        if self.agents.runs_this:
            await self.checkpoint(condition)
        else:
            await self.until(condition, None)

    async def offload(self, call: Callable[[], Any]) -> Any:
        """Call a function in a thread, and return its value; see ``Campaign.offload``."""
        self.offloaded += 1
        try:
            with self._answer_may_come():
                return await asyncio.to_thread(call)
        finally:
            self.offloaded -= 1

    @contextlib.contextmanager
    def _answer_may_come(self) -> Generator[None]:
        """Keep the campaign, and take in the end of the wait: its code may be no agent's own."""
        self._waiting_for_answers += 1
        try:
            yield
        finally:
            self._waiting_for_answers -= 1
            if not self.is_over:
                self.conditions.happens()
                asyncio.get_running_loop().call_soon(self._look_after_answer)

    def _look_after_answer(self) -> None:
        if not self.is_over:
            self.look_if_quiet()

    # -- advisors ---------------------------------------------------------------------------

    async def consult(self, advisor: Advisor, view: Struct, choices: type[C]) -> Advice[C]:
        """Ask an advisor, and return its answer; see ``Campaign.consult``."""
        by = current_agent.get() or self._name
        with self._answer_may_come():
            return await self.consultations.consult(advisor, view, choices, by)

    def note_advice(self, advised: Advised, then: Callable[[], None]) -> None:
        """Write into the journal, if there is one, and call ``then`` when that is done."""
        if self._keeping is None:
            then()
        else:
            self._keeping.note_advice(advised, then)

    def announce(self, advised: Advised) -> None:
        """Announce an event."""
        self.session.client.campaign.announce(advised)

    # -- attributes and events --------------------------------------------------------------

    def reassigned(self, old: object, new: object) -> None:
        """Take in that an attribute has another value; there may be boards in the two values."""
        self.feeder.reassigned(old, new)

    def publish(self, event: object) -> None:
        """Give an event to the handlers that want it, and to all event streams."""
        self.dealing.tell(event)
        self.conditions.happens()
        self.session.publish(event)
