"""Linkers, and the small model that writes them: a chain of fragments whose next one is learned.

A linker is the SMILES of the part between two carboxylates, with ``*`` in their places. It is put
together from fragments in a row; the model has a weight for each pair of neighbours (a bigram, or
Markov chain). This is a **stand-in** for the diffusion model of a real campaign: it begins with
no knowledge, learns from this campaign's outcomes alone, and is trained in milliseconds.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from steerio import task

FRAGMENTS = (
    "c1ccc(cc1)",
    "c1cc(F)c(cc1)",
    "c1cc(C)c(cc1)",
    "c1cc(N)c(cc1)",
    "c1cc(O)c(cc1)",
    "c1cc(Cl)c(cc1)",
    "c1cc(C(F)(F)F)c(cc1)",
    "c1cc([N+](=O)[O-])c(cc1)",
    "c1ccc(nc1)",
    "c1cnc(cn1)",
    "c1ccc(s1)",
    "c1ccc(o1)",
    "c1ccc2cc(ccc2c1)",
    "C12CCC(CC1)(CC2)",
    "C#C",
    "/C=C/",
    "/N=N/",
    "CC",
    "C(=O)N",
)
"""Each is joined at its first atom and at its last that is not in brackets."""
BEGIN, END = "^", "$"
MOST = 3
"""Fragments of a linker at most."""
SMOOTH = 1.0
"""Of the counts: a pair that was never seen has a chance, too."""
MEMORY_LIMIT = 0.25
"""The share of linkers that are written without regard to what was learned."""


class LinkerModel(NamedTuple):
    """A model that writes linkers.

    Attributes:
        weights: of a pair of neighbours, as ``"first second"``; 1 if it is not named.
    """

    weights: dict[str, float]


FIRST = LinkerModel({})
"""The model that has learned nothing."""


@task(pool="generate")
def generate(model: LinkerModel, count: int, seed: int) -> Iterator[str]:
    """Write linkers, one after the other, and yield each."""
    chance = random.Random(seed)
    for _ in range(count):
        heed = chance.random() >= MEMORY_LIMIT
        yield linker(written(model.weights if heed else {}, chance))


def written(weights: dict[str, float], chance: random.Random) -> list[str]:
    """Return the fragments of a linker, drawn one after the other."""
    fragments: list[str] = []
    while len(fragments) < MOST:
        before = fragments[-1] if fragments else BEGIN
        choice = (*FRAGMENTS, END) if fragments else FRAGMENTS
        odds = [weights.get(f"{before} {each}", 1.0) for each in choice]
        if fragments:
            odds[-1] *= len(FRAGMENTS)  # as likely an end as all that could follow
        drawn = chance.choices(choice, odds)[0]
        if drawn == END:
            break
        fragments.append(drawn)
    return fragments


def linker(fragments: list[str]) -> str:
    """Return the SMILES of a linker."""
    return " ".join(("*", *fragments, "*"))


def smiles_of(linker: str) -> str:
    """Return the SMILES proper: in a linker its fragments are kept apart by spaces."""
    return linker.replace(" ", "")


@task(pool="learn")
def train(worth: dict[str, float]) -> LinkerModel:
    """Train on the worth of linkers: weigh each pair of neighbours by the mean of those with it.

    Args:
        worth: by linker, 0 or its uptake.
    """
    usual = sum(worth.values()) / max(1, len(worth))
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for each, value in worth.items():
        _, *fragments, _ = each.split(" ")
        for first, second in zip((BEGIN, *fragments), (*fragments, END), strict=True):
            pair = f"{first} {second}"
            sums[pair] = sums.get(pair, 0.0) + value
            counts[pair] = counts.get(pair, 0) + 1
    if not usual:
        return FIRST
    return LinkerModel(
        {pair: (sums[pair] + SMOOTH * usual) / (counts[pair] + SMOOTH) / usual for pair in sums}
    )
