"""Starting coroutines in a task group of anyio from anywhere on its loop.

If sniffio is installed, anyio asks it which library runs the loop, and a callback of a loop is no
task, from which sniffio could tell: anyio would then start nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import anyio.abc

_library: ContextVar[str | None] | None = (
    import_module("sniffio").current_async_library_cvar if find_spec("sniffio") else None
)


def start_soon(
    group: anyio.abc.TaskGroup,
    function: Callable[..., Coroutine[Any, Any, None]],
    *args: Any,
    name: str,
) -> None:
    """Start a coroutine in a group, from a task or a callback of its loop."""
    if _library is None:
        group.start_soon(function, *args, name=name)
        return
    before = _library.set("asyncio")
    try:
        group.start_soon(function, *args, name=name)
    finally:
        _library.reset(before)
