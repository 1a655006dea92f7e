"""Every order from every face, in every role: one table, and all of it in the audit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import pytest
from mcp import Client
from msgspec import Struct

import steerio
from steerio import OrderRefused
from steerio.errors import SteerioError
from steerio.mcp.assistant_server import assistant_server
from steerio.mcp.seen_run import AssistantGate
from steerio.model.campaign_orders import CampaignView, Order
from steerio.model.roles import Role
from steerio.session.session import Session
from steerio.view.audit_lines import AuditEntry, audit_of
from tests.real.assisted import read
from tests.real.programs import Program, running, steerio_command
from tests.real.test_rest import Caller, served

CAMPAIGN = """
import steerio
from steerio import Campaign, agent, every, on_success, task


@task(pool="learn")
def fit(x: int) -> int:
    return x


class Steered(Campaign):
    workers = {"simulate": 2, "learn": 1}
    rate = steerio.parameter(0.1, ge=0, le=1)

    @agent
    async def ask(self) -> None:
        await self.approve("go on?", ("yes", "no"))

    @on_success(fit)
    async def count(self, result) -> None:
        pass

    @every(3600)
    async def go_on(self) -> None:
        pass
"""
ROLES: tuple[Role, ...] = ("look", "propose", "steer")
_as_order: Callable[[Any], Order] = msgspec.json.Decoder(Order).decode


class Row(NamedTuple):
    """An order as JSON, and as the arguments of ``steerio steer``; ``subject``: it may be stale."""

    order: dict[str, Any]
    words: tuple[str, ...]
    subject: bool = False
    proposable: bool = True

    @property
    def name(self) -> str:
        return str(self.order["type"])


def rows(queued: Sequence[int], question: int) -> list[Row]:
    """Return the table, of orders that can be carried out one after the other, again and again."""
    first, last = queued
    return [
        Row({"type": "SetParameter", "name": "rate", "value": 0.2}, ("set", "rate=0.2"), True),
        Row({"type": "PauseAgent", "agent": "count"}, ("pause-agent", "count"), True),
        Row({"type": "ResumeAgent", "agent": "count"}, ("resume-agent", "count"), True),
        Row({"type": "PausePools", "pools": ["learn"]}, ("pause", "learn")),
        Row(
            {"type": "SubmitTask", "task_type": "fit", "args": [3]},
            ("submit", "fit", "[3]"),
        ),
        Row({"type": "RankTasks", "tasks": [first, last], "priority": 2.0},
            ("rank", str(first), str(last), "--priority", "2")),
        Row({"type": "CancelTasks", "tasks": [first]}, ("cancel", str(first))),
        Row({"type": "ResumePools", "pools": ["learn"]}, ("resume", "learn")),
        Row({"type": "MoveWorkers", "source": "simulate", "target": "learn", "workers": 1},
            ("move", "simulate", "learn", "1")),
        Row({"type": "MoveWorkers", "source": "learn", "target": "simulate", "workers": 1},
            ("move", "learn", "simulate", "1")),
        Row({"type": "Answer", "choice": "yes", "question": question},
            ("answer", str(question), "yes"), proposable=False),
        Row({"type": "Checkpoint"}, ("checkpoint",)),
    ]  # fmt: skip


class Outcome(Struct, frozen=True):
    """How a face has answered an order: done, proposed or refused; and in which words."""

    state: str
    words: str


class Face(Protocol):
    """One way to give orders."""

    async def give(self, row: Row, role: Role, **more: Any) -> Outcome:
        """Give an order, and return its outcome."""
        ...


class ByPython:
    """A session of a program beside the campaign."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def give(self, row: Row, role: Role, **more: Any) -> Outcome:
        order = _as_order(msgspec.json.encode(row.order))
        try:
            answer = await self._session.order(order, by=f"python-{role}", role=role, **more)
        except OrderRefused as error:
            return Outcome("refused", error.reason)
        return Outcome("done" if answer.done else "proposed", answer.words)


