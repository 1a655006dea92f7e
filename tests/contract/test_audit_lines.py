"""``steerio audit`` lists the orders of a record, or those that are asked for."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from steerio.cli.commands import steerio

NOW = time.time()
ADVISED = {"advisor": "model", "choices": "Next", "view": "{}", "digest": "", "answer": "{}",
           "source": "advisor", "clipped": [], "seconds": 1.0}  # fmt: skip
EVENTS: list[dict[str, Any]] = [
    {"type": "Asked", "question": 1, "text": "spend it?", "options": ["yes", "no"],
     "by": "Lab.search", "client": "Lab", "at": NOW - 9_000},
    {"type": "Answered", "question": 1, "choice": "no", "by": "", "reason": "no answer within 9 s",
     "order": "", "client": "Lab", "at": NOW - 8_000},
    {"type": "QuestionClosed", "question": 2, "by": "Lab.search", "reason": "enough",
     "client": "Lab", "at": NOW - 7_000},
    {"type": "Advised", "by": "Lab.think", "client": "Lab", "at": NOW - 100, **ADVISED},
    {"type": "Ordered", "order": "set rate to 0.5", "outcome": "rate is 0.5", "done": True,
     "by": "ada", "reason": "slow", "client": "Lab", "at": NOW - 90},
    {"type": "ParameterChanged", "name": "rate", "old": 0.5, "new": 0.4, "by": "Lab.think",
     "client": "Lab", "at": NOW - 80},
    {"type": "PoolPaused", "pool": "gpu", "reason": "by ada", "at": NOW - 70},
    {"type": "TaskQueued", "task_id": 1, "at": NOW - 60},
]  # fmt: skip


@pytest.fixture
def record(tmp_path: Path) -> Path:
    lines = [json.dumps({**event, "number": n}) for n, event in enumerate(EVENTS, 1)]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")
    return tmp_path


def audit(record: Path, *options: str, expect: int = 0) -> str:
    ran = CliRunner().invoke(steerio, ["audit", str(record), *options])
    assert ran.exit_code == expect, ran.output
    return ran.output


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ((), [1, 2, 3, 4, 5, 6, 7]),
        (("--by", "ada"), [5]),
        (("--by", "Lab.think"), [4, 6]),
        (("--kind", "order"), [5]),
        (("--kind", "order", "--kind", "question"), [1, 2, 3, 5]),
        (("--kind", "advice"), [4]),
        (("--kind", "change"), [6, 7]),
        (("--since", "1h"), [4, 5, 6, 7]),
        (("--since", "1h", "--kind", "advice", "--by", "Lab.think"), [4]),
    ],
)
def test_those_are_listed_that_are_asked_for(
    record: Path, options: tuple[str, ...], numbers: list[int]
) -> None:
    found = json.loads(audit(record, "--json", *options))
    assert [each["number"] for each in found] == numbers
    assert len(audit(record, *options).splitlines()) == len(numbers)


def test_json_has_the_fields_of_an_entry(record: Path) -> None:
    (found,) = json.loads(audit(record, "--kind", "order", "--json"))
    assert found == {
        "at": EVENTS[4]["at"], "number": 5, "kind": "Ordered", "campaign": "Lab", "by": "ada",
        "reason": "slow", "words": "Lab: ada: set rate to 0.5 (slow) -> rate is 0.5",
        "done": True, "dry_run": False,
    }  # fmt: skip


def test_where_there_is_none_of_those_the_givers_are_named(record: Path) -> None:
    assert audit(record, "--by", "eve") == (
        "none of these: the audit has 7 lines, and the givers are Lab.search, Lab.think, ada\n"
    )
    assert json.loads(audit(record, "--by", "eve", "--json")) == []
    (record / "events.jsonl").write_text("")
    assert audit(record) == "no orders were given, and no questions asked\n"
    assert audit(record, "--by", "eve") == "no orders were given, and no questions asked\n"


def test_a_time_that_is_none_is_refused(record: Path) -> None:
    ran = CliRunner().invoke(steerio, ["audit", str(record), "--since", "noon"])
    assert "no length of time" in str(ran.exception or ran.output)


def test_a_question_that_was_closed_is_told(record: Path) -> None:
    told = audit(record, "--kind", "question").splitlines()[-1]
    assert told.endswith("  Lab: question 2 was closed without an answer: enough")
