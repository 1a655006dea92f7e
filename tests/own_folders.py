"""The folders that one test process has for itself, so that several may run at once.

A temporary folder, and one in shared memory for stores.  Stores sweep where they are opened:
in a folder for all processes one test would remove the objects that another is about to find.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

from steerio.edge.store.folders import SHARED_MEMORY_VARIABLE

SHARED_MEMORY = Path("/dev/shm")
OWN = "steerio-tests-"
"""How the names of the folders in shared memory begin."""


def own_folders(config: pytest.Config) -> tuple[Path, Path | None]:
    """Make a temporary folder and one in shared memory, which are removed at the end.

    Those of a worker of pytest-xdist are in those of the process that started it, which removes
    them if the worker could not.
    """
    opened = contextlib.ExitStack()
    config.add_cleanup(opened.close)
    if not hasattr(config, "workerinput"):
        # A short name: the path of a Unix socket has at most 107 characters.
        temporary = Path(tempfile.mkdtemp(prefix="st-"))
        shared = opened.enter_context(own_shared_memory())
    else:
        name = os.environ["PYTEST_XDIST_WORKER"]
        above = os.environ.get(SHARED_MEMORY_VARIABLE)
        temporary = Path(tempfile.gettempdir()) / name
        temporary.mkdir()
        shared = None if above is None else Path(above) / name
        if shared is not None:
            shared.mkdir()
            opened.callback(shutil.rmtree, shared, ignore_errors=True)
    opened.callback(shutil.rmtree, temporary, ignore_errors=True)
    return temporary, shared


@contextlib.contextmanager
def own_shared_memory() -> Generator[Path | None]:
    """Make a folder in shared memory for one test process, and remove those of dead ones.

    A process that lives has its folder locked.  ``None``: there is no shared memory here.
    """
    if not (SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)):
        yield None
        return
    for left in SHARED_MEMORY.glob(f"{OWN}*"):
        with contextlib.suppress(OSError):  # it is another user's, in use, or has just gone
            descriptor = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(descriptor)
    folder, descriptor = _locked_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _locked_folder() -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=OWN, dir=SHARED_MEMORY))
        with contextlib.suppress(FileNotFoundError):  # another took it for a dead process's
            descriptor = os.open(folder, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)