class ByRest:
    """Programs with a token for each role."""

    def __init__(self, callers: dict[Role, Caller]) -> None:
        self._callers = callers

    async def give(self, row: Row, role: Role, **more: Any) -> Outcome:
        answer = await self._callers[role].order(row.order, **more)
        states = {200: "done", 202: "proposed", 403: "refused", 409: "refused"}
        found = answer.json() if answer.status_code in (200, 202) else {"words": answer.text}
        return Outcome(states[answer.status_code], found["words"])


class ByMcp:
    """Assistants of each role."""

    def __init__(self, clients: dict[Role, Client]) -> None:
        self._clients = clients

    async def give(self, row: Row, role: Role, *, dry_run: bool = False, **more: Any) -> Outcome:
        tool = {"look": "give_orders", "propose": "propose_orders", "steer": "give_orders"}[role]
        given = {"order": row.order, "reason": "the table", **more}
        try:
            result = await self._clients[role].call_tool(
                tool, {"orders": [given], "dry_run": dry_run}
            )
        except Exception as error:  # noqa: BLE001 - the tool is not there for this role
            return Outcome("refused", str(error))
        if result.is_error:
            return Outcome("refused", str(result.content))
        (found,) = read(result)["untrusted_data"]
        state = found["state"].replace("would be done", "done")
        return Outcome(state, found["words"])


