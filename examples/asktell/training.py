"""The task: a small network that learns to read digits, and yields its error after each epoch."""

from __future__ import annotations

import functools
from collections.abc import Generator
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from steerio import task

EPOCHS = 12
LEARN, CHECK = slice(0, 400), slice(400, 1200)


@functools.cache
def digits() -> tuple[Any, Any]:
    """Return 1,797 pictures of 8 x 8 pixels and their digits, shuffled."""
    pictures, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    return pictures[order] / 16, labels[order]


@task(pool="train")
def train(width: float, rate: float, decay: float) -> Generator[tuple[int, float], None, float]:
    """Train a network, and yield the share of wrong answers after each epoch; return the last.

    Args:
        width: units of its hidden layer, rounded.
        rate: the decimal logarithm of its learning rate.
        decay: that of the weight of its L2 penalty.
    """
    pictures, labels = digits()
    size: Any = 32
    network = MLPClassifier(
        (round(width),),
        learning_rate_init=10**rate,
        alpha=10**decay,
        batch_size=size,
        random_state=0,
    )
    error = 1.0
    with threadpool_limits(1):  # a worker has one core
        for epoch in range(EPOCHS):
            network.partial_fit(pictures[LEARN], labels[LEARN], classes=range(10))
            error = 1 - float(network.score(pictures[CHECK], labels[CHECK]))
            yield epoch, error
    return error
