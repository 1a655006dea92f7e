"""What the search found, beside what other choices with the same budget find.

The measure is the share found of the *top*: the twentieth of all molecules that is hardest to
ionize. Where every molecule was computed, the top is known. Else it is estimated from those
that were: a molecule that a policy picked stands for itself, and one of the random sample that
nobody picked stands for all such.
"""

from __future__ import annotations

import csv
import heapq
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    Curve = NDArray[np.float64]

TOP_SHARE = 0.05
SHUFFLES = 400  # of the random sample, for the mean and the spread of random choice
SPREAD_PERCENT = (5.0, 95.0)
LISTED = 12


@dataclass(frozen=True)
class Pace:
    """When the tasks of a policy ended, in seconds from its start, and how busy its workers were.

    Tasks count in the order in which they were chosen.
    """

    ends_s: Curve
    busy: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return float(self.ends_s.max(initial=0.0))


def as_it_ran(spans_s: Sequence[tuple[float, float]], workers: int) -> Pace:
    """Return the pace of the search, from the (start, end) of each task."""
    began = min((start for start, end in spans_s if start and end), default=0.0)
    ends = [max(0.0, end - began) for _, end in spans_s]
    return Pace(np.maximum.accumulate(np.array(ends)), busy_share(spans_s, workers))


def as_batches_would(
    took_s: Sequence[float], rankings_s: Sequence[float], workers: int, batch: int
) -> Pace:
    """Return the pace of batches, had they had the workers for themselves.

    With the times that their tasks and rankings really took: each batch begins when the one
    before has ended and the ranking after it is there.
    """
    ends: list[float] = []
    now_s = 0.0
    for number, first in enumerate(range(0, len(took_s), batch)):
        free = [now_s] * workers  # a heap of when each worker is free again
        for seconds in took_s[first : first + batch]:
            ends.append(heapq.heappop(free) + seconds)
            heapq.heappush(free, ends[-1])
        now_s = max(free) + (rankings_s[number] if number < len(rankings_s) else 0.0)
    last_s = max(ends, default=0.0)
    return Pace(np.array(ends), sum(took_s) / (last_s * workers) if last_s else 0.0)


@dataclass(frozen=True)
class Comparison:
    """Which molecules each policy chose, in order, and the energies of them all, in eV.

    A molecule without an energy is one that failed: it was paid for and counts for nothing.

    Attributes:
        size: how many molecules there are to choose from.
        energies: of every molecule that was computed.
        steered: the choice of the search.
        batches: the choice that waits for the end of each batch.
        sample: drawn at random, at least as many as the budget.
        steered_pace: how fast the search was.
        batches_pace: how fast batches would have been on the same workers.
    """

    size: int
    energies: Mapping[str, float]
    steered: Sequence[str]
    batches: Sequence[str]
    sample: Sequence[str]
    steered_pace: Pace
    batches_pace: Pace

    @property
    def top_count(self) -> int:
        """How many molecules are the top."""
        return max(1, round(TOP_SHARE * self.size))

    @cached_property
    def top_begins_ev(self) -> float:
        """The energy from which on a molecule belongs to the top."""
        picked = {*self.steered, *self.batches}
        others = [smiles for smiles in self.sample if smiles not in picked]
        energies = np.concatenate([self._energies(list(picked)), self._energies(others)])
        stands_for = np.ones(len(energies))
        stands_for[len(picked) :] = (self.size - len(picked)) / max(1, len(others))
        order = np.argsort(-energies)
        above = np.cumsum(stands_for[order])
        place = int(np.searchsorted(above, self.top_count - 1e-6))
        return float(energies[order][min(place, len(order) - 1)])

    @property
    def exact(self) -> bool:
        """Whether every molecule was computed, so that the top is known and not estimated."""
        return len({*self.steered, *self.batches, *self.sample}) >= self.size

    def best_ev(self, chosen: Sequence[str]) -> Curve:
        """Return the best energy found after each task."""
        return np.maximum.accumulate(self._energies(chosen))

    def share(self, chosen: Sequence[str]) -> Curve:
        """Return the share of the top that was found after each task."""
        return np.cumsum(self._energies(chosen) >= self.top_begins_ev) / self.top_count

    def shuffled_sample(self) -> list[list[str]]:
        """Return random choices with the budget of the search, all from the one sample."""
        rng = np.random.default_rng(0)
        tasks = len(self.steered)
        places = (rng.permutation(len(self.sample))[:tasks] for _ in range(SHUFFLES))
        return [[self.sample[int(place)] for place in shuffled] for shuffled in places]

    def _energies(self, chosen: Sequence[str]) -> Curve:
        return np.array([self.energies.get(smiles, -math.inf) for smiles in chosen])


def busy_share(spans_s: Sequence[tuple[float, float]], workers: int) -> float:
    """Return the share of their time that workers worked, from the (start, end) of each task."""
    spans_s = [span for span in spans_s if all(span)]  # a lost task has no times
    if not spans_s or workers < 1:
        return 0.0
    held_s = max(end for _, end in spans_s) - min(start for start, _ in spans_s)
    return sum(end - start for start, end in spans_s) / (held_s * workers)


