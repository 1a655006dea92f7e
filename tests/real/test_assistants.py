"""An AI assistant looks at a campaign and steers it, by the tools of the protocol (MCP)."""

from __future__ import annotations

import asyncio
import json
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, MCPError

from steerio.campaign.budgets import ORDERS_A_MINUTE
from steerio.edge.wire.connection import NAMES
from steerio.mcp.assistant_server import QUEUED, WAITS, assistant_server
from steerio.mcp.marked_answers import DATA, MOST_BYTES
from steerio.mcp.seen_run import AssistantGate
from steerio.mcp.tool_list import INSTRUCTIONS
from steerio.model.roles import Role
from tests.real.assisted import LURE, ask, ended, read, refused, slow_campaign, task_ids

LOOKING = {"overview", "tasks", "results", "failures", "events", "questions", "audit", "wait"}
SECRET = "MARK7-of-a-key"


def server_of(folder: Path, role: Role = "propose") -> Any:
    return assistant_server(folder / "run", AssistantGate(role, "model"))


async def under_way(folder: Path, client: Client) -> list[int]:
    """Wait until the first two of 12 tasks have ended, and return the numbers of those."""
    while len(ids := (await task_ids(client))[1:]) < 12:
        pass
    await ended(client, *ids[:2])
    return ids


def set_step(value: float, **more: Any) -> dict[str, Any]:
    order = {"type": "SetParameter", "name": "step", "value": value}
    return {"order": order, "reason": "it is slow", **more}


@pytest.mark.parametrize(
    ("role", "more"),
    [("look", set()), ("propose", {"propose_orders"}), ("steer", {"give_orders"})],
)
async def test_each_role_has_its_tools_which_say_what_they_do(
    tmp_path: Path, role: Role, more: set[str]
) -> None:
    with slow_campaign(tmp_path) as program:
        program.wait_for("two are done")
        async with Client(server_of(tmp_path, role)) as client:
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == LOOKING | more
    for name, tool in tools.items():
        hints = tool.annotations
        assert hints is not None
        assert hints.read_only_hint == (name in LOOKING)
        assert hints.destructive_hint == (name == "give_orders")
        assert hints.idempotent_hint
        assert tool.description
        assert tool.input_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
    if role == "propose":
        assert "StopCampaign" not in json.dumps(tools["propose_orders"].input_schema)


async def test_an_assistant_sees_what_slows_a_campaign(tmp_path: Path) -> None:
    with slow_campaign(tmp_path) as program:
        program.wait_for("two are done")
        async with Client(server_of(tmp_path)) as client:
            assert client.instructions == INSTRUCTIONS
            ids = await under_way(tmp_path, client)
            seen = await ask(client, "overview")
            assert seen["live"]
            assert seen["takes_orders"]
            assert seen["at_event"] > 0
            assert (seen["tasks_open"], seen["workers"], seen["failed"]) == (10, 3, 1)
            data = seen[DATA]
            remark = (
                "pool learn has 2 of 2 workers idle and nothing queued, while pool simulate has "
                "9 tasks queued and no worker idle"
            )
            assert remark in data["remarks"]
            assert any(
                r.startswith("of the idle time of pool learn ") and "no_work" in r
                for r in data["remarks"]
            )
            pools = {pool["name"]: pool for pool in data["pools"]}
            assert pools["simulate"]["queued"] == 9
            assert pools["learn"]["idle_worker_seconds_by_cause"]["no_work"] > 0
            assert [each["name"] for each in data["parameters"]] == ["step"]
            assert {each["name"] for each in data["agents"]} == {"failed", "search"}
            told = await ask(client, "tasks", ids=[ids[0], ids[2], ids[3], 77])
            failed, running, queued, unknown = told[DATA]
            assert failed["state"] == "failed"
            assert any("ValueError" in line for line in failed["story"])
            assert running["state"] == queued["state"] == "not ended"
            assert unknown["state"] == "unknown"
            states = [each["state"] for each in (await ask(client, "results", ids=ids[:4]))[DATA]]
            assert states == ["ended", "ended", "running", "queued"]
            waited = await ask(client, "wait", tasks=ids, timeout_s=0.2)
            assert not waited["over"], "no error: the time is up"
            assert waited["tasks_open"] == 10
            (tmp_path / "go").touch()
            assert (await ended(client, *ids))["tasks_open"] == 0
            program.wait_for("all 12 are done")
            while not (asked := await ask(client, "questions"))["open"]:
                pass
            assert asked[DATA]["open"][0]["text"] == "is that all?"


