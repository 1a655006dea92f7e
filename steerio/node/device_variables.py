"""The table of the variables that tell a process its devices and threads, for every vendor.

Tasks ask for accelerators; only this table, and the probe, know brands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from steerio.model.places import Accelerator

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""The variables for the threads of numeric libraries (torch heeds the first and third)."""
BY_ID: Mapping[str, str] = {
    "nvidia": "CUDA_VISIBLE_DEVICES",
    "amd": "ROCR_VISIBLE_DEVICES",
    "intel": "ZE_AFFINITY_MASK",
}
"""The variable that takes a vendor's ids."""
BY_POSITION: Mapping[str, str] = {"amd": "HIP_VISIBLE_DEVICES"}
"""A second filter behind the first, which counts the devices that this leaves from 0."""
HIDES_ALL = "-1"
"""No device has this number.  (Level Zero's mask has no such value: it is left alone.)"""
CANNOT_HIDE = ("intel",)


def device_variables(given: Sequence[Accelerator], vendors: Iterable[str]) -> dict[str, str]:
    """Return the variables that show a process these devices, and no other of these vendors."""
    variables: dict[str, str] = {}
    for vendor in sorted(set(vendors)):
        ids = [device.id for device in given if device.vendor == vendor]
        if ids:
            variables[BY_ID[vendor]] = ",".join(ids)
            if vendor in BY_POSITION:
                variables[BY_POSITION[vendor]] = ",".join(str(place) for place in range(len(ids)))
        elif vendor not in CANNOT_HIDE:
            variables[BY_ID[vendor]] = HIDES_ALL
            if vendor in BY_POSITION:
                variables[BY_POSITION[vendor]] = HIDES_ALL
    return variables


def thread_variables(threads: int, already: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for so many threads, without those that are set already."""
    return {name: str(threads) for name in THREAD_VARIABLES if name not in already}
