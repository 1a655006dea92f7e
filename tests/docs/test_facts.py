"""What pages state of the code is what the code says: diagrams, names, columns, options, bounds."""

from __future__ import annotations

import ast
import importlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

import steerio
from steerio import testing
from steerio.cli.commands import steerio as command
from steerio.core.deadlines import Due, draw_deadlines
from steerio.core.drawings import draw_moves, draw_peers, draw_workers, mermaid
from steerio.core.lifecycle import Fact, MoveState, Phase, Role, State, Step, Turn, Word
from steerio.edge.record.record_files import TaskEntry
from steerio.edge.record.record_head import SCHEMA, RecordHead
from steerio.edge.wire.connection import Connection
from steerio.edge.wire.end_states import draw_ends
from steerio.model.settings import Settings

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference"
DIAGRAM = r"<!-- {}:[^>]*-->\s*```mermaid\n(?P<diagram>.*?)\n```"
ARCHITECTURE_LINES = 300
TWICE = {"CancelTasks", "Published", "SubmitTask"}
"""Names of two classes: an event, and the record of a version as it is published; an order to a
campaign, and the message of any client."""


def page(name: str) -> str:
    return (REFERENCE / name).read_text()


def first_cells(text: str) -> set[str]:
    """Return what stands in backticks in the first column of a page's tables."""
    rows = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]*)`", row)}


@pytest.mark.parametrize(
    ("name", "mark", "draw"),
    [
        ("task-life.md", "lifecycle", mermaid),
        ("lives.md", "workers", draw_workers),
        ("lives.md", "moves", draw_moves),
        ("lives.md", "peers", draw_peers),
        ("lives.md", "deadlines", draw_deadlines),
        ("wire.md", "ends", draw_ends),
    ],
)
def test_the_diagrams_are_those_of_the_tables(
    name: str, mark: str, draw: Callable[[], str]
) -> None:
    text = (ROOT / "docs/explanation" / name).read_text()
    found = re.search(DIAGRAM.format(mark), text, re.DOTALL)
    assert found is not None, f"{name} has no diagram behind a <!-- {mark}: ... -->"
    assert found["diagram"] == draw(), f"put the output of {draw.__name__}() into {name}"


def test_states_and_facts_are_all_explained() -> None:
    explained = first_cells((ROOT / "docs/explanation/task-life.md").read_text())
    assert {state.name for state in State} | {fact.name for fact in Fact} <= explained
    explained = first_cells((ROOT / "docs/explanation/lives.md").read_text())
    for enum in (Phase, Turn, MoveState, Step, Role, Word, Due):
        assert set(enum.__members__) <= explained


def test_loggers_are_named_after_their_packages() -> None:
    logger = re.compile(r'^(\w+) = logging\.getLogger\("([^"]*)"\)', re.MULTILINE)
    named = {
        (path.relative_to(ROOT).parts[1], *match.groups())
        for path in (ROOT / "steerio").rglob("*.py")
        for match in logger.finditer(path.read_text())
    }
    decisions = ("broker", "decisions", "steerio.core")  # the core logs nothing itself
    assert decisions in named
    for package, _, name in named - {decisions}:
        assert name == f"steerio.{package}"


def test_a_name_of_a_class_stands_for_one_thing() -> None:
    names = Counter(
        node.name
        for path in (ROOT / "steerio").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in names.items() if count > 1} == TWICE


def test_a_name_of_a_module_stands_for_one_thing() -> None:
    names = Counter(path.stem for path in (ROOT / "steerio").rglob("[!_]*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_architecture_stays_short() -> None:
    lines = (ROOT / "ARCHITECTURE.md").read_text().splitlines()
    assert len(lines) <= ARCHITECTURE_LINES


def test_architecture_maps_every_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    code_map = text[text.index("## Code map") : text.index("## Decisions")]
    packages = [path.parent for path in (ROOT / "steerio").glob("*/__init__.py")]
    assert packages
    for package in packages:
        assert f"`{package.name}`" in code_map, f"the code map lacks the package {package.name}"
        if package.name == "testing":
            continue  # it maps the simulated cluster's main parts
        for module in package.rglob("[!_]*.py"):
            assert f"`{module.stem}`" in code_map, (
                f"the code map lacks {module.relative_to(package.parent)}"
            )


def test_every_public_name_is_in_the_reference() -> None:
    text = "".join(path.read_text() for path in REFERENCE.glob("*.md"))
    shown = set(re.findall(r"^::: steerio\.(?:\w+\.)*(\w+)$", text, re.MULTILINE))
    errors = set(vars(importlib.import_module("steerio.errors")))
    assert set(steerio.__all__) <= shown | errors
    assert set(testing.__all__) <= shown


def test_the_index_of_the_reference_names_every_public_name() -> None:
    named = set(re.findall(r"`(\w+)`", page("index.md")))
    assert set(steerio.__all__) <= named


def leaf_commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, subcommand in group.commands.items():
        if isinstance(subcommand, click.Group):
            yield from leaf_commands(subcommand, f"{before}{name} ")
        else:
            yield f"{before}{name}", subcommand


def test_every_command_and_option_is_in_the_reference() -> None:
    text = page("cli.md")
    for name, subcommand in leaf_commands(command):
        section = re.search(rf"^## steerio {name}$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert section is not None, f"cli.md lacks 'steerio {name}'"
        for parameter in subcommand.params:
            if isinstance(parameter, click.Option) and "--help" not in parameter.opts:
                for option in [*parameter.opts, *parameter.secondary_opts]:
                    assert option in section[0], f"cli.md lacks {option} of 'steerio {name}'"


def test_the_columns_of_the_record_are_in_the_reference() -> None:
    columns = first_cells(page("run-directory.md"))
    assert set(TaskEntry.__struct_fields__) <= columns
    assert set(RecordHead.__struct_fields__) <= columns
    assert f"| {SCHEMA} |" in page("run-directory.md")
    assert set(Connection.__struct_fields__) <= columns


def test_bounds_are_where_and_what_the_reference_says() -> None:
    rows = re.findall(r"\| ([^|]*) \| `(\w+)/(\w+)\.py` `(\w+)` \|", page("settings.md"))
    assert len(rows) > 5
    for value, package, module, name in rows:
        constant = getattr(importlib.import_module(f"steerio.{package}.{module}"), name)
        assert amount(value) == constant, f"settings.md says {value} of {name}, which is {constant}"


def test_settings_quoted_in_pages_are_the_defaults() -> None:
    """Pages write a bound as ``(`lease_s`, 15 s)`` or ``15 s (`lease_s`)``."""
    defaults = Settings()
    quoted = 0
    for path in (ROOT / "docs").rglob("*.md"):
        text = re.sub(r"\[(`\w+`)\]\([^)]*\)", r"\1", path.read_text())
        pairs = re.findall(r"`(\w+)`\)?, ([\d.,]+) (m?s)\b", text)
        pairs += [(n, v, u) for v, u, n in re.findall(r"([\d.,]+) (m?s) \(`(\w+)`\)", text)]
        for name, value, unit in pairs:
            if name in Settings.__struct_fields__:
                scale = 1e-3 if unit == "ms" else 1.0
                assert float(value) * scale == pytest.approx(getattr(defaults, name)), (path, name)
                quoted += 1
    assert quoted > 5


def amount(text: str) -> float:
    """Read a number with its unit, as the table of bounds writes it."""
    number = float(re.search(r"[\d.,]+", text)[0].replace(",", ""))  # type: ignore[index]
    return number * (1 << 20 if "MiB" in text else 1)