async def test_an_assistant_gives_orders_that_are_each_one_order(tmp_path: Path) -> None:
    with slow_campaign(tmp_path) as program:
        program.wait_for("two are done")
        async with Client(server_of(tmp_path, "steer")) as client:
            seen = await ask(client, "overview")
            based_on = seen["at_event"]
            orders = [set_step(0.5, based_on=based_on), set_step(7), set_step(0.5)]
            dry = await ask(client, "give_orders", orders=orders[:1], dry_run=True)
            assert dry[DATA][0]["words"] == "would set step from 0.1 to 0.5"
            given = await ask(client, "give_orders", orders=orders)
            first, wrong, again = given[DATA]
            assert (given["done"], given["refused"]) == (2, 1)
            assert first["words"] == "step is 0.5 now, and was 0.1"
            assert "cannot be 7" in wrong["words"]
            assert again["words"] == "step is 0.5 already", "it is based on other things"
            repeated = await ask(client, "give_orders", orders=orders)
            assert repeated == given, "the same orders, and the same answers"
            stale = [set_step(0.6, based_on=based_on)]
            late = (await ask(client, "give_orders", orders=stale))[DATA][0]
            assert late["state"] == "refused"
            assert "look again" in late["words"]
            while not (audited := (await ask(client, "audit"))[DATA])[4:]:
                pass
            assert sum("step is 0.5 now, and was 0.1" in line for line in audited) == 1
            assert all("model: " in line for line in audited if "asked" not in line)
            orders = [{"order": {"type": "StopCampaign", "cancel": True}, "reason": "enough"}]
            assert (await ask(client, "give_orders", orders=orders))["done"] == 1
            assert program.status() == 0


async def test_an_assistant_reads_the_record_of_a_run_that_has_ended(tmp_path: Path) -> None:
    with slow_campaign(tmp_path) as program:
        program.wait_for("two are done")
        async with Client(server_of(tmp_path, "steer")) as client:
            ids = await under_way(tmp_path, client)
            orders = [{"order": {"type": "StopCampaign", "cancel": True}, "reason": "enough"}]
            await ask(client, "give_orders", orders=orders)
            assert program.status() == 0
            await sees_the_end(client, ids)
    async with Client(server_of(tmp_path, "steer")) as client:
        await sees_the_end(client, ids)


async def sees_the_end(client: Client, ids: list[int]) -> None:
    seen = await ask(client, "overview")
    assert (seen["live"], seen["takes_orders"], seen["tasks_open"]) == (False, False, 0)
    assert "has ended" in seen[DATA]["takes_no_orders"]
    assert (await ask(client, "wait", tasks=ids))["over"]
    assert len((await ask(client, "failures", last=20))[DATA]) > 1
    assert (await ask(client, "audit"))["lines"] == 1
    assert (await ask(client, "tasks", ids=[ids[0], 10**15]))[DATA][1]["state"] == "unknown"
    given = (await ask(client, "give_orders", orders=[set_step(0.2)]))[DATA][0]
    assert given["state"] == "refused"
    assert "it has ended" in given["words"]


async def test_texts_of_a_run_are_marked_and_no_answer_has_a_key(tmp_path: Path) -> None:
    with slow_campaign(tmp_path, SECRET) as program:
        program.wait_for("two are done")
        secrets = [SECRET]
        for name in NAMES.values():
            file = tmp_path / "run" / name
            connection = json.loads(file.read_text())
            connection["keys"] = {"client": {"server_public": "", "public": "", "secret": SECRET}}
            file.write_text(json.dumps(connection))
            secrets.append(connection["local"].partition("://")[2])
        async with Client(server_of(tmp_path, "steer")) as client:
            ids = await under_way(tmp_path, client)
            calls: dict[str, dict[str, Any]] = {
                "overview": {},
                "tasks": {"ids": ids[:3]},
                "results": {"ids": ids[:3]},
                "failures": {},
                "events": {"since": 0},
                "questions": {},
                "wait": {"tasks": ids[:2]},
                "give_orders": {"orders": [set_step(0.2) | {"reason": LURE}]},
                "audit": {},
            }
            lured = set()
            for name, arguments in calls.items():
                result = await client.call_tool(name, arguments)
                text = result.content[0].text  # type: ignore[union-attr]
                assert not result.is_error, text
                assert not any(secret in text for secret in secrets), name
                assert len(text.encode()) <= MOST_BYTES
                answer = read(result)
                data = json.dumps(answer.pop(DATA))
                assert "\\u001b" not in data
                assert "\\u0007" not in data
                assert LURE not in json.dumps(answer), f"outside of the data of {name}"
                if LURE in data:
                    lured.add(name)
            assert {"overview", "tasks", "results", "failures", "wait"} <= lured
            while not (await ask(client, "audit"))["lines"]:
                pass  # the record has it soon
            audited = await ask(client, "audit")
            assert LURE in json.dumps(audited.pop(DATA))
            assert LURE not in json.dumps(audited)
            value = (await ask(client, "results", ids=[ids[1]]))[DATA][0]["value"]
            assert len(value) < 2_100, "it is cut"


