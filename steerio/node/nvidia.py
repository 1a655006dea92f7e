"""NVIDIA's accelerators: through NVML if it is there, else from ``/proc``.

Devices are named by UUID, for CUDA's numbers depend on ``CUDA_DEVICE_ORDER`` and are not
those of NVML.  A device in MIG mode cannot be used itself; its slices take its place, and
a process can use only one of them (NVIDIA, MIG User Guide, "CUDA device enumeration").

A slice is named by its place, ``MIG-GPU-<uuid>/<gi>/<ci>``, and since driver R470 also by a
UUID of its own, ``MIG-<uuid>`` (NVML API Reference, change log).  A worker is told the name that
NVML gives, by which the driver goes; limits that others have set may use either.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import structs

from steerio.model.places import Accelerator
from steerio.node.devices import numbers_in, pci_place

GPUS = "proc/driver/nvidia/gpus"
CAPABILITIES = "proc/driver/nvidia/capabilities"
VISIBLE = "CUDA_VISIBLE_DEVICES"
INSTALL = "pip install 'steerio[gpu]' reads more of it"


class Found(NamedTuple):
    """A device, the number of its board (of which it may be a slice), and a slice's older name."""

    board: int
    device: Accelerator
    older: str = ""

    def is_meant(self, entry: str) -> bool:
        """Say whether a visibility variable's entry names it, or the board that it is cut from."""
        if entry.isdigit():
            return self.board == int(entry)
        if "/" in entry:  # as a beginning, .../1 would also mean .../11/0
            return entry in (self.device.id, self.older)
        return bool(entry) and (self.device.id.startswith(entry) or entry == self.device.parent)


def find(root: Path, environ: Mapping[str, str], nvml: Any, notes: list[str]) -> list[Accelerator]:
    """Return the devices that may be used.

    Args:
        root: the folder of the machine's files.
        environ: has the variables that say which are visible.
        nvml: the module ``pynvml``, or ``None``.
        notes: gets a line for each device that is left out, with the reason.
    """
    found = _ask(root, nvml, notes) if nvml is not None else None
    if found is None:
        found = _read(root, notes)
    if VISIBLE in environ:
        return _visible(found, environ, notes)
    return _of_slurm(found, environ, notes)


# -- NVML -------------------------------------------------------------------------------------


