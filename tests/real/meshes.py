"""Objects that only their serializer can take apart, and tasks that take and return them."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import numpy as np

import steerio


class Mesh:
    """Points with a name."""

    def __init__(self, points: Any, name: str) -> None:
        self.points, self.name = points, name

    def __reduce_ex__(self, protocol: object) -> Any:
        raise TypeError("meshes are not pickled")


steerio.register_serializer(Mesh, lambda mesh: (Mesh, (mesh.points, mesh.name)))


def refine(meshes: list[Mesh]) -> dict[str, Mesh]:
    """Return each mesh with points in between."""
    return {m.name: Mesh(np.repeat(m.points, 2), f"fine {m.name}") for m in meshes}


async def _main() -> None:
    async with steerio.open_session(workers={"default": 1}) as session:
        fine = await session.run(refine, [Mesh(np.arange(100_000.0), "a")])
    mesh = fine["a"]
    sys.stdout.write(f"{mesh.name} {len(mesh.points)} {mesh.points.sum()}\n")


def main() -> None:
    """Send meshes to a worker and back."""
    asyncio.run(_main())
