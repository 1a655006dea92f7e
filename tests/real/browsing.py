"""A real browser for tests: Debian's Chromium, driven by Playwright, which downloads none."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
DRAWN = "html[data-number]"
"""What a page matches once it has shown a snapshot."""

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium is installed: apt-get install chromium"
)


@contextlib.contextmanager
def browsing() -> Generator[Browser]:
    """Start a browser that has no history, for the length of a context."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        with contextlib.closing(browser):
            yield browser


@contextlib.contextmanager
def page_of(
    browser: Browser, url: str, width: int = 1200, dark: bool = False, refused: str = ""
) -> Generator[Page]:
    """Open a URL in a context of its own; a script that fails, or is refused, fails the test.

    ``refused``: a pattern, for complaints of the browser that are expected.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
    )
    with contextlib.closing(context):
        page = context.new_page()
        amiss: list[str] = []

        def complain(text: str) -> None:
            amiss.append(text)

        def dismiss(dialog: Dialog) -> None:
            amiss.append(dialog.message)
            dialog.dismiss()

        page.on("pageerror", lambda error: complain(str(error)))
        page.on("console", lambda said: complain(said.text) if said.type == "error" else None)
        page.on("dialog", dismiss)
        page.goto(url)
        yield page
        unexpected = [text for text in amiss if not refused or not re.search(refused, text)]
        assert not unexpected, unexpected


@contextlib.contextmanager
def dashboard_of(folder: Path, *options: str) -> Generator[Iterator[str]]:
    """Run ``steerio dashboard``, and give the lines that it prints; ended by Ctrl-C."""
    command = [sys.executable, "-m", "steerio", "dashboard", str(folder), *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    with process:
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(30)
    assert status == 0


def near(picture: bytes, colour: str, by: int = 40) -> int:
    """Return how many pixels of a picture (PNG) are about of a colour."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as opened:
        pixels = opened.convert("RGB").tobytes()
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return sum(
        abs(r - red) <= by and abs(g - green) <= by and abs(b - blue) <= by
        for r, g, b in zip(pixels[::3], pixels[1::3], pixels[2::3], strict=True)
    )
