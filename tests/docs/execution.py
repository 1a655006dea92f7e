"""Running what a page asks for, in a folder and processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import AWAITING, Plan, Step, awaits_at_top_level


class StepFailed(AssertionError):
    """A script or command of a page did not do what the page says."""


def carry_out(plan: Plan, folder: Path, *, page: Path, timeout_s: float) -> None:
    """Write a page's files and run its steps in ``folder``.

    Raises:
        StepFailed: a step exits otherwise than the page says, or not within ``timeout_s``.
    """
    for name, text in plan.files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for step in plan.steps:
        _run(_command(step, folder), step, folder, page, timeout_s)


def _command(step: Step, folder: Path) -> list[str]:
    file = folder / step.file
    file.write_text(step.text)
    if step.shell:
        return ["bash", "-euo", "pipefail", file.name]
    if awaits_at_top_level(step.text):
        driver = file.with_name(f"{file.stem}_awaiting.py")
        driver.write_text(AWAITING.format(source=str(file)))
        file = driver
    return [sys.executable, str(file)]


def _run(command: list[str], step: Step, folder: Path, page: Path, timeout_s: float) -> None:
    # To a file, not a pipe: a process left in the background would hold a pipe open for ever.
    output = folder / f"{step.file}.output"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = None
    if status != step.exit_status:
        ended = f"did not end within {timeout_s:g} s" if status is None else f"exited {status}"
        said = output.read_text(errors="replace")[-8000:]
        raise StepFailed(
            f"{page}:{step.line}: {ended}, not {step.exit_status}\n"
            f"---- its text ----\n{step.text.strip()}\n---- its output ----\n{said}"
        )
