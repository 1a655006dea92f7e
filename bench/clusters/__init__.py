"""The claims about clusters: steerio as an engine for others, many nodes, ranks of MPI.

Each module has its `CLAIMS` and `measure(effort)`, as those of the spine do.
"""

from __future__ import annotations

from bench.clusters import executor, large_core, large_start, mpi_start, on_parsl, two_sites
from bench.part import Part, name_of

PARTS: dict[str, Part] = {
    name_of(module): Part(module.CLAIMS, module.measure)
    for module in (executor, on_parsl, large_start, large_core, mpi_start, two_sites)
}
"""By the name that `--only` takes, in the order of the print-out."""
