"""AMD's and Intel's accelerators, as Linux shows them, and the NUMA node of a device.

AMD: the driver's ``kfd`` topology lists devices in the order of ROCm's runtime.  Intel:
discrete devices under ``/sys/class/drm``; each tile of one counts as a device, as Level
Zero shows them (``ZE_FLAT_DEVICE_HIERARCHY=FLAT``, its default), unless that is set to
``COMPOSITE``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import structs

from steerio.model.places import Accelerator

KFD = "sys/class/kfd/kfd/topology/nodes"
DRM = "sys/class/drm"
PCI = "sys/bus/pci/devices"
INTEL = "0x8086"
INTEGRATED = "0000:00:02.0"
"""The bus address of the graphics in Intel's processors."""


def find_amd(root: Path, environ: Mapping[str, str], notes: list[str]) -> list[Accelerator]:
    """Return AMD's devices that may be used."""
    found: list[Accelerator] = []
    uuids: dict[str, int] = {}
    for folder in sorted((root / KFD).glob("[0-9]*"), key=lambda folder: int(folder.name)):
        said = _properties(folder / "properties")
        if not said.get("simd_count"):
            continue  # a processor, or a device that is not ours to read
        place = said.get("location_id", 0)
        address = f"{said.get('domain', 0):04x}:{place >> 8 & 255:02x}:{place >> 3 & 31:02x}"
        numa, cores = pci_place(root, f"{address}.{place & 7}")
        banks = (folder / "mem_banks").glob("*/properties")
        device = Accelerator(
            vendor="amd",
            index=len(found),
            id=str(len(found)),
            name=read_text(folder / "name"),
            memory_bytes=max((_properties(b).get("size_in_bytes", 0) for b in banks), default=0),
            numa=numa,
            cores=cores,
        )
        uuids[f"gpu-{said.get('unique_id', 0):016x}"] = device.index
        found.append(device)
    if not found:
        return found

    def by_uuid(entry: str) -> int | None:
        return uuids.get(entry.lower())

    seen = _visible(found, "ROCR_VISIBLE_DEVICES", environ, notes, by_uuid)
    # HIP heeds CUDA's variable if its own is not set, and none that is empty
    told = [name for name in ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES") if environ.get(name)]
    return _visible(seen, told[0], environ, notes) if told else seen


def find_intel(root: Path, environ: Mapping[str, str], notes: list[str]) -> list[Accelerator]:
    """Return Intel's discrete devices that may be used."""
    whole = environ.get("ZE_FLAT_DEVICE_HIERARCHY", "FLAT").upper() == "COMPOSITE"
    found: list[Accelerator] = []
    for card in _cards(root):
        address = (card / "device").resolve().name
        if address == INTEGRATED:
            notes.append("Intel's integrated graphics are left out: they are no accelerator")
            continue
        numa, cores = pci_place(root, address)
        tiles = max(1, len([*card.glob("gt/gt[0-9]*")] or [*card.glob("device/tile[0-9]*")]))
        memory = read_text(card / "lmem_total_bytes")
        parts = 1 if whole else tiles
        for tile in range(parts):
            found.append(
                Accelerator(
                    vendor="intel",
                    index=len(found),
                    id=str(len(found)),
                    name=f"{address} tile {tile}" if parts > 1 else address,
                    memory_bytes=int(memory) // parts if memory.isdigit() else 0,
                    numa=numa,
                    cores=cores,
                    parent=address if parts > 1 else "",
                )
            )
    return _visible(found, "ZE_AFFINITY_MASK", environ, notes) if found else found


def _cards(root: Path) -> list[Path]:
    """Return Intel's cards, in the order of their places on the bus."""
    cards = [
        card
        for card in (root / DRM).glob("card[0-9]*")
        if card.name[4:].isdigit() and read_text(card / "device/vendor") == INTEL
    ]
    return sorted(cards, key=lambda card: (card / "device").resolve().name)


# -- functions for all vendors ----------------------------------------------------------------


def pci_place(root: Path, address: str) -> tuple[int | None, tuple[int, ...]]:
    """Return NUMA node and near cores of a device on the PCI bus, as far as they are known."""
    domain, _, rest = address.lower().partition(":")
    folder = root / PCI / f"{domain[-4:]}:{rest}"
    numa = read_text(folder / "numa_node")
    cores = tuple(sorted(numbers_in(read_text(folder / "local_cpulist"))))
    return (int(numa) if numa.isdigit() else None), cores  # -1: it does not know


def with_cores_in(device: Accelerator, allowed: set[int]) -> Accelerator:
    """Return a device without those near cores that may not be used."""
    return structs.replace(device, cores=tuple(c for c in device.cores if c in allowed))


def _visible(
    found: list[Accelerator],
    variable: str,
    environ: Mapping[str, str],
    notes: list[str],
    number_of: Callable[[str], int | None] = lambda _: None,
) -> list[Accelerator]:
    """Return the devices that a variable leaves; it counts from 0, and ends at a wrong entry."""
    if variable not in environ:
        return found
    seen: list[Accelerator] = []
    for entry in environ[variable].split(","):
        entry = entry.strip()
        number = int(entry) if entry.isdigit() else number_of(entry)
        if number is None or number >= len(found):
            break
        if found[number] not in seen:
            seen.append(found[number])
    if len(seen) < len(found):
        vendor = found[0].vendor
        told = f"{variable}={environ[variable]}"
        notes.append(f"{told} leaves {len(seen)} of {len(found)} {vendor} devices")
    return seen


def numbers_in(text: str) -> set[int]:
    """Read numbers as the system writes them: ``0-3,8``."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit():
            found |= set(range(int(first), int(last or first) + 1))
    return found


def _properties(file: Path) -> dict[str, int]:
    """Read lines of a name and a number."""
    pairs = (line.split() for line in read_text(file).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def read_text(path: Path) -> str:
    """Return the text of a file; ``""`` if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
