"""`python -m bench science`: it finds the examples, counts their lines, and prints both tables."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.science.command import science
from bench.science.joined import AT_SCALE, COMPARE, having
from bench.science.policy_lines import policy_lines
from bench.science.tables import spread

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 600.0

SEARCH = '''
"""A search."""

from steerio import Campaign, agent, task


@task
def look(place: int) -> int:
    """Look."""
    return place  # a comment beside code counts nothing of its own


class Search(Campaign):
    """Look
    at places.
    """

    workers = {"default": 1}
    # a comment

    @agent
    async def search(self) -> None:
        """Look at two."""
        await self.run(
            look,
            1,
        )
        await self.run(look, 2)
'''
COMPARED = """
from search import Search, look
from steerio.testing import Model, simulate

POLICY = ["search.py:look", "search.py:Search.search"]

def compare(quick):
    ways = [{"way": "steered", "cost": [2.0, 2.0], "score": [1.0, 3.0], "busy": [0.5, 0.7]}]
    return {"setting": "two places", "cost": "seconds", "score": "found", "better": "higher",
            "ways": ways, "does_not_pay": "never, or nearly so"}

def at_scale(workers):
    return simulate(Search(), model=Model(10.0), workers=workers)
"""


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    (tmp_path / "places").mkdir()
    (tmp_path / "places/search.py").write_text(SEARCH)
    (tmp_path / "places/compare.py").write_text(COMPARED)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/compare.py").write_text("def main():\n    pass\n")
    return tmp_path


def test_an_example_joins_by_a_function_of_its_compare(examples: Path) -> None:
    assert having(COMPARE, examples) == having(AT_SCALE, examples) == ["places"]


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        (["search.py:look"], 3),
        (["search.py:Search.search"], 7),
        (["search.py:Search.workers"], 1),
        (["search.py:Search"], 9),
        (["search.py:Search", "search.py:Search.search"], 9),
        (["search.py"], 13),
    ],
)
def test_lines_of_policy_are_those_with_code(examples: Path, names: list[str], lines: int) -> None:
    assert policy_lines(examples / "places", names) == lines


def test_a_definition_that_is_not_there_is_named(examples: Path) -> None:
    with pytest.raises(LookupError, match=r"nothing is defined as 'Search.find': no 'find'"):
        policy_lines(examples / "places", ["search.py:Search.find"])


@pytest.mark.parametrize(
    ("values", "shown"),
    [([100.0, 100.0], "100 ± 0"), ([0.0123, 0.0125], "0.0124 ± 0.0001"), ([2.5], "2.50")],
)
def test_a_spread_has_as_many_digits_as_its_mean(values: list[float], shown: str) -> None:
    assert spread(values) == shown


def test_both_tables_are_printed(
    examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert science([], True, tmp_path / "found.json", examples) == 0
    shown = capsys.readouterr().out
    assert "**places**: two places; 2 seeds; 10 lines of policy" in shown
    assert "| 2.00 ± 1.41 " in shown
    assert "- places: never, or nearly so." in shown
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["scale"] == [
        {
            "example": "places",
            "workers": 64,
            "tasks": 2,
            "busy": 1 / 64,
            "moves": 0,
            "duration_s": 20.0,
        }
    ]


def test_an_example_that_fails_says_why_and_others_go_on(
    examples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (examples / "other/compare.py").write_text(
        "import no_such_package\n\ndef compare(quick): ...\n"
    )
    assert science(["other", "places"], True, None, examples) == 1
    shown = capsys.readouterr().out
    assert "other was not measured: ModuleNotFoundError: No module named 'no_such_package'" in shown
    assert "**places**" in shown


@pytest.mark.example
@pytest.mark.timeout(2 * TIMEOUT_S)
def test_all_examples_are_measured() -> None:
    command = [sys.executable, "-m", "bench", "science", "--quick"]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for name in having(COMPARE):
        assert f"**{name}**" in ended.stdout
