"""Orders that were checked and can be carried out, and the run that they are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from steerio.campaign.campaign import Campaign
from steerio.campaign.dealing import Dealing
from steerio.campaign.lasting_agents import LastingAgents
from steerio.edge.record.entries import Steered
from steerio.session.session import Session
from steerio.session.task import Task


class AskedSnapshots(Protocol):
    """The snapshots of one run, as seen by an order to take one."""

    def ask(self, told: Callable[[str], None]) -> None:
        """Take one as soon as possible; ``told`` is called with nothing, or why it was not."""
        ...


class OrderedRun(Protocol):
    """One run of a campaign, as seen by its orders."""

    campaign: Campaign
    session: Session
    dealing: Dealing
    agents: LastingAgents
    stopping: str

    @property
    def outstanding(self) -> Mapping[int, Task[Any]]:
        """Its tasks that have not ended."""
        ...

    @property
    def is_kept(self) -> bool:
        """Whether it has a journal."""
        ...

    @property
    def takes_snapshots(self) -> AskedSnapshots | None:
        """Its snapshots, if it has a journal."""
        ...

    @property
    def refuses(self) -> str:
        """Why no question can be asked any more; empty: it can."""
        ...

    def had(self, number: int) -> bool:
        """Whether a task of this id was submitted in this incarnation."""
        ...

    def note(self, what: Steered, then: Callable[[], None]) -> None:
        """Write into the journal, if there is one, and call ``then`` when that is done."""
        ...

    def stop(self, *, cancel: bool, reason: str) -> None:
        """Begin to end."""
        ...

    def steered(self) -> None:
        """Take in that an order has changed something that an agent may decide by."""
        ...


class Concludes(Protocol):
    """Takes in how an order ended."""

    def __call__(
        self,
        words: str,
        *,
        refused: bool = False,
        unchanged: bool = False,
        tasks: tuple[int, ...] = (),
    ) -> None:
        """Take that in.

        Args:
            words: its effect, or why there is none.
            refused: whether it was not carried out.
            unchanged: whether it was, and all is as before.
            tasks: the ids of tasks that were submitted.
        """
        ...


def _nothing() -> None:
    pass


class PreparedOrder(Struct):
    """An order that was checked, and can be carried out.

    Attributes:
        would: its effect, in words.
        carry_out: does it, once the journal has it, and calls its argument at its end.
        journal: its entry; ``None``: it is not repeated in a later incarnation.
        subjects: the names of all that it changes.
        tells: whether the event of the order tells of that change; else another one does.
        accepted: called when it is about to be carried out.
        is_so: whether nothing has to be done, as ``would`` says.
    """

    would: str
    carry_out: Callable[[Concludes], None]
    journal: Steered | None = None
    subjects: tuple[str, ...] = ()
    tells: bool = True
    accepted: Callable[[], None] = _nothing
    is_so: bool = False


def order_by(by: str, reason: str) -> str:
    """Return by whose order something happens, and why, for the reasons of events."""
    return f"by {by}" + (f": {reason}" if reason else "")


def nothing_to_do(words: str) -> PreparedOrder:
    """Return an order that finds all as it wants it."""

    def carry_out(done: Concludes) -> None:
        done(words, unchanged=True)

    return PreparedOrder(words, carry_out, is_so=True)
