"""A small language model of peptides: a causal transformer of 12,000 weights, trained here alone.

It reads a sequence from the left and says how likely each letter comes next. `finetune` fits it to
what was scored, the better the more. A model is a plain dict of arrays, so it can be published.
A module of yours takes its place by the same three functions: see the README.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

Weights = dict[str, np.ndarray[Any, Any]]

LETTERS = "ACDEFGHIKLMNPQRSTVWY"
BEGIN = len(LETTERS)
LONGEST, WIDTH, HEADS, LAYERS = 64, 32, 2, 1
RATE, BETAS, STEPS = 3e-3, (0.9, 0.999), 30
MOST = 256
"""The best so many sequences are trained on."""
SHARP = 0.5
"""A sequence that is one standard deviation better counts as exp(1 / SHARP) times as much."""


class PeptideModel(nn.Module):
    """The next letter of each place, from those to its left."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS) + 1, WIDTH)
        self.places = nn.Embedding(LONGEST, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, len(LETTERS))

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        """Return the logits of what follows each letter, shape (sequences, letters, 20)."""
        length = read.shape[1]
        mask = torch.triu(torch.full((length, length), -torch.inf), 1)
        hidden = self.letters(read) + self.places(torch.arange(length))
        found: torch.Tensor = self.head(self.layers(hidden, mask=mask, is_causal=True))
        return found


def start(sequences: list[str], seed: int) -> Weights:
    """Return a model that knows what sequences look like, and of no score."""
    torch.manual_seed(seed)
    return fitted(PeptideModel(), sequences, np.ones(len(sequences)), 2 * STEPS)


def propose(model: Weights, n: int, seed: int) -> list[str]:
    """Return sequences drawn from the model, which may be known, alike, or no good."""
    one = loaded(model)
    draws = torch.Generator().manual_seed(seed)
    read = torch.full((n, 1), BEGIN)
    with torch.no_grad():
        for _ in range(int(model["length"])):
            chances = torch.softmax(one(read)[:, -1], dim=-1)
            read = torch.cat([read, torch.multinomial(chances, 1, generator=draws)], dim=1)
    return ["".join(LETTERS[letter] for letter in row) for row in read[:, 1:].tolist()]


def finetune(model: Weights, scores: dict[str, float], seed: int) -> Weights:
    """Return a model that was trained on from this one, by what was scored."""
    torch.manual_seed(seed)
    best = sorted(scores, key=lambda each: scores[each], reverse=True)[:MOST]
    values = np.array([scores[each] for each in best])
    merits = np.exp((values - values.max()) / (SHARP * (values.std() + 1e-9)))
    return fitted(loaded(model), best, merits / merits.mean(), STEPS)


def fitted(one: PeptideModel, sequences: list[str], merits: Any, steps: int) -> Weights:
    """Train a model on weighted sequences of one length, and return its weights."""
    torch.set_num_threads(1)
    right = torch.tensor([[LETTERS.index(letter) for letter in each] for each in sequences])
    read = torch.cat([torch.full((len(right), 1), BEGIN), right[:, :-1]], dim=1)
    shares = torch.tensor(merits / merits.sum(), dtype=torch.float32)
    weights = list(one.parameters())
    mean, square = ([torch.zeros_like(each) for each in weights] for _ in range(2))
    for step in range(1, steps + 1):
        losses = nn.functional.cross_entropy(one(read).transpose(1, 2), right, reduction="none")
        slopes = torch.autograd.grad(losses.sum(1) @ shares, weights)
        with torch.no_grad():  # Adam; that of torch takes seconds to import
            for each, slope, m, v in zip(weights, slopes, mean, square, strict=True):
                m += (1 - BETAS[0]) * (slope - m)
                v += (1 - BETAS[1]) * (slope**2 - v)
                unbiased = (v / (1 - BETAS[1] ** step)).sqrt() + 1e-8
                each -= RATE / (1 - BETAS[0] ** step) * m / unbiased
    state = {name: each.numpy().copy() for name, each in one.state_dict().items()}
    return state | {"length": np.array(right.shape[1])}


def loaded(model: Weights) -> PeptideModel:
    """Return the module of some weights."""
    torch.set_num_threads(1)
    one = PeptideModel()
    one.load_state_dict(
        {name: torch.tensor(each) for name, each in model.items() if name != "length"}
    )
    return one
