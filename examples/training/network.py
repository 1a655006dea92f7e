"""A member of the ensemble as a network of torch, trained by one process or by several together.

Each rank has every so many of the rows, and all have the same weights. In each step a rank takes
the gradient of its own rows, the gradients are added up over all ranks, and each takes the same
step. So the weights are those that one process would come to with all rows, but for the order in
which floating-point numbers are added.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from steerio import Gang

Array = np.ndarray[Any, np.dtype[np.float64]]
State = dict[str, Array]

HIDDEN = 64
STEPS = 300
RATE, DECAY, KEPT = 0.02, 1e-2, (0.9, 0.999)
SILENT_S = 300.0
"""So long a rank waits for the others at most; that one has died is noticed at once."""


def network(inputs: int) -> nn.Module:
    """Return a network with new weights, as they follow from torch's seed."""
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN),
        nn.SiLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.SiLU(),
        nn.Linear(HIDDEN, 1),
    ).double()


@contextmanager
def joined(gang: Gang) -> Iterator[None]:
    """Join the other ranks of a gang by gloo, and leave them at the end."""
    torch.set_num_threads(1)
    if gang.size == 1:
        yield
        return
    dist.init_process_group(
        "gloo",
        init_method=gang.init_method,
        rank=gang.rank,
        world_size=gang.size,
        timeout=timedelta(seconds=SILENT_S),
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def trained(points: Array, values: Array, seed: int, gang: Gang, steps: int = STEPS) -> State:
    """Train a network on all points, of which this rank takes its share; return its weights.

    By Adam, with decay of the weights and a rate that falls as a cosine does (Kingma & Ba 2015;
    Loshchilov & Hutter 2019), on all weights as one vector. `torch.optim` would do as well; at its
    first step it imports torch's compiler, for five seconds in each worker.
    """
    torch.manual_seed(seed)
    model = network(points.shape[1])
    middle, spread = float(values.mean()), float(values.std()) + 1e-9
    mine = slice(gang.rank, None, gang.size)
    inputs = torch.tensor(points[mine])
    targets = torch.tensor((values[mine] - middle) / spread)
    weights = list(model.parameters())
    flat = parameters_to_vector(weights).detach()
    first, second = torch.zeros_like(flat), torch.zeros_like(flat)
    for step in range(1, steps + 1):
        vector_to_parameters(flat, weights)
        loss = (model(inputs)[:, 0] - targets).square().sum() / len(values)
        gradient = torch.cat([each.flatten() for each in torch.autograd.grad(loss, weights)])
        if gang.size > 1:
            dist.all_reduce(gradient)
        first.lerp_(gradient, 1 - KEPT[0])
        second.lerp_(gradient.square(), 1 - KEPT[1])
        scale = (second / (1 - KEPT[1] ** step)).sqrt() + 1e-8
        rate = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        flat -= rate * (first / (1 - KEPT[0] ** step) / scale + DECAY * flat)
    vector_to_parameters(flat, weights)
    state = {name: each.numpy().copy() for name, each in model.state_dict().items()}
    return state | {"middle": np.array(middle), "spread": np.array(spread)}


def predicted(state: State, points: Array) -> Array:
    """Return the values of some points, as a member has learnt them."""
    torch.set_num_threads(1)
    model = network(points.shape[1])
    model.load_state_dict(
        {name: torch.tensor(each) for name, each in state.items() if name in model.state_dict()}
    )
    with torch.no_grad():
        found: Array = model(torch.tensor(points))[:, 0].numpy()
    return found * state["spread"] + state["middle"]
