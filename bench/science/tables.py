"""The two tables, as text that is Markdown too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any

from bench.measurement import amount
from steerio.model.showing import counted

COMPARED = ("example, and policy", "score", "cost", "busy")
SCALE = ("example", "workers", "tasks", "busy", "moves", "time to solution")


def compared_table(found: dict[str, dict[str, Any]]) -> str:
    """The examples beside their baselines; an example's first way is the steered one."""
    rows: list[tuple[str, ...]] = []
    for name, each in found.items():
        seeds = len(each["ways"][0]["score"])
        arrow = "more" if each["better"] == "higher" else "less"
        about = f"**{name}**: {each['setting']}; {counted(seeds, 'seed')}; "
        about += f"{each['lines']} lines of policy"
        rows.append((about, f"{each['score']} ({arrow} is better)", each["cost"], ""))
        for number, way in enumerate(each["ways"]):
            shown = f"**{way['way']}**" if number == 0 else way["way"]
            busy = f"{mean(way['busy']):.0%}"
            rows.append((shown, spread(way["score"]), spread(way["cost"]), busy))
    told = [f"- {name}: {each['does_not_pay']}." for name, each in found.items()]
    return "\n".join([lines(COMPARED, rows), "", "When steering does not pay:", "", *told])


def scale_table(found: Sequence[dict[str, Any]]) -> str:
    """The policies on many simulated workers."""
    rows = [
        (
            each["example"],
            f"{each['workers']:,}",
            f"{each['tasks']:,}",
            f"{each['busy']:.0%}",
            f"{each['moves']:,}",
            f"{amount(each['duration_s'])} s",
        )
        for each in found
    ]
    return lines(SCALE, rows)


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation, to the third digit of the mean; of one value the mean alone."""
    middle = mean(values)
    digits = 3 if middle == 0 else max(0, 2 - math.floor(math.log10(abs(middle))))
    if len(values) == 1:
        return f"{middle:,.{digits}f}"
    return f"{middle:,.{digits}f} ± {stdev(values):,.{digits}f}"


def lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with aligned columns."""
    every = [headings, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(headings))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in every
    ]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(shown)