def found(comparison: Comparison) -> str:
    """Return a table of the best molecules that the search found."""
    energies = comparison.energies
    asked = {smiles: task for task, smiles in enumerate(comparison.steered, 1)}
    best = sorted((s for s in asked if s in energies), key=energies.__getitem__, reverse=True)
    lines = ["hardest to ionize, of those found       eV    task   molecule"]
    lines += [
        f"{place:>4}{energies[smiles]:38.2f}{asked[smiles]:8}   {smiles}"
        for place, smiles in enumerate(best[:LISTED], 1)
    ]
    return "\n".join(lines)


def compared(comparison: Comparison, batch: int) -> str:
    """Return a table of what each policy found with the budget of the search.

    By chance a policy would find of the top what share it computes of the space; what really
    was drawn by lot differs a little from that.
    """
    tasks, top = len(comparison.steered), comparison.top_count
    shuffled = comparison.shuffled_sample()
    random_best = float(np.mean([comparison.best_ev(chosen)[-1] for chosen in shuffled]))
    random_share = float(np.mean([comparison.share(chosen)[-1] for chosen in shuffled]))
    rows = [
        (
            name,
            float(comparison.best_ev(chosen)[-1]),
            float(comparison.share(chosen)[-1]),
            f"{pace.seconds:10.1f}{pace.busy:7.0%}",
        )
        for name, chosen, pace in (
            ("steered", comparison.steered, comparison.steered_pace),
            (f"batches of {batch}", comparison.batches, comparison.batches_pace),
        )
    ]
    rows.append(("random (mean)", random_best, random_share, ""))
    known = "known, all were computed" if comparison.exact else "estimated from those computed"
    lines = [
        f"{tasks} tasks among {comparison.size} molecules",
        f"the top {TOP_SHARE:.0%}: {top} from {comparison.top_begins_ev:.2f} eV on ({known})",
        "policy             best eV   of the top   found   times by chance   seconds   busy",
    ]
    for name, best, share, pace in rows:
        times = share / (tasks / comparison.size)
        lines.append(f"{name:<16}{best:10.2f}{share * top:13.0f}{share:8.0%}{times:18.1f}{pace}")
    return "\n".join(lines)


def draw(comparison: Comparison, batch: int, path: Path) -> None:
    """Draw what was found against tasks spent, and against time, and write the picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.5), layout="constrained")
    axes = figure.subplots(1, 3)
    tasks = np.arange(1, len(comparison.steered) + 1)
    shuffled = comparison.shuffled_sample()
    for ax, curve, title in (
        (axes[0], comparison.best_ev, "Best ionization energy found, eV"),
        (axes[1], comparison.share, f"Share found of the top {TOP_SHARE:.0%}"),
    ):
        at_random = np.array([curve(chosen) for chosen in shuffled])
        low, high = np.percentile(at_random, SPREAD_PERCENT, axis=0)
        spent = tasks[: at_random.shape[1]]
        ax.fill_between(spent, low, high, color="#888888", alpha=0.25, linewidth=0)
        ax.plot(spent, at_random.mean(axis=0), color="#666666", label="random (mean, 5-95 %)")
        ax.plot(
            tasks[: len(comparison.batches)],
            curve(comparison.batches),
            color="#d95f02",
            linestyle="--",
            label=f"batches of {batch}",
        )
        ax.plot(tasks, curve(comparison.steered), color="#1b6ca8", linewidth=2, label="steered")
        ax.set_title(title, loc="left")
        ax.set_xlabel("tasks spent")
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
    perfect = np.minimum(tasks / comparison.top_count, 1.0)
    axes[1].plot(tasks, perfect, color="#999999", linestyle=":", label="every task a hit")
    axes[1].yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    _draw_against_time(axes[2], comparison)
    lines, names = axes[1].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside lower center", ncols=len(names), frameon=False)
    figure.savefig(path, dpi=120)


def _draw_against_time(ax: Axes, comparison: Comparison) -> None:
    """Draw the share of the top against seconds: where batches lose, as their workers wait."""
    for chosen, pace, color, style in (
        (comparison.batches, comparison.batches_pace, "#d95f02", "--"),
        (comparison.steered, comparison.steered_pace, "#1b6ca8", "-"),
    ):
        order = np.argsort(pace.ends_s, kind="stable")
        share = comparison.share([chosen[int(place)] for place in order])
        ax.plot(pace.ends_s[order], share, color=color, linestyle=style)
        ax.annotate(
            f"{pace.busy:.0%} busy",
            (pace.ends_s[order[-1]], share[-1]),
            xytext=(-4, -14),
            textcoords="offset points",
            ha="right",
            color=color,
        )
    ax.set_title("The same against time", loc="left")
    ax.set_xlabel("seconds")
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)


def write_energies(path: Path, energies: Mapping[str, float], seconds: Mapping[str, float]) -> None:
    """Write every molecule that was computed, the best first, with the time it took."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["smiles", "ionization_energy_ev", "seconds"])
        for smiles in sorted(energies, key=energies.__getitem__, reverse=True):
            took = f"{seconds[smiles]:.4f}" if smiles in seconds else ""
            rows.writerow([smiles, f"{energies[smiles]:.6f}", took])
