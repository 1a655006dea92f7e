"""What is kept in a store, and which store: values that every process knows them by."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from steerio.errors import UsageError

KINDS = ("shared-memory", "file", "redis", "endpoint", "globus", "multi")
"""The stores that have a short name."""
THRESHOLD_BYTES = 256 * 1024
CACHE_BYTES = 2 * 2**30
_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*[.:][A-Za-z_]\w*")


class StoredObject(Struct, frozen=True, gc=False, array_like=True):
    """An object in a store, as it is known everywhere.

    Attributes:
        name: what the store finds it by; opaque to everybody else.
        nbytes: how long it is in the store.
    """

    name: bytes
    nbytes: int


class StoreSetting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which store large values go to, and from which size on.

    Attributes:
        kind: ``shared-memory``, ``file``, ``redis``, ``endpoint``, ``globus``, ``multi``, or the
            class of any ProxyStore connector as ``module:Class`` or ``module.Class``.
        options: what the connector is made with; for ``file``, its ``folder``.
        threshold_bytes: longer values go by reference; ``None``: none does.
        cache_bytes: how much each worker (of a store on other hosts: each node) keeps of what
            it has read.
        limit_bytes: most that may be in the store, where that is a folder; ``None``: whatever
            is free.

    Raises:
        UsageError: something that cannot be meant.
    """

    kind: str = "shared-memory"
    options: dict[str, Any] = {}
    threshold_bytes: int | None = THRESHOLD_BYTES
    cache_bytes: int = CACHE_BYTES
    limit_bytes: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.kind not in KINDS and not _PATH.fullmatch(self.kind):
            raise UsageError(
                f"no store is of kind {self.kind!r}: it is one of {', '.join(KINDS)}, or the class "
                "of a ProxyStore connector, as in 'package.module:Class'"
            )
        for name in self.options:
            if not name.isidentifier():
                raise UsageError(f"{name!r} cannot be the name of an option of a store")
        _check("threshold_bytes", self.threshold_bytes, least=0, or_none=True)
        _check("cache_bytes", self.cache_bytes, least=0)
        _check("limit_bytes", self.limit_bytes, least=1, or_none=True)


def _check(name: str, value: object, least: int, *, or_none: bool = False) -> None:
    if value is None and or_none:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        also = ", or None" if or_none else ""
        raise UsageError(f"{name} must be a whole number from {least} on{also}, not {value!r}")
