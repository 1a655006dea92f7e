"""An optimizer of one's own, asynchronous: a Gaussian process and expected improvement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel

from steerio.asktell import EndedTrial, Optimizer, Suggestion

FIRST = 8
"""Random points before the first model,"""
CANDIDATES = 500
"""and among how many the best is taken."""


class GaussianProcess(Optimizer):
    """Asks for the point of greatest expected improvement (Jones et al. 1998).

    A point that runs counts with the value that the model expects there ("kriging believer",
    Ginsbourger et al. 2010), so the next one is asked for elsewhere, without waiting for it.

    Args:
        bounds: of each variable, by name.
        seed: of its random points.
    """

    def __init__(self, bounds: Mapping[str, tuple[float, float]], seed: int) -> None:
        self.bounds = dict(bounds)
        self.chance = np.random.default_rng(seed)
        self.running: dict[int, Any] = {}
        self.points: list[Any] = []
        self.values: list[float] = []

    def ask(self, number: int) -> Suggestion:
        """Return the most promising of some random points of the unit cube."""
        points = self.chance.random((CANDIDATES, len(self.bounds)))
        point = points[0]
        if len(self.values) >= FIRST:
            point = points[int(self.improvements(points).argmax())]
        self.running[number] = point
        return Suggestion(self.arguments(point), note=point.tolist())

    def tell(self, ended: EndedTrial) -> None:
        """Learn a value; forget a trial that has none."""
        self.running.pop(ended.number, None)
        if ended.succeeded:
            self.points.append(ended.note)
            self.values.append(ended.value)

    def improvements(self, points: Any) -> Any:
        """Return the expected improvement at each of some points."""
        scales: Any = [0.3] * len(self.bounds)
        kernel: Any = Matern(length_scale=scales, nu=2.5) + WhiteKernel(1e-3)
        fixed: Any = None  # its scales are given, and not fitted
        model = GaussianProcessRegressor(kernel, normalize_y=True, optimizer=fixed)
        known, values = np.array(self.points), np.array(self.values)
        model.fit(known, values)
        if self.running:
            running = np.array(list(self.running.values()))
            believed = model.predict(running)
            model.fit(np.vstack([known, running]), np.concatenate([values, believed]))
        mean, spread = model.predict(points, return_std=True)
        gain = (values.min() - mean) / spread
        return spread * (gain * norm.cdf(gain) + norm.pdf(gain))

    def arguments(self, point: Any) -> dict[str, Any]:
        """Return the arguments that a point of the unit cube stands for."""
        return {
            name: low + float(part) * (high - low)
            for (name, (low, high)), part in zip(self.bounds.items(), point, strict=True)
        }
