"""What is kept in a store, and which store: values that every process knows them by."""

from __future__ import annotations

from msgspec import Struct


class StoredObject(Struct, frozen=True, gc=False, array_like=True):
    """An object in a store, as it is known everywhere.

    Attributes:
        name: what the store finds it by; opaque to everybody else.
        nbytes: how long it is in the store.
    """

    name: bytes
    nbytes: int
