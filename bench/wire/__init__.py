"""The claims about the wire: what it costs, and what becomes of it under load and faults.

Each module has its `CLAIMS` and `measure(effort)`, as those of the spine do.
"""

from __future__ import annotations

from bench.part import Part, name_of
from bench.wire import standing

PARTS: dict[str, Part] = {
    name_of(module): Part(module.CLAIMS, module.measure) for module in (standing,)
}
"""By the name that `--only` takes, in the order of the print-out."""
