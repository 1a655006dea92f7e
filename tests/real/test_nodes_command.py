"""``steerio nodes``: this machine, recorded ones, and why a worker goes where."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from steerio.cli.main import steerio as command
from steerio.errors import UsageError
from steerio.model.places import Topology

TOPOLOGIES = Path(__file__).parents[1] / "topologies"
RECORDED = sorted(file.stem for file in TOPOLOGIES.glob("*.json"))


def nodes(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["nodes", *arguments])


def on(name: str, *arguments: str) -> Result:
    return nodes("--topology", str(TOPOLOGIES / f"{name}.json"), *arguments)


@pytest.mark.smoke
def test_this_machine_is_shown_and_explained() -> None:
    shown = nodes("--explain")
    assert shown.exit_code == 0, shown.output
    assert "physical" in shown.output
    assert f"default-{len(os.sched_getaffinity(0))}: " in shown.output


def test_what_is_written_of_a_machine_can_be_read(tmp_path: Path) -> None:
    written = nodes("--json")
    topology = msgspec.json.decode(written.output, type=Topology)
    assert {core.id for core in topology.cores} <= os.sched_getaffinity(0)
    (tmp_path / "node.json").write_text(written.output)
    again = nodes("--topology", str(tmp_path / "node.json"), "--json")
    assert again.output == written.output


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_machine_can_be_shown(name: str) -> None:
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
        ("[]", "is not what steerio nodes --json writes"),
        ('{"topology": {}}', "is not what steerio nodes --json writes"),
    ],
)
def test_a_file_that_is_no_topology_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "node.json"
    if text is not None:
        file.write_text(text)
    error = nodes("--topology", str(file)).exception
    assert isinstance(error, UsageError)
    assert said in str(error)
