"""Answers to assistants: marked, free of secrets and of terminal codes, and never too long."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.mcp.marked_answers import DATA, MOST_BYTES, MOST_CHARACTERS, Secrets, ToolAnswer, told

SECRET = {
    "host": "vm",
    "pid": 4,
    "local": "unix:///run/steerio-MARK1/broker",
    "remote": "tcp://10.11.12.13:4567",
    "keys": {"client": {"server": "MARK2-public", "secret": "MARK3*private"}},
    "store": {"kind": "redis", "url": "redis://user:MARK4@there:6379"},
    "objects": "/dev/shm/steerio-MARK5",
}
TEXTS = [
    "unix:///run/steerio-MARK1/broker",
    "in /run/steerio-MARK1 there",
    "10.11.12.13:4567",
    "MARK2-public",
    "secret=MARK3*private;",
    "redis://user:MARK4@there:6379",
    "/dev/shm/steerio-MARK5/1",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def secrets_in(folder: Path, **changes: Any) -> Secrets:
    (folder / "connection.json").write_text(json.dumps(SECRET | changes))
    return Secrets(folder)


@pytest.mark.parametrize("text", TEXTS)
def test_no_key_address_or_path_of_a_connection_gets_into_an_answer(
    tmp_path: Path, text: str
) -> None:
    secrets = secrets_in(tmp_path)
    answer = ToolAnswer(
        {"note": text}, {"worker": "vm-1 by redis", "deep": [{"error": text, text: 1}]}
    )
    shown = told(answer, secrets)
    assert "MARK" not in shown
    assert "10.11" not in shown
    assert "[removed]" in shown
    assert "vm-1 by redis" in shown


def test_secrets_of_a_broker_that_has_ended_and_of_the_next_one_stay_secret(
    tmp_path: Path,
) -> None:
    secrets = secrets_in(tmp_path)
    assert "MARK" not in told(ToolAnswer({}, "MARK2-public"), secrets)
    (tmp_path / "connection.json").unlink()
    (tmp_path / "observer.json").write_text(json.dumps({"keys": {"observer": "MARK6-public"}}))
    assert "MARK" not in told(ToolAnswer({}, ["MARK2-public", "MARK6-public"]), secrets)


def test_terminal_codes_do_not_get_into_an_answer_and_line_breaks_do(tmp_path: Path) -> None:
    shown = json.loads(told(ToolAnswer({}, "a\x1b[2J\x07\x9b\u202eb\nc\td"), Secrets(tmp_path)))
    assert shown[DATA] == "a\\x1b[2J\\x07\\x9b\\u202eb\nc\td"


def test_a_long_text_is_cut_in_its_middle_and_the_answer_says_by_how_much(tmp_path: Path) -> None:
    shown = json.loads(told(ToolAnswer({}, "a" + 50_000 * "x" + "z"), Secrets(tmp_path)))
    assert len(shown[DATA]) < MOST_CHARACTERS + 50
    assert shown[DATA].startswith("ax")
    assert shown[DATA].endswith("xz")
    assert shown["cut"] == {"characters": 50_002 - MOST_CHARACTERS, "entries": 0}


def test_many_texts_are_cut_until_they_fit_and_facts_stay(tmp_path: Path) -> None:
    data = [{"task_id": number, "story": 300 * ["\u00e9" * 900]} for number in range(50)]
    text = told(ToolAnswer({"tasks": 50}, data), Secrets(tmp_path))
    assert len(text.encode()) <= MOST_BYTES
    shown = json.loads(text)
    assert shown["tasks"] == 50
    assert shown["cut"]["entries"] > 0
    assert shown[DATA][0]["task_id"] == 0


@given(JSON)
def test_whatever_a_run_says_becomes_json_of_a_bounded_length(data: Any) -> None:
    text = told(ToolAnswer({"fact": 1}, data), Secrets())
    assert len(text.encode()) <= MOST_BYTES
    assert json.loads(text)["fact"] == 1


def test_deep_and_huge_values_become_short_texts(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    shown = told(ToolAnswer({}, {"deep": deep, "huge": 10**6000}), Secrets(tmp_path))
    assert "int of" in shown
    assert shown.count("[") < 40
