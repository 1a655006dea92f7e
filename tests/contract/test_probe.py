"""Topologies as read from machines in a folder, and from this one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from steerio.model.places import Topology, WorkerNeeds
from steerio.node.placement import Placement
from steerio.node.probe import probe
from tests.contract.machines import GIB, Board, Machine, Slice, nvml

NO_GROUPS = "0::/"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def read(machine: Machine, environ: Mapping[str, str] | None = None, **more: Any) -> Topology:
    return probe(machine.root, environ or {}, **more)


def ids(topology: Topology) -> list[str]:
    return [device.id for device in topology.accelerators]


# -- cores ------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_this_machine_has_the_cores_that_we_may_run_on() -> None:
    topology = probe()
    if hasattr(os, "sched_getaffinity"):
        assert {core.id for core in topology.cores} <= os.sched_getaffinity(0)
        assert topology.cores


def test_cores_know_their_physical_core_socket_and_numa_node(machine: Machine) -> None:
    machine.cores(packages=2, per_package=4, threads=2)
    cores = {core.id: core for core in read(machine).cores}
    assert len(cores) == 16
    assert (cores[9].core, cores[9].package, cores[9].numa) == (1, 0, 0)
    assert (cores[15].core, cores[15].package, cores[15].numa) == (3, 1, 1)


def test_a_machine_that_tells_nothing_of_its_cores_has_one_thread_in_each(
    machine: Machine,
) -> None:
    cores = read(machine, affinity=[3, 1]).cores
    assert [(core.id, core.core, core.package, core.numa) for core in cores] == [
        (1, 1, 0, 0),
        (3, 3, 0, 0),
    ]


def test_the_affinity_mask_bounds_and_is_noted(machine: Machine) -> None:
    topology = read(machine.cores(1, 8), affinity={2, 3})
    assert [core.id for core in topology.cores] == [2, 3]
    assert topology.notes == (
        "2 of the machine's 8 cores may be used by this process (its affinity mask)",
    )


def test_where_processes_cannot_be_pinned_there_are_no_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    topology = probe(accelerators=False)
    assert topology.cores == ()
    assert topology.notes == ("this system does not let processes be pinned to cores",)


# -- control groups, Slurm --------------------------------------------------------------------


def test_a_container_has_its_quota_and_memory(machine: Machine) -> None:
    machine.cores(1, 8).memory(64 * 2**20)
    machine.groups(NO_GROUPS, {"cpu.max": "150000 100000", "memory.max": 4 * GIB})
    topology = read(machine)
    assert topology.cpu_quota == 1.5
    assert topology.memory_limit_bytes == 4 * GIB
    assert topology.notes == ("1.5 cores' time may be used, of 8 cores",)


def test_the_tightest_of_nested_groups_bounds(machine: Machine) -> None:
    machine.cores(1, 8).memory(64 * 2**20)
    machine.groups(
        "0::/user/job",
        {
            "user/cpu.max": "200000 100000",
            "user/job/cpu.max": "max 100000",
            "user/job/memory.max": "max",
            "user/memory.max": 2 * GIB,
            "user/job/cpuset.cpus.effective": "2-5",
        },
    )
    topology = read(machine)
    assert (topology.cpu_quota, topology.memory_limit_bytes) == (2.0, 2 * GIB)
    assert [core.id for core in topology.cores] == [2, 3, 4, 5]
    assert "a control group leaves out cores [0, 1, 6, 7]" in topology.notes


@pytest.mark.parametrize("path", ["/docker/0123", "/../../host"])
def test_a_group_that_is_named_as_on_the_host_is_the_containers_root(
    machine: Machine, path: str
) -> None:
    machine.cores(1, 4).groups(f"0::{path}", {"cpu.max": "100000 100000"})
    assert read(machine).cpu_quota == 1.0


def test_groups_of_the_first_version_bound_too(machine: Machine) -> None:
    machine.cores(1, 8).memory(2**30)
    machine.groups(
        "4:memory:/job\n3:cpuset:/\n2:cpu,cpuacct:/job",
        {
            "cpu/job/cpu.cfs_quota_us": 250000,
            "cpu/job/cpu.cfs_period_us": 100000,
            "cpu/cpu.cfs_quota_us": -1,
            "memory/job/memory.limit_in_bytes": 8 * GIB,
            "memory/memory.limit_in_bytes": 9223372036854771712,
            "cpuset/cpuset.effective_cpus": "0-3",
        },
    )
    topology = read(machine)
    assert (topology.cpu_quota, topology.memory_limit_bytes) == (2.5, 8 * GIB)
    assert len(topology.cores) == 4


def test_slurm_bounds_where_it_does_not_confine(machine: Machine) -> None:
    machine.cores(1, 8).memory(64 * 2**20)
    slurm = {"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_NODE": "8192"}
    topology = read(machine, slurm)
    assert (topology.cpu_quota, topology.memory_limit_bytes) == (4.0, 8 * GIB)
    assert "Slurm gave this job 4 cores of this node" in topology.notes
    confined = read(machine, slurm, affinity={0, 1, 2, 3})
    assert confined.cpu_quota is None


# -- NVIDIA -----------------------------------------------------------------------------------

FIRST, SECOND = Board("GPU-aa11", "0000:07:00.0"), Board("GPU-aa22", "0000:0F:00.0")
CUT = Board("GPU-bb33", "0000:47:00.0", slices=[Slice("MIG-1"), None, Slice("MIG-2")])


def test_devices_of_nvml_know_their_memory_and_their_near_cores(machine: Machine) -> None:
    machine.cores(2, 4).pci("0000:07:00.0", 0, "0-3").pci("0000:0f:00.0", 1, "4-7")
    first, second = read(machine, nvml=nvml(FIRST, SECOND), affinity=range(6)).accelerators
    assert (first.id, first.memory_bytes, first.numa, first.cores) == (
        "GPU-aa11",
        40 * GIB,
        0,
        (0, 1, 2, 3),
    )
    assert (second.index, second.numa, second.cores) == (1, 1, (4, 5))


def test_a_device_whose_place_is_unknown_is_near_nothing(machine: Machine) -> None:
    machine.cores(1, 2).pci("0000:07:00.0", -1, "")
    (device,) = read(machine, nvml=nvml(FIRST)).accelerators
    assert (device.numa, device.cores) == (None, ())


def test_slices_stand_for_the_device_that_is_cut(machine: Machine) -> None:
    topology = read(machine.cores(1, 2), nvml=nvml(FIRST, CUT))
    assert ids(topology) == ["GPU-aa11", "MIG-1", "MIG-2"]
    last = topology.accelerators[-1]
    assert (last.index, last.parent, last.lone, last.memory_bytes) == (2, "GPU-bb33", True, 5 * GIB)
    assert last.name.endswith("MIG 1g.5gb")


def test_what_does_not_answer_is_left_out_with_a_note(machine: Machine) -> None:
    broken = FIRST._replace(broken=True)
    uncut = CUT._replace(slices=[None])
    topology = read(machine.cores(1, 2), nvml=nvml(broken, uncut, SECOND))
    assert ids(topology) == ["GPU-aa22"]
    assert "nvidia 0 is left out: GPU is lost" in topology.notes
    assert "nvidia 1 is left out: it is in MIG mode and has no slices" in topology.notes


def test_a_device_without_memory_of_its_own_has_none(machine: Machine) -> None:
    orin = FIRST._replace(name="Orin")
    assert read(machine.cores(1, 2), nvml=nvml(orin)).accelerators[0].memory_bytes == 0


@pytest.mark.parametrize(
    ("visible", "left"),
    [
        ("0", ["GPU-aa11"]),
        ("1,0", ["GPU-aa22", "GPU-aa11"]),
        ("GPU-aa2", ["GPU-aa22"]),
        ("MIG-2", ["MIG-2"]),
        ("2", ["MIG-1", "MIG-2"]),
        ("GPU-bb33", ["MIG-1", "MIG-2"]),
        ("0,7,1", ["GPU-aa11"]),
        ("0,0", ["GPU-aa11"]),
        ("-1", []),
        ("", []),
    ],
)
def test_devices_that_are_visible_already_are_a_limit(
    machine: Machine, visible: str, left: list[str]
) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": visible}
    topology = read(machine.cores(1, 2), environ, nvml=nvml(FIRST, SECOND, CUT))
    assert ids(topology) == left
    assert f"CUDA_VISIBLE_DEVICES={visible} leaves {len(left)} of 4 nvidia devices" in (
        topology.notes
    )


PLACES = {"1/0": (1, 0), "11/0": (11, 0), "11/1": (11, 1)}
"""Of slices: GPU instance and compute instance."""
OLDER = [f"MIG-GPU-bb33/{place}" for place in PLACES]
"""What drivers before R470 call them."""


def cut_in_three(*uuids: str) -> Board:
    """Return a board whose slices NVML calls so."""
    slices = [Slice(u, place=p) for u, p in zip(uuids, PLACES.values(), strict=True)]
    return CUT._replace(slices=[*slices, None])


@pytest.mark.parametrize("uuids", [["MIG-1", "MIG-2", "MIG-3"], OLDER], ids=["UUIDs", "places"])
@pytest.mark.parametrize(
    ("visible", "left"),
    [
        ("MIG-GPU-bb33/1/0", [0]),
        ("MIG-GPU-bb33/11/1", [2]),
        ("MIG-GPU-bb33/11/1,MIG-GPU-bb33/1/0", [2, 0]),
        ("MIG-GPU-bb33/1", []),
        ("MIG-GPU-bb33/2/0", []),
        ("MIG-GPU-aa11/1/0", []),
        ("GPU-bb33", [0, 1, 2]),
        ("1", [0, 1, 2]),
    ],
)
def test_slices_may_be_named_by_their_place_whatever_the_driver_calls_them(
    machine: Machine, uuids: list[str], visible: str, left: list[int]
) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": visible}
    topology = read(machine.cores(1, 2), environ, nvml=nvml(FIRST, cut_in_three(*uuids)))
    assert ids(topology) == [uuids[number] for number in left]
    assert f"CUDA_VISIBLE_DEVICES={visible} leaves {len(left)} of 4 nvidia devices" in (
        topology.notes
    )


def test_a_slice_whose_place_is_not_told_cannot_be_named_by_it(machine: Machine) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": "MIG-GPU-bb33/1/0"}
    assert ids(read(machine.cores(1, 2), environ, nvml=nvml(FIRST, CUT))) == []


def test_a_worker_is_told_of_its_slice_as_the_driver_calls_it(machine: Machine) -> None:
    topology = read(machine.cores(1, 4), nvml=nvml(cut_in_three(*OLDER)))
    placement = Placement(topology, {"a": 3}, {"a": WorkerNeeds(gpus=1)})
    told = [placement.place(f"w{n}", "a").environment["CUDA_VISIBLE_DEVICES"] for n in range(3)]
    assert told == OLDER


def test_numbers_of_devices_of_several_kinds_are_warned_of(machine: Machine) -> None:
    other = SECOND._replace(name="NVIDIA T4")
    environ = {"CUDA_VISIBLE_DEVICES": "0,1"}
    told = read(machine.cores(1, 2), environ, nvml=nvml(FIRST, other)).notes
    assert any("set CUDA_DEVICE_ORDER=PCI_BUS_ID" in note for note in told)
    environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
    assert read(machine, environ, nvml=nvml(FIRST, other)).notes == ()


def test_slurms_devices_are_a_limit_unless_others_are_not_even_seen(machine: Machine) -> None:
    environ = {"SLURM_JOB_GPUS": "1"}
    machine.cores(1, 2)
    assert ids(read(machine, environ, nvml=nvml(FIRST, SECOND))) == ["GPU-aa22"]
    assert ids(read(machine, environ, nvml=nvml(FIRST))) == ["GPU-aa11"]
    environ["SLURM_STEP_GPUS"] = "0"
    assert ids(read(machine, environ, nvml=nvml(FIRST, SECOND))) == ["GPU-aa11"]


def test_without_nvml_the_driver_is_asked(machine: Machine) -> None:
    machine.cores(1, 4).pci("0000:07:00.0", 0, "0-1")
    machine.nvidia(0, "0000:07:00.0", "GPU-aa11").nvidia(1, "0000:0f:00.0", "GPU-????????")
    first, second = read(machine).accelerators
    assert (first.id, first.name, first.cores) == ("GPU-aa11", "NVIDIA T4", (0, 1))
    assert second.id == "1"
    assert ids(read(machine, nvml=nvml(answers=False))) == ["GPU-aa11", "1"]
    assert "NVML does not answer: Driver Not Loaded" in (
        read(machine, nvml=nvml(answers=False)).notes
    )


def test_without_nvml_slices_and_devices_of_others_are_left_out(machine: Machine) -> None:
    machine.cores(1, 2).nvidia(0, "0000:07:00.0", "GPU-1").nvidia(1, "0000:0f:00.0", "GPU-2")
    (machine.root / "dev/nvidia1").unlink()
    machine.write("proc/driver/nvidia/capabilities/gpu0/mig/gi1/access", "")
    topology = read(machine)
    assert topology.accelerators == ()
    assert topology.notes == (
        "nvidia 0 is left out: it is in MIG mode; pip install 'steerio[gpu]' reads more of it",
        "nvidia 1 is left out: /dev/nvidia1 is not here",
    )


def test_a_machine_without_a_driver_is_none_of_nvidias(machine: Machine) -> None:
    assert read(machine.cores(1, 2), nvml=nvml(answers=False)) == read(machine)


def test_accelerators_are_not_looked_for_unless_they_are_wanted(machine: Machine) -> None:
    assert read(machine.cores(1, 2), nvml=nvml(FIRST), accelerators=False).accelerators == ()


# -- AMD --------------------------------------------------------------------------------------


def amd(machine: Machine) -> Machine:
    machine.cores(2, 4)
    machine.write("sys/class/kfd/kfd/topology/nodes/0/properties", "cpu_cores_count 4")
    machine.write("sys/class/kfd/kfd/topology/nodes/1/properties", "")
    for number in range(4):
        machine.amd(10 + number, bus=0x10 * number + 1, unique_id=0xABC + number)
        machine.pci(f"0000:{0x10 * number + 1:02x}:00.0", number // 2, f"{2 * number}")
    return machine


def test_amds_devices_are_counted_as_rocm_does(machine: Machine) -> None:
    devices = read(amd(machine)).accelerators
    assert [device.id for device in devices] == ["0", "1", "2", "3"]
    third = devices[2]
    assert (third.name, third.memory_bytes, third.numa, third.cores) == (
        "gfx942",
        128 * GIB,
        1,
        (4,),
    )


@pytest.mark.parametrize(
    ("environ", "left"),
    [
        ({"ROCR_VISIBLE_DEVICES": "2,3"}, ["2", "3"]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-0000000000000abd"}, ["1"]),
        ({"ROCR_VISIBLE_DEVICES": "2,3", "HIP_VISIBLE_DEVICES": "1"}, ["3"]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "1"}, ["0"]),
        ({"HIP_VISIBLE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"HIP_VISIBLE_DEVICES": ""}, ["0", "1", "2", "3"]),
        ({"HIP_VISIBLE_DEVICES": "-1"}, []),
    ],
)
def test_amds_second_variable_counts_what_the_first_leaves(
    machine: Machine, environ: dict[str, str], left: list[str]
) -> None:
    assert ids(read(amd(machine), environ)) == left


# -- Intel ------------------------------------------------------------------------------------


def intel(machine: Machine) -> Machine:
    machine.cores(2, 2).pci("0000:18:00.0", 0, "0-1").pci("0000:2a:00.0", 1, "2-3")
    machine.intel(2, "0000:18:00.0", tiles=2).intel(1, "0000:2a:00.0", tiles=2)
    machine.intel(3, "0000:03:00.0", vendor="0x1a03")
    return machine.intel(0, "0000:00:02.0")


def test_intels_tiles_are_devices_and_its_graphics_are_not(machine: Machine) -> None:
    topology = read(intel(machine))
    assert ids(topology) == ["0", "1", "2", "3"]
    last = topology.accelerators[3]
    assert (last.name, last.parent) == ("0000:2a:00.0 tile 1", "0000:2a:00.0")
    assert (last.memory_bytes, last.numa, last.cores) == (64 * GIB, 1, (2, 3))
    assert topology.notes == ("Intel's integrated graphics are left out: they are no accelerator",)


def test_intels_cards_are_whole_where_that_is_asked(machine: Machine) -> None:
    topology = read(intel(machine), {"ZE_FLAT_DEVICE_HIERARCHY": "COMPOSITE"})
    assert [device.memory_bytes for device in topology.accelerators] == [128 * GIB] * 2


def test_intels_mask_is_a_limit(machine: Machine) -> None:
    assert ids(read(intel(machine), {"ZE_AFFINITY_MASK": "2,3"})) == ["2", "3"]
