"""The claims about recorded results: their cost at each level, resuming, and the journal alone.

Each module has its `CLAIMS` and `measure(effort)`, as those of the spine do.
"""

from __future__ import annotations

from bench.durable import append, ended, levels, resuming
from bench.part import Part, name_of

PARTS: dict[str, Part] = {
    name_of(module): Part(module.CLAIMS, module.measure)
    for module in (levels, resuming, ended, append)
}
"""By the name that `--only` takes, in the order of the print-out."""
