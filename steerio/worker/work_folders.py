"""The folders that programs run in: a fresh one for each attempt of a task.

They are beside the record of the run if its workers see that, so that the files of an attempt that
failed can be found by the number of its task.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Literal

from steerio.errors import UsageError

Keep = Literal["always", "failure", "never"]
"""When the folder of an attempt is kept."""
KEEPS: tuple[Keep, ...] = ("always", "failure", "never")
NAME_CHARACTERS = 80
"""Longest part of a folder's name that is the function's."""

_base = ""


def keep_in(folder: str) -> None:
    """Have this process make such folders in that one; ``""``: in the temporary folder."""
    global _base  # noqa: PLW0603 - of this worker
    _base = folder


def make_folder(asked: str, name: str) -> Path:
    """Return a fresh folder.

    Args:
        asked: the folder to make it in; ``""``: that of this worker.
        name: the beginning of its name.

    Raises:
        UsageError: it cannot be made.
    """
    base, name = asked or _base, re.sub(r"[^\w.-]+", "-", name)[:NAME_CHARACTERS]
    try:
        if not base:
            return Path(tempfile.mkdtemp(prefix=f"steerio-{name}-"))
        parent = Path(base).absolute()
        parent.mkdir(parents=True, exist_ok=True)
        return _first_free(parent, name)
    except OSError as error:
        place = base or tempfile.gettempdir()
        raise UsageError(
            f"no folder for a program can be made in {place}: {error.strerror or error}. Name one "
            "that workers may write to: folder=..., in @executable or @mpi_task"
        ) from error


def _first_free(parent: Path, name: str) -> Path:
    """Make the folder ``name``, or if that is taken ``name-2`` and so on."""
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


@contextlib.contextmanager
def in_folder(folder: Path, keep: Keep) -> Generator[None, None, None]:
    """Work in a folder, and remove it afterwards if it is not to be kept."""
    ended_well = False
    try:
        with _there(folder):
            yield
        ended_well = True
    finally:
        if keep == "never" or (keep == "failure" and ended_well):
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _there(folder: Path) -> Generator[None, None, None]:
    before = os.open(".", os.O_RDONLY | os.O_DIRECTORY)  # by a descriptor: it may be moved
    try:
        os.chdir(folder)
        yield
    finally:
        os.fchdir(before)
        os.close(before)
