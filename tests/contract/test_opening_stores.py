"""A setting leads to a store, or to an error that says what to set instead."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from steerio.edge.store.multi_store import MultiStore
from steerio.edge.store.opening_stores import check_store, open_store, own_folders
from steerio.errors import ObjectMissing, StoreFailed, UsageError
from steerio.launch.stores import check_asked, check_thresholds, choose_store
from steerio.model.objects import StoreSetting
from tests.contract.endpoint_servers import proxystore_endpoint
from tests.contract.redis_servers import connected, redis_server, refusing_port
from tests.contract.test_store_folders import kill, start_owner


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("shared-memory", {"folder": "x"}, "takes the options: none; it was given: folder"),
        ("file", {}, "takes the options: folder; it was given: none"),
        ("file", {"folder": 3}, "folder of the file store must be a path"),
        ("redis", {"host": "x"}, "redis store.*takes: hostname, port"),
        ("redis", {"hostname": "x", "port": 1, "clear": True}, "clear=True"),
        ("no.such.module:Class", {}, "no.such.module:Class store cannot be imported"),
        ("pathlib:NoSuch", {}, "pathlib has no NoSuch"),
        ("multi", {}, "needs a store"),
        ("multi", {"a": {"kin": "file"}}, "each with kind, options.*kin"),
        ("multi", {"a": {"kind": "multi"}}, "cannot hold another"),
        ("multi", {"a": {"kind": "file"}}, "takes the options: folder"),
        ("multi", {"a": {"kind": "fil"}}, "'fil'"),
    ],
)
def test_what_cannot_be_opened_is_said_at_once(
    kind: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        check_store(StoreSetting(kind=kind, options=options))


def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "proxystore.connectors.redis", raising=False)
    with pytest.raises(UsageError, match=r"pip install 'steerio\[redis\]'"):
        check_store(StoreSetting(kind="redis", options={"hostname": "x", "port": 1}))


def test_what_can_be_opened_passes() -> None:
    check_store(StoreSetting())
    check_store(StoreSetting(kind="file", options={"folder": "anywhere"}))
    with redis_server() as port:
        check_store(StoreSetting(kind="redis", options={"hostname": "127.0.0.1", "port": port}))
    check_store(StoreSetting(kind="globus", options={"endpoints": {}}))
    check_store(StoreSetting(kind="proxystore.connectors.local.LocalConnector"))
    check_store(StoreSetting(kind="multi", options={"a": {"kind": "shared-memory"}}))


def test_a_server_that_is_not_there_is_an_error_before_and_of_the_store(tmp_path: Path) -> None:
    with refusing_port() as port:
        setting = StoreSetting(kind="redis", options={"hostname": "127.0.0.1", "port": port})
        with pytest.raises(UsageError, match=r"the redis store does not answer: .*refused"):
            check_store(setting)
        store = open_store(setting, tmp_path, "one")
        refused = r"the redis store did not take an object.*Connection"
        with pytest.raises(StoreFailed, match=refused):
            store.put([b"x"])
        store.close()


def test_what_a_connector_does_not_accept_is_an_error_of_usage(tmp_path: Path) -> None:
    setting = StoreSetting(kind="globus", options={"endpoints": {}})
    with pytest.raises(UsageError, match=r"globus store cannot be made with.*GlobusEndpoint"):
        open_store(setting, tmp_path, "one").put([b"x"])


def test_closing_a_store_of_a_worker_leaves_the_objects(tmp_path: Path) -> None:
    with redis_server() as port:
        setting = StoreSetting(kind="redis", options={"hostname": "127.0.0.1", "port": port})
        store = open_store(setting, tmp_path, "one")
        store.put([b"x"])
        store.close()
        with connected(port) as client:
            assert client.dbsize() == 1


@pytest.mark.timeout(300)  # on a busy machine an endpoint takes half a minute to start
def test_an_endpoint_of_proxystore_keeps_objects(tmp_path: Path) -> None:
    with proxystore_endpoint(tmp_path) as options:
        setting = StoreSetting(kind="endpoint", options=options)
        check_store(setting)
        store, other = (open_store(setting, tmp_path, maker) for maker in ("one", "two"))
        stored = store.put([b"short", b"x" * 10**6])
        assert other.get(stored) == [b"short", b"x" * 10**6]
        store.evict([stored.name])
        other.sweep(["one"], set())
        with pytest.raises(ObjectMissing):
            store.get(stored)
        store.close()
        other.close()


# -- several -----------------------------------------------------------------------------------


def several(place: Path) -> StoreSetting:
    return StoreSetting(
        kind="multi",
        options={
            "here": {"kind": "shared-memory", "hosts": "no-such-host"},
            "models": {
                "kind": "proxystore.connectors.file:FileConnector",
                "options": {"store_dir": str(place / "models")},
                "pools": ["learn", "infer"],
                "min_bytes": 1000,
            },
            "rest": {"kind": "file", "options": {"folder": str(place)}, "max_bytes": 5000},
        },
    )


def test_size_pool_and_host_decide_which_store_takes_an_object(
    tmp_path: Path, opened: ExitStack
) -> None:
    setting = own_folders(several(tmp_path), opened)
    packed = msgspec.json.encode(setting)
    assert msgspec.json.decode(packed, type=StoreSetting) == setting
    node = tmp_path / "node"
    node.mkdir()
    store = open_store(setting, node, "one")
    assert isinstance(store, MultiStore)
    opened.callback(store.close)
    where = {
        what: store.put([bytes(what[0])], what[1]).name.partition(b":")[0]
        for what in [(10, "learn"), (2000, "learn"), (2000, "infer"), (2000, "other"), (2000, "")]
    }
    assert where == {
        (10, "learn"): b"rest",
        (2000, "learn"): b"models",
        (2000, "infer"): b"models",
        (2000, "other"): b"rest",
        (2000, ""): b"rest",
    }
    with pytest.raises(UsageError, match="here, models, rest takes an object of 6000 bytes"):
        store.put([bytes(6000)])


def test_file_stores_get_a_folder_of_the_campaigns_own_that_goes_with_it(tmp_path: Path) -> None:
    setting = StoreSetting(kind="file", options={"folder": str(tmp_path)}, threshold_bytes=None)
    with ExitStack() as opened:
        own = own_folders(setting, opened)
        assert own.threshold_bytes is None
        folder = Path(own.options["folder"])
        assert folder.is_relative_to(tmp_path)
        open_store(own, tmp_path, "one").put([b"x"])
        assert len(list(folder.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_next_start_of_a_file_store_removes_what_a_dead_one_left(
    tmp_path: Path, opened: ExitStack
) -> None:
    process, left = start_owner(str(tmp_path))
    kill(process)
    assert left.exists()
    own_folders(StoreSetting(kind="file", options={"folder": str(tmp_path)}), opened)
    assert not left.exists()


@pytest.mark.parametrize(
    "setting",
    [
        StoreSetting(),
        StoreSetting(kind="multi", options={"a": {"kind": "shared-memory"}}),
    ],
)
def test_shared_memory_is_refused_where_other_hosts_join(setting: StoreSetting) -> None:
    assert choose_store(setting, None, None) == (setting, "")
    with pytest.raises(UsageError, match=r"other hosts than head cannot reach shared memory"):
        choose_store(setting, "head", None)


def test_a_multi_store_that_all_reach_may_be_used_with_other_hosts() -> None:
    setting = StoreSetting(kind="multi", options={"a": {"kind": "redis"}})
    assert choose_store(setting, "head", None) == (setting, "")


def test_what_a_file_store_is_not_asked_is_refused_also_where_its_folder_is_found(
    tmp_path: Path,
) -> None:
    setting, _ = choose_store(StoreSetting(kind="file", options={"foldr": "x"}), None, tmp_path)
    assert setting is not None
    with pytest.raises(UsageError, match=r"takes the options: folder; it was given: foldr"):
        check_store(setting)


def test_what_is_asked_for_is_checked_before_there_is_a_folder() -> None:
    check_asked(None, None)
    check_asked(None, "head")
    check_asked(StoreSetting(kind="file"), None)
    for asked, host, said in [
        (StoreSetting(kind="redis"), None, "takes: hostname, port"),
        (StoreSetting(kind="no.such.module:Class"), None, "cannot be imported"),
        (StoreSetting(), "head", "other hosts than head cannot reach shared memory"),
    ]:
        with pytest.raises(UsageError, match=said):
            check_asked(asked, host)


def test_thresholds_are_for_pools_that_there_are() -> None:
    check_thresholds(None, ["learn"])
    check_thresholds(StoreSetting(thresholds={"learn": 1}), ["learn", "infer"])
    with pytest.raises(UsageError, match=r"'lern', .* \(infer, learn\); did you mean 'learn'\?$"):
        check_thresholds(StoreSetting(thresholds={"lern": 1}), ["learn", "infer"])
    with pytest.raises(UsageError, match=r"'gpu', .* \(learn\)$"):
        check_thresholds(StoreSetting(thresholds={"learn": 1, "gpu": None}), ["learn"])
