"""Functions that tests have workers run on a device, found by their import path.

torch is imported where it is used: it is not among what the tests install.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from tests.real import deeds

HELD_BYTES = 4 * 2**30


def load_torch() -> Any:
    """Import it."""
    return importlib.import_module("torch")


def look() -> dict[str, Any]:
    """Compute on the device that is seen, and tell which that is, and where this runs."""
    warm = "torch" in sys.modules
    torch = load_torch()
    found: dict[str, Any] = {
        "pid": os.getpid(),
        "warm": warm,
        "cores": sorted(os.sched_getaffinity(0)),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "devices": torch.cuda.device_count(),
    }
    if found["devices"]:
        twos = torch.full((64, 64), 2.0, device="cuda")
        found["uuid"] = str(torch.cuda.get_device_properties(0).uuid)
        found["sum"] = (twos @ twos).sum().item()
    return found


def look_together(count: int, mark: Path) -> dict[str, Any]:
    """Do so while so many workers have a context."""
    found = look()
    (mark / str(os.getpid())).touch()
    while len(list(mark.iterdir())) < count:
        os.sched_yield()
    return found


def free_bytes() -> int:
    """Return how much of the device's memory is free."""
    return load_torch().cuda.mem_get_info()[0]


def hold_memory() -> None:
    """Hold a context and much memory, and never end."""
    torch = load_torch()
    held = torch.ones(HELD_BYTES, dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    deeds.swallow_everything()
    del held
