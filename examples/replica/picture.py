"""The live picture of the replica: the plant as it was seen, and the futures that it may have."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from plant import INTERVAL


class Row(NamedTuple):
    """The plant, and the knowledge of it, at one measurement."""

    minute: float
    measured: float
    kelvin: float
    kelvin_sd: float
    converted: float
    transfer: float
    transfer_sd: float
    coolant: float
    lag_s: float


def draw(file: str, history: list[Row], now: float, ahead: dict[float, Any]) -> None:
    """Draw the picture, in place of the one before.

    Args:
        file: where to.
        history: all that was measured and found.
        now: the minute from which the futures begin.
        ahead: quantiles (5, 50 and 95 %) of the temperatures to come, by coolant.
    """
    from matplotlib.figure import Figure

    minutes, measured, kelvin, _, _, transfer, _, coolant, _ = zip(*history, strict=True)
    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for index, (cooled, (low, middle, high)) in enumerate(ahead.items()):
        times = [now + INTERVAL * (step + 1) for step in range(len(middle))]
        colour = f"C{index + 1}"
        above.plot(times, middle, colour, label=f"with coolant of {cooled:g} K")
        above.fill_between(times, low, high, color=colour, alpha=0.12, lw=0)
    above.plot(minutes, measured, "k.", ms=3, label="measured")
    above.plot(minutes, kelvin, "C0", label="replica")
    above.set(ylabel="temperature in K", ylim=(305, 380))
    above.legend(fontsize=8, loc="upper left", ncols=2)
    low, high = ([row.transfer + way * row.transfer_sd for row in history] for way in (-2, 2))
    below.fill_between(minutes, low, high, color="C0", alpha=0.25, lw=0)
    below.plot(minutes, transfer, "C0")
    below.set(xlabel="minutes", ylabel="heat transfer, of a clean coil", ylim=(0, 1.3))
    other = below.twinx()
    other.step(minutes, coolant, "C3", where="pre")
    other.set_ylabel("coolant in K", color="C3")
    part = Path(file).with_suffix(".part.png")
    figure.savefig(part, dpi=110)
    part.replace(file)
