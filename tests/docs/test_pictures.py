"""The pictures of the documentation are there, short, and still what the page of a run shows."""

from __future__ import annotations

import re
from pathlib import Path

from tests.docs import pictures
from tests.docs.pages import plan

ROOT = Path(__file__).parents[2]
README = Path("examples/README.md")
SHOWN = re.compile(r"!\[[^\]]+\]\(([^)]+\.png)\)")


def test_the_pictures_of_pages_are_there_and_short() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = {
        (page.parent / name).resolve() for page in pages for name in SHOWN.findall(page.read_text())
    }
    assert shown == {pictures.IMAGES / f"{name}.png" for name in pictures.EXAMPLES}
    for picture in shown:
        assert 10_000 < picture.stat().st_size < pictures.MOST_BYTES


def test_the_commands_of_examples_leave_the_run_of_each_picture() -> None:
    # so that test_examples.py, which runs those, can make each picture anew
    shown = plan((ROOT / README).read_text(), str(README))
    left = [name for step in shown.steps for name in pictures.left_by(step.text)]
    assert sorted(left) == sorted(pictures.EXAMPLES)
