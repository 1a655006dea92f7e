"""A campaign is steered by its page in a real browser, and by a program over REST."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from steerio.dashboard.access_tokens import AccessTokens
from tests.real.browsing import DRAWN, browsing, dashboard_of, needs_browser, page_of
from tests.real.prefixes import behind_prefix
from tests.real.programs import Program
from tests.real.steered_search import searching

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WAIT_MS = 60_000
SOON_S = 60.0
REFUSED = "the server responded with a status of (409|503)"


@pytest.fixture
def browser() -> Generator[Browser]:
    with browsing() as opened:
        yield opened


@pytest.fixture
def search(tmp_path: Path) -> Generator[Program]:
    with searching(tmp_path) as program:
        yield program


def controls(page: Page) -> None:
    page.wait_for_selector(DRAWN, timeout=WAIT_MS)
    page.locator("#steer-part summary").click()
    page.locator("#steer-parameters").wait_for(timeout=WAIT_MS)


def said(page: Page, text: str) -> None:
    page.locator("#steer-said").get_by_text(text).wait_for(timeout=WAIT_MS)


@needs_browser
def test_a_person_steers_by_the_page(tmp_path: Path, browser: Browser, search: Program) -> None:
    with dashboard_of(tmp_path / "run") as lines:
        with page_of(browser, next(lines).strip(), refused=REFUSED) as page:
            asked = page.locator("#steer-asked")
            asked.get_by_text("1 question waits for an answer").wait_for(timeout=WAIT_MS)
            controls(page)
            text = page.locator("#steer").inner_text()
            assert "Step of the <b>search</b>" in text
            assert "spend <i>500</i> node-hours?" in text
            parameters(page, search)
            answers_and_pauses(page, search)
            pools(page, search)
            approved(page, search, tmp_path / "run")
            page.locator("#steer-stop").click()
            page.locator("#steer-keep").click()
            assert page.locator("#steer-sure").is_hidden()
            page.locator("#steer-stop").click()
            page.locator("#steer-end").click()
            assert search.status(SOON_S) == 0, search
            page.locator("#steer").wait_for(state="hidden", timeout=WAIT_MS)


def parameters(page: Page, search: Program) -> None:
    rate = page.locator("#steer-parameters tr", has_text="rate")
    page.locator("#steer-reason").fill("it is <slow>")
    rate.locator("input").fill("0.3")
    rate.locator("button").click()
    said(page, "rate is 0.3 now, and was 0.1")
    assert "@" in search.wait_for(": it is <slow>.")
    assert "rate is 0.3, by " in search.output
    rate.get_by_text("0.3", exact=True).wait_for(timeout=WAIT_MS)
    rate.locator("input").fill("7")
    rate.locator("button").click()
    said(page, "a number at least 0 and at most 1")
    assert page.locator("#steer-said").get_attribute("class") == "bad"
    loud = page.locator("#steer-parameters tr", has_text="loud")
    loud.locator("select").select_option("True")
    loud.locator("button").click()
    search.wait_for("loud is True, by ")


def answers_and_pauses(page: Page, search: Program) -> None:
    page.locator("#steer-questions button", has_text="yes").click()
    search.wait_for("yes it is.")
    search.wait_for("measured 0.")
    count = page.locator("#steer-agents tr", has_text="count")
    count.locator("button").click()
    said(page, "Search.count is paused")
    page.locator("#steer-questions button", has_text="again").click()
    count.get_by_text("paused, 1 queued").wait_for(timeout=WAIT_MS)
    assert "measured 1." not in search.output
    count.locator("button", has_text="Resume").click()
    search.wait_for("measured 1.")
    work = page.locator("#steer-agents tr", has_text="work")
    assert work.locator("button").is_hidden()


def pools(page: Page, search: Program) -> None:
    simulate = page.locator("#steer-pools tr", has_text="simulate")
    page.locator("#steer-reason").fill("odd values")
    simulate.locator("button").click()
    said(page, "simulate is paused")
    page.locator("#steer-questions button", has_text="again").click()
    simulate.get_by_text("1 queued").wait_for(timeout=WAIT_MS)
    assert "odd values" in simulate.inner_text()
    page.locator("#steer-questions").get_by_text("measured 2, and on?").wait_for(timeout=WAIT_MS)
    assert "measured 2." not in search.output
    simulate.locator("button", has_text="Resume").click()
    search.wait_for("measured 2.")
    page.locator("#steer-do-move").click()
    said(page, "moved")
    page.locator("#steer-pools tr", has_text="learn").get_by_text("of 2 workers").wait_for(
        timeout=WAIT_MS
    )


def approved(page: Page, search: Program, run: Path) -> None:
    """See a proposal of a program on the page, and approve it."""
    token = AccessTokens(run).add("bot", "propose")
    proposed = httpx.post(
        page.url + "api/orders",
        json={"order": {"type": "SetParameter", "name": "rate", "value": 0.7}, "reason": "faster"},
        headers={"authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=60,
    )
    assert proposed.status_code == 202, proposed.text
    row = page.locator("#steer-questions tr", has_text="bot proposes: set rate to 0.7 (faster)")
    row.locator("button", has_text="approve").click()
    search.wait_for("rate is 0.7, by bot: faster.")
    row.wait_for(state="detached", timeout=WAIT_MS)


@needs_browser
def test_a_page_that_may_only_look_has_no_controls(
    tmp_path: Path, browser: Browser, search: Program
) -> None:
    with dashboard_of(tmp_path / "run", "--role", "look") as lines:
        with page_of(browser, next(lines).strip(), refused="status of 403") as page:
            page.wait_for_selector(DRAWN, timeout=WAIT_MS)
            page.get_by_text("You may only look").wait_for(timeout=WAIT_MS)
            assert page.locator("#steer-part").is_hidden()
            status = page.evaluate(
                "async () => (await fetch('api/orders', {method: 'POST', body: '{}',"
                "headers: {'content-type': 'application/json'}})).status"
            )
            assert status == 403


@needs_browser
@pytest.mark.parametrize("leaves", [False, True])
def test_orders_go_through_a_proxy_that_puts_a_path_before(
    tmp_path: Path, browser: Browser, search: Program, leaves: bool
) -> None:
    prefix = "/user/me/proxy/8000"
    with dashboard_of(tmp_path / "run", *(["--root-path", prefix] if leaves else [])) as lines:
        url = next(lines).strip()
        port = int(re.findall(r":(\d+)/", url)[0])
        with behind_prefix(port, prefix, leaves=leaves) as proxy:
            ticket = url.partition("?")[2]
            with page_of(browser, f"http://localhost:{proxy}{prefix}/?{ticket}") as page:
                controls(page)
                rate = page.locator("#steer-parameters tr", has_text="rate")
                rate.locator("input").fill("0.5")
                rate.locator("input").press("Enter")
                search.wait_for("rate is 0.5, by ")
