"""Pages hear of a run at once, at a bounded rate, in bytes that do not grow with the run."""

from __future__ import annotations

import contextlib
import gzip
import re
import threading
from pathlib import Path

import httpx
import msgspec
import pytest

from steerio.dashboard import broadcast
from steerio.dashboard.access import Tickets
from steerio.dashboard.access_tokens import Giver
from steerio.dashboard.assets import SCRIPTS, plotly_script
from steerio.dashboard.beside import END_S
from steerio.dashboard.broadcast import MOST_PAGES, Broadcast
from steerio.dashboard.run_follower import RecordWatch
from steerio.dashboard.serving import LEAVE_S as SESSION_S
from steerio.dashboard.serving import Served
from steerio.dashboard.steering_line import SteeringLine
from steerio.dashboard.web import LEAVE_S, dashboard_app
from steerio.view.snapshot import RunSnapshot
from tests.contract.dashboards import running
from tests.generated_records import write_run


def data_of(event: bytes) -> bytes:
    return event.partition(b"\ndata: ")[2].rstrip(b"\n")


async def test_a_page_hears_of_the_run_and_asks_for_more(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", workers=20, tasks=2000)
    async with running(folder) as dashboard:
        await dashboard.open()
        async with dashboard.updates() as updates:
            assert updates.answer.headers["content-type"].startswith("text/event-stream")
            text = await updates.next("snapshot")
        snapshot = msgspec.json.decode(data_of(text), type=RunSnapshot)
        assert snapshot.header.run == "run"
        assert snapshot.gantt is None
        header = snapshot.header
        asked = {"begin": header.began, "end": header.until, "most": 100}
        spans = (await dashboard.client.get("/spans", params=asked)).json()
        assert len(spans["spans"]) <= 100
        assert len(spans["spans"]) + spans["left_out"] == 2000
        story = (await dashboard.client.get("/tasks/997")).json()
        assert story["failure"]["message"] == "no energy below 0"
        assert (await dashboard.client.get("/tasks/99999999")).json()["state"] == "unknown"


@pytest.mark.parametrize(
    "query", ["", "begin=1", "begin=nan&end=2", "begin=1&end=x", "begin=0&end=1&most=0"]
)
async def test_a_window_that_cannot_be_is_refused(tmp_path: Path, query: str) -> None:
    async with running(write_run(tmp_path / "run", workers=2, tasks=2)) as dashboard:
        await dashboard.open()
        answer = await dashboard.client.get(f"/spans?{query}")
        assert (answer.status_code, "begin=" in answer.text) == (400, True)


async def test_the_first_byte_comes_before_anything_is_read(tmp_path: Path) -> None:
    released = threading.Event()

    class Slow(RecordWatch):
        def advance(self, *, last: bool = False) -> bool:
            released.wait()
            return super().advance(last=last)

    async with running(Slow(write_run(tmp_path / "run", workers=2, tasks=2))) as dashboard:
        await dashboard.open()
        async with dashboard.updates() as updates:
            assert (await updates.first()).startswith(b"retry: ")
            assert (await dashboard.client.get("/")).status_code == 200
            released.set()
            assert await updates.next("snapshot")


async def test_a_run_that_is_over_is_told_once_and_then_there_are_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "BEAT_S", 0.05)
    async with running(write_run(tmp_path / "run", workers=2, tasks=20)) as dashboard:
        await dashboard.open()
        async with dashboard.updates() as updates:
            await updates.next("snapshot")
            for _ in range(3):
                await updates.next("beat")


async def test_a_trouble_in_reading_is_told_and_passes(tmp_path: Path) -> None:
    class Troubled(RecordWatch):
        times = 0

        def advance(self, *, last: bool = False) -> bool:
            self.times += 1
            if self.times < 3:
                raise OSError("the disk is <gone>")
            return super().advance(last=last)

    async with running(Troubled(write_run(tmp_path / "run", workers=2, tasks=2))) as dashboard:
        await dashboard.open()
        async with dashboard.updates() as updates:
            assert b"the disk is <gone>" in await updates.next("trouble")
            assert await updates.next("snapshot")


