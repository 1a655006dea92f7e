"""Nodes of one machine, which know nothing of each other, and its accelerators."""

from __future__ import annotations

from pathlib import Path

from steerio.node.device_locks import Claims


def test_a_device_is_one_nodes_until_its_worker_ends(tmp_path: Path) -> None:
    one, other = Claims(tmp_path / "devices"), Claims(tmp_path / "devices")
    assert one.take("a", ["GPU-1", "GPU-2"], 1) == set()
    assert other.take("b", ["GPU-2", "GPU-3"], 1) == {"GPU-2"}
    assert one.take("c", ["GPU-3"], 1) == set(), "what was claimed beside it is free again"
    one.release("a")
    one.release("a")
    assert other.take("b", ["GPU-2"], 1) == set()
    one.close()
    other.close()


def test_shares_are_counted_over_all_nodes(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    assert one.take("a", ["0"], 2) == set()
    assert other.take("b", ["0"], 2) == set()
    assert other.take("c", ["0"], 2) == {"0"}
    assert one.take("d", ["0"], 1) == {"0"}, "a whole device is not one that is shared"
    other.release("b")
    assert one.take("d", ["0"], 2) == set()
    one.close()
    assert other.take("e", ["0"], 1) == set()
    assert one.take("f", ["0"], 2) == {"0"}
    other.close()
    assert list(tmp_path.parent.glob(f"{tmp_path.name}/*")) == [], "the last one clears up"


def test_names_of_devices_become_names_of_files(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "devices")
    assert claims.take("a", ["MIG-GPU-1/2/0"], 1) == set()
    assert [file.name for file in (tmp_path / "devices").iterdir()] == ["MIG-GPU-1_2_0"]
    claims.close()
    assert not (tmp_path / "devices").exists()


def test_where_there_is_no_folder_to_agree_in_every_node_goes_by_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    claims = Claims(tmp_path / "file")
    assert claims.take("a", ["0"], 1) == set()
    claims.close()
