"""A setting of a store that cannot be meant is refused where it is made."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from steerio.errors import UsageError
from steerio.model.objects import KINDS, StoreSetting, client_maker


@pytest.mark.parametrize("kind", [*KINDS, "module:Class", "some.module:Class", "some.module.Class"])
def test_kinds_have_a_short_name_or_are_a_class(kind: str) -> None:
    assert StoreSetting(kind=kind).kind == kind


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "reddis"}, "'reddis'.*shared-memory.*redis"),
        ({"kind": "a module:Class"}, "kind"),
        ({"kind": 3}, "no store is of kind 3"),
        ({"options": {"not a name": 1}}, "'not a name'"),
        ({"options": {1: 2}}, "1 cannot be the name of an option"),
        ({"options": [1]}, r"options go by name, .* not \[1\]"),
        ({"thresholds": 5}, "thresholds go by name, .* not 5"),
        ({"threshold_bytes": -1}, "threshold_bytes.*from 0 on, or None"),
        ({"threshold_bytes": True}, "threshold_bytes"),
        ({"thresholds": {"learn": -1}}, "thresholds\\['learn'\\].*from 0 on, or None"),
        ({"limit_bytes": 0}, "limit_bytes.*from 1 on"),
        ({"limit_bytes": 1.5}, "limit_bytes"),
        ({"check_shared": 1}, "check_shared is True or False, not 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        StoreSetting(**given)


def test_what_a_task_type_says_comes_before_its_pool_and_that_before_the_store() -> None:
    setting = StoreSetting(threshold_bytes=3, thresholds={"learn": 2, "simulate": None})
    assert [setting.threshold(pool) for pool in ("learn", "simulate", "infer")] == [2, None, 3]
    assert setting.threshold("learn", 0) == 0
    assert setting.threshold("learn", None) is None


def test_what_nodes_cannot_map_is_remote() -> None:
    assert [kind for kind in KINDS if not StoreSetting(kind=kind).remote] == [
        "shared-memory",
        "file",
    ]


def test_a_setting_travels() -> None:
    setting = StoreSetting(
        kind="redis",
        options={"hostname": "here", "port": 1},
        threshold_bytes=None,
        limit_bytes=2**40,
    )
    packed = msgspec.msgpack.encode(setting)
    assert msgspec.msgpack.decode(packed, type=StoreSetting) == setting
    text = msgspec.json.encode(setting)
    assert msgspec.json.decode(text, type=StoreSetting) == setting


def test_what_is_read_into_a_workers_own_memory_is_kept_less_of() -> None:
    assert StoreSetting().cached_bytes > StoreSetting(kind="file").cached_bytes > 0
    assert StoreSetting(kind="file", cache_bytes=5).cached_bytes == 5
    assert [StoreSetting(kind=kind).remote for kind in ("shared-memory", "file", "redis")] == [
        False,
        False,
        True,
    ]


def test_a_client_makes_objects_under_a_name_with_its_number() -> None:
    assert (client_maker(0), client_maker(7)) == ("client:0", "client:7")