class ByTerminal:
    """A person at a terminal, who may steer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def give(self, row: Row, role: Role, *, dry_run: bool = False, **_: Any) -> Outcome:
        assert role == "steer"
        options = ("--by", "terminal-steer", *(("--dry-run",) if dry_run else ()))
        command = steerio_command("steer", "run", *row.words, *options)
        with running(*command, cwd=self._folder) as program:
            status = await asyncio.to_thread(program.status)
        return Outcome("refused" if status else "done", program.output)


@contextlib.contextmanager
def campaign(folder: Path) -> Generator[Program]:
    """Run the campaign in a process of its own, in the run directory ``run`` of a folder."""
    (folder / "steered.py").write_text(CAMPAIGN)
    command = steerio_command("run", "steered.py", "--run-dir", "run", "--progress", "off")
    with running(*command, cwd=folder) as program:
        yield program


async def there(run: Path) -> None:
    """Wait until the campaign takes orders."""
    while True:
        try:
            async with steerio.connect(run, name="test") as session:
                await open_question(session)
                return
        except SteerioError:
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def faces(folder: Path) -> AsyncGenerator[dict[str, Face]]:
    """Open every face of a run, for the length of a context."""
    run = folder / "run"
    await there(run)
    async with contextlib.AsyncExitStack() as opened:
        session = await opened.enter_async_context(steerio.connect(run, name="python"))
        dashboard = await opened.enter_async_context(served(run))
        callers: dict[Role, Caller] = {}
        clients: dict[Role, Client] = {}
        for role in ROLES:
            callers[role] = Caller(dashboard, run, f"rest-{role}", role)
            server = assistant_server(run, AssistantGate(role, f"mcp-{role}"))
            clients[role] = await opened.enter_async_context(Client(server))
        yield {
            "python": ByPython(session),
            "rest": ByRest(callers),
            "mcp": ByMcp(clients),
            "terminal": ByTerminal(folder),
        }


async def queued_tasks(session: Session) -> list[int]:
    """Have two tasks wait in a paused pool, and return their ids."""
    await session.order(steerio.PausePools(("learn",)), by="test")
    found: list[int] = []
    for number in (1, 2):
        answer = await session.order(steerio.SubmitTask("fit", (number,)), by="test")
        found += answer.tasks
    return found


async def open_question(session: Session) -> int:
    """Return the number of the question that the campaign asks now, as no proposal is."""
    while True:
        for question in (await session.look()).questions:
            if question.order is None:
                return question.number


async def recorded(run: Path, is_there: Callable[[list[AuditEntry]], bool]) -> list[AuditEntry]:
    """Return the audit, once it has something: the record is a tenth of a second behind."""
    while not is_there(found := audit_of(run, 10_000).entries):  # noqa: ASYNC110 - another's file
        await asyncio.sleep(0)
    return found


def steered_of(view: CampaignView) -> tuple[Any, ...]:
    """Return the part of a view that orders change, but for proposals."""
    values = {name: each.value for name, each in view.parameters.items()}
    paused = {name: each.paused for name, each in view.agents.items()}
    return values, paused, [each.number for each in view.questions if each.order is None]


@pytest.mark.parametrize("face", ["python", "rest", "mcp", "terminal"])
async def test_an_order_is_the_same_whichever_way_it_comes(tmp_path: Path, face: str) -> None:
    run = tmp_path / "run"
    with campaign(tmp_path) as program:
        async with faces(tmp_path) as all_faces, steerio.connect(run, name="test") as session:
            by = all_faces[face]
            queued = await queued_tasks(session)
            for at, row in enumerate(rows(queued, await open_question(session))):
                id = f"{face}-{at}"
                before = steered_of(await session.look())
                if face != "terminal":
                    await _may_not(by, row, id)
                dry = await by.give(row, "steer", dry_run=True)
                assert dry.state == "done", (row, dry)
                assert steered_of(await session.look()) == before, row
                done = await by.give(row, "steer", id=id)
                assert done.state == "done", (row, done)
                if face != "terminal":
                    again = await by.give(row, "steer", id=id)
                    assert again == done, row
                    if row.subject:
                        stale = await by.give(row, "steer", id=f"{id}-stale", based_on=1)
                        assert (stale.state, "look again" in stale.words) == ("refused", True), row
            stop = Row({"type": "StopCampaign", "cancel": True}, ("stop", "--cancel"))
            assert (await by.give(stop, "steer", id="stop")).state == "done"
            await _audited(run, face)
        assert program.status() == 0


async def _may_not(by: Face, row: Row, id: str) -> None:
    """Give an order in the roles that may not give it: it is refused, or proposed."""
    looking = await by.give(row, "look", id=id)
    assert looking.state == "refused", (row, looking)
    proposing = await by.give(row, "propose", id=id)
    assert proposing.state == ("proposed" if row.proposable else "refused"), (row, proposing)


async def _audited(run: Path, face: str) -> None:
    """See that the audit has each order once, by its giver, and nothing done by the others."""
    givers = {f"{face}-{role}" for role in ROLES}

    def of_face(entries: list[AuditEntry]) -> list[AuditEntry]:
        return [e for e in entries if e.kind == "Ordered" and e.by in givers]

    def stopped(entries: list[AuditEntry]) -> bool:
        return any("stop" in each.words for each in of_face(entries))

    orders = of_face(await recorded(run, stopped))
    did = [each for each in orders if each.done and not each.dry_run]
    assert {each.by for each in did} == {f"{face}-steer"}
    assert len(did) == 13, "each order of the table once, although it was repeated, and the stop"
    assert sum(each.dry_run for each in orders) == 12


async def test_two_actors_at_once_have_one_order_after_the_other(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with campaign(tmp_path):
        async with faces(tmp_path) as all_faces, steerio.connect(run, name="test") as session:
            values = [round(0.01 * number, 2) for number in range(1, 21)]
            given: list[Awaitable[Outcome]] = []
            for number, value in enumerate(values):
                order = {"type": "SetParameter", "name": "rate", "value": value}
                face = all_faces[("python", "rest", "mcp")[number % 3]]
                given.append(face.give(Row(order, ()), "steer", id=f"at-once-{number}"))
            outcomes = await asyncio.gather(*given)
            assert {each.state for each in outcomes} == {"done"}
            now = (await session.look()).parameters["rate"].value

            def all_told(entries: list[AuditEntry]) -> bool:
                return sum(each.kind == "Ordered" for each in entries) >= len(values)

            audit = await recorded(run, all_told)
            told = [each for each in audit if each.kind == "Ordered"]
            assert {each.by for each in told} == {"python-steer", "rest-steer", "mcp-steer"}
            last = told[-1].words
            assert f"to {now}" in last.replace("rate is ", "to ")
            olds = [each.words.rpartition(" was ")[2] for each in told]
            news = [each.words.rpartition("rate is ")[2].partition(" ")[0] for each in told]
            assert olds[1:] == news[:-1], "each changed the value that the one before had set"
