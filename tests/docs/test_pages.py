"""How a page is read, and that a page which is wrong is found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.execution import StepFailed, carry_out
from tests.docs.pages import PageError, plan

PAGE = Path("page.md")


def run(page: str, folder: Path, timeout_s: float = 60.0) -> None:
    carry_out(plan(page, PAGE.name), folder, page=PAGE, timeout_s=timeout_s)


def test_blocks_share_one_script_and_keep_the_lines_of_the_page(tmp_path: Path) -> None:
    page = "# Title\n\n```python\nx = 1\n```\n\nThen\n\n```python\nassert x == 2\n```\n"
    with pytest.raises(StepFailed, match=r'page\.py", line 10'):
        run(page, tmp_path)


def test_an_indented_block_runs(tmp_path: Path) -> None:
    run('=== "Tab"\n\n    ```python\n    if True:\n        x = 1\n    ```\n', tmp_path)


def test_a_block_with_a_main_guard_runs_by_itself_as_main(tmp_path: Path) -> None:
    page = (
        "```python\nx = 1\n```\n"
        '```python\nassert "x" not in globals()\n'
        'if __name__ == "__main__":\n    open("ran", "w").close()\n```\n'
    )
    run(page, tmp_path)
    assert (tmp_path / "ran").exists()


def test_top_level_await_runs_as_in_a_notebook(tmp_path: Path) -> None:
    page = (
        "```python\nimport asyncio\nvalue = await asyncio.sleep(0, 7)\n```\n"
        '```python\nassert value == 7\nawait asyncio.sleep(0)\nopen("ran", "w").close()\n```\n'
    )
    run(page, tmp_path)
    assert (tmp_path / "ran").exists()


def test_a_titled_block_is_a_file_for_the_commands_that_name_it(tmp_path: Path) -> None:
    page = (
        '```python title="says.py"\nimport sys\nprint(">", sys.argv)\nsys.exit(len(sys.argv) - 1)\n'
        "```\n\n<!-- run: exits with 2 -->\n\n"
        "```console\n$ python says.py a \\\n> b\n> ['a', 'b']\n```\n"
    )
    run(page, tmp_path)


def test_a_titled_block_that_no_command_names_runs_by_itself(tmp_path: Path) -> None:
    run('```python title="a/leaves.py"\nopen("ran", "w").close()\n```\n', tmp_path)
    assert (tmp_path / "ran").exists()


def test_a_console_block_runs_only_where_the_page_says_so(tmp_path: Path) -> None:
    run("```console\n$ false\n```\n", tmp_path)
    with pytest.raises(StepFailed, match="exited 1, not 0"):
        run("<!-- run -->\n```console\n$ false\n$ true\n```\n", tmp_path)


def test_a_block_that_says_why_is_not_run(tmp_path: Path) -> None:
    run("<!-- not run: needs a cluster -->\n```python\n1 / 0\n```\n", tmp_path)


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("<!-- not run: -->\n```python\n```\n", "REASON"),
        ("<!-- not run -->\n```python\n```\n", "REASON"),
        ("<!-- run it -->\n```console\n```\n", "write '<!-- run -->'"),
        ("<!-- run -->\nText.\n", "page.md:2: a block must follow"),
        ("```python\n1 / 0\n", "page.md:1: this block has no end"),
    ],
)
def test_a_page_that_cannot_be_understood_is_refused(page: str, complaint: str) -> None:
    with pytest.raises(PageError, match=complaint):
        plan(page, PAGE.name)


def test_a_block_that_hangs_fails_in_time_and_leaves_no_process(tmp_path: Path) -> None:
    page = (
        "```python\nimport os\nos.system(\"exec python3 -c 'import time; time.sleep(600)'\")\n```"
    )
    with pytest.raises(StepFailed, match="did not end within"):
        run(page, tmp_path, timeout_s=0.5)


def test_wrong_syntax_is_the_interpreters_to_report(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match="SyntaxError"):
        run("```python\nif:\n```\n", tmp_path)
