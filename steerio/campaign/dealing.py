"""The dealing of results and events to the triggered methods of a campaign."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any, assert_never

from steerio.campaign.calls import Calls, CallsHome, is_echo
from steerio.campaign.campaign import Campaign
from steerio.campaign.item_calls import ItemCalls
from steerio.campaign.item_flows import Flowing, ItemFlow
from steerio.campaign.trigger_marks import Trigger, triggers_of
from steerio.model.results import Result
from steerio.session.task import Task


class Dealing:
    """The calls of all triggered methods of one campaign; gives each its results and events.

    Args:
        home: the run of the campaign.
        campaign: has the methods to call.
    """

    def __init__(self, home: CallsHome, campaign: Campaign) -> None:
        name = type(campaign).__name__
        self.calls = [
            _kind_of(trigger)(home, f"{name}.{method_name}", trigger, method)
            for method_name, trigger, method in triggers_of(campaign)
        ]
        """All calls, in the order of their methods' names."""
        self.idle = [calls for calls in self.calls if calls.trigger.kind == "idle"]
        """The calls of ``on_idle`` methods."""
        self._on_result: defaultdict[str, list[Calls]] = defaultdict(list)
        self._on_event: list[Calls] = []
        self._on_item: defaultdict[str, list[ItemCalls]] = defaultdict(list)
        self._of_method: defaultdict[str, list[Calls]] = defaultdict(list)
        self._sort()

    def __repr__(self) -> str:
        return f"<Dealing: {self.calls}>"

    def _sort(self) -> None:
        for calls in self.calls:
            self._of_method[calls.name].append(calls)
            match calls.trigger.kind:
                case "success" | "failure" | "result":
                    self._on_result[calls.trigger.subject.name].append(calls)
                case "event":
                    self._on_event.append(calls)
                case "item":
                    assert isinstance(calls, ItemCalls)
                    self._on_item[calls.trigger.subject.name].append(calls)
                case "agent" | "period" | "idle":
                    pass
                case _:
                    assert_never(calls.trigger.kind)
        for several in self._of_method.values():
            if len(several) > 1:
                turn = asyncio.Semaphore(most_at_once(several))
                for calls in several:
                    calls.turn = turn

    @property
    def at_rest(self) -> bool:
        """Whether no call is queued or under way that can go on by itself."""
        return all(self._is_stuck(calls) for calls in self.calls if calls.busy or calls.pending)

    def _is_stuck(self, calls: Calls) -> bool:
        """Whether the calls of a trigger wait for conditions, or behind others that do so."""
        if calls.paused is not None:
            return False
        of_method = self._of_method[calls.name]
        if calls.in_line and sum(each.resting for each in of_method) < most_at_once(of_method):
            return False
        begun = calls.resting + calls.in_line
        return begun == calls.busy and (not calls.pending or begun == calls.trigger.concurrent)

    @property
    def resting_agents(self) -> int:
        """How many ``@agent`` methods wait for a condition, for as long as it takes."""
        return sum(calls.resting for calls in self.calls if calls.trigger.kind == "agent")

    @property
    def stuck(self) -> str:
        """The methods with calls that wait behind others, which wait for conditions."""
        return ", ".join(sorted({calls.name for calls in self.calls if calls.pending}))

    def call_rest(self) -> bool:
        """Queue the calls that wait for time alone, as no more will come; return whether."""
        return sum(calls.call_rest() for calls in self.calls) > 0

    def close(self) -> None:
        """Queue no call by time any more."""
        for calls in self.calls:
            calls.close()

    @property
    def busy(self) -> set[str]:
        """The names of methods with a call under way."""
        return {calls.name for calls in self.calls if calls.busy}

    def deal(self, task: Task[Any], result: Result, *, bad: bool) -> bool:
        """Give a result to the triggers that want it; return whether there are any."""
        found = self._on_result.get(result.task_type)
        if not found:
            return False
        wanted = [calls for calls in found if calls.trigger.wants(result)]
        if not wanted:
            return False
        if bad and all(calls.trigger.every for calls in wanted):
            for calls in wanted:
                calls.feed(result, unheard=task)
        else:
            for calls in wanted:
                calls.feed(result)
            task.awaited = True
        return True

    def follow(self, run: Flowing, task: Task[Any]) -> None:
        """Have the triggers that want them called with the items of a task."""
        wanted_by = self._on_item.get(task.type.name)
        if wanted_by is not None:
            ItemFlow(run, task, wanted_by)

    def tell(self, event: object) -> None:
        """Give an event to the handlers that want it."""
        for calls in self._on_event:
            if isinstance(event, calls.trigger.subject):
                calls.feed(event, echo=is_echo.get())


def _kind_of(trigger: Trigger) -> type[Calls]:
    return ItemCalls if trigger.kind == "item" else Calls


def most_at_once(several: list[Calls]) -> int:
    """Return how many calls of a method may run at a time, by all of its triggers."""
    return max(calls.trigger.concurrent for calls in several)
