"""Loading modules at the start of a program."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Generator


@contextlib.contextmanager
def uncollected() -> Generator[None, None, None]:
    """Load modules in here: none of what that makes is garbage, so do not look for any.

    It is not looked at later either (``gc.freeze``), which also spares the program's end.
    Without this, collections took a quarter of the time that ``steerio run`` needs to start.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
