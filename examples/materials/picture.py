"""Busy workers by stage over time, of simulated runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from frameworks import Array

from steerio.testing import SimulatedRun

SLOTS = 200
"""Pieces of time; in each the mean is shown."""
COLOURS = {
    "generate": "#ccbb44",
    "assemble": "#66ccee",
    "pores": "#228833",
    "relax": "#4477aa",
    "adsorb": "#ee6677",
    "train": "#aa3377",
}


def busy_by_stage(ran: SimulatedRun[Any]) -> tuple[Array, dict[str, Array]]:
    """Return times, and the workers that were busy with each stage in the time around each."""
    width = ran.duration_s / SLOTS
    edges = width * np.arange(SLOTS + 1)
    busy = {stage: np.zeros(SLOTS) for stage in COLOURS}
    for record in ran.records:
        stage = record.task_type.rpartition(":")[2]
        if stage not in busy or record.started is None or record.ended is None:
            continue
        covered = np.minimum(record.ended, edges[1:]) - np.maximum(record.started, edges[:-1])
        busy[stage] += np.maximum(covered, 0.0) / width
    return (edges[1:] + edges[:-1]) / 2, busy


def draw(runs: Sequence[tuple[str, SimulatedRun[Any]]], file: Path) -> None:
    """Draw runs below each other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.8 * len(runs)), layout="constrained")
    rows = figure.subplots(len(runs), 1, sharex=True, sharey=True, squeeze=False)
    for (title, ran), (axes,) in zip(runs, rows, strict=True):
        times, busy = busy_by_stage(ran)
        axes.stackplot(times, *busy.values(), labels=list(busy), colors=list(COLOURS.values()))
        axes.set_title(f"{title}: {ran.utilisation():.0%} busy", loc="left")
        axes.set_ylabel("busy workers")
        axes.margins(x=0, y=0)
    rows[0, 0].legend(loc="lower right", fontsize="small", ncols=3)
    rows[-1, 0].set_xlabel("seconds")
    figure.savefig(file, dpi=110)