async def test_pages_are_told_that_the_server_ends(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", workers=2, tasks=2)
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        async with running(run) as dashboard:
            await dashboard.open()
            client.cookies = dashboard.client.cookies
            request = client.build_request("GET", f"http://127.0.0.1:{dashboard.port}/updates")
            answer = await client.send(request, stream=True)
            parts = answer.aiter_bytes()
            assert await anext(parts)
        told = b"".join([part async for part in parts])
    assert told.endswith(b"event: over\ndata: null\n\n")


async def test_more_pages_than_may_be_are_refused(tmp_path: Path) -> None:
    async with running(write_run(tmp_path / "run", workers=2, tasks=2)) as dashboard:
        await dashboard.open()
        async with contextlib.AsyncExitStack() as opened:
            pages = [
                await opened.enter_async_context(dashboard.updates()) for _ in range(MOST_PAGES)
            ]
            for page in pages:
                await page.first()
            refused = await dashboard.client.get("/updates")
            assert (refused.status_code, "Too many pages" in refused.text) == (503, True)


def test_an_update_is_as_long_for_10_000_workers_as_for_100(tmp_path: Path) -> None:
    lengths: dict[int, dict[str, int]] = {}
    for workers in (100, 10_000):
        watched = RecordWatch(write_run(tmp_path / str(workers), workers, tasks=30_000))
        while watched.advance():
            pass
        parts = {"snapshot": watched.snapshot(), "gantt": watched.gantt()}
        lengths[workers] = {name: len(msgspec.json.encode(part)) for name, part in parts.items()}
    for name in ("snapshot", "gantt"):
        assert lengths[10_000][name] < 1.2 * lengths[100][name], lengths


async def test_it_works_below_a_path_that_a_proxy_leaves_or_takes_away(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", workers=2, tasks=2)
    async with running(run, Served(root_path="/user/me/proxy/8000/")) as dashboard:
        assert "/user/me/proxy/8000/?token=" in dashboard.urls[0]
        await dashboard.open()
        for path in ("/user/me/proxy/8000/", "/user/me/proxy/8000/page.js"):
            assert (await dashboard.client.get(path)).status_code == 200
        elsewhere = await dashboard.client.get("/user/me/proxy/80001/page.js")
        assert elsewhere.status_code == 401, "the cookie is for this path alone"


async def test_the_files_of_the_page_name_no_other_host(tmp_path: Path) -> None:
    async with running(write_run(tmp_path / "run", workers=2, tasks=2)) as dashboard:
        await dashboard.open()
        page = (await dashboard.client.get("/")).text
        assert [f'src="{name}"' in page for name in SCRIPTS] == [True] * len(SCRIPTS)
        for name in ("", "style.css", *SCRIPTS):
            text = (await dashboard.client.get(f"/{name}")).text
            assert set(re.findall(r"\w+://[\w.]*", text)) <= {"http://www.w3.org"}, name
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", text)
        for way in ("../access.py", "%2e%2e/access.py", "page/index.html"):
            assert (await dashboard.client.get(f"/{way}")).status_code == 404


async def test_the_script_of_plotly_is_kept_by_browsers(tmp_path: Path) -> None:
    script = plotly_script()
    assert script is not None
    async with running(write_run(tmp_path / "run", workers=2, tasks=2)) as dashboard:
        await dashboard.open()
        async with dashboard.client.stream("GET", "/plotly.min.js") as answer:
            sent = b"".join([part async for part in answer.aiter_raw()])
        assert gzip.decompress(sent) == script.read_bytes()
        assert answer.headers["cache-control"].startswith("private, max-age=")
        again = {"if-none-match": answer.headers["etag"]}
        assert (await dashboard.client.get("/plotly.min.js", headers=again)).status_code == 304
        plain = {"accept-encoding": "identity"}
        whole = await dashboard.client.get("/plotly.min.js", headers=plain)
        assert whole.content == script.read_bytes()


async def test_metrics_are_read_in_the_thread_that_reads_the_record(tmp_path: Path) -> None:
    threads: set[str] = set()

    class Noting(RecordWatch):
        def advance(self, *, last: bool = False) -> bool:
            threads.add(threading.current_thread().name)
            return super().advance(last=last)

        def snapshot(self) -> RunSnapshot:
            threads.add(threading.current_thread().name)
            return super().snapshot()

    async with running(Noting(write_run(tmp_path / "run", workers=2, tasks=2))) as dashboard:
        await dashboard.open()
        for _ in range(3):
            assert "steerio_run_info" in (await dashboard.client.get("/metrics")).text
    assert threads == {"steerio-view-0"}


async def test_there_are_no_metrics_once_the_record_is_not_read_any_more(tmp_path: Path) -> None:
    watched = RecordWatch(write_run(tmp_path / "run", workers=2, tasks=2))
    followed, tickets = Broadcast(watched), Tickets(metrics_key="key")
    followed.close()
    await followed.follow()
    line = SteeringLine(watched.folder)
    app = dashboard_app(watched, followed, tickets, line, Giver("me@here", "look"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/metrics", headers={"authorization": "Bearer key"})
    assert (answer.status_code, answer.text) == (503, "The server ends.")


async def test_the_last_look_reads_on_to_the_end(tmp_path: Path) -> None:
    class InParts(RecordWatch):
        parts = 0

        def advance(self, *, last: bool = False) -> bool:
            if not last:
                return False
            self.parts += 1
            super().advance(last=last)
            return self.parts < 5

    watched = InParts(write_run(tmp_path / "run", workers=2, tasks=2))
    followed = Broadcast(watched)
    followed.close()
    await followed.follow()
    assert watched.parts == 5
    told = b"".join([part async for part in followed.updates()])
    assert b"event: snapshot" in told
    assert b"event: gantt" in told


def test_a_dashboard_beside_a_run_is_not_killed_before_it_has_told_its_pages() -> None:
    assert END_S > broadcast.LAST_S + LEAVE_S + SESSION_S
