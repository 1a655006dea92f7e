"""Only those see a run to whom its terminal gave a URL, and by no other page's hands."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from steerio.dashboard.access import ASSISTANTS, GUARDED
from steerio.dashboard.access_tokens import AccessTokens
from steerio.dashboard.assets import plotly_script
from steerio.dashboard.serving import Served, giver_of_page, listen, need_server
from steerio.edge.system.machine import user_at_host
from steerio.errors import UsageError
from steerio.model.roles import ROLES, Role
from tests.contract.dashboards import running
from tests.generated_records import write_run

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "ODD")
PATHS = (
    "/",
    "/page.js",
    "/plotly.min.js",
    "/updates",
    "/metrics",
    "/spans",
    "/tasks/1",
    "/api/giver",
    "/api/look",
    "/api/questions",
    "/api/tasks/1",
    "/api/audit",
    "/api/orders",
    "/api/openapi.json",
    "/api/no",
    "/mcp",
    "/mcp/",
    "/no",
)
ANSWERED = {("POST", "/api/orders")}
"""Other requests than those that only read."""
HOSTS = ("evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1@evil.example", "")
ORIGINS = ("http://evil.example", "null", "http://localhost:1", "file://", "https://127.0.0.1")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", workers=20, tasks=40)


def everything() -> Iterator[tuple[str, str]]:
    return ((method, path) for method in METHODS for path in PATHS)


@pytest.mark.parametrize("role", ROLES)
def test_the_person_of_a_page_may_approve_its_proposals(role: Role) -> None:
    giver = giver_of_page(role)
    assert giver.role == role
    assert (giver.name == user_at_host()) == (role != "propose")


async def statuses(client: httpx.AsyncClient, **given: object) -> set[int]:
    """Return how every method on every path is answered."""
    found = set()
    for method, path in everything():
        answer = await client.request(method, path, **given)  # type: ignore[arg-type]
        assert b"search" not in answer.content
        found.add(answer.status_code)
    return found


async def test_nothing_is_shown_without_the_cookie(run: Path) -> None:
    async with running(run) as dashboard:
        assert await statuses(dashboard.client) == {401}
        assert await statuses(dashboard.client, params={"token": "wrong"}) == {401}
        names = {"cookie": "steerio-0123456789ab=wrong; other=1"}
        assert await statuses(dashboard.client, headers=names) == {401}


async def test_a_url_opens_one_browser_and_the_next_one_is_told(run: Path) -> None:
    async with running(run) as dashboard:
        (first,) = dashboard.urls
        other = {"host": f"localhost:{dashboard.port}"}
        answer = await dashboard.client.get(first, headers=other)
        assert answer.status_code == 200
        assert 'http-equiv="refresh"' in answer.text
        assert len(dashboard.urls) == 2
        dashboard.client.cookies.clear()
        assert (await dashboard.client.get(first)).status_code == 401
        assert (await dashboard.client.head(dashboard.urls[-1])).status_code == 401
        assert (await dashboard.client.get(dashboard.urls[-1])).status_code == 200
        assert (await dashboard.client.get("/")).status_code == 200


async def test_a_key_reads_the_metrics_and_nothing_else(run: Path) -> None:
    key = {"authorization": "Bearer the-key"}
    async with running(run, Served(metrics_key="the-key")) as dashboard:
        answer = await dashboard.client.get("/metrics", headers=key)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "\nsteerio_tasks_ended_total" in answer.text
        assert (await dashboard.client.get("/", headers=key)).status_code == 401
        for wrong in ("Bearer", "Bearer other", "Basic the-key", "the-key"):
            given = {"authorization": wrong}
            assert (await dashboard.client.get("/metrics", headers=given)).status_code == 401
        foreign = {**key, "origin": "http://elsewhere.example"}
        assert (await dashboard.client.get("/metrics", headers=foreign)).status_code == 403
    async with running(run) as dashboard:  # without a key only browsers that were let in read them
        for given in (key, {"authorization": "Bearer"}):
            assert (await dashboard.client.get("/metrics", headers=given)).status_code == 401
        await dashboard.open()
        assert (await dashboard.client.get("/metrics")).status_code == 200


async def test_a_token_does_not_open_a_second_time_even_with_the_cookie(run: Path) -> None:
    async with running(run) as dashboard:
        await dashboard.open()
        assert (await dashboard.client.get("/", params={"token": "wrong"})).status_code == 401
        assert (await dashboard.client.get("/")).status_code == 200


async def test_the_cookie_is_strict_and_out_of_the_reach_of_scripts(run: Path) -> None:
    async with running(run, Served(root_path="/user/me")) as dashboard:
        cookie = (await dashboard.client.get(dashboard.urls[0])).headers["set-cookie"]
        assert cookie.endswith("; HttpOnly; Path=/user/me; SameSite=Strict")


async def test_cookies_of_other_servers_on_the_host_lock_nobody_out(run: Path) -> None:
    async with running(run) as dashboard:
        set_cookie = (await dashboard.client.get(dashboard.urls[0])).headers["set-cookie"]
        ours = set_cookie.partition(";")[0]
        dashboard.client.cookies.clear()
        for other in ('{"a":1}', "a[0]=b; c", 'x="open', "=; ;", "steerio-other=x", "a=b=c"):
            for cookies in (f"{other}; {ours}", f"{ours}; {other}"):
                answer = await dashboard.client.get("/", headers={"cookie": cookies})
                assert answer.status_code == 200, cookies
        name = ours.partition("=")[0]
        for cookies in (name, f"{name}=", f"{name}=; a={ours}"):
            answer = await dashboard.client.get("/", headers={"cookie": cookies})
            assert answer.status_code == 401, cookies


async def test_names_that_are_not_the_servers_are_refused_on_every_method(run: Path) -> None:
    async with running(run) as dashboard:
        await dashboard.open()
        for host in HOSTS:
            assert await statuses(dashboard.client, headers={"host": host}) == {403}, host
        for host in ("localhost:9999", "127.0.0.1", "[::1]:80", "LOCALHOST"):
            answer = await dashboard.client.get("/", headers={"host": host})
            assert answer.status_code == 200, host


async def test_requests_of_other_origins_are_refused_on_every_method(run: Path) -> None:
    async with running(run) as dashboard:
        await dashboard.open()
        for origin in ORIGINS:
            assert await statuses(dashboard.client, headers={"origin": origin}) == {403}, origin
        own = {"origin": f"http://127.0.0.1:{dashboard.port}"}
        assert (await dashboard.client.get("/", headers=own)).status_code == 200


async def test_parts_of_other_sites_pages_are_refused_on_every_method(run: Path) -> None:
    async with running(run) as dashboard:
        await dashboard.open()
        for site in ("cross-site", "same-site"):
            headers = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}
            assert await statuses(dashboard.client, headers=headers) == {403}
        followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        assert (await dashboard.client.get("/", headers=followed)).status_code == 200


async def test_a_host_that_is_allowed_is_a_name_of_the_server(run: Path) -> None:
    async with running(run, Served(hosts=["hub.example.org"])) as dashboard:
        hub = {"host": "hub.example.org", "origin": "https://hub.example.org"}
        url = dashboard.urls[0].replace(f"127.0.0.1:{dashboard.port}", "")
        found = await dashboard.client.get(url.removeprefix("http://"), headers=hub)
        assert found.status_code == 200


async def test_a_token_does_not_make_up_for_a_foreign_host_or_origin(run: Path) -> None:
    key = {"authorization": f"Bearer {AccessTokens(run).add('bot', 'code')}"}
    site = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}
    async with running(run) as dashboard:
        for foreign in (
            *({"host": host} for host in HOSTS),
            *({"origin": origin} for origin in ORIGINS),
            site,
        ):
            assert await statuses(dashboard.client, headers={**key, **foreign}) == {403}, foreign


async def test_a_token_is_shown_in_a_header_once_and_nowhere_else(run: Path) -> None:
    token = AccessTokens(run).add("bot", "code")
    async with running(run) as dashboard:
        get = dashboard.client.get
        bearer = ("authorization", f"Bearer {token}")
        assert (await get("/api/giver", headers=[bearer])).status_code == 200
        answer = await get("/api/giver", headers=[bearer, bearer])
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        for name in ("token", "access_token", "authorization"):
            assert (await get("/api/giver", params={name: token})).status_code == 401
        assert (await get("/", params={"token": token})).status_code == 401
        cookie = {"cookie": f"steerio={token}; token={token}"}
        assert (await get("/api/giver", headers=cookie)).status_code == 401


async def test_what_is_only_looked_at_cannot_be_changed(run: Path) -> None:
    async with running(run) as dashboard:
        await dashboard.open()
        for method, path in everything():
            if method in ("GET", "HEAD") or (method, path) in ANSWERED:
                continue
            own = {"origin": f"http://127.0.0.1:{dashboard.port}"}
            answer = await dashboard.client.request(method, path, headers=own)
            refused = {401} if path in ASSISTANTS else {404, 405}  # no cookie opens that door
            assert answer.status_code in refused, (method, path)


async def test_every_answer_says_what_a_browser_may_do_with_it(run: Path) -> None:
    async with running(run) as dashboard:
        answers = [await dashboard.client.get("/")]
        await dashboard.open()
        answers += [await dashboard.client.get(path) for path in ("/", "/no", "/spans?begin=1")]
        for answer in answers:
            told = {name: answer.headers[name] for name in GUARDED}
            assert told == GUARDED
        assert "unsafe-inline'; connect" in GUARDED["content-security-policy"]
        assert "script-src 'self';" in GUARDED["content-security-policy"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "10.0.0.1"])
def test_it_listens_on_this_machine_only(host: str) -> None:
    with pytest.raises(UsageError, match="not an address of this machine alone"):
        listen(Served(host=host))


def test_packages_that_are_missing_are_named_with_the_way_to_have_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs starlette and uvicorn: pip install 'steerio\["):
        need_server()
    assert plotly_script() is None


def test_a_port_that_is_taken_is_said() -> None:
    listener = listen(Served())
    with listener, pytest.raises(UsageError, match="cannot be listened on: Address already in use"):
        listen(Served(port=listener.getsockname()[1]))
