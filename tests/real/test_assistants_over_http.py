"""AI assistants at the dashboard: each by an access token, in its role, and no longer than that."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.util
import json
import traceback
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from steerio.campaign import budgets
from steerio.dashboard import assistant_endpoint, token_server
from steerio.dashboard.access_tokens import AccessTokens
from steerio.dashboard.serving import Served
from steerio.errors import UsageError
from steerio.mcp.marked_answers import DATA
from steerio.mcp.seen_run import SeenRun
from steerio.model.roles import Role
from tests.contract.dashboards import Dashboard, running
from tests.generated_records import write_run
from tests.real.assisted import ask, slow_campaign
from tests.real.programs import Program
from tests.real.test_assistants_over_stdio import steer

ACCEPTS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
NEWEST = "2026-07-28"
"""A version of the protocol in which each request stands alone."""
SET = {"type": "SetParameter", "name": "step", "value": 0.2}


@pytest.fixture
def slow(tmp_path: Path) -> Generator[Program]:
    with slow_campaign(tmp_path) as program:
        program.wait_for("two are done")
        yield program


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """Return the run directory of a run that has ended."""
    return write_run(tmp_path / "run", workers=2, tasks=4)


@contextlib.asynccontextmanager
async def assistant(dashboard: Dashboard, token: str, mode: str = "auto") -> AsyncGenerator[Client]:
    """Speak to a dashboard as an assistant's program does."""
    url = f"http://127.0.0.1:{dashboard.port}/mcp"
    headers = {"authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False, timeout=90) as speaks,
        Client(streamable_http_client(url, http_client=speaks), mode=mode) as client,
    ):
        yield client


def added(run: Path, name: str, role: Role = "steer", expires_s: float | None = None) -> str:
    return AccessTokens(run).add(name, role, expires_s=expires_s)