WRONG: list[tuple[str, Any]] = [
    ("overview", {"campaign": 3}),
    ("overview", {"more": 1}),
    ("overview", {"campaign": "x" * 251}),
    ("tasks", {}),
    ("tasks", {"ids": []}),
    ("tasks", {"ids": [-1]}),
    ("tasks", {"ids": [1 << 63]}),
    ("tasks", {"ids": ["1"]}),
    ("tasks", {"ids": [1.5]}),
    ("tasks", {"ids": list(range(11))}),
    ("results", {"ids": list(range(100_000))}),
    ("failures", {"last": 1_000_000}),
    ("events", {"since": "now"}),
    ("events", {"types": ["../../etc/passwd"]}),
    ("events", {"most": 10**9}),
    ("wait", {"timeout_s": 3600}),
    ("wait", {"timeout_s": -1}),
    ("propose_orders", {"orders": []}),
    ("propose_orders", {"orders": [set_step(0.3)] * 21}),
    ("propose_orders", {"orders": [{"order": {"type": "StopCampaign"}, "reason": "x"}]}),
    ("propose_orders", {"orders": [{"order": {"type": "Answer", "choice": "yes"}, "reason": "x"}]}),
    ("propose_orders", {"orders": [{"order": {"type": "Look"}, "reason": "x"}]}),
    ("propose_orders", {"orders": [{"order": {"type": "DefineTask"}, "reason": "x"}]}),
    ("propose_orders", {"orders": [set_step(0.3) | {"role": "steer"}]}),
    ("propose_orders", {"orders": [set_step(0.3) | {"reason": ""}]}),
    ("propose_orders", {"orders": [set_step(0.3) | {"reason": "x" * 2_001}]}),
    ("propose_orders", {"orders": [set_step(0.3)], "by": "ada"}),
]


async def test_a_hostile_client_gets_errors_and_nothing_else(tmp_path: Path) -> None:
    with slow_campaign(tmp_path) as program:
        program.wait_for("two are done")
        async with Client(server_of(tmp_path)) as client:
            for name, arguments in WRONG:
                answer = await refused(client, name, **arguments)
                assert answer["error"].startswith(
                    "the arguments are not those of the tool's schema: "
                )
            for name in ("give_orders", "steer", "", "x" * 100_000, "\x1b[31m", "../overview"):
                with pytest.raises(MCPError, match="no tool"):
                    await client.call_tool(name, {})
            seen = await ask(client, "overview")
            assert seen[DATA]["parameters"][0]["value"] == 0.1, "nothing has changed"
            assert (await ask(client, "audit"))["lines"] == 0
        assert program.output.count("Traceback") == 0


async def test_calls_are_bounded_however_many_a_client_makes(tmp_path: Path) -> None:
    with slow_campaign(tmp_path) as program:
        program.wait_for("two are done")
        async with Client(server_of(tmp_path, "steer")) as client:
            ids = await under_way(tmp_path, client)
            waits = [client.call_tool("wait", {"tasks": ids[2:]}) for _ in range(WAITS + 20)]
            waiting = [asyncio.ensure_future(each) for each in waits]
            soonest = islice(asyncio.as_completed(waiting), 20)
            over = [(await each).is_error for each in soonest]
            assert over == [True] * 20, "the others wait"
            calls = [client.call_tool("overview", {}) for _ in range(200)]
            told = [result.is_error for result in await asyncio.gather(*calls)]
            assert 0 < told.count(False) <= QUEUED
            order = {"orders": [set_step(0.4)] * 20}
            states = [
                (await ask(client, "give_orders", **order)).get("refused", 0) for _ in range(5)
            ]
            assert sum(states) == 100 - ORDERS_A_MINUTE
            (tmp_path / "go").touch()
            ends = [(await each).is_error for each in waiting]
            assert ends.count(False) == WAITS
            assert [line for line in (await ask(client, "audit"))[DATA] if "0.4" in line][1:] == []
