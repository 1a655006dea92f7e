"""Notebooks show objects in small HTML: escaped, without scripts, readable in any theme."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.model import markup
from steerio.model.cards import (
    MOST_POOLS,
    board_card,
    call_in_short,
    ends_line,
    failures_list,
    notes_line,
    pools_table,
    result_card,
    state_badge,
    task_card,
)
from steerio.model.markup import TEXT_CHARACTERS, Markup, bar, card, escaped, facts, joined, table
from steerio.model.results import (
    Cancelled,
    Failed,
    Lost,
    Sizes,
    Succeeded,
    TaskError,
    TimedOut,
    Timings,
)
from steerio.model.status import PoolLoad

EVIL = "<script>alert('x')</script>\"&"
TAGS = {"div", "b", "span", "table", "tr", "td", "th", "details", "summary"}


class Reader(HTMLParser):
    """Reads HTML; fails at a tag or an attribute that has no place in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS
        assert {name for name, _ in attrs} <= {"style", "title", "role", "aria-label"}
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


def text_of(page: str) -> str:
    """Return the text of a page that is as it should be."""
    return Reader(page).text


def result(kind: type[Any], *own: Any, **changes: Any) -> Any:
    fields: dict[str, Any] = {
        "task_id": 17,
        "task_type": f"module:{EVIL}",
        "args": (EVIL, 2),
        "kwargs": {"size": EVIL},
        "attempt": 1,
        "worker": f"w-{EVIL}",
        "timings": Timings(0.0, 1.0, 2.0, 3.5, 5.5, 6.0),
        "sizes": Sizes(),
        "tags": {EVIL: EVIL},
        "cause": f"Search.{EVIL}",
        "versions": {},
    }
    return kind(*(fields | changes).values(), *own)


ERROR = TaskError(f"E{EVIL}", f"no {EVIL}", f"Traceback {EVIL}")


@pytest.mark.parametrize(
    ("seen", "badge", "told"),
    [
        (result(Succeeded, EVIL, EVIL), "succeeded", "recalled from"),
        (result(Failed, ERROR), "failed", "Traceback"),
        (result(Failed, TaskError("E", "m", "")), "failed", "E: m"),
        (result(Cancelled, EVIL), "cancelled", "because"),
        (result(TimedOut, 2.5), "timed out", "it ran longer than 2.5 s"),
        (result(Lost, EVIL, attempt=3), "lost", "attempt 3"),
    ],
)
def test_a_result_of_each_kind_has_its_card(seen: Any, badge: str, told: str) -> None:
    page = result_card(seen)
    assert page == seen._repr_html_()
    assert type(seen._repr_html_()) is str, "some front ends take no other text"
    text = text_of(page)
    assert badge in text
    assert told in text
    assert "waited 2.5 s, ran 2 s on w-" in text
    assert "<script" not in page


def test_a_result_without_a_run_tells_no_times() -> None:
    page = result_card(
        result(Cancelled, "before", timings=Timings(), worker=None, tags={}, cause="")
    )
    assert re.findall(r"time|tags|submitted", text_of(page)) == []


def test_a_value_and_arguments_are_shown_in_short() -> None:
    page = result_card(result(Succeeded, "v" * 10_000, "", args=(list(range(10_000)),)))
    assert len(page) < 5_000


def test_a_task_that_has_not_ended_has_its_state() -> None:
    call = call_in_short("module:energy", (EVIL,), {"size": 3})
    assert call.startswith("energy('<script>")
    page = task_card(17, call, "queued", EVIL, {"for": EVIL}, EVIL)
    assert "Task 17 energy" in text_of(page)
    assert "queued" in page
    assert markup.AMBER in state_badge("waiting")
    assert markup.BLUE in state_badge("running")


def test_pools_have_a_bar_and_their_troubles() -> None:
    pools = {
        EVIL: PoolLoad(
            4, 1, 7, 2, starting=1, draining=1, promised=2, stalled=EVIL, failure=EVIL, paused=EVIL
        ),
        "none": PoolLoad(0, 0, 0, 0),
    }
    page = pools_table(pools)
    text = text_of(page)
    counts = ("2/4", "7", "1 starting", "1 draining", "2 promised")
    for told in (*counts, "paused ", "stalled: ", "given up: "):
        assert told in text
    assert 'aria-label="2 busy, 1 idle, 1 starting"' in page
    assert 'aria-label="none"' in page
    assert text_of(pools_table({})) == "no pools\n"


def test_of_many_pools_the_first_are_shown() -> None:
    pools = {f"pool{n}": PoolLoad(1, 1, 0, 0) for n in range(MOST_POOLS + 3)}
    text = text_of(pools_table(pools))
    assert "and 3 more pools" in text
    assert f"pool{MOST_POOLS}" not in text


def test_a_board_shows_its_best_entries() -> None:
    page = board_card("module:energy", 3, 2, 1, [(EVIL, 0.5), ((1, 2), -1e9)])
    text = text_of(page)
    assert "3 waiting, 2 running, 1 ended" in text
    assert "-1e+09" in text
    assert "best that wait" not in text_of(board_card("module:energy", 0, 0, 0, []))


def test_ends_failures_and_notes_stand_in_lines() -> None:
    ended = {"succeeded": 6, "failed": 1, "timed_out": 1, "lost": 1, "cancelled": 1}
    page = ends_line(ended, 20, EVIL)
    assert 'aria-label="6 done, 3 did not succeed, 1 cancelled"' in page
    assert "width:30%" in page
    assert "<script" in text_of(page)
    assert text_of(failures_list([EVIL])[0]).startswith("<script>")
    assert text_of(notes_line({"best": -7.25, "n": 3.0})[0]).split() == ["best", "-7.25", "n", "3"]
    assert notes_line({}) == []


def test_long_texts_are_cut() -> None:
    page = escaped("x" * (TEXT_CHARACTERS + 5))
    assert page.endswith("[... 5 characters more]")


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_any_text_arrives_as_it_is(texts: list[str]) -> None:
    rows = [texts, texts]
    page = card(texts[0], [table(texts, rows), facts([(t, t) for t in texts])], joined(texts, " "))
    Reader(page)
    found: list[str] = []
    reader = HTMLParser(convert_charrefs=True)
    reader.handle_data = found.append  # type: ignore[method-assign]
    reader.feed(escaped(texts[0]))
    reader.close()
    assert "".join(found) == texts[0]


def test_what_is_markup_already_is_not_escaped_again() -> None:
    bold = Markup("<b>x</b>")
    assert escaped(bold) is bold
    assert joined([bold, "<"]) == "<b>x</b>&lt;"
    assert "<th" not in table((), [(1, 2)])
    assert facts([("a", ""), ("b", 0)]).count("<tr>") == 1
    assert "width:100%" in bar([(5, "#000", "all")], 5)
