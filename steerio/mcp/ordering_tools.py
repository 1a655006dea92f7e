"""The tools that propose or give orders, and the one that waits for tasks and for answers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from steerio.campaign.budgets import OrderRate
from steerio.errors import BrokerLost, OrderRefused, UsageError
from steerio.mcp import tool_inputs as ti
from steerio.mcp.marked_answers import ToolAnswer
from steerio.mcp.reading_tools import ENDED, line_of, result_of
from steerio.mcp.seen_run import SeenRun
from steerio.model.campaign_orders import OrderAnswer, order_in_words
from steerio.model.events import Answered, Asked, EventsMissed, Ordered, QuestionClosed, TaskEnded
from steerio.session.session import Session
from steerio.view.recorded_events import EventQuery, last_events

LOOKED_BACK = 1_000
"""Answers to questions that are looked through, the last ones."""
DRY = " dry run"
"""The end of the ids of dry runs, which must not be taken for the order itself."""


async def give_orders(
    run: SeenRun, asked: ti.OrdersInput | ti.ProposalsInput, rate: OrderRate
) -> ToolAnswer:
    """Give orders one after the other, within a bounded time."""
    loop = asyncio.get_running_loop()
    until = loop.time() + ti.MOST_WAIT_S
    done: list[dict[str, Any]] = []
    orders: Sequence[ti.SteeringOrder | ti.ProposedOrder] = asked.orders
    for number, each in enumerate(orders):
        answer = {"order": order_in_words(each.order), "number": number}
        if words := rate.refusal(run.gate.by, loop.time()):
            done.append(answer | {"state": "refused", "words": words})
            continue
        id = id_of(each, asked)
        answer["id"] = each.id or id
        try:
            async with asyncio.timeout_at(until):
                given = await _given(run, each, asked, id)
            done.append(answer | _outcome(given, dry_run=asked.dry_run))
        except OrderRefused as error:
            done.append(answer | {"state": "refused", "words": error.reason})
        except UsageError as error:
            done.append(answer | {"state": "refused", "words": str(error)})
        except BrokerLost:
            done.append(answer | {"state": "refused", "words": ENDED})
        except TimeoutError:
            words = "it is not answered yet: give it again with this id to hear its outcome"
            done.append(answer | {"state": "under way", "words": words})
    states = [each["state"] for each in done]
    return ToolAnswer({state: states.count(state) for state in sorted(set(states))}, done)


async def _given(
    run: SeenRun,
    each: ti.SteeringOrder | ti.ProposedOrder,
    asked: ti.OrdersInput | ti.ProposalsInput,
    id: str,
) -> OrderAnswer:
    session = await run.session()
    return await session.order(
        each.order,
        reason=each.reason,
        by=run.gate.by,
        campaign=asked.campaign or run.campaign,
        dry_run=asked.dry_run,
        based_on=each.based_on,
        id=id,
        role=run.gate.role,
        budget=run.gate.budget,
    )


def id_of(
    each: ti.SteeringOrder | ti.ProposedOrder, asked: ti.OrdersInput | ti.ProposalsInput
) -> str:
    """Return the id of an order: equal ones that were given none have the same."""
    id = each.id
    if not id:
        content = msgspec.json.encode((each.order, each.reason, each.based_on, asked.campaign))
        id = hashlib.sha256(content).hexdigest()[:32]
    return id + DRY if asked.dry_run else id


def _outcome(given: OrderAnswer, *, dry_run: bool) -> dict[str, Any]:
    outcome: dict[str, Any] = {"words": given.words}
    if given.done:
        outcome["state"] = "would be done" if dry_run else "done"
    else:  # it is still open, or this repeats one that was denied
        is_open = given.words.startswith(f"proposed as question {given.question}")
        outcome["state"] = "proposed" if is_open else "not done"
    if given.question:
        outcome["question"] = given.question
    if given.tasks:
        outcome["tasks"] = given.tasks
    return outcome


# -- waiting --------------------------------------------------------------------------------------


async def wait(run: SeenRun, asked: ti.WaitInput) -> ToolAnswer:
    """Wait for tasks and for the answer to a question, for a bounded time."""
    until = asyncio.get_running_loop().time() + asked.timeout_s
    watched = AwaitedEnds(run.record, asked, asked.campaign or run.campaign)
    live = True
    try:
        async with asyncio.timeout_at(until):
            await _until_over(run, await run.session(), watched)
    except TimeoutError:
        pass
    except BrokerLost:
        live = False
    await run.in_thread(watched.look)  # whatever was heard: the record tells the end
    ended = [await run.in_thread(result_of, run.record, task_id) for task_id in asked.tasks]
    data: dict[str, Any] = {"tasks": ended}
    if asked.question is not None:
        data["question"] = watched.answer
    facts = {"over": watched.over, "tasks_open": len(watched.tasks), "run_answers": live}
    return ToolAnswer(facts, data)


async def _until_over(run: SeenRun, session: Session, watched: AwaitedEnds) -> None:
    since = await run.in_thread(watched.newest)  # first: an end in between is told by the events
    kinds = TaskEnded, Asked, Answered, QuestionClosed, Ordered
    async with session.events(*kinds, since=since) as events:
        await run.in_thread(watched.look)
        while not watched.over:
            event = await anext(events, None)
            if event is None:
                raise BrokerLost("the broker has ended")
            if isinstance(event, EventsMissed):
                await run.in_thread(watched.look)
            else:
                watched.heard(event)


class AwaitedEnds:
    """The tasks and the question that are waited for, by the record and by events.

    The end of a proposal is told by an `Ordered` with its number: its order was carried out, or was
    not. Other questions have ended when they are answered or closed. One that is asked once more,
    by the next incarnation or the next campaign at a broker, is open again.

    Args:
        record: the folder of the record.
        asked: the tasks and the question.
        campaign: whose question it is, as others at its broker have the same numbers; empty: any.
    """

    def __init__(self, record: Path, asked: ti.WaitInput, campaign: str = "") -> None:
        self._record = record
        self._campaign = campaign
        self.tasks = set(asked.tasks)
        self.question = asked.question
        self._proposed = self._over = False
        self.answer: dict[str, Any] = self._not_answered()

    def _not_answered(self) -> dict[str, Any]:
        return {"question": self.question, "state": "not answered"}

    @property
    def over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return not self.tasks and (self.question is None or self._over)

    def newest(self) -> int:
        """Return the number of the last event of the record."""
        return last_events(self._record, 1, EventQuery()).until

    def look(self) -> None:
        """Look into the record.

        Raises:
            UsageError: it cannot be read.
        """
        self.tasks = {each for each in self.tasks if line_of(self._record, each) is None}
        if self.question is not None and not self._over:
            query = EventQuery(("Asked", "Answered", "QuestionClosed", "Ordered"))
            for event in last_events(self._record, LOOKED_BACK, query).events:
                self._take(str(event["type"]), event)

    def heard(self, event: TaskEnded | Asked | Answered | QuestionClosed | Ordered) -> None:
        """Take in an event."""
        if isinstance(event, TaskEnded):
            self.tasks.discard(event.task_id)
        else:
            self._take(type(event).__name__, msgspec.structs.asdict(event))

    def _take(self, kind: str, event: dict[str, Any]) -> None:
        if self.question is None or event.get("question") != self.question:
            return
        if self._campaign and event.get("client") != self._campaign:
            return
        if kind == "Asked":
            self._proposed = event.get("order") is not None
            self.answer, self._over = self._not_answered(), False
        elif kind == "Answered":
            told = {name: event.get(name) for name in ("choice", "by", "reason")}
            self.answer |= {"state": "answered", **told}
            self._over = self._over or not self._proposed
        elif kind == "QuestionClosed":
            self.answer |= {"state": "closed without an answer", "reason": event.get("reason")}
            self._over = True
        elif kind == "Ordered":
            state = "done" if event.get("done") else "not done"
            self.answer |= {"state": state, "outcome": event.get("outcome")}
            self._over = True
