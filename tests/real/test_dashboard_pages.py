"""The page of a run in a real browser: live, as a report, behind a prefix, for many workers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from steerio.dashboard import report
from steerio.dashboard.report import write_report
from tests.generated_records import BEGAN, write_run
from tests.real.browsing import (
    DRAWN,
    browsing,
    dashboard_of,
    near,
    needs_browser,
    page_of,
)
from tests.real.prefixes import behind_prefix

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Tell = Callable[[str, object], None]
"""Notes a figure in the test's report."""
BLUE, ORANGE, GREEN, RED = "#3b73bd", "#d98032", "#3c9a6b", "#c9473f"
WAIT_MS = 60_000
CAMPAIGN = """
import time

from msgspec import Struct
from steerio import Board, Campaign, on_result, task


@task(pool="simulate")
def energy(x: int) -> float:
    time.sleep(0.02)
    if x % 25 == 7:
        print("computing <b>the energy</b>")
        raise ValueError(f"<img src=x onerror=alert({x})> is no energy")
    return 1.0 * x


class Search(Campaign):
    workers = {"simulate": 2}

    def __init__(self, stays: str = "") -> None:
        self.board = Board(energy, range(100), tags={"from": "<i>the board</i>"})
        self.stays = stays

    @on_result(energy)
    async def look(self, result) -> None:
        if result.args[0] < 10:
            self.submit(energy, result.args[0] + 1000)
        if result.args[0] == 50 and self.stays:
            await self.wait_for_reader()

    async def wait_for_reader(self) -> None:
        import asyncio

        await asyncio.to_thread(input)
"""


@pytest.fixture
def browser() -> Generator[Browser]:
    with browsing() as opened:
        yield opened


def drawn(page: Page) -> None:
    page.wait_for_selector(DRAWN, timeout=WAIT_MS)


def with_plotly(page: Page) -> None:
    page.wait_for_selector("#workers-chart .main-svg", timeout=WAIT_MS)


def picture(page: Page, selector: str) -> bytes:
    page.locator(selector).scroll_into_view_if_needed()
    page.wait_for_function(
        "selector => document.querySelector(selector).querySelector('svg, canvas') || "
        "document.querySelector(selector) instanceof HTMLCanvasElement",
        arg=selector,
    )
    return page.locator(selector).screenshot()


def of_tasks(taken: bytes) -> int:
    """Return how many pixels are of one of the first two task types."""
    return near(taken, BLUE) + near(taken, ORANGE)


