"""Programs look and order over REST: each in the role of its token, and no further."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from steerio.dashboard import api
from steerio.dashboard.access_tokens import AccessTokens
from steerio.dashboard.openapi import OPERATIONS
from steerio.dashboard.serving import Served
from steerio.model.roles import NO_BUDGET, Budget, Role
from tests.contract.dashboards import Dashboard, running
from tests.generated_records import write_run
from tests.real.programs import Program, steerio_command
from tests.real.programs import running as program_of
from tests.real.steered_search import searching
from tests.real.test_standing_broker import broker_in, workers_in

SOON_S = 60.0
SET = {"type": "SetParameter", "name": "rate", "value": 0.2}


@pytest.fixture
def search(tmp_path: Path) -> Generator[Program]:
    with searching(tmp_path) as program:
        yield program


class Caller:
    """A program with a token at a dashboard."""

    def __init__(
        self,
        dashboard: Dashboard,
        folder: Path,
        name: str,
        role: Role,
        budget: Budget = NO_BUDGET,
    ) -> None:
        self.client = dashboard.client
        self.header = {"authorization": f"Bearer {AccessTokens(folder).add(name, role, budget)}"}

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(f"/api/{path}", headers=self.header)

    async def order(self, order: object, **more: object) -> httpx.Response:
        body = {"order": order, **more}
        return await self.client.post("/api/orders", json=body, headers=self.header)


@contextlib.asynccontextmanager
async def served(folder: Path, **more: Any) -> AsyncGenerator[Dashboard]:
    async with running(folder, Served(**more)) as dashboard:
        yield dashboard


async def audited(caller: Caller, words: str) -> dict[str, Any]:
    """Wait for an entry of the audit: the record has it within a tenth of a second."""
    while True:
        for entry in (await caller.get("audit")).json()["entries"]:
            if entry["kind"] == "Ordered" and words in entry["words"] and not entry["dry_run"]:
                return entry


async def test_a_program_looks_orders_and_is_told(tmp_path: Path, search: Program) -> None:
    run = tmp_path / "run"
    async with served(run) as dashboard:
        ada = Caller(dashboard, run, "ada", "steer")
        assert (await ada.get("giver")).json() == {
            "name": "ada",
            "role": "steer",
            "budget": {"tasks_per_hour": None, "worker_hours": None},
        }
        look = (await ada.get("look")).json()
        assert look["campaign"]["parameters"]["rate"]["value"] == 0.1
        assert look["pools"]["simulate"]["workers"] == 2
        asked = (await ada.get("questions")).json()
        assert [each["options"] for each in asked["questions"]] == [["yes", "no"]]
        at = look["campaign"]["at_event"]
        tried = await ada.order(SET, dry_run=True)
        assert (tried.status_code, tried.json()["words"]) == (200, "would set rate from 0.1 to 0.2")
        done = await ada.order(SET, reason="slow", id="1", based_on=at, campaign="Search")
        assert (done.status_code, done.json()["words"]) == (200, "rate is 0.2 now, and was 0.1")
        again = await ada.order({**SET, "value": 0.9}, id="1")
        assert again.json() == done.json()
        stale = await ada.order({**SET, "value": 0.9}, based_on=at)
        assert (stale.status_code, "has changed since event" in stale.text) == (409, True)
        assert (await ada.get("look")).json()["campaign"]["parameters"]["rate"]["value"] == 0.2
        answered = await ada.order({"type": "Answer", "choice": "yes"})
        assert answered.status_code == 200
        search.wait_for("measured 0.")
        story = (await ada.get("tasks/1")).json()
        assert story["task_type"].endswith("measure")
        assert (await ada.get("tasks/999")).status_code == 404
        entry = await audited(ada, "rate is 0.2")
        assert (entry["by"], entry["reason"], entry["campaign"]) == ("ada", "slow", "Search")
        stopped = await ada.order({"type": "StopCampaign", "cancel": True})
        assert stopped.json()["words"] == "it ends"
        assert search.status(SOON_S) == 0, search
        for answer in (await ada.get("look"), await ada.order(SET)):
            assert (answer.status_code, "no campaign takes orders" in answer.text) == (503, True)


async def test_pools_and_tasks_are_ordered_about_within_a_budget(
    tmp_path: Path, search: Program
) -> None:
    run = tmp_path / "run"
    async with served(run) as dashboard:
        ada = Caller(dashboard, run, "ada", "steer")
        bot = Caller(dashboard, run, "bot", "steer", Budget(tasks_per_hour=1))
        paused = await ada.order({"type": "PausePools", "pools": ["simulate"]}, reason="odd")
        assert (paused.status_code, "simulate is paused" in paused.text) == (200, True)
        pool = (await ada.get("look")).json()["pools"]["simulate"]
        assert "odd" in pool["paused"]
        task = {"type": "SubmitTask", "task_type": "measure", "args": [77]}
        submitted = await bot.order(task, id="one")
        assert submitted.status_code == 200, submitted.text
        (number,) = submitted.json()["tasks"]
        assert (await bot.order(task, id="one")).json()["tasks"] == [number]
        over = await bot.order(task)
        assert (over.status_code, "within the last hour" in over.text) == (409, True)
        other = (await ada.order({**task, "args": [78]})).json()["tasks"]
        ranked = await ada.order({"type": "RankTasks", "tasks": other, "priority": 2.0})
        assert ranked.status_code == 200, ranked.text
        gone = await ada.order({"type": "CancelTasks", "tasks": [number]})
        assert gone.status_code == 200, gone.text
        moved = await ada.order(
            {"type": "MoveWorkers", "source": "simulate", "target": "learn", "workers": 1}
        )
        assert moved.status_code == 200, moved.text
        assert (await ada.get("look")).json()["pools"]["learn"]["workers"] == 2
        assert "measured 78." not in search.output
        assert (await ada.order({"type": "ResumePools"})).status_code == 200
        search.wait_for("measured 78.")
        assert "measured 77." not in search.output
        unknown = await ada.order({**task, "task_type": "os:system"})
        assert (unknown.status_code, "os:system" in unknown.text) == (409, True)


async def test_one_that_may_only_propose_has_its_orders_approved_by_others(
    tmp_path: Path, search: Program
) -> None:
    run = tmp_path / "run"
    async with served(run) as dashboard:
        ada = Caller(dashboard, run, "ada", "steer")
        bot = Caller(dashboard, run, "bot", "propose")
        tried = await bot.order(SET, dry_run=True)
        assert (tried.status_code, "would be proposed" in tried.text) == (200, True)
        proposed = await bot.order(SET, reason="slow")
        assert (proposed.status_code, proposed.json()["done"]) == (202, False)
        number = proposed.json()["question"]
        approve = {"type": "Answer", "choice": "approve", "question": number}
        own = await bot.order(approve)
        assert own.status_code == 409, own.text
        assert "rate" not in search.output
        asked = (await bot.get("questions")).json()["questions"]
        (question,) = [each for each in asked if each["number"] == number]
        assert question["order"]["order"] == SET
        assert (await ada.order(approve)).status_code == 200
        search.wait_for("rate is 0.2, by bot: slow.")
        told = await audited(ada, "rate is 0.2")
        assert "approved by ada" in told["words"]


async def test_wrong_orders_say_what_is_wrong_and_where(tmp_path: Path, search: Program) -> None:
    run = tmp_path / "run"
    async with served(run) as dashboard:
        ada = Caller(dashboard, run, "ada", "steer")
        move = {"type": "MoveWorkers", "source": "a", "target": "b"}
        for order, more, words in (
            (SET, {"reasons": "x"}, "unknown field `reasons`"),
            ({**SET, "by": "root"}, {}, "SetParameter has no field 'by' - at `$.order`"),
            ({"type": "Reboot"}, {}, "'Reboot' - at `$.order.type`"),
            ({**move, "workers": "3"}, {}, "got `str` - at `$.order.workers`"),
            ({"type": "SetParameter", "name": "rate"}, {}, "missing required field `value`"),
            (SET, {"role": "code"}, "unknown field `role`"),
            (SET, {"based_on": 0.5}, "at `$.based_on`"),
            (SET, {"id": "x" * 300}, "the id of an order"),
            ({"type": "SubmitTask", "task_type": "f", "args": deep(70)}, {}, "levels of lists"),
        ):
            answer = await ada.order(order, **more)
            assert (answer.status_code, words in answer.json()["error"]) == (400, True), answer.text
        for body, status in (
            (b"{", 400),
            (b'"\xff"', 400),
            (b"[" * 60_000, 400),
            (b" " * 70_000, 413),
        ):
            answer = await dashboard.client.post(
                "/api/orders",
                content=body,
                headers={**ada.header, "content-type": "application/json"},
            )
            assert (answer.status_code, "error" in answer.json()) == (status, True), answer.text
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            answer = await dashboard.client.post(
                "/api/orders",
                content=json.dumps({"order": SET}),
                headers={**ada.header, "content-type": kind},
            )
            assert answer.status_code == 415
        refused = await ada.order({**SET, "value": 7})
        assert (refused.status_code, "at most 1" in refused.json()["error"]) == (409, True)
        unknown = await ada.order(SET, campaign="Fit")
        assert (unknown.status_code, "no campaign named Fit" in unknown.text) == (503, True)
        for most in ("x", "0", "0000000010000", 5_000 * "1"):
            assert (await ada.get(f"audit?most={most}")).status_code == 400
        assert "rate" not in search.output


def deep(levels: int) -> object:
    nested: object = 1
    for _ in range(levels):
        nested = [nested]
    return nested


async def test_no_token_goes_further_than_its_role(tmp_path: Path, search: Program) -> None:
    run = tmp_path / "run"
    async with served(run) as dashboard:
        look = Caller(dashboard, run, "eve", "look")
        for operation in OPERATIONS:
            path = f"/api{operation.path.format(number=1)}"
            for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "ODD"):
                answer = await dashboard.client.request(
                    method, path, headers=look.header, json={"order": SET}
                )
                assert answer.status_code == 403, (method, path)
        assert (await look.get("look")).status_code == 200
        assert (await look.get("orders")).status_code == 405
        for path in ("/", "/updates", "/metrics", "/spans", "/tasks/1", "/page.js"):
            answer = await dashboard.client.get(path, headers=look.header)
            assert answer.status_code == 401, path
        AccessTokens(run).drop("eve")
        assert (await look.get("look")).status_code == 401
        assert "rate" not in search.output


async def test_a_page_orders_with_its_cookie_origin_and_type(
    tmp_path: Path, search: Program
) -> None:
    run = tmp_path / "run"
    async with served(run) as dashboard:
        own = {"origin": f"http://127.0.0.1:{dashboard.port}"}
        post = dashboard.client.post
        assert (await post("/api/orders", json={"order": SET}, headers=own)).status_code == 401
        await dashboard.open()
        assert (await post("/api/orders", json={"order": SET})).status_code == 403
        form = {**own, "content-type": "text/plain"}
        body = json.dumps({"order": SET})
        assert (await post("/api/orders", content=body, headers=form)).status_code == 415
        wrong = {**own, "authorization": "Bearer wrong"}  # the cookie does not make up for it
        assert (await post("/api/orders", json={"order": SET}, headers=wrong)).status_code == 401
        assert "rate" not in search.output
        done = await post("/api/orders", json={"order": SET}, headers=own)
        assert (done.status_code, done.json()["done"]) == (200, True)
        assert "@" in search.wait_for(": .").replace("rate is 0.2, by ", "")
    async with served(run, role="look") as dashboard:
        await dashboard.open()
        own = {"origin": f"http://127.0.0.1:{dashboard.port}"}
        refused = await dashboard.client.post("/api/orders", json={"order": SET}, headers=own)
        assert (refused.status_code, "may only look" in refused.text) == (403, True)


async def test_the_description_is_one_and_each_operation_in_it_answers(
    tmp_path: Path, search: Program
) -> None:
    run = tmp_path / "run"
    async with served(run) as dashboard:
        ada = Caller(dashboard, run, "ada", "code")
        document = (await ada.get("openapi.json")).json()
        assert document["openapi"] == "3.1.0"
        schemas = document["components"]["schemas"]
        for schema in schemas.values():
            jsonschema.Draft202012Validator.check_schema(schema)
        assert set(references(document)) <= {f"#/components/schemas/{name}" for name in schemas}
        await ada.order({"type": "Answer", "choice": "yes"})
        search.wait_for("measured 0.")
        found = set()
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                found.add(operation["operationId"])
                answer = await dashboard.client.request(
                    method,
                    f"/api{path.format(number=1)}",
                    headers=ada.header,
                    json={"order": {"type": "Look"}} if method == "post" else None,
                )
                said = operation["responses"][str(answer.status_code)]
                assert answer.status_code == 200, answer.text
                of = said["content"]["application/json"]["schema"]
                whole = {**of, "components": document["components"]}
                jsonschema.Draft202012Validator(whole).validate(answer.json())
        assert found == {operation.name for operation in OPERATIONS}
        assert schemas["SetParameter"]["additionalProperties"] is False


def references(value: object) -> Generator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


async def test_an_order_that_is_not_answered_stands_and_names_its_id(
    tmp_path: Path, search: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "ORDER_S", 0.0)
    async with served(tmp_path / "run") as dashboard:
        ada = Caller(dashboard, tmp_path / "run", "ada", "steer")
        await ada.get("look")  # the session is open
        answer = await ada.order(SET, id="mine")
        assert (answer.status_code, "with the id mine" in answer.text) == (504, True)


async def test_of_a_run_that_has_ended_the_record_answers_and_no_order_is_taken(
    tmp_path: Path,
) -> None:
    run = write_run(tmp_path / "run", workers=2, tasks=20)
    async with served(run) as dashboard:
        ada = Caller(dashboard, run, "ada", "steer")
        assert (await ada.get("tasks/1")).status_code == 200
        assert (await ada.get("audit")).json() == {"entries": [], "left_out": 0}
        for answer in (await ada.get("look"), await ada.order(SET)):
            assert (answer.status_code, "no campaign takes orders here" in answer.text) == (
                503,
                True,
            )


async def test_of_a_campaign_that_joined_a_broker_its_own_run_is_steered(tmp_path: Path) -> None:
    with broker_in(tmp_path), workers_in(tmp_path, "--workers", "simulate=1,learn=1"):
        with searching(tmp_path, "--join", "broker") as search:
            async with served(tmp_path / "run") as dashboard:
                ada = Caller(dashboard, tmp_path / "run", "ada", "steer")
                assert (await ada.get("look")).json()["campaign"]["campaign"] == "Search"
                assert (await ada.order(SET)).status_code == 200
                search.wait_for("rate is 0.2, by ada")
                assert (await ada.order({"type": "StopCampaign"})).status_code == 200
                assert search.status(SOON_S) == 0, search
                over = await ada.order(SET)  # the broker is there, and may have others of its name
                assert (over.status_code, "has ended" in over.text) == (503, True)


def steerio(folder: Path, *arguments: str, expect: int = 0) -> str:
    with program_of(*steerio_command(*arguments), cwd=folder) as program:
        assert program.status(SOON_S) == expect, program
        return program.output


async def test_tokens_are_made_listed_and_dropped_at_a_terminal(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", workers=2, tasks=2)
    said = steerio(tmp_path, "token", "run", "add", "bot", "--role", "propose", "--expires", "2d",
                   "--tasks-per-hour", "5", "--worker-hours", "1.5")  # fmt: skip
    token = next(line for line in said.splitlines() if len(line) == 43)
    file = run / "tokens.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert token not in file.read_text()
    listed = steerio(tmp_path, "token", "run", "list")
    assert listed.startswith("bot: propose, 5 tasks an hour, 1.5 worker-hours, until 20")
    assert token not in listed
    async with served(run) as dashboard:
        bot = {"authorization": f"Bearer {token}"}
        giver = (await dashboard.client.get("/api/giver", headers=bot)).json()
        assert giver["budget"] == {"tasks_per_hour": 5, "worker_hours": 1.5}
        again = steerio(tmp_path, "token", "run", "add", "bot", "--role", "look", expect=2)
        assert "there is a token of the name bot already" in again
        assert steerio(tmp_path, "token", "run", "drop", "bot") == "bot has no token any more\n"
        assert (await dashboard.client.get("/api/giver", headers=bot)).status_code == 401
    assert "(there are: none)" in steerio(tmp_path, "token", "run", "drop", "bot", expect=2)
    assert "no name of a token" in steerio(
        tmp_path, "token", "run", "add", "me@here", "--role", "look", expect=2
    )
    assert "there is no run" in steerio(tmp_path, "token", "none", "list", expect=2)
