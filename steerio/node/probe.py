"""The topology of this machine, read from its files and within its limits.

Everything is read below ``root``, so that a test reads a recorded machine. Devices and bounds that
cannot be read are left out: a note says so if a user may miss them.  Limits that others have set
are kept: the affinity mask (``taskset``, launchers, cpusets), control groups, Slurm, and visibility
variables that are set already.

Sources: Linux' ``Documentation/ABI`` (``/sys/devices/system``), ``cgroups(7)``, the output
environment variables of Slurm's ``srun``.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from steerio.edge.store.free_space import control_groups
from steerio.model.places import Accelerator, NodeCore, Topology
from steerio.model.showing import counted, time_of_cores
from steerio.node import devices
from steerio.node.devices import numbers_in, read_text

CPUS = "sys/devices/system/cpu"
NODES = "sys/devices/system/node"


def probe(
    root: Path = Path("/"),
    environ: Mapping[str, str] | None = None,
    *,
    affinity: Iterable[int] | None = None,
    nvml: Any = None,
    accelerators: bool = True,
) -> Topology:
    """Return the cores, accelerators and memory of this machine that workers may use.

    Args:
        root: the folder of the machine's files.
        environ: the environment that limits are read from; by default this process's.
        affinity: the cores that this process may run on; by default the system is asked,
            or, for another root, all that are online.
        nvml: the module ``pynvml`` or one like it; by default that one, if it is installed
            and this is the machine's own root.
        accelerators: whether to look for them, which may take a second.
    """
    environ = os.environ if environ is None else environ
    notes: list[str] = []
    cores = _cores(root, affinity, notes)
    quota = _least([_cgroup_quota(root), _slurm_cpus(environ, len(cores), notes)])
    if quota is not None and quota < len(cores):
        notes.append(f"{time_of_cores(quota)} may be used, of {counted(len(cores), 'core')}")
    found: list[Accelerator] = []
    if accelerators:
        from steerio.node import nvidia  # most runs start without it

        found += nvidia.find(root, environ, nvml or _pynvml(root), notes)
        found += devices.find_amd(root, environ, notes)
        found += devices.find_intel(root, environ, notes)
    allowed = {core.id for core in cores}
    return Topology(
        cores=tuple(cores),
        accelerators=tuple(devices.with_cores_in(device, allowed) for device in found),
        cpu_quota=quota,
        memory_limit_bytes=_memory(root, environ),
        notes=tuple(notes),
    )


def _pynvml(root: Path) -> Any:
    if root != Path("/"):
        return None
    with contextlib.suppress(ImportError):
        return importlib.import_module("pynvml")
    return None


# -- cores ------------------------------------------------------------------------------------


def _cores(root: Path, affinity: Iterable[int] | None, notes: list[str]) -> list[NodeCore]:
    """Return the cores that may be used; none if processes cannot be pinned."""
    if affinity is not None:
        allowed = set(affinity)
    elif root != Path("/"):
        allowed = numbers_in(read_text(root / CPUS / "online"))
    elif hasattr(os, "sched_getaffinity"):
        allowed = os.sched_getaffinity(0)
    else:
        notes.append("this system does not let processes be pinned to cores")
        return []
    for limit in _cpusets(root):
        if limit and not limit >= allowed:
            notes.append(f"a control group leaves out cores {sorted(allowed - limit)}")
            allowed &= limit
    online = numbers_in(read_text(root / CPUS / "online"))
    if len(online - allowed) > 0:
        notes.append(
            f"{len(online & allowed)} of the machine's {len(online)} cores may be used by this "
            "process (its affinity mask)"
        )
    numa_of = _numa_nodes(root)
    return [_core(root, number, numa_of.get(number, 0)) for number in sorted(allowed)]


def _core(root: Path, number: int, numa: int) -> NodeCore:
    topology = root / CPUS / f"cpu{number}" / "topology"
    # a machine that does not tell is taken for one with a thread in each core
    core = _number(topology / "core_id")
    package = _number(topology / "physical_package_id")
    return NodeCore(number, number if core is None else core, max(0, package or 0), numa)


def _numa_nodes(root: Path) -> dict[int, int]:
    found: dict[int, int] = {}
    for folder in sorted((root / NODES).glob("node[0-9]*")):
        for core in numbers_in(read_text(folder / "cpulist")):
            found[core] = int(folder.name.removeprefix("node"))
    return found


# -- limits -----------------------------------------------------------------------------------


def _cgroup_quota(root: Path) -> float | None:
    """Return how many cores' time the control groups allow, if that is bounded."""
    found: list[float | None] = []
    for folder in control_groups(root, "cpu"):
        words = read_text(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit():  # else it says "max"
            found.append(int(words[0]) / int(words[1]))
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is not None and quota > 0 and period:
            found.append(quota / period)
    return _least(found)


def _cpusets(root: Path) -> list[set[int]]:
    """Return the cores that each cpuset allows."""
    names = ("cpuset.cpus.effective", "cpuset.effective_cpus")
    return [
        numbers_in(read_text(folder / name))
        for folder in control_groups(root, "cpuset")
        for name in names
    ]


def _slurm_cpus(environ: Mapping[str, str], there: int, notes: list[str]) -> float | None:
    """Return how many cores Slurm gave this job here, if it does not confine it to them."""
    count = environ.get("SLURM_CPUS_ON_NODE", "")
    if not count.isdigit() or int(count) >= there:
        return None
    notes.append(f"Slurm gave this job {counted(int(count), 'core')} of this node")
    return float(count)


def _memory(root: Path, environ: Mapping[str, str]) -> int | None:
    found: list[float | None] = []
    for folder in control_groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            found.append(_number(folder / name))
    for line in read_text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            found.append(int(line.split()[1]) * 1024)
    megabytes = environ.get("SLURM_MEM_PER_NODE", "")
    if megabytes.isdigit() and int(megabytes):  # 0: all of the node's
        found.append(int(megabytes) * 2**20)
    least = _least(found)
    return None if least is None else int(least)


# -- reading ----------------------------------------------------------------------------------


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _number(path: Path) -> int | None:
    with contextlib.suppress(ValueError):
        return int(read_text(path))
    return None
