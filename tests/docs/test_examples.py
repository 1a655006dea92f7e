"""Every example runs: the commands of examples/README.md are carried out, and name them all.

The pictures of the documentation are made anew from the runs that they leave.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs import pictures
from tests.docs.execution import carry_out
from tests.docs.pages import Plan, plan
from tests.real.browsing import CHROMIUM, near

ROOT = Path(__file__).parents[2]
README = Path("examples/README.md")
TIMEOUT_S = 600.0
"""Of a command: several blocks are run at a time, and each has workers of its own."""
IMPORT = re.compile(r"^\s*(?:from|import) (\w+)|: str = \"(\w+)\"", re.MULTILINE)
"""An import, or the name of a module that an option may change."""

SHOWN = plan((ROOT / README).read_text() if (ROOT / README).exists() else "", str(README))


def examples() -> list[str]:
    """Name every example: each module that no other module of its folder imports."""
    found: list[str] = []
    for folder in [ROOT / "examples", *(ROOT / "examples").glob("*/")]:
        modules = sorted(folder.glob("*.py"))
        found_in = IMPORT.findall("\n".join(module.read_text() for module in modules))
        imported = {name for names in found_in for name in names}
        found += [str(m.relative_to(ROOT)) for m in modules if m.stem not in imported]
    return found


@pytest.mark.parametrize("example", examples())
def test_the_example_has_a_command_that_runs_it(example: str) -> None:
    commands = "\n".join(step.text for step in SHOWN.steps if step.shell)
    assert example in commands, (
        f"show in {README}, in a console block after <!-- run -->, how to run {example} briefly"
    )


@pytest.mark.example
@pytest.mark.timeout(2 * TIMEOUT_S)
@pytest.mark.parametrize("line", [step.line for step in SHOWN.steps])
def test_the_command_runs_and_its_pictures_can_be_made(line: int, tmp_path: Path) -> None:
    # In a folder of its own, where runs may leave their records.
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    steps = [step for step in SHOWN.steps if step.line == line]
    carry_out(Plan(SHOWN.files, steps), tmp_path, page=README, timeout_s=TIMEOUT_S)
    names = [name for step in steps for name in pictures.left_by(step.text)]
    if names and CHROMIUM is None:
        pytest.skip(
            "it ran; but no chromium is installed for its picture: apt-get install chromium"
        )
    for name in names:
        picture = pictures.drawn(name, tmp_path / "runs" / name)
        assert len(picture) < pictures.MOST_BYTES
        assert near(picture, "#d98032") + near(picture, "#3b73bd") > 5_000
