"""CRC-32C (Castagnoli), of the package ``crc32c``, without the rest of that package.

It also imports a command line, and the metadata of packages, which takes longer than all of the
journal: 12 ms of each start.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any, cast

Crc32c = Callable[..., int]
"""Takes bytes, and the checksum of those before."""


def _load() -> Crc32c:
    package = PathFinder.find_spec("crc32c")
    folders = package and package.submodule_search_locations
    found = PathFinder.find_spec("_crc32c", list(folders)) if folders else None
    if found is None or found.loader is None:  # it is built in another way
        from crc32c import crc32c

        return crc32c
    module: Any = module_from_spec(found)
    found.loader.exec_module(module)
    return cast("Crc32c", module.crc32c)


crc32c = _load()
