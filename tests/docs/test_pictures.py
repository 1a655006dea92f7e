"""The pictures of the documentation are there, short, and still what the page of a run shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs import pictures
from tests.real.browsing import near, needs_browser

ROOT = Path(__file__).parents[2]
SHOWN = re.compile(r"!\[[^\]]+\]\(([^)]+\.png)\)")


def test_the_pictures_of_pages_are_there_and_short() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = {
        (page.parent / name).resolve() for page in pages for name in SHOWN.findall(page.read_text())
    }
    assert shown == {pictures.IMAGES / f"{name}.png" for name in pictures.EXAMPLES}
    for picture in shown:
        assert 10_000 < picture.stat().st_size < pictures.MOST_BYTES


@needs_browser
@pytest.mark.example
@pytest.mark.parametrize("name", list(pictures.EXAMPLES))
def test_a_picture_can_be_made_anew(tmp_path: Path, name: str) -> None:
    picture = pictures.take(name, tmp_path / name)
    assert len(picture) < pictures.MOST_BYTES
    assert near(picture, "#d98032") + near(picture, "#3b73bd") > 5_000
