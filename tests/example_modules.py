"""The modules of an example, for a test: scripts of a folder that import each other by name."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@contextlib.contextmanager
def example_module(example: str, name: str) -> Iterator[ModuleType]:
    """Import a module of an example, and forget it and those that it imported at the end.

    Several examples have modules of the same names, such as ``search``. In the block others of this
    one can be imported, too.

    Args:
        example: the folder of the example.
        name: the module.
    """
    before = _taken_out()
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(EXAMPLES / example))
        try:
            yield importlib.import_module(name)
        finally:
            _taken_out()
            sys.modules.update(before)


def _taken_out() -> dict[str, ModuleType]:
    """Take the modules of all examples out of those that Python knows."""
    found = {
        name: module
        for name, module in list(sys.modules.items())
        # not by getattr, at which a module that is loaded late is loaded
        if str(getattr(module, "__dict__", {}).get("__file__")).startswith(f"{EXAMPLES}/")
    }
    for name in found:
        del sys.modules[name]
    return found
