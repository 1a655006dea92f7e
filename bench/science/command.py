"""The command `python -m bench science`: compares the examples, then scales them, and prints."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.science.joined import AT_SCALE, COMPARE, EXAMPLES, NotMeasuredError, having, outcome
from bench.science.tables import compared_table, scale_table

SCALE_PART = "scale"
SIZES, QUICK_SIZES = (64, 1024), (64,)


def parts(examples: Path = EXAMPLES) -> list[str]:
    """Name what `--only` takes: the examples, and the table of scale."""
    return [*having(COMPARE, examples), SCALE_PART]


def science(
    only: Sequence[str], quick: bool, json_file: Path | None, examples: Path = EXAMPLES
) -> int:
    """Measure, print, write; returns the exit code: 1 if an example could not be measured."""
    failed: list[str] = []

    def measured(name: str, function: str, argument: object, said: str) -> Any:
        print(f"{said} ...", end=" ", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            found = outcome(name, function, argument, examples)
        except NotMeasuredError as error:
            failed.append(f"{said} was not measured: {error}")
            found = None
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        return found

    compared: dict[str, dict[str, Any]] = {}
    for name in having(COMPARE, examples):
        if (not only or name in only) and (found := measured(name, COMPARE, quick, name)):
            compared[name] = found
    scaled: list[dict[str, Any]] = []
    for name in having(AT_SCALE, examples) if not only or SCALE_PART in only else ():
        for workers in QUICK_SIZES if quick else SIZES:
            if found := measured(name, AT_SCALE, workers, f"{name} on {workers:,} workers"):
                scaled.append({"example": name, "workers": workers, **found})
    shown = [compared_table(compared)] if compared else []
    shown += [scale_table(scaled)] if scaled else []
    print("\n\n".join([*shown, *failed]))
    if json_file is not None:
        content = {"compared": compared, "scale": scaled, "failed": failed}
        json_file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 1 if failed else 0
