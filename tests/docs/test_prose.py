"""The check for prose finds its markers, and no others."""

from __future__ import annotations

import pytest

from tests.docs.prose import Marker, markers_of


def found(path: str, source: str) -> list[tuple[int, str]]:
    return [(marker.line, marker.kind) for marker in markers_of(path, source)]


@pytest.mark.parametrize(
    ("sentence", "kinds"),
    [
        ("Remove what a dead worker left.", ["what"]),
        ("What is queued stays.", ["what"]),
        ("The error says what happened and what to do.", []),
        ("What is a worker?", []),
        ("The node tells whoever needs it.", ["who"]),
        ("Nobody reads it, and somebody waits.", ["who", "who"]),
        ("For users who share a broker.", []),
        ("It is copied where it is long.", ["where"]),
        ("Where a worker is lost, it is replaced.", ["where"]),
        ("It is the folder where it is kept.", []),
        ('It reads "what is it, where it is".', []),
    ],
)
def test_each_marker_is_found_where_it_is_wrong(sentence: str, kinds: list[str]) -> None:
    assert [kind for _, kind in found("page.md", sentence)] == kinds


def test_pages_are_read_without_their_code_and_headings() -> None:
    page = (
        "# What it does\n\n```python\nwhat = 1\n```\n\n| what | how |\n|---|---|\n| what is | 1 |\n"
    )
    assert found("page.md", page) == [(9, "what")]


def test_modules_are_read_for_docstrings_comments_and_messages() -> None:
    module = '''
"""Return
what is left."""
what = "who"
# Where it is
# long, who knows.
raise ValueError(f"{what} is not what was asked for")
'''
    assert sorted(found("module.py", module)) == [
        (3, "what"),
        (5, "where"),
        (6, "who"),
        (7, "what"),
    ]


def test_a_marker_is_shown_with_its_place() -> None:
    (marker,) = markers_of("page.md", "\nRemove what is left.")
    assert marker == Marker("page.md", 2, "what", "Remove what is left.")
    assert str(marker) == "page.md:2: what: Remove what is left."