def begun(folder: Path, *options: str) -> subprocess.Popen[str]:
    (folder / "search.py").write_text(CAMPAIGN)
    command = [sys.executable, "-m", "steerio", "run", "search.py", "--run-dir", "run"]
    return subprocess.Popen(
        [*command, "--limit-failures", "50", "--progress", "off", *options],
        cwd=folder,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@needs_browser
def test_a_running_campaign_is_seen_live(tmp_path: Path, browser: Browser) -> None:
    with begun(tmp_path, "--stays", "read", "--dashboard", "--report") as run:
        assert run.stderr is not None
        line = next(line for line in run.stderr if "?token=" in line)
        url = line.split("dashboard: ")[1].strip()
        # this server ends with its campaign, and may do so while the page asks it something
        with page_of(browser, url, refused="net::ERR_CONNECTION_REFUSED") as page:
            drawn(page)
            assert "token" not in page.url
            with_plotly(page)
            assert page.locator("#state").inner_text() == "running"
            page.wait_for_function(
                "() => Number(document.querySelector('#figures dd').textContent) > 40",
                timeout=WAIT_MS,
            )
            page.wait_for_selector("details.failure", timeout=WAIT_MS)
            page.locator("details.failure summary").first.click()
            shown = page.locator("details.failure[open]")
            assert "is no energy" in shown.inner_text()
            shown.get_by_text("computing <b>the energy</b>").wait_for(timeout=WAIT_MS)
            assert "raise ValueError" in shown.locator("pre").first.inner_text()
            assert run.stdin is not None
            run.stdin.write("\n")
            run.stdin.flush()
            page.get_by_text("this is the last that it showed").wait_for(timeout=WAIT_MS)
            assert page.locator("#state").inner_text() == "completed"
            assert page.locator("#figures dd").first.inner_text() == "110"
        rest = run.stderr.read()
        assert run.wait(60) == 0, rest
    assert "report: run/report.html" in rest
    assert (tmp_path / "run/report.html").exists()


def test_a_dashboard_ends_with_a_campaign_that_is_killed(tmp_path: Path) -> None:
    with begun(tmp_path, "--stays", "read", "--dashboard") as run:
        assert run.stderr is not None
        assert any("?token=" in line for line in run.stderr)
        run.kill()
        run.stderr.read()  # the dashboard has it as well: until both have ended


def test_a_report_is_a_file_or_text_and_not_both(tmp_path: Path) -> None:
    write_run(tmp_path / "run", workers=2, tasks=20)
    command = [sys.executable, "-m", "steerio", "report", "run"]
    both = subprocess.run(
        [*command, "--text", "-o", "one.html"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (both.returncode, "leave out --out" in both.stderr) == (2, True)
    one = subprocess.run(
        [*command, "-o", "one.html"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (one.returncode, one.stdout) == (0, "wrote one.html\n")
    assert "held-snapshot" in (tmp_path / "one.html").read_text()


@needs_browser
def test_a_report_opens_without_a_server(tmp_path: Path, browser: Browser) -> None:
    file = write_report(write_run(tmp_path / "run", workers=20, tasks=2000))
    with page_of(browser, file.as_uri()) as page:
        drawn(page)
        with_plotly(page)
        assert near(picture(page, "#workers-chart"), BLUE) > 1000
        assert near(picture(page, "#workers-chart"), ORANGE) > 10_000
        assert near(picture(page, "#rate-chart"), GREEN) > 500
        assert of_tasks(picture(page, "#gantt-canvas")) > 20_000
        assert near(picture(page, "#gantt-canvas"), RED) > 10
        page.locator("details.failure summary").first.click()
        shown = page.locator("details.failure[open]").inner_text()
        assert "no energy below 0" in shown
        page.locator("details.failure[open] button").click()
        story = page.locator("dialog[open]")
        assert story.get_by_text("What followed").is_visible()
        story.locator("button", has_text="task").first.click()
        page.keyboard.press("Escape")
        assert page.locator("dialog[open]").count() == 0


@needs_browser
def test_boards_and_agents_that_held_the_loop_are_shown(tmp_path: Path, browser: Browser) -> None:
    folder = write_run(tmp_path / "run", workers=4, tasks=40)
    evil, lines = "S.<b id=evil>", []
    for at, waiting in ((1.0, 90), (20.0, 40), (60.0, 5)):
        fields = {"name": evil, "pool": "simulate", "client": "S", "oldest_s": at}
        lines.append({"type": "BoardChanged", "at": BEGAN + at, "waiting": waiting, **fields})
    held = {"agent": evil, "seconds": 2.5, "where": "think (<img src=x onerror=alert(1)>)"}
    lines.append({"type": "LoopStalled", "at": BEGAN + 30.0, **held})
    with (folder / "events.jsonl").open("a") as events:
        events.writelines(json.dumps({"number": 1, **line}) + "\n" for line in lines)
    with page_of(browser, write_report(folder).as_uri()) as page:
        drawn(page)
        with_plotly(page)
        assert page.locator("#board-table tbody td").all_inner_texts()[:3] == [
            evil,
            "simulate",
            "5",
        ]
        page.locator("#queue-choice").select_option("board waiting_bins")
        page.locator("#queue-chart[aria-label*='5 waiting']").wait_for()
        while near(picture(page, "#queue-chart"), BLUE) <= 300:
            pass  # the words of a chart change before it is drawn
        cells = page.locator("#stall-table tbody td").all_inner_texts()
        assert cells[:3] == [evil, "1", "2.5 s"]
        assert page.locator("#evil").count() == 0


@needs_browser
def test_a_page_without_plotly_draws_its_charts_itself(
    tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "plotly_script", lambda: None)
    file = write_report(write_run(tmp_path / "run", workers=20, tasks=2000))
    assert file.stat().st_size < 2_000_000
    with page_of(browser, file.as_uri()) as page:
        drawn(page)
        assert near(picture(page, "#workers-chart"), ORANGE) > 10_000
        assert near(picture(page, "#rate-chart"), GREEN) > 500
        assert page.locator("#workers-chart .main-svg").count() == 0
        assert "Charts are plain" in page.locator("#made").inner_text()
        page.locator("#workers-chart svg").hover()
        assert "simulate busy" in page.locator("#workers-chart .readout").inner_text()


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_a_narrow_page_does_not_scroll_sideways(
    tmp_path: Path, browser: Browser, dark: bool
) -> None:
    file = write_report(write_run(tmp_path / "run", workers=20, tasks=200))
    with page_of(browser, file.as_uri(), width=400, dark=dark) as page:
        drawn(page)
        with_plotly(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", ground))) < 60) is dark
        page.locator("#theme").click()  # light
        page.locator("#theme").click()  # dark
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert max(map(int, re.findall(r"\d+", ground))) < 60


@needs_browser
def test_a_report_is_printed_with_all_charts_and_in_light_colours(
    tmp_path: Path, browser: Browser
) -> None:
    file = write_report(write_run(tmp_path / "run", workers=20, tasks=200))
    with page_of(browser, file.as_uri(), dark=True) as page:
        drawn(page)
        with_plotly(page)
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        page.emulate_media(media="print")
        shown = page.locator(".chart:visible")
        assert [chart.locator(".main-svg").count() > 0 for chart in shown.all()] == [True] * 4
        widths = [chart.evaluate("chart => chart.scrollWidth") for chart in shown.all()]
        assert max(widths) <= 700
        ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        assert page.locator("#find").is_hidden()


@needs_browser
def test_the_gantt_is_zoomed_by_keys_and_asks_for_single_tasks(
    tmp_path: Path, browser: Browser
) -> None:
    folder = write_run(tmp_path / "run", workers=20, tasks=4000)
    with dashboard_of(folder) as lines, page_of(browser, next(lines).strip()) as page:
        drawn(page)
        said = page.locator("#gantt-say")
        said.get_by_text("20 workers, 0 s to").wait_for(timeout=WAIT_MS)
        page.locator("#gantt-canvas").focus()
        with page.expect_response(re.compile("/spans\\?")) as answer:
            page.keyboard.press("+")
        assert answer.value.ok
        page.keyboard.press("+")
        page.keyboard.press("ArrowRight")
        page.locator("#gantt-tools button", has_text="All").click()
        said.get_by_text("20 workers, 0 s to").wait_for(timeout=WAIT_MS)
        page.locator("#task-number").fill("997")
        page.locator("#find button[type=submit]").click()
        page.locator("dialog").get_by_text("no energy below 0").first.wait_for(timeout=WAIT_MS)


@needs_browser
def test_the_gantt_shows_an_answer_that_took_longer_than_the_time_between_two(
    tmp_path: Path, browser: Browser
) -> None:
    folder = write_run(tmp_path / "run", workers=20, tasks=400)
    with dashboard_of(folder) as lines, page_of(browser, next(lines).strip()) as page:
        drawn(page)
        asked = page.evaluate("""async () => {
          const source = steerio.source, answers = [];
          const began = performance.now.bind(performance), late = { ms: 0 };
          performance.now = () => began() + late.ms;
          const whole = await (await fetch("spans?begin=0&end=9e9&most=20000")).json();
          steerio.source = { ...source, spans: () => new Promise((tell) => answers.push(tell)) };
          const canvas = document.getElementById("gantt-canvas");
          const press = (key) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key }));
          const heard = new EventSource("updates");
          const told = (event) => new Promise((tell) =>
            heard.addEventListener(event, ({ data }) => tell(JSON.parse(data)), { once: true }));
          const [gantt, last] = await Promise.all([told("gantt"), told("snapshot")]);
          heard.close();
          const snapshot = { ...last, gantt };
          press("+");
          const counts = [answers.length];
          for (let time = 0; time < 5; time += 1) {
            late.ms += 3000;
            steerio.gantt(snapshot);
          }
          counts.push(answers.length);
          press("+"); // of another view
          counts.push(answers.length);
          answers[0](whole);
          answers[1]({ ...whole, rows: ["mine"], spans: [] });
          await new Promise(requestAnimationFrame);
          await new Promise(requestAnimationFrame);
          return counts;
        }""")
        assert asked == [1, 1, 2]
        page.locator("#gantt-say").get_by_text("1 worker,").wait_for(timeout=WAIT_MS)


@needs_browser
def test_it_works_behind_a_prefix(tmp_path: Path, browser: Browser) -> None:
    folder = write_run(tmp_path / "run", workers=4, tasks=40)
    for leaves in (True, False):
        prefix = "/user/me/proxy/8000"
        options = ["--root-path", prefix] if leaves else []
        with dashboard_of(folder, *options) as lines:
            url = next(lines).strip()
            port = int(re.findall(r":(\d+)/", url)[0])
            with behind_prefix(port, prefix, leaves=leaves) as proxy:
                ticket = url.partition("?")[2]
                with page_of(browser, f"http://localhost:{proxy}{prefix}/?{ticket}") as page:
                    drawn(page)
                    with_plotly(page)
                    assert page.url == f"http://localhost:{proxy}{prefix}/"


@needs_browser
def test_a_page_of_another_site_learns_and_shows_nothing(tmp_path: Path, browser: Browser) -> None:
    folder = write_run(tmp_path / "run", workers=4, tasks=40)
    with dashboard_of(folder) as lines:
        url = next(lines).strip()
        root = url.partition("?")[0]
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        drawn(page)  # this browser has the cookie
        page.goto("about:blank")
        refused = page.evaluate(
            "async root => { const found = [];"
            "for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH'])"
            "  try { found.push((await fetch(root, {method, credentials: 'include'})).ok) }"
            "  catch (error) { found.push('refused') } return found; }",
            root,
        )
        assert refused == ["refused"] * 5
        stranger = browser.new_context().new_page()
        answer = stranger.goto(f"{root}?token=wrong")
        assert answer is not None
        assert answer.status == 401
        for opened in list(browser.contexts):
            opened.close()


@needs_browser
@pytest.mark.timeout(300)
def test_a_page_of_many_workers_is_quick(
    tmp_path: Path, browser: Browser, record_property: Tell
) -> None:
    look_at_many(
        write_run(tmp_path / "run", workers=10_000, tasks=30_000), browser, record_property
    )


@needs_browser
@pytest.mark.stress
@pytest.mark.timeout(1800)
def test_a_page_of_a_million_tasks_is_quick(
    tmp_path: Path, browser: Browser, record_property: Tell
) -> None:
    folder = write_run(tmp_path / "run", workers=10_000, tasks=1_000_000)
    look_at_many(folder, browser, record_property)


COLOURED_GANTT = """
() => {
  const canvas = document.querySelector("#gantt-canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let coloured = 0;
  for (let at = 0; at < data.length; at += 4)
    coloured += Math.abs(data[at] - data[at + 2]) > 80;
  return coloured > 20000;
}
"""
FRAMES = """
() => new Promise(done => {
  const lengths = []; let last = performance.now(); const until = last + 5000;
  const step = now => {
    lengths.push(now - last); last = now; scrollBy(0, 20);
    if (now < until) requestAnimationFrame(step); else done(lengths.sort((a, b) => a - b));
  };
  requestAnimationFrame(step);
})
"""


def look_at_many(folder: Path, browser: Browser, tell: Tell) -> None:
    """Open the page of a run of 10,000 workers, and tell how long that and its frames take."""
    with dashboard_of(folder) as lines, page_of(browser, next(lines).strip()) as page:
        drawn(page)
        ready = page.evaluate("performance.now()")
        page.wait_for_function("() => document.querySelector('#made').textContent", timeout=WAIT_MS)
        frames: list[float] = page.evaluate(FRAMES)
        told = {"ready_ms": ready, "median_ms": frames[len(frames) // 2], "most_ms": frames[-1]}
        told["ninety_nine_ms"] = frames[int(0.99 * len(frames))]
        for name, value in told.items():
            tell(name, round(value, 1))
        sys.stderr.write(f"page of 10,000 workers: {told}\n")
        page.evaluate("document.querySelector('#gantt-canvas').scrollIntoView()")
        page.wait_for_function(COLOURED_GANTT, timeout=WAIT_MS)
        assert of_tasks(picture(page, "#gantt-canvas")) > 10_000


# -- beside a run, and for a monitor --------------------------------------------------------------


def test_a_key_for_metrics_takes_no_file_of_the_users(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", workers=2, tasks=2)
    mine = tmp_path / "mine"
    mine.write_text("a key of mine")
    command = [sys.executable, "-m", "steerio", "dashboard", str(folder), "--metrics-key"]
    refused = subprocess.run(
        [*command, str(mine)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (refused.returncode, f"{mine} is there already" in refused.stderr) == (2, True)
    assert mine.read_text() == "a key of mine"
    absent = str(tmp_path / "no" / "key")
    no_folder = subprocess.run(
        [*command, absent], capture_output=True, text=True, check=False, timeout=60
    )
    assert (no_folder.returncode, "cannot be written" in no_folder.stderr) == (2, True)


def test_a_key_for_metrics_is_the_owners_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", workers=2, tasks=2)
    for replaced in (False, True):
        key = tmp_path / f"key-{replaced}"
        with dashboard_of(folder, "--metrics-key", str(key)) as lines:
            assert next(lines).startswith("http://")
            assert key.stat().st_mode & 0o777 == 0o600
            assert len(key.read_text()) > 32
            if replaced:
                key.write_text("another")
        assert key.exists() == replaced


RUNS = "from steerio import Campaign\n\nclass Runs(Campaign):\n    async def setup(self):\n        "


def ran_with(folder: Path, campaign: str, *options: str, patch: str = "") -> tuple[int, str]:
    """Run a campaign after a patch of the interpreter; return its status and its complaints."""
    (folder / "runs.py").write_text(RUNS + campaign)
    program = f"import sys\n{patch}\nfrom steerio.cli.commands import main\nsys.exit(main())\n"
    command = [sys.executable, "-c", program, "run", "runs.py", "--progress", "off", *options]
    ran = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    return ran.returncode, ran.stderr


FAILS = """
import base64
def fails(*arguments):
    raise ValueError("no report of this")
base64.b64encode = fails
"""


def test_a_report_that_fails_is_told_and_is_not_the_runs_failure(tmp_path: Path) -> None:
    status, said = ran_with(tmp_path, "pass\n", "--report", patch=FAILS)
    assert (status, "Traceback" in said) == (0, False), said
    assert "no report: ValueError('no report of this'); try steerio report" in said
    status, said = ran_with(tmp_path, "raise KeyError('mine')\n", "--report", patch=FAILS)
    assert (status != 0, "KeyError: 'mine'" in said) == (True, True), said
    assert "no report: ValueError" in said


def test_a_dashboard_that_cannot_be_has_no_process_left_behind(tmp_path: Path) -> None:
    patch = """
import importlib.util, os, atexit
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "uvicorn" else found(name, *more)
fork = os.fork
os.fork = lambda: print("forked", file=sys.stderr) or fork()
"""
    status, said = ran_with(tmp_path, "pass\n", "--dashboard", patch=patch)
    assert (status, "the dashboard needs uvicorn" in said) == (2, True), said
    assert "forked" not in said
    status, said = ran_with(tmp_path, "pass\n", patch=patch)
    assert (status, "forked" in said) == (0, True), said
