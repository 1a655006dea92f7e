"""What a run's ``events.jsonl`` says of its pools: their sizes and busy workers over time."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

POOLS = ("simulate", "learn", "infer")
SLOTS = 150
"""Of how many pieces the line of busy workers is: each is the mean over its time."""
COLOURS = {"simulate": "#4477aa", "learn": "#ee6677", "infer": "#ccbb44"}


@dataclass
class Course:
    """Sizes and busy workers by pool, at each moment in which one of them changed.

    ``at`` are seconds since the first task began; the course ends when the last one did.
    """

    at: list[float] = field(default_factory=list)
    sizes: dict[str, list[int]] = field(default_factory=lambda: {pool: [] for pool in POOLS})
    busy: dict[str, list[int]] = field(default_factory=lambda: {pool: [] for pool in POOLS})

    @property
    def duration_s(self) -> float:
        """Seconds from the first task's begin to the last one's end."""
        return self.at[-1]

    @property
    def busy_share(self) -> float:
        """The share of all workers' time that was spent in tasks, from 0 to 1."""
        return self._integral(self.busy) / self._integral(self.sizes)

    def busy_means(self) -> tuple[list[float], list[float]]:
        """Return seconds, and how many workers were busy on average in the time until then."""
        total = [sum(counts) for counts in zip(*self.busy.values(), strict=True)]
        width = self.duration_s / SLOTS
        slots = [0.0] * SLOTS
        for begin, end, count in zip(self.at, self.at[1:], total, strict=False):
            while begin < end:
                slot = min(SLOTS - 1, int(begin / width))
                until = end if slot == SLOTS - 1 else min(end, (slot + 1) * width)
                slots[slot] += count * (until - begin) / width
                begin = until if until > begin else end
        return [width * (n + 0.5) for n in range(SLOTS)], slots

    def _integral(self, counts: dict[str, list[int]]) -> float:
        steps = zip(self.at, self.at[1:], range(len(self.at)), strict=False)
        return sum((b - a) * sum(each[n] for each in counts.values()) for a, b, n in steps)


def course_of(run_dir: Path) -> Course:
    """Read the course of a run."""
    with (run_dir / "events.jsonl").open() as lines:
        return course([json.loads(line) for line in lines])


def course(events: Iterable[dict[str, Any]]) -> Course:
    """Work out the course from a run's events."""
    told = Course()
    sizes: dict[str, int] = dict.fromkeys(POOLS, 0)
    busy = dict(sizes)
    began = None
    running: dict[int, str] = {}
    for event in events:
        kind, pool = event["type"], str(event.get("pool"))
        if kind == "WorkerJoined":
            sizes[pool] += 1
        elif kind == "WorkerMoved":
            sizes[pool] += 1
            sizes[event["source"]] -= 1
        elif kind == "TaskStarted":
            busy[pool] += 1
            running[event["task_id"]] = pool
        elif kind == "TaskEnded" and event["task_id"] in running:
            busy[running.pop(event["task_id"])] -= 1
        else:
            continue
        if kind == "TaskStarted" and began is None:
            began = event["at"]
        if began is not None:
            told.at.append(event["at"] - began)
            for name in POOLS:
                told.sizes[name].append(sizes[name])
                told.busy[name].append(busy[name])
    return told


def draw(courses: Sequence[tuple[str, Course]], file: Path) -> None:
    """Draw runs below each other: pools as areas, the busy ones of their workers as a line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2 * len(courses)), layout="constrained")
    rows = figure.subplots(len(courses), 1, sharex=True, squeeze=False)
    for (title, told), (axes,) in zip(courses, rows, strict=True):
        areas = [told.sizes[pool] for pool in POOLS]
        axes.stackplot(
            told.at,
            *areas,
            step="post",
            labels=[f"{pool} pool" for pool in POOLS],
            colors=[COLOURS[pool] for pool in POOLS],
            alpha=0.6,
        )
        axes.plot(*told.busy_means(), color="black", linewidth=1.2, label="busy workers")
        axes.set_title(f"{title}: {told.busy_share:.1%} busy, {told.duration_s:.1f} s", loc="left")
        axes.set_ylabel("workers")
        axes.margins(x=0)
    rows[-1, 0].legend(loc="lower right", fontsize="small")
    rows[-1, 0].set_xlabel("seconds")
    figure.savefig(file, dpi=120)