async def post(
    dashboard: Dashboard, token: str, method: str, params: object = None, **headers: str
) -> httpx.Response:
    """Send one request."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
    shown = {**ACCEPTS, "authorization": f"Bearer {token}", **headers}
    return await dashboard.client.post("/mcp", json=message, headers=shown, timeout=90)


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"name": tool, "arguments": arguments}


def told(answer: httpx.Response) -> str:
    """Return the words of an error."""
    words: str = answer.json()["error"]["message"]
    return words


# -- an assistant's work ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_assistant_looks_proposes_and_hears_the_answer(
    tmp_path: Path, slow: Program, mode: str
) -> None:
    run = tmp_path / "run"
    async with running(run) as dashboard:
        async with assistant(dashboard, added(run, "model", "propose"), mode) as client:
            tools = {tool.name for tool in (await client.list_tools()).tools}
            assert {"overview", "wait", "propose_orders"} <= tools
            assert "give_orders" not in tools
            assert (await ask(client, "overview"))["live"]
            (put,) = (
                await ask(client, "propose_orders", orders=[{"order": SET, "reason": "slow"}])
            )[DATA]
            assert put["state"] == "proposed"
            (asked,) = (await ask(client, "questions"))[DATA]["open"]
            assert (asked["question"], "model" in json.dumps(asked)) == (put["question"], True)
            steer(tmp_path, "--by", "ada", "run", "answer", str(put["question"]), "approve")
            waited = await ask(client, "wait", question=put["question"], timeout_s=60)
            answer = waited[DATA]["question"]
            assert (answer["state"], answer["by"]) == ("done", "ada")


async def test_the_role_is_that_of_the_token(tmp_path: Path, slow: Program) -> None:
    run = tmp_path / "run"
    async with running(run) as dashboard:
        orders = {"orders": [{"order": SET, "reason": "slow"}]}
        async with assistant(dashboard, added(run, "eye", "look")) as client:
            tools = (await client.list_tools()).tools
            assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
            assert (await ask(client, "overview"))["live"]
            for name in ("give_orders", "propose_orders"):
                with pytest.raises(MCPError, match="no tool"):
                    await client.call_tool(name, orders)
        async with assistant(dashboard, added(run, "hand", "steer")) as client:
            (done,) = (await ask(client, "give_orders", **orders))[DATA]
            assert done["state"] == "done"
            audited = (await ask(client, "audit"))[DATA]
            while not any("hand" in line for line in audited):
                audited = (await ask(client, "audit"))[DATA]


async def test_the_bound_on_orders_holds_across_the_requests_of_a_token(
    tmp_path: Path, slow: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "ORDERS_A_MINUTE", 2)
    run = tmp_path / "run"
    token, other = added(run, "one"), added(run, "two")
    async with running(run) as dashboard:
        states = []
        for shown in (f"Bearer {token}", f"bearer  {token}", f"Bearer {token}"):
            orders = [{"order": SET, "reason": "slow"}]
            asked = call("give_orders", orders=orders)
            answer = await post(dashboard, token, "tools/call", asked, authorization=shown)
            (content,) = answer.json()["result"]["content"]
            states += [each["state"] for each in json.loads(content["text"])[DATA]]
        assert states == ["done", "done", "refused"]
        async with assistant(dashboard, other) as client:
            (done,) = (await ask(client, "give_orders", orders=orders))[DATA]
            assert done["state"] == "done"


# -- the door --------------------------------------------------------------------------------------


async def test_without_a_good_token_nothing_is_said(ended: Path) -> None:
    token = added(ended, "model")
    async with running(ended) as dashboard:
        await dashboard.open()  # the cookie alone does not do
        own = {"origin": f"http://127.0.0.1:{dashboard.port}"}
        for shown in ({}, {"authorization": "Bearer"}, {"authorization": f"Basic {token}"}):
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            answer = await dashboard.client.post(
                "/mcp", json=message, headers={**ACCEPTS, **own, **shown}
            )
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "steerio token RUN_DIR" in told(answer)
        assert (await post(dashboard, "wrong", "tools/list")).status_code == 401
        with pytest.raises(ExceptionGroup) as raised:
            async with assistant(dashboard, "wrong"):
                pass
        told_of = "".join(traceback.format_exception(raised.value))
        assert "MCPError: This needs an access token" in told_of
        assert (await post(dashboard, token, "tools/list")).status_code == 200


async def test_messages_come_by_post_with_bounded_bodies(ended: Path) -> None:
    token = added(ended, "model", "look")
    key = {**ACCEPTS, "authorization": f"Bearer {token}"}
    async with running(ended, Served(root_path="/user/me")) as dashboard:
        ask = dashboard.client.request
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "ODD"):
            answer = await ask(method, "/mcp", headers=key)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST"), method
        much = b" " * (token_server.MOST_MESSAGE + 1)
        assert (await ask("POST", "/mcp", headers=key, content=much)).status_code == 413
        for body in (b"", b"hello", b"\xff\x00", b"[" * 100_000, b"[]", b"7", b'{"id": 3}'):
            for version in ({}, {"mcp-protocol-version": NEWEST}):
                answer = await ask("POST", "/mcp", headers={**key, **version}, content=body)
                assert answer.status_code in (202, 400), (body, answer.text)
        for path in ("/mcp", "/mcp/", "/user/me/mcp"):
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
            answer = await ask("POST", path, headers=key, json=message)
            assert (answer.status_code, "overview" in answer.text) == (200, True)


# -- ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2025-06-18", NEWEST])
async def test_a_dropped_token_ends_also_the_requests_that_are_under_way(
    ended: Path, slow_wait: None, version: str
) -> None:
    token = added(ended, "model")
    async with running(ended) as dashboard:
        waiting = asyncio.create_task(wait_for_ever(dashboard, token, version))
        await WAITING.wait()
        AccessTokens(ended).drop("model")
        answer = await waiting
        assert (answer.status_code, "dropped" in told(answer)) == (401, True)
        assert (await post(dashboard, token, "tools/list")).status_code == 401
        await LEFT.wait()


async def test_an_expired_token_ends(ended: Path, slow_wait: None) -> None:
    async with running(ended) as dashboard:
        token = added(ended, "model", expires_s=1.0)
        answer = await wait_for_ever(dashboard, token, NEWEST)  # it may have expired already
        assert answer.status_code == 401


@pytest.mark.parametrize("version", ["2025-06-18", NEWEST])
async def test_a_dashboard_that_ends_breaks_off_what_is_under_way(
    ended: Path, slow_wait: None, version: str
) -> None:
    token = added(ended, "model")
    async with httpx.AsyncClient(trust_env=False) as client:  # stays when the dashboard has ended
        async with running(ended) as dashboard:
            client.base_url = httpx.URL(f"http://127.0.0.1:{dashboard.port}")
            other = dataclasses.replace(dashboard, client=client)
            waiting = asyncio.create_task(wait_for_ever(other, token, version))
            await WAITING.wait()
        assert LEFT.is_set()
        answer = await waiting
        assert (answer.status_code, told(answer)) == (503, "the dashboard ends")


@pytest.mark.parametrize("version", ["2025-06-18", NEWEST])
async def test_a_client_that_leaves_is_worked_for_no_more(
    ended: Path, slow_wait: None, version: str
) -> None:
    token = added(ended, "model")
    async with running(ended) as dashboard:
        waiting = asyncio.create_task(wait_for_ever(dashboard, token, version))
        await WAITING.wait()
        waiting.cancel()
        await LEFT.wait()
        assert (await post(dashboard, token, "tools/list")).status_code == 200


async def test_servers_are_bounded_and_make_room_when_they_are_not_used(
    ended: Path, slow_wait: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assistant_endpoint, "MOST_SERVERS", 1)
    monkeypatch.setattr(assistant_endpoint, "MOST_REQUESTS", 1)
    first, second = added(ended, "one"), added(ended, "two")
    async with running(ended) as dashboard:
        waiting = asyncio.create_task(wait_for_ever(dashboard, first, NEWEST))
        await WAITING.wait()
        more = await post(dashboard, first, "tools/list")
        assert (more.status_code, "ask again" in told(more)) == (429, True)
        other = await post(dashboard, second, "tools/list")
        assert (other.status_code, "ask again" in told(other)) == (503, True)
        waiting.cancel()
        await LEFT.wait()
        monkeypatch.setattr(assistant_endpoint, "RATED_S", -1.0)
        while (other := await post(dashboard, second, "tools/list")).status_code == 503:
            pass  # until the first request is over
        assert other.status_code == 200


async def test_a_server_that_is_not_used_ends_and_another_takes_its_place(
    ended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_server, "IDLE_S", 0.0)
    monkeypatch.setattr(token_server, "CHECK_S", 0.01)
    closed = asyncio.Event()
    close = SeenRun.close

    async def told_close(self: SeenRun) -> None:
        await close(self)
        closed.set()

    monkeypatch.setattr(SeenRun, "close", told_close)
    token = added(ended, "model")
    async with running(ended) as dashboard:
        for _ in range(2):
            assert (await post(dashboard, token, "tools/list")).status_code == 200
            await closed.wait()
            closed.clear()


async def test_without_the_package_the_way_to_have_it_is_said(
    ended: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "mcp" else there(name)
    )
    token = added(ended, "model")
    async with running(ended) as dashboard:
        answer = await post(dashboard, token, "tools/list")
        assert (answer.status_code, "pip install 'steerio[mcp]'" in told(answer)) == (501, True)
        assert (await post(dashboard, "wrong", "tools/list")).status_code == 401


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [(UsageError("no record"), 503, "no record"), (ValueError("secret"), 500, "the log")],
)
async def test_a_server_that_cannot_begin_says_so(
    ended: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, words: str
) -> None:
    def fail(self: object, folder: Path, gate: object) -> None:
        raise error

    token = added(ended, "model")
    async with running(ended) as dashboard:
        with monkeypatch.context() as broken:
            broken.setattr(SeenRun, "__init__", fail)
            answer = await post(dashboard, token, "tools/list")
        assert (answer.status_code, words in told(answer)) == (status, True)
        assert "secret" not in answer.text
        assert (await post(dashboard, token, "tools/list")).status_code == 200


# -- a tool that waits for ever --------------------------------------------------------------------

WAITING, LEFT = asyncio.Event(), asyncio.Event()


@pytest.fixture
def slow_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an overview wait for ever, and tell when it does and when it was broken off."""
    global WAITING, LEFT
    WAITING, LEFT = asyncio.Event(), asyncio.Event()

    async def look(self: object) -> object:
        WAITING.set()
        try:
            return await asyncio.Event().wait()
        finally:
            LEFT.set()

    monkeypatch.setattr("steerio.mcp.seen_run.SeenRun.snapshot", look)


async def wait_for_ever(dashboard: Dashboard, token: str, version: str) -> httpx.Response:
    """Ask for such an overview."""
    params: dict[str, Any] = call("overview")
    headers = {"mcp-protocol-version": version}
    if version == NEWEST:
        headers |= {"mcp-method": "tools/call", "mcp-name": "overview"}
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        }
    return await post(dashboard, token, "tools/call", params, **headers)
