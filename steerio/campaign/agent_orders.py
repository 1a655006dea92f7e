"""The orders to a campaign itself and its agents: parameters, pauses, snapshots, its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from steerio.campaign.calls import Calls
from steerio.campaign.order_subjects import Subjects
from steerio.campaign.prepared_orders import (
    Concludes,
    OrderedRun,
    PreparedOrder,
    nothing_to_do,
    order_by,
)
from steerio.campaign.steered_values import give_values, parameters_of
from steerio.errors import UsageError
from steerio.model import campaign_orders as co
from steerio.model.events import ParameterChanged

CHECKPOINT_S = 60.0
"""Longest wait of an order for its snapshot."""


class AgentOrders:
    """Carries out the orders to one campaign and its agents.

    Args:
        run: its run.
        subjects: of its orders.
    """

    def __init__(self, run: OrderedRun, subjects: Subjects) -> None:
        self._run = run
        self._subjects = subjects
        self._name = type(run.campaign).__name__

    def __repr__(self) -> str:
        return f"<AgentOrders to {self._name}>"

    def set(self, order: co.SetParameter, given: co.GivenOrder) -> PreparedOrder:
        """Prepare to give a parameter another value.

        Raises:
            UsageError: it cannot have that, or there is none.
        """
        campaign, name = self._run.campaign, order.name
        declared = parameters_of(type(campaign))
        if name not in declared:
            there = ", ".join(declared) or "none"
            raise UsageError(f"{self._name} has no parameter {name!r} (it has: {there})")
        new = declared[name].checked_text(campaign, order.value)
        subject = f"parameter {name}"

        def carry_out(done: Concludes) -> None:
            old = getattr(campaign, name)
            vars(campaign)[name] = new
            if old == new:
                done(f"{name} is {new!r} already", unchanged=True)
                return
            event = ParameterChanged(0, 0.0, name, old, new, given.by, given.reason, given.id)
            self._subjects.announce(event, subject)
            self._run.steered()
            done(f"{name} is {new!r} now, and was {old!r}")

        would = f"would set {name} from {getattr(campaign, name)!r} to {new!r}"
        entry = co.SetParameter(name, new)
        return PreparedOrder(would, carry_out, entry, (subject,), tells=False)

    def pause(self, order: co.PauseAgent | co.ResumeAgent) -> PreparedOrder:
        """Prepare to pause or resume an agent.

        Raises:
            UsageError: there is none of that name, or it cannot be paused.
        """
        calls = self._calls_of(order.agent)
        name, pauses = calls[0].name, isinstance(order, co.PauseAgent)
        subjects = (f"agent {name}",)
        word = "paused" if pauses else "resumed"
        if (calls[0].paused is not None) == pauses:
            as_is = nothing_to_do(f"{name} is {'paused already' if pauses else 'not paused'}")
            as_is.subjects = subjects
            return as_is
        if pauses and self._run.stopping:
            raise UsageError(f"{name} is not paused, as the campaign ends: {self._run.stopping}")

        def queued() -> int:
            return sum(each.pending for each in calls)

        def carry_out(done: Concludes) -> None:
            before = queued()
            self.hold(calls, pauses=pauses)
            done(f"{name} is {word}, with {before} calls queued")

        would = f"{name} would be {word}, with {queued()} calls queued"
        return PreparedOrder(would, carry_out, type(order)(name), subjects)

    def hold(self, calls: Iterable[Calls], *, pauses: bool) -> None:
        """Pause or resume some calls."""
        for each in calls:
            if not pauses:
                each.resume()
            elif not self._run.stopping:  # else its calls would keep the campaign from its end
                each.pause()

    def redo(self, order: co.SetParameter | co.PauseAgent | co.ResumeAgent) -> None:
        """Repeat an order of an earlier incarnation; no event tells of it.

        Raises:
            UsageError: it cannot be carried out any more.
        """
        campaign = self._run.campaign
        if isinstance(order, co.SetParameter):
            declared = parameters_of(type(campaign)).get(order.name)
            if declared is not None:
                value = declared.checked_text(campaign, order.value)
                give_values(campaign, {order.name: value})
        else:
            self.hold(self._calls_of(order.agent), pauses=isinstance(order, co.PauseAgent))

    def checkpoint(self) -> PreparedOrder:
        """Prepare to take a snapshot.

        Raises:
            UsageError: there is no journal.
        """
        snapshots = self._run.takes_snapshots
        if snapshots is None:
            raise UsageError("this run has no journal, so no snapshot can be taken")

        def carry_out(done: Concludes) -> None:
            snapshots.ask(_once(done))

        return PreparedOrder("would take a snapshot as soon as no call is under way", carry_out)

    def stop(self, order: co.StopCampaign, given: co.GivenOrder) -> PreparedOrder:
        """Prepare to end the campaign."""
        if self._run.stopping:
            return nothing_to_do(f"it ends already: {self._run.stopping}")

        def carry_out(done: Concludes) -> None:
            done("it ends")
            self._run.stop(cancel=order.cancel, reason=order_by(given.by, given.reason))

        would = "would end the campaign" + (", and cancel running tasks" if order.cancel else "")
        return PreparedOrder(would, carry_out)

    def _calls_of(self, agent: str) -> list[Calls]:
        """Return the calls of a triggered method.

        Raises:
            UsageError: there is none of that name, or it is called once.
        """
        names = agent, f"{self._name}.{agent}"
        found = [each for each in self._run.dealing.calls if each.name in names]
        if not found:
            there = ", ".join(dict.fromkeys(each.name for each in self._run.dealing.calls))
            raise UsageError(f"{self._name} has no agent {agent!r} (it has: {there or 'none'})")
        if found[0].trigger.kind == "agent":
            raise UsageError(
                f"{found[0].name} is an @agent, which is called once: only methods with other "
                "triggers are paused"
            )
        return found


def _once(done: Concludes) -> Callable[[str], None]:
    """Return a function that tells whether a snapshot was taken, once, in time."""
    over = False

    def told(reason: str) -> None:
        nonlocal over
        if not over:
            over = True
            timer.cancel()
            words = f"no snapshot was taken: {reason}" if reason else "a snapshot was taken"
            done(words, refused=bool(reason))

    timer = asyncio.get_running_loop().call_later(
        CHECKPOINT_S,
        told,
        f"within {CHECKPOINT_S:g} s calls were under way all the time, or an @agent did not "
        "call checkpoint(); it is taken once it can be",
    )
    return told