def _ask(root: Path, nvml: Any, notes: list[str]) -> list[Found] | None:
    """Ask NVML; ``None`` if it does not answer."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        if (root / GPUS).is_dir():
            notes.append(f"NVML does not answer: {error}")
        return None
    try:
        found: list[Found] = []
        for number in range(nvml.nvmlDeviceGetCount()):
            try:
                found += _board(root, nvml, number, notes)
            except nvml.NVMLError as error:
                notes.append(f"nvidia {number} is left out: {error}")
        return [
            each._replace(device=structs.replace(each.device, index=index))
            for index, each in enumerate(found)
        ]
    finally:
        nvml.nvmlShutdown()


def _board(root: Path, nvml: Any, number: int, notes: list[str]) -> list[Found]:
    handle = nvml.nvmlDeviceGetHandleByIndex(number)
    address = _string(nvml.nvmlDeviceGetPciInfo(handle).busId)
    numa, cores = pci_place(root, address)
    board = Accelerator(
        vendor="nvidia",
        index=number,
        id=_string(nvml.nvmlDeviceGetUUID(handle)),
        name=_string(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=_memory(nvml, handle),
        numa=numa,
        cores=cores,
    )
    if not _is_sliced(nvml, handle):
        return [Found(number, board)]
    slices: list[Found] = []
    for position in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, position)
        except nvml.NVMLError:
            continue  # no slice has this number
        slice_ = structs.replace(
            board,
            id=_string(nvml.nvmlDeviceGetUUID(part)),
            name=_string(nvml.nvmlDeviceGetName(part)),
            memory_bytes=_memory(nvml, part),
            parent=board.id,
            lone=True,
        )
        slices.append(Found(number, slice_, _older_name(nvml, board, part)))
    if not slices:
        notes.append(f"nvidia {number} is left out: it is in MIG mode and has no slices")
    return slices


def _is_sliced(nvml: Any, handle: Any) -> bool:
    try:
        return bool(nvml.nvmlDeviceGetMigMode(handle)[0])
    except nvml.NVMLError:
        return False  # most products know no slices


def _older_name(nvml: Any, board: Accelerator, part: Any) -> str:
    try:
        instance = nvml.nvmlDeviceGetGpuInstanceId(part)
        return f"MIG-{board.id}/{instance}/{nvml.nvmlDeviceGetComputeInstanceId(part)}"
    except nvml.NVMLError:
        return ""  # then no variable can name it so


def _memory(nvml: Any, handle: Any) -> int:
    try:
        return int(nvml.nvmlDeviceGetMemoryInfo(handle).total)
    except nvml.NVMLError:
        return 0  # it shares the host's


def _string(value: str | bytes) -> str:
    """Return a text, of which older versions of the library return bytes."""
    return value.decode() if isinstance(value, bytes) else value


# -- without NVML -----------------------------------------------------------------------------


def _read(root: Path, notes: list[str]) -> list[Found]:
    """Read the devices that the driver lists; it names no slices."""
    found: list[Found] = []
    for number, file in enumerate(sorted((root / GPUS).glob("*/information"))):
        said = _information(file)
        minor = said.get("Device Minor", str(number))
        if not (root / f"dev/nvidia{minor}").exists():
            notes.append(f"nvidia {number} is left out: /dev/nvidia{minor} is not here")
        elif any((root / CAPABILITIES / f"gpu{minor}/mig").glob("gi*")):
            notes.append(f"nvidia {number} is left out: it is in MIG mode; {INSTALL}")
        else:
            numa, cores = pci_place(root, file.parent.name)
            uuid = said.get("GPU UUID", "?")  # question marks until the device was used
            device = Accelerator(
                vendor="nvidia",
                index=len(found),
                id=str(len(found)) if "?" in uuid else uuid,
                name=said.get("Model", ""),
                numa=numa,
                cores=cores,
            )
            found.append(Found(len(found), device))
    return found


def _information(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


# -- limits -----------------------------------------------------------------------------------


def _visible(found: list[Found], environ: Mapping[str, str], notes: list[str]) -> list[Accelerator]:
    """Return the devices that CUDA would show: it stops at the first entry that names none."""
    told = environ[VISIBLE]
    seen: list[Accelerator] = []
    for entry in told.split(","):
        named = [each.device for each in found if each.is_meant(entry.strip())]
        if not named:
            break
        seen += [device for device in named if device not in seen]
    if len(seen) < len(found):
        notes.append(f"{VISIBLE}={told} leaves {len(seen)} of {len(found)} nvidia devices")
    kinds = {each.device.name for each in found if not each.device.lone}
    ordered = environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if len(kinds) > 1 and not ordered and any(part.strip().isdigit() for part in told.split(",")):
        notes.append(
            f"{VISIBLE} counts devices of several kinds, fastest first, and we by their place: "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name them by UUID"
        )
    return seen


def _of_slurm(
    found: list[Found], environ: Mapping[str, str], notes: list[str]
) -> list[Accelerator]:
    """Return the devices that Slurm gave, if it does not confine the job to them.

    If it does, we see no others, and its numbers are not ours.
    """
    told = environ.get("SLURM_STEP_GPUS", environ.get("SLURM_JOB_GPUS", ""))
    given = numbers_in(told)
    boards = {each.board for each in found}
    if given and given < boards:
        notes.append(f"Slurm gave this job nvidia {told} of {len(boards)}")
        return [each.device for each in found if each.board in given]
    return [each.device for each in found]
