"""Machines in a folder: the files of ``/sys``, ``/proc`` and ``/dev`` that a probe reads.

And NVML as its documentation and Python binding have it: functions of handles that raise
its error for what a product does not know.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

GIB = 2**30


class Machine:
    """A machine's root folder, filled step by step."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def cores(self, packages: int, per_package: int, threads: int = 1, online: str = "") -> Machine:
        """Add cores as Linux numbers them: the second threads come after all first ones."""
        physical = packages * per_package
        for number in range(physical * threads):
            core = number % physical
            topology = f"sys/devices/system/cpu/cpu{number}/topology"
            self.write(f"{topology}/core_id", core % per_package)
            self.write(f"{topology}/physical_package_id", core // per_package)
        for package in range(packages):
            parts = [
                f"{t * physical + package * per_package}-"
                f"{t * physical + (package + 1) * per_package - 1}"
                for t in range(threads)
            ]
            self.write(f"sys/devices/system/node/node{package}/cpulist", ",".join(parts))
        self.write("sys/devices/system/cpu/online", online or f"0-{physical * threads - 1}")
        return self

    def memory(self, kilobytes: int) -> Machine:
        self.write("proc/meminfo", f"MemTotal:       {kilobytes} kB\nMemFree: 1 kB")
        return self

    def groups(self, lines: str, files: dict[str, object]) -> Machine:
        """Add control groups: this process's, and files below ``/sys/fs/cgroup``."""
        self.write("proc/self/cgroup", lines)
        for name, text in files.items():
            self.write(f"sys/fs/cgroup/{name}", text)
        return self

    def pci(self, address: str, numa: int, cores: str) -> Machine:
        self.write(f"sys/bus/pci/devices/{address}/numa_node", numa)
        self.write(f"sys/bus/pci/devices/{address}/local_cpulist", cores)
        return self

    def amd(self, node: int, bus: int, unique_id: int = 0) -> Machine:
        folder = f"sys/class/kfd/kfd/topology/nodes/{node}"
        self.write(f"{folder}/name", "gfx942")
        self.write(
            f"{folder}/properties",
            f"cpu_cores_count 0\nsimd_count 304\nlocation_id {bus << 8}\ndomain 0\n"
            f"unique_id {unique_id}\nodd line of words",
        )
        self.write(f"{folder}/mem_banks/0/properties", f"heap_type 1\nsize_in_bytes {128 * GIB}")
        return self

    def intel(self, card: int, address: str, tiles: int = 1, vendor: str = "0x8086") -> Machine:
        device = self.root / "sys/devices/pci0000:00" / address
        device.mkdir(parents=True, exist_ok=True)
        (device / "vendor").write_text(f"{vendor}\n")
        folder = self.root / f"sys/class/drm/card{card}"
        folder.mkdir(parents=True)
        (folder / "device").symlink_to(device)
        for tile in range(tiles):
            (folder / f"gt/gt{tile}").mkdir(parents=True)
        (folder / "lmem_total_bytes").write_text(f"{128 * GIB}\n")
        (self.root / f"sys/class/drm/card{card}-HDMI-A-1").mkdir()
        return self

    def nvidia(self, minor: int, address: str, uuid: str, name: str = "NVIDIA T4") -> Machine:
        """Add a device as the driver shows it in ``/proc``, for where there is no NVML."""
        self.write(
            f"proc/driver/nvidia/gpus/{address}/information",
            f"Model: \t\t {name}\nIRQ:   \t\t 46\nGPU UUID: \t {uuid}\nDevice Minor: \t {minor}",
        )
        self.write(f"dev/nvidia{minor}", "")
        return self


class Board(NamedTuple):
    """One device as NVML knows it; ``slices``: those it is cut into, ``None``: it cannot be."""

    uuid: str
    bus: str
    name: str = "NVIDIA A100-SXM4-40GB"
    slices: list[Slice | None] | None = None
    broken: bool = False


class Slice(NamedTuple):
    """One slice; a board lists ``None`` where none has that number.

    ``place``: its GPU instance and compute instance, where its driver tells them.
    """

    uuid: str
    name: str = "NVIDIA A100-SXM4-40GB MIG 1g.5gb"
    place: tuple[int, int] | None = None


class NVMLError(Exception):
    """As NVML's binding raises it."""


def nvml(*boards: Board, answers: bool = True) -> Any:
    """Return what stands for the module ``pynvml``."""

    def init() -> None:
        if not answers:
            raise NVMLError("Driver Not Loaded")

    def handle(number: int) -> Board:
        if boards[number].broken:
            raise NVMLError("GPU is lost")
        return boards[number]

    def part(board: Board, number: int) -> Slice:
        found = (board.slices or [])[number]
        if found is None:
            raise NVMLError("Not Found")
        return found

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=init,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: len(boards),
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetPciInfo=lambda board: SimpleNamespace(busId=f"0000{board.bus}".encode()),
        nvmlDeviceGetUUID=lambda thing: thing.uuid,
        nvmlDeviceGetName=lambda thing: thing.name.encode(),
        nvmlDeviceGetMemoryInfo=_memory,
        nvmlDeviceGetMigMode=_mode,
        nvmlDeviceGetMaxMigDeviceCount=lambda board: len(board.slices or []),
        nvmlDeviceGetMigDeviceHandleByIndex=part,
        nvmlDeviceGetGpuInstanceId=lambda part: _place(part)[0],
        nvmlDeviceGetComputeInstanceId=lambda part: _place(part)[1],
    )


def _mode(board: Board) -> list[int]:
    if board.slices is None:
        raise NVMLError("Not Supported")
    return [1, 1]


def _place(part: Slice) -> tuple[int, int]:
    if part.place is None:
        raise NVMLError("Function Not Found")
    return part.place


def _memory(thing: Board | Slice) -> SimpleNamespace:
    if thing.name == "Orin":
        raise NVMLError("Not Supported")
    return SimpleNamespace(total=(40 if isinstance(thing, Board) else 5) * GIB)
