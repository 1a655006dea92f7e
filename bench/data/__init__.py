"""The claims about large values: put, read, passed by reference, and passed inline.

Each module has its `CLAIMS` and `measure(effort)`, as those of the spine do.
"""

from __future__ import annotations

from bench.data import again, broker, footprint, inline, put, read, stall, submit, used
from bench.part import Part, name_of

PARTS: dict[str, Part] = {
    name_of(module): Part(module.CLAIMS, module.measure)
    for module in (used, again, put, submit, read, stall, inline, footprint, broker)
}
"""By the name that `--only` takes, in the order of the print-out."""
