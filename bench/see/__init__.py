"""The claims about looking at runs: the cost of an open page, and of a report of a long one.

Each module has its `CLAIMS` and `measure(effort)`, as those of the spine do.
"""

from __future__ import annotations

from bench.part import Part, name_of
from bench.see import dashboard, report, updates

PARTS: dict[str, Part] = {
    name_of(module): Part(module.CLAIMS, module.measure) for module in (dashboard, updates, report)
}
"""By the name that `--only` takes, in the order of the print-out."""
