"""The rights of keys: each lets its holder join in its role, until it is revoked."""

from __future__ import annotations

import pytest

from steerio.core.lifecycle import Role
from steerio.core.rights import is_revoked, role_of, why_not_join

ASKED = (Role.CLIENT, Role.NODE, Role.WORKER)


@pytest.mark.parametrize(
    ("key", "lets_in"),
    [
        ("", {Role.CLIENT, Role.NODE, Role.WORKER}),
        ("client", {Role.CLIENT}),
        ("client:bob", {Role.CLIENT}),
        ("observer", {Role.CLIENT}),
        ("node", {Role.NODE, Role.WORKER}),
        ("node:cluster-b", {Role.NODE, Role.WORKER}),
    ],
)
def test_a_key_lets_its_holder_join_in_its_role_alone(key: str, lets_in: set[Role]) -> None:
    assert {asks for asks in ASKED if not why_not_join(asks, key, ())} == lets_in


def test_a_refusal_names_the_role_of_the_key_and_the_file_to_use() -> None:
    assert why_not_join(Role.CLIENT, "node:b", ()) == (
        "with the key of nodes no client joins: use connection.json or observer.json"
    )
    assert why_not_join(Role.NODE, "client", ()) == (
        "with the key of clients no node joins: use connection.json or node.json"
    )


def test_a_revoked_key_lets_nobody_in_and_others_of_its_role_go_on() -> None:
    revoked = {"client:bob", "node"}
    assert "revoked" in why_not_join(Role.CLIENT, "client:bob", revoked)
    assert "revoked" in why_not_join(Role.WORKER, "node", revoked)
    assert not why_not_join(Role.CLIENT, "client", revoked)
    assert not why_not_join(Role.NODE, "node:cluster-b", revoked)
    assert not why_not_join(Role.CLIENT, "", revoked), "who needed no key has none to lose"
    assert not is_revoked("", {""})


def test_a_label_begins_with_the_role() -> None:
    assert role_of("node:b") == role_of("node") == "node"
