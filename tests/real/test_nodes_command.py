"""``steerio nodes``: this machine, those in files, and why a worker goes where.

What of the files was recorded, and what was written by hand, tests/topologies/README.md says.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from steerio.cli.commands import steerio as command
from steerio.errors import UsageError
from steerio.model.places import Topology

TOPOLOGIES = Path(__file__).parents[1] / "topologies"
IN_FILES = sorted(file.stem for file in TOPOLOGIES.glob("*.json"))


def nodes(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["nodes", *arguments])


def on(machine: str | Path, *arguments: str) -> Result:
    file = machine if isinstance(machine, Path) else TOPOLOGIES / f"{machine}.json"
    return nodes("--topology", str(file), *arguments)


@pytest.mark.smoke
def test_this_machine_is_shown_and_explained() -> None:
    shown = nodes("--explain")
    assert shown.exit_code == 0, shown.output
    assert "physical" in shown.output
    assert f"default-{len(os.sched_getaffinity(0))}: " in shown.output


def test_a_machine_is_recorded_and_explained_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "node.json"
    here = nodes("--record", str(file), "--explain", "--workers", "a=1", "--no-pin")
    assert here.exit_code == 0, here.output
    assert set(msgspec.json.decode(file.read_bytes())) == set(Topology.__struct_fields__)
    told = on(file, "--explain", "--workers", "a=1", "--no-pin")
    assert told.output.partition("a-1:")[0] == here.output.partition("a-1:")[0]
    assert "a-1: not pinned: pinning is off" in told.output


def test_where_it_cannot_be_recorded_that_is_said(tmp_path: Path) -> None:
    error = nodes("--record", str(tmp_path / "no" / "node.json")).exception
    assert isinstance(error, UsageError)
    assert "node.json: No such file or directory" in str(error)


def test_what_is_written_of_a_machine_can_be_read(tmp_path: Path) -> None:
    written = nodes("--json")
    topology = msgspec.json.decode(written.output, type=Topology)
    assert {core.id for core in topology.cores} <= os.sched_getaffinity(0)
    (tmp_path / "node.json").write_text(written.output)
    again = nodes("--topology", str(tmp_path / "node.json"), "--json")
    assert again.output == written.output


@pytest.mark.parametrize("name", IN_FILES)
def test_every_machine_in_a_file_can_be_shown(name: str) -> None:
    shown = on(name, "--explain", "--workers", "a=1")
    assert shown.exit_code == 0, shown.output
    assert "a-1: core" in shown.output or "a-1: not pinned" in shown.output


def test_each_worker_is_told_why() -> None:
    shown = on("nvidia-8-mig", "--explain", "--workers", "train=2:gpus=1:cpus=4,simulate=2")
    assert "train-1: cores 80-83 of NUMA node 5, near its accelerators; nvidia slice" in (
        shown.output
    )
    assert "OMP_NUM_THREADS=4 CUDA_VISIBLE_DEVICES=MIG-" in shown.output
    assert "simulate-1: core 1" in shown.output


def test_without_explaining_places_are_just_listed() -> None:
    shown = on("amd-4", "--workers", "a=1:gpus=2:cpus=2,b=1", "--no-pin")
    assert "a-1: any core, accelerator 0, accelerator 1\n" in shown.output
    assert "b-1: any core\n" in shown.output
    assert "b-1: core 0\n" in on("laptop", "--workers", "b=1", "--no-campaign").output


def test_workers_that_find_no_place_are_told_and_it_fails() -> None:
    shown = on("laptop", "--workers", "a=1:gpus=1,b=1", "--json")
    assert shown.exit_code == 1
    told = msgspec.json.decode(shown.output)
    assert list(told["places"]) == ["b-1"]
    assert told["refused"]["a"].startswith("it needs 1 of the accelerators; this node has none")
    shown = on("laptop", "--workers", "a=1:gpus=1")
    assert shown.exit_code == 1
    assert "no place for a worker of pool 'a'" in shown.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot read --topology"),
        ("[]", "is no file of steerio nodes --record"),
        ('{"topology": {}}', "is no file of steerio nodes --record"),
    ],
)
def test_a_file_that_is_no_topology_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "node.json"
    if text is not None:
        file.write_text(text)
    error = nodes("--topology", str(file)).exception
    assert isinstance(error, UsageError)
    assert said in str(error)
