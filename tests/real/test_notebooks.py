"""In a real Jupyter kernel, objects show themselves, and live views stay live over later cells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real.programs import PATH

for module in ("ipykernel", "nbclient"):
    pytest.importorskip(module)

RUNNER = """
import asyncio, json, sys
import nbformat
from nbclient import NotebookClient

cells = json.load(open(sys.argv[1]))
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells])
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
with open(sys.argv[2], "w") as file:
    json.dump([cell.outputs for cell in notebook.cells], file)
"""
OPENED = """\
import contextlib
import steerio

stack = contextlib.AsyncExitStack()
session = await stack.enter_async_context(steerio.open_session(workers={"default": 2}))
"""
SQUARES = """\
def square(x: int) -> int:
    if x == 3:
        raise ValueError("<b>three</b>")
    return x * x

tasks = session.map(square, [0, 1, 2])
"""
CAMPAIGN = """\
class Squares(steerio.Campaign):
    workers = {"default": 2}

    async def setup(self):
        self.note(best=max(await self.gather(*self.map(square, [0, 1, 2]))))

done = await steerio.conduct(Squares(), progress="auto", run_dir="run")
"""


def run(folder: Path, script: str, *arguments: str) -> str:
    """Run a script that starts a kernel; return its output."""
    (folder / "run.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "run.py", *arguments],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": PATH,
            "IPYTHONDIR": str(folder / "ipython"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def outputs(folder: Path, *cells: str) -> list[list[dict[str, Any]]]:
    """Run cells in a kernel; return the outputs of each, as they are at the end."""
    (folder / "cells.json").write_text(json.dumps(cells))
    run(folder, RUNNER, "cells.json", "outputs.json")
    found: list[list[dict[str, Any]]] = json.loads((folder / "outputs.json").read_text())
    return found


def page_of(cell: list[dict[str, Any]]) -> str:
    """Return the HTML of a cell with one output."""
    (output,) = cell
    page: str = output["data"]["text/html"]
    assert "<script" not in page
    return page


def test_objects_are_shown_and_views_stay_live(tmp_path: Path) -> None:
    _, watch, _, gathered, one, failed, pools, _, closed, campaign, left = outputs(
        tmp_path,
        OPENED,
        "session.watch()",
        SQUARES,
        "values = await session.gather(*tasks, progress=True)",
        "tasks[2]",
        "await session.submit(square, 3).result()",
        "session.pools",
        "await stack.aclose()",
        "session",
        CAMPAIGN,
        "done",
    )
    assert "0 tasks to come; 3 done, 1 failed" in page_of(watch), "it stayed live"
    assert "3 of 3 tasks; 3 done" in page_of(gathered)
    assert "square(2)" in page_of(one)
    assert "ValueError: &lt;b&gt;three&lt;/b&gt;" in page_of(failed)
    assert "Traceback" in page_of(failed)
    assert "default" in page_of(pools)
    assert "this session was closed" in page_of(closed)
    assert ">ended<" in page_of(campaign[:1]), campaign
    assert "3 done" in page_of(campaign[:1])
    assert ">best<" in page_of(left)
    (shown,) = left
    assert shown["data"]["text/plain"].startswith("<Squares: ended, 0 tasks to come; 3 done")


INTERRUPTER = """
import asyncio, sys
from jupyter_client.manager import AsyncKernelManager

async def main():
    kernel = AsyncKernelManager(kernel_name="python3")
    await kernel.start_kernel()
    client = kernel.client()
    client.start_channels()
    await client.wait_for_ready()
    client.execute(open(sys.argv[1]).read())
    while True:
        message = await client.get_iopub_msg(timeout=60)
        content = message["content"]
        if message["msg_type"] == "stream":
            print(content["text"], flush=True)
            if "at work" in content["text"]:
                await kernel.interrupt_kernel()
        if message["msg_type"] == "error":
            print(content["ename"])
            break
    client.stop_channels()
    await kernel.shutdown_kernel()

asyncio.run(main())
"""
LONG = """
import asyncio
import steerio

class Long(steerio.Campaign):
    workers = {"default": 1}

    @steerio.agent
    async def work(self):
        await self.run(abs, -1)
        print("at work", flush=True)
        await asyncio.sleep(1000)

    async def finish(self):
        print("ends in good order", flush=True)

await steerio.conduct(Long(), progress="auto", run_dir="run")
"""


def test_a_campaign_whose_kernel_is_interrupted_ends_in_good_order(tmp_path: Path) -> None:
    (tmp_path / "cell.py").write_text(LONG)
    told = run(tmp_path, INTERRUPTER, "cell.py").split("\n")
    assert [line for line in told if line in ("at work", "ends in good order")] == [
        "at work",
        "ends in good order",
    ]
    assert "CancelledError" in told
