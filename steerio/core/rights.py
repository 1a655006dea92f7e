"""The rights that go with keys: as which peers their holders may join, and when no more.

A key has a label: its role, and for a key that was made for one holder also the holder's name, as
``node:cluster-b``. A peer that needed no key, as it is on the broker's host, has an empty one.
"""

from __future__ import annotations

from collections.abc import Collection

from steerio.core.lifecycle import Role

MAY_JOIN_AS: dict[Role, frozenset[Role]] = {
    Role.CLIENT: frozenset({Role.CLIENT, Role.OBSERVER}),
    Role.OBSERVER: frozenset({Role.CLIENT, Role.OBSERVER}),
    Role.NODE: frozenset({Role.NODE, Role.WORKER}),
}
"""The roles that each role of a key lets a peer ask for; one that asks to be a client with the key
of observers only looks on."""
_FILES = {Role.CLIENT: "connection.json or observer.json", Role.OBSERVER: "observer.json"}


def role_of(label: str) -> str:
    """Return the role of the key of this label."""
    return label.partition(":")[0]


def is_revoked(label: str, revoked: Collection[str]) -> bool:
    """Say whether a peer's key is among those that were revoked."""
    return bool(label) and label in revoked


def why_not_join(asks: Role, label: str, revoked: Collection[str]) -> str:
    """Return why a peer with this key may not join so; ``""``: it may.

    Args:
        asks: the role that it asks for.
        label: of its key.
        revoked: the labels of the keys that were revoked.
    """
    if is_revoked(label, revoked):
        return "its key was revoked: ask the owner of the broker for another"
    if not label or asks in MAY_JOIN_AS.get(Role(role_of(label)), ()):
        return ""
    file = _FILES.get(asks, "connection.json or node.json")
    return f"with the key of {role_of(label)}s no {asks} joins: use {file}"
