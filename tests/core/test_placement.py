"""Places on nodes that are files: near, apart, shared as asked, and given back.

All but one of the files used here are written by hand, modelled on what machines of their
kind print (tests/topologies/README.md), for want of such nodes.  So they show that places
follow from a topology, not that a probe reads it right; for that there are
tests/contract/test_probe.py and, where there is a device, tests/real/test_accelerators.py.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steerio.errors import NoPlace, UsageError
from steerio.model.places import (
    LEAST_MEMORY_BYTES,
    Accelerator,
    NodeCore,
    Place,
    Topology,
    WorkerNeeds,
    say_bytes,
)
from steerio.node.picking import say_numbers
from steerio.node.placement import Placement

FILES = sorted((Path(__file__).parents[1] / "topologies").glob("*.json"))
GIB = 2**30


def node_of(name: str) -> Topology:
    file = next(file for file in FILES if file.stem == name)
    return msgspec.json.decode(file.read_bytes(), type=Topology)


def place_all(placement: Placement, workers: dict[str, int]) -> dict[str, list[Place]]:
    return {
        pool: [placement.place(f"{pool}{n}", pool) for n in range(count)]
        for pool, count in workers.items()
    }


def physical(topology: Topology, place: Place) -> set[tuple[int, int]]:
    return {(c.package, c.core) for c in topology.cores if c.id in place.cores}


def numa_of(topology: Topology, place: Place) -> set[int]:
    return {core.numa for core in topology.cores if core.id in place.cores}


# -- what workers need ------------------------------------------------------------------------


@pytest.mark.parametrize("cpus", [0, -1, 1.5, True])
def test_cpus_that_cannot_be_are_refused(cpus: int) -> None:
    with pytest.raises(UsageError, match="cpus must be a whole number above 0"):
        WorkerNeeds(cpus=cpus)


@pytest.mark.parametrize("gpus", [-1, 1.5, 0.4, 0.001, float("nan"), float("inf"), True, 5000])
def test_accelerators_that_cannot_be_are_refused(gpus: float) -> None:
    with pytest.raises(UsageError, match="gpus must be a whole number, or the share of one"):
        WorkerNeeds(gpus=gpus)


@pytest.mark.parametrize(
    ("gpus", "devices", "sharers"),
    [(0, 0, 1), (1, 1, 1), (4.0, 4, 1), (0.5, 1, 2), (0.33, 1, 3), (0.125, 1, 8), (1 / 7, 1, 7)],
)
def test_a_share_is_one_of_so_many(gpus: float, devices: int, sharers: int) -> None:
    needs = WorkerNeeds(gpus=gpus)
    assert (needs.devices, needs.sharers) == (devices, sharers)


@pytest.mark.parametrize("memory", [-1, 1.5, True])
def test_memory_that_cannot_be_is_refused(memory: int) -> None:
    with pytest.raises(UsageError, match="memory must be 0 or more bytes"):
        WorkerNeeds(memory_bytes=memory)


def test_memory_without_a_unit_is_taken_for_the_mistake_it_is() -> None:
    with pytest.raises(UsageError, match="memory of 8 bytes is less than a worker takes"):
        WorkerNeeds(memory_bytes=8)
    assert WorkerNeeds(memory_bytes=LEAST_MEMORY_BYTES).memory_bytes == LEAST_MEMORY_BYTES


def test_a_tag_is_a_name() -> None:
    with pytest.raises(UsageError, match="'big mem' is no name for a tag"):
        WorkerNeeds(tags=("ok", "big mem"))


def test_needs_read_as_on_the_command_line() -> None:
    assert str(WorkerNeeds()) == "cpus=1"
    needs = WorkerNeeds(4, 0.5, 8 * GIB, ("bigmem", "fast"))
    assert str(needs) == "cpus=4:gpus=0.5:memory=8G:tags=bigmem+fast"


def test_bytes_and_numbers_are_written_as_people_do() -> None:
    assert [say_bytes(n) for n in (12, 2048, 3 * 2**20, 8 * GIB, 3 * 2**39)] == [
        "12",
        "2K",
        "3M",
        "8G",
        "1.5T",
    ]
    assert say_numbers([8, 0, 1, 2, 3, 10, 11]) == "0-3,8,10-11"


# -- cores ------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_each_worker_gets_a_core_and_the_campaign_keeps_one() -> None:
    topology = Topology(cores=(NodeCore(4, 4), NodeCore(5, 5), NodeCore(9, 9)))
    placement = Placement(topology, {"default": 2}, {}, spare_cores=1)
    places = place_all(placement, {"default": 2})["default"]
    assert [place.cores for place in places] == [[5], [9]]
    assert places[0].why == "core 5"


def test_nobody_is_pinned_where_there_are_too_few_cores_for_all() -> None:
    topology = Topology(cores=(NodeCore(0, 0), NodeCore(1, 1)))
    placement = Placement(topology, {"a": 1, "b": 1}, {}, spare_cores=1)
    for pool in "ab":
        place = placement.place(pool, pool)
        assert place.cores == []
        assert place.why == (
            "not pinned: the workers want 2 cores; 2 may be used, "
            "and 1 is left to the campaign's process"
        )
        assert place.environment["OMP_NUM_THREADS"] == "1"


def test_pinning_can_be_switched_off_and_is_off_where_cores_are_unknown() -> None:
    off = Placement(node_of("laptop"), {"a": 1}, {}, pin=False)
    assert off.place("w", "a").why == "not pinned: pinning is off"
    unknown = Placement(Topology(), {"a": 1}, {})
    assert unknown.place("w", "a").why.startswith("not pinned: this system does not tell")


def test_a_container_with_one_and_a_half_cores_pins_one_worker_and_not_two() -> None:
    topology = node_of("container")
    assert Placement(topology, {"a": 1}, {}).place("w", "a").cores == [0]
    two = Placement(topology, {"a": 2}, {}).place("w", "a")
    assert two.cores == []
    assert two.why == ("not pinned: the workers want 2 cores; 8 may be used, for 1.5 cores' time")


def test_less_than_a_core_still_is_one() -> None:
    topology = Topology(cores=(NodeCore(0, 0), NodeCore(1, 1)), cpu_quota=0.5)
    assert Placement(topology, {"a": 1}, {}).place("w", "a").cores == [0]


def test_workers_get_physical_cores_while_there_are_enough() -> None:
    topology = node_of("laptop")
    placement = Placement(topology, {"a": 7}, {}, spare_cores=1)
    places = place_all(placement, {"a": 7})["a"]
    assert sorted(n for place in places for n in place.cores) == [2, 4, 6, 8, 9, 10, 11]
    wide = Placement(topology, {"a": 2}, {"a": WorkerNeeds(cpus=4)})
    taken = [physical(topology, place) for place in place_all(wide, {"a": 2})["a"]]
    assert [len(cores) for cores in taken] == [4, 4]
    assert not taken[0] & taken[1]


def test_second_threads_are_shared_out_last_and_that_is_said() -> None:
    topology = node_of("laptop")
    places = place_all(Placement(topology, {"a": 12}, {}), {"a": 12})["a"]
    assert sorted(n for place in places for n in place.cores) == list(range(12))
    alone, sharing = places[:8], places[8:]
    assert len({core for place in alone for core in physical(topology, place)}) == 8
    assert all(place.why.endswith("another process shares") for place in sharing)


def test_where_second_threads_are_needed_a_worker_gets_both_of_its_cores() -> None:
    topology = node_of("amd-4")
    placement = Placement(topology, {"a": 96}, {"a": WorkerNeeds(cpus=2)})
    for place in place_all(placement, {"a": 96})["a"]:
        assert len(physical(topology, place)) == 1


def test_workers_spread_over_sockets_and_each_stays_within_one() -> None:
    topology = node_of("two-sockets")
    placement = Placement(topology, {"a": 6}, {"a": WorkerNeeds(cpus=8)}, spare_cores=1)
    places = place_all(placement, {"a": 6})["a"]
    assert Counter(numa for p in places for numa in numa_of(topology, p)) == {0: 3, 1: 3}
    assert places[0].why == "cores 32-39 of NUMA node 1, which had most free"


def test_a_worker_wider_than_a_socket_gets_both() -> None:
    topology = node_of("two-sockets")
    placement = Placement(topology, {"a": 1}, {"a": WorkerNeeds(cpus=40)})
    place = placement.place("w", "a")
    assert len(place.cores) == 40
    assert place.why == "cores 0-39 of NUMA node 0-1"


# -- accelerators -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nvidia-8-mig", "amd-4", "intel-6"])
def test_a_worker_with_a_device_sits_near_it_whoever_starts_first(name: str) -> None:
    topology = node_of(name)
    count = len(topology.accelerators)
    cores = len(topology.cores) - 3 * count
    workers = {"simulate": cores, "train": count}
    needs = {"train": WorkerNeeds(cpus=3, gpus=1)}
    places = place_all(Placement(topology, workers, needs), workers)
    near = {device.id: set(device.cores) for device in topology.accelerators}
    for place in places["train"]:
        assert set(place.cores) <= near[place.accelerators[0]]
        assert ", near its accelerators" in place.why
    assert len({place.accelerators[0] for place in places["train"]}) == count
    given = [core for pool in places.values() for place in pool for core in place.cores]
    assert len(given) == len(set(given)) == len(topology.cores)


def test_each_vendor_is_told_in_its_own_way() -> None:
    needs = {"a": WorkerNeeds(gpus=2)}
    told = {
        name: Placement(node_of(name), {"a": 1}, needs).place("w", "a").environment
        for name in ("nvidia-8-mig", "amd-4", "intel-6")
    }
    assert told["nvidia-8-mig"]["CUDA_VISIBLE_DEVICES"] == (
        "GPU-00000000-aaaa-bbbb-cccc-000000000000,GPU-10000000-aaaa-bbbb-cccc-000000000001"
    )
    assert told["amd-4"]["ROCR_VISIBLE_DEVICES"] == "0,1"
    assert told["intel-6"]["ZE_AFFINITY_MASK"] == "0,1"


def test_the_second_filter_of_amd_counts_what_the_first_leaves() -> None:
    placement = Placement(node_of("amd-4"), {"a": 4}, {"a": WorkerNeeds(gpus=1)})
    last = place_all(placement, {"a": 4})["a"][3].environment
    assert (last["ROCR_VISIBLE_DEVICES"], last["HIP_VISIBLE_DEVICES"]) == ("3", "0")


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("nvidia-8-mig", {"CUDA_VISIBLE_DEVICES": "-1"}),
        ("amd-4", {"ROCR_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}),
        ("intel-6", {}),
    ],
)
def test_where_devices_are_given_out_who_asks_for_none_sees_none(
    name: str, hidden: dict[str, str]
) -> None:
    workers = {"learn": 1, "simulate": 1}
    topology, needs = node_of(name), {"learn": WorkerNeeds(gpus=1)}

    def visible(place: Place) -> dict[str, str]:
        return {k: v for k, v in place.environment.items() if not k.endswith("THREADS")}

    assert visible(Placement(topology, workers, needs).place("w", "simulate")) == hidden
    assert visible(Placement(topology, workers, {}).place("w", "simulate")) == {}


def test_one_accelerator_is_a_slice_where_there_are_some_and_several_never_are() -> None:
    topology = node_of("nvidia-8-mig")
    workers = {"small": 9, "large": 3}
    needs = {"small": WorkerNeeds(gpus=1), "large": WorkerNeeds(gpus=2)}
    places = place_all(Placement(topology, workers, needs), workers)
    assert all(place.accelerators[0].startswith("MIG-") for place in places["small"])
    assert all(id_.startswith("GPU-") for p in places["large"] for id_ in p.accelerators)
    assert "nvidia slice" in places["small"][0].why
    node = {a.id: a.numa for a in topology.accelerators}
    assert all(len({node[id_] for id_ in p.accelerators}) == 1 for p in places["large"])


def test_devices_on_several_nodes_are_taken_where_one_has_too_few() -> None:
    placement = Placement(node_of("intel-6"), {"a": 1}, {"a": WorkerNeeds(gpus=8)})
    assert len(placement.place("w", "a").accelerators) == 8


def test_several_devices_are_of_one_make() -> None:
    mixed = Topology(
        accelerators=(
            Accelerator(vendor="nvidia", index=0, id="GPU-0", numa=0),
            Accelerator(vendor="amd", index=0, id="0", numa=0),
            Accelerator(vendor="amd", index=1, id="1", numa=1),
        )
    )
    needs = {"a": WorkerNeeds(gpus=2)}
    place = Placement(mixed, {"a": 1}, needs).place("w", "a")
    assert place.accelerators == ["0", "1"]
    assert place.environment["CUDA_VISIBLE_DEVICES"] == "-1"
    with pytest.raises(NoPlace):
        Placement(mixed, {"a": 1}, {"a": WorkerNeeds(gpus=3)}).place("w", "a")


def test_halves_fill_a_device_before_the_next_and_never_mix_with_others() -> None:
    topology = node_of("amd-4")
    workers = {"half": 3, "quarter": 4, "whole": 1}
    needs = {
        "half": WorkerNeeds(gpus=0.5),
        "quarter": WorkerNeeds(gpus=0.25),
        "whole": WorkerNeeds(gpus=1),
    }
    places = place_all(Placement(topology, workers, needs), workers)
    used = {pool: Counter(p.accelerators[0] for p in given) for pool, given in places.items()}
    assert sorted(used["half"].values()) == [1, 2]
    assert list(used["quarter"].values()) == [4]
    assert len({device for count in used.values() for device in count}) == 4
    assert "1/2 of amd" in places["half"][0].why


def test_a_device_that_only_knows_its_numa_node_has_near_cores_too() -> None:
    topology = node_of("two-sockets")
    device = Accelerator(vendor="nvidia", index=0, id="GPU-0", numa=1)
    topology = msgspec.structs.replace(topology, accelerators=(device,))
    place = Placement(topology, {"a": 1}, {"a": WorkerNeeds(gpus=1)}).place("w", "a")
    assert place.cores == [32]


def test_who_finds_no_near_core_gets_a_far_one_and_is_told() -> None:
    cores = (NodeCore(0, 0, 0, 0), NodeCore(1, 1, 0, 1), NodeCore(2, 2, 0, 1))
    device = Accelerator(vendor="amd", index=0, id="0", numa=0, cores=(0,))
    topology = Topology(cores=cores, accelerators=(device,))
    needs = {"a": WorkerNeeds(cpus=2, gpus=1)}
    place = Placement(topology, {"a": 1}, needs).place("w", "a")
    assert place.cores == [0, 1]
    assert "(nothing nearer was left than 1)" in place.why


# -- what there is too little of --------------------------------------------------------------


def test_too_few_accelerators_are_an_error_with_the_numbers() -> None:
    topology = msgspec.structs.replace(node_of("amd-4"), notes=("one is broken",))
    placement = Placement(topology, {"train": 5}, {"train": WorkerNeeds(gpus=1)})
    with pytest.raises(NoPlace) as caught:
        placement.place("w", "train")
    assert caught.value.pool == "train"
    assert str(caught.value) == (
        "no place for a worker of pool 'train': each of its 5 workers needs 1 of the "
        "accelerators; this node has amd 0 (gfx942 128G), amd 1 (gfx942 128G), "
        "amd 2 (gfx942 128G), amd 3 (gfx942 128G); one is broken"
    )


def test_a_pool_that_cannot_have_all_its_places_has_none_and_hinders_no_other() -> None:
    topology, workers = node_of("amd-4"), {"half": 2, "train": 5}
    needs = {"half": WorkerNeeds(gpus=0.5), "train": WorkerNeeds(gpus=1)}
    placement = Placement(topology, workers, needs)
    with pytest.raises(NoPlace):
        placement.place("w", "train")
    assert placement.place("v", "half").accelerators == ["0"]
    placement.release("w")


def test_a_node_without_accelerators_says_so() -> None:
    placement = Placement(node_of("laptop"), {"a": 1}, {"a": WorkerNeeds(gpus=0.5)})
    with pytest.raises(NoPlace, match=r"it needs a share of 0\.5 of the .*; this node has none"):
        placement.place("w", "a")


def test_slices_do_not_add_up() -> None:
    placement = Placement(node_of("nvidia-8-mig"), {"a": 1}, {"a": WorkerNeeds(gpus=7)})
    with pytest.raises(NoPlace, match="a process can use only one MIG slice"):
        placement.place("w", "a")


def test_memory_beyond_the_nodes_is_refused_and_more_together_is_told() -> None:
    topology = node_of("container")
    needs = {"a": WorkerNeeds(memory_bytes=8 * GIB), "b": WorkerNeeds(memory_bytes=3 * GIB)}
    placement = Placement(topology, {"a": 1, "b": 2}, needs)
    with pytest.raises(NoPlace, match="it may take 8G of memory, and this node has 4G"):
        placement.place("w", "a")
    place = placement.place("v", "b")
    assert place.memory_bytes == 3 * GIB
    assert place.why.endswith("at most 3G of memory; all together 14G, of 4G that there are")


# -- threads ----------------------------------------------------------------------------------


def test_numeric_libraries_get_as_many_threads_as_the_worker_has_cores() -> None:
    place = Placement(node_of("laptop"), {"a": 1}, {"a": WorkerNeeds(cpus=4)}).place("w", "a")
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    assert [place.environment[name] for name in names] == ["4"] * 3
    assert place.threads == 4


def test_what_is_set_already_stays() -> None:
    placement = Placement(
        node_of("laptop"), {"a": 1}, {}, environment={"OMP_NUM_THREADS": "3", "HOME": "/"}
    )
    place = placement.place("w", "a")
    assert "OMP_NUM_THREADS" not in place.environment
    assert place.environment["MKL_NUM_THREADS"] == "1"
    assert place.threads == 0
    assert place.why.endswith("OMP_NUM_THREADS=3 stays as it was set")


# -- coming and going -------------------------------------------------------------------------


def test_a_replaced_worker_gets_the_place_of_the_one_before() -> None:
    placement = Placement(node_of("amd-4"), {"a": 4}, {"a": WorkerNeeds(gpus=1)})
    places = place_all(placement, {"a": 4})["a"]
    placement.release("a2")
    assert placement.place("new", "a") == places[2]


def test_a_worker_of_another_pool_gets_what_one_that_left_had() -> None:
    topology = Topology(cores=tuple(NodeCore(n, n) for n in range(4)))
    placement = Placement(topology, {"a": 2, "b": 2}, {})
    place_all(placement, {"a": 2, "b": 2})
    placement.release("a0")
    moved = placement.place("b2", "b")
    assert moved.cores == [0]
    placement.release("b2")
    assert placement.place("a2", "a").cores == [0]


def test_a_worker_that_needs_more_takes_what_several_left() -> None:
    topology = node_of("two-sockets")
    placement = Placement(topology, {"thin": 64}, {"wide": WorkerNeeds(cpus=3)})
    place_all(placement, {"thin": 64})
    for name in ("thin0", "thin1", "thin2"):
        placement.release(name)
    assert len(placement.place("w", "wide").cores) == 3
    none_left = placement.place("thin0", "thin")
    assert none_left.cores == []
    assert none_left.why == "not pinned: no core is left"
    placement.release("w")
    placement.release("thin0")
    assert len(placement.place("thin0", "thin").cores) == 1


def test_a_moved_worker_keeps_its_place_where_its_new_pool_needs_the_same() -> None:
    needs = {"a": WorkerNeeds(gpus=1), "b": WorkerNeeds(gpus=1), "c": WorkerNeeds(gpus=9)}
    placement = Placement(node_of("amd-4"), {"a": 4, "c": 1, "d": 1}, needs)
    places = place_all(placement, {"a": 4})["a"]
    assert placement.keep("a3", "b")
    assert not placement.keep("a2", "c"), "nobody gets a place there"
    assert not placement.keep("a2", "d"), "that needs no accelerator"
    assert not placement.keep("unknown", "b")
    placement.release("a3")
    assert placement.place("new", "a") == places[3]


def test_an_accelerator_that_was_anothers_is_passed_over() -> None:
    placement = Placement(node_of("amd-4"), {"a": 1}, {"a": WorkerNeeds(gpus=1)})
    assert placement.place("w", "a").accelerators == ["0"]
    placement.release("w")
    assert placement.place("w", "a", without={"0", "1"}).accelerators == ["2"]
    placement.release("w")
    with pytest.raises(NoPlace, match="others on this machine use 0, 1, 2, 3"):
        placement.place("w", "a", without={"0", "1", "2", "3"})


@given(
    name=st.sampled_from(["amd-4", "intel-6", "laptop", "container", "two-sockets"]),
    offered=st.dictionaries(st.sampled_from("abc"), st.integers(1, 6), min_size=1),
    shapes=st.dictionaries(
        st.sampled_from("abcd"),
        st.builds(WorkerNeeds, cpus=st.integers(1, 20), gpus=st.sampled_from([0, 0.25, 0.5, 1, 3])),
    ),
    spare=st.integers(0, 1),
    steps=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abcd"), st.booleans())),
)
def test_whoever_comes_and_goes_no_core_and_no_device_is_given_out_twice(
    name: str,
    offered: dict[str, int],
    shapes: dict[str, WorkerNeeds],
    spare: int,
    steps: list[tuple[int, str, bool]],
) -> None:
    topology = node_of(name)
    placement = Placement(topology, offered, shapes, spare_cores=spare)
    there: dict[str, tuple[str, Place]] = {}
    for number, pool, leaves in steps:
        worker = f"w{number}"
        placement.release(worker)
        there.pop(worker, None)
        if not leaves:
            try:
                there[worker] = pool, placement.place(worker, pool)
            except NoPlace:
                assert shapes[pool].gpus
        cores = Counter(core for _, place in there.values() for core in place.cores)
        assert not cores or max(cores.values()) == 1
        shares: Counter[str] = Counter()
        for pool, place in there.values():
            needs = placement.needs(pool)
            assert len(place.cores) in (0, needs.cpus)
            assert len(place.accelerators) == needs.devices
            for device in place.accelerators:
                shares[device] += 100 // needs.sharers
        assert not shares or max(shares.values()) <= 100


def test_a_device_shared_by_two_is_free_when_both_have_left() -> None:
    needs = {"half": WorkerNeeds(gpus=0.5), "all": WorkerNeeds(gpus=4)}
    placement = Placement(node_of("amd-4"), {"half": 2}, needs)
    place_all(placement, {"half": 2})
    placement.release("half0")
    with pytest.raises(NoPlace, match="other pools have 1 of them"):
        placement.place("w", "all")
    placement.release("half1")
    assert placement.place("w", "all").accelerators == ["0", "1", "2", "3"]


def test_the_recorded_node_with_one_device_gives_each_half_its_own_cores() -> None:
    topology = node_of("nvidia-h100")
    needs = {"learn": WorkerNeeds(gpus=0.5, cpus=2), "simulate": WorkerNeeds()}
    placement = Placement(topology, {"learn": 2, "simulate": 8}, needs, spare_cores=1)
    placed = place_all(placement, {"learn": 2, "simulate": 8})
    (device,) = topology.accelerators
    for half in placed["learn"]:
        assert half.environment["CUDA_VISIBLE_DEVICES"] == device.id
        assert len(half.cores) == 2
    for other in placed["simulate"]:
        assert other.environment["CUDA_VISIBLE_DEVICES"] == "-1"
    given = [core for places in placed.values() for place in places for core in place.cores]
    assert len(given) == len(set(given)) == 12
