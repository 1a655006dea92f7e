"""Markdown pages as programs: what of a page is run, and how.

Every ``python`` block is run, in a fresh folder, in the order of the page:

* blocks belong together: they are one script, in which each stands at its own line of the
  page, so that a traceback's line number is the page's;
* a block that tests for ``__name__ == "__main__"`` is a script by itself;
* a block with a title (```` ```python title="search.py" ````) is also written to a file of
  that name, for the commands of the page to use; such a block is not run by itself if one of
  them names it.

``console`` blocks are run where ``<!-- run -->`` stands before them: their ``$`` lines are one
shell script (``>`` continues a line that ends in ``\\``), which must exit with 0, or with N
after ``<!-- run: exits with N -->``.

A block that cannot be run says why: ``<!-- not run: REASON -->`` on the line before it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>```+)\s*(?P<language>[\w-]*)(?P<rest>[^`]*)$")
TITLE = re.compile(r"""\btitle=["'](?P<title>[^"']+)["']""")
NOT_RUN = re.compile(r"^\s*<!-- not run: \S.* -->\s*$")
RUN = re.compile(r"^\s*<!-- run(?:: exits with (?P<status>\d+))? -->\s*$")
ANY_MARKER = re.compile(r"^\s*<!--\s*(?:not\s+)?run\b")
IS_MAIN = re.compile(r"""__name__\s*==\s*["']__main__["']""")

AWAITING = """\
# The page awaits at top level, as a notebook does.
import ast as _ast, asyncio as _asyncio, inspect as _inspect, pathlib as _pathlib
_code = compile(
    _pathlib.Path({source!r}).read_text(), {source!r}, "exec", _ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
)
async def _notebook():
    _cell = eval(_code, globals())
    if _inspect.isawaitable(_cell):
        await _cell
_asyncio.run(_notebook())
"""


class PageError(ValueError):
    """A page cannot be understood; names it and the line."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and text, the line its text begins at, what was said of it."""

    language: str
    text: str
    line: int
    title: str | None = None
    skipped: bool = False
    exit_status: int | None = None
    """What its commands must exit with; ``None`` where they are not to be run."""


@dataclass(frozen=True)
class Step:
    """One thing to execute: a Python script, or a shell script."""

    line: int
    text: str
    file: str
    """The name to save it under."""
    shell: bool = False
    exit_status: int = 0


@dataclass(frozen=True)
class Plan:
    """All that a page asks for: files to write first, then steps in order."""

    files: dict[str, str]
    steps: list[Step]


def blocks(page: str, name: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page.

    Raises:
        PageError: a block has no end, or a marker is misspelt or has no block.
    """
    lines = page.split("\n")
    number = 0
    marker = ""
    while number < len(lines):
        line = lines[number]
        number += 1
        fence = FENCE.match(line)
        if fence is None:
            if marker and line.strip():
                raise PageError(f"{name}:{number}: a block must follow {marker.strip()!r}")
            marker = line if ANY_MARKER.match(line) else marker
            if marker and not (NOT_RUN.match(marker) or RUN.match(marker)):
                raise PageError(
                    f"{name}:{number}: write '<!-- run -->', '<!-- run: exits with N -->' "
                    f"or '<!-- not run: REASON -->', not {marker.strip()!r}"
                )
            continue
        start = number
        while number < len(lines) and lines[number].strip() != fence["ticks"]:
            number += 1
        if number == len(lines):
            raise PageError(f"{name}:{start}: this block has no end")
        yield _block(fence, "\n".join(lines[start:number]), start + 1, marker)
        number += 1
        marker = ""


def _block(fence: re.Match[str], text: str, line: int, marker: str) -> Block:
    title = TITLE.search(fence["rest"])
    run = RUN.match(marker)
    return Block(
        language=fence["language"],
        text=dedent(text) + "\n",
        line=line,
        title=title["title"] if title else None,
        skipped=bool(NOT_RUN.match(marker)),
        exit_status=int(run["status"] or 0) if run else None,
    )


def plan(page: str, name: str) -> Plan:
    """Work out what a page asks to run.

    Raises:
        PageError: as :func:`blocks` does.
    """
    found = list(blocks(page, name))
    commands = [b for b in found if b.language == "console" and b.exit_status is not None]
    named = "\n".join(b.text for b in commands)
    pythons = [b for b in found if b.language == "python" and not b.skipped]
    together = [b for b in pythons if b.title is None and not IS_MAIN.search(b.text)]
    alone = [b for b in pythons if b not in together and not (b.title and b.title in named)]
    stem = Path(name).stem.lower()
    steps = [_own_script(b, stem) for b in alone] + [_shell_script(b, stem) for b in commands]
    if together:
        steps.append(_joint_script(together, stem))
    files = {b.title: b.text for b in found if b.title and not b.skipped}
    return Plan(files, sorted(steps, key=lambda step: step.line))


def _own_script(block: Block, stem: str) -> Step:
    if block.title:
        return Step(block.line, block.text, block.title)
    return Step(block.line, "\n" * (block.line - 1) + block.text, f"{stem}_{block.line}.py")


def _shell_script(block: Block, stem: str) -> Step:
    text = ""
    for line in block.text.splitlines(keepends=True):
        if line.startswith("$ ") or (line.startswith("> ") and text.endswith("\\\n")):
            text += line[2:]
    return Step(block.line, text, f"{stem}_{block.line}.sh", True, block.exit_status or 0)


def _joint_script(together: list[Block], stem: str) -> Step:
    text = ""
    for block in together:
        text += "\n" * (block.line - 1 - text.count("\n")) + block.text
    return Step(together[0].line, text, f"{stem}.py")


def awaits_at_top_level(source: str) -> bool:
    """Tell whether a script needs a notebook's top-level ``await``."""
    try:
        compile(source, "page", "exec")
    except SyntaxError:
        try:
            compile(source, "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        except SyntaxError:
            return False  # wrong either way: let the run say so
        return True
    return False
