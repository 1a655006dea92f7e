"""Which sequences fit a design, and new ones in place of those that a model proposes again."""

from __future__ import annotations

import random
from collections.abc import Iterable

TRIES = 50
"""For each sequence that is wanted."""


def fits(sequence: str, template: str, letters: str) -> bool:
    """Return whether a sequence has the residues that stay, and allowed ones elsewhere."""
    return len(sequence) == len(template) and all(
        got in letters if asked == "*" else got == asked
        for got, asked in zip(sequence, template, strict=True)
    )


def drawn(rng: random.Random, template: str, letters: str) -> str:
    """Return a random sequence that fits."""
    return "".join(rng.choice(letters) if each == "*" else each for each in template)


def mutant(rng: random.Random, sequence: str, template: str, letters: str) -> str:
    """Return a sequence with one free residue drawn anew."""
    place = rng.choice([n for n, each in enumerate(template) if each == "*"])
    return sequence[:place] + rng.choice(letters) + sequence[place + 1 :]


def chosen(n: int, seed: int, template: str, letters: str) -> list[str]:
    """Return different random sequences: fewer than asked for, if there are fewer."""
    return new_sequences((), n, seed, template, letters, ())


def new_sequences(
    proposed: Iterable[str], n: int, seed: int, template: str, letters: str, seen: Iterable[str]
) -> list[str]:
    """Return proposed sequences that fit and are new; then mutants of these; then random ones."""
    rng = random.Random(seed)
    fitting = [each for each in proposed if fits(each, template, letters)]
    known = {each for each in seen if fits(each, template, letters)}
    n = min(n, len(letters) ** template.count("*") - len(known))
    new: list[str] = []

    def take(sequence: str) -> None:
        if sequence not in known and len(new) < n:
            known.add(sequence)
            new.append(sequence)

    for each in fitting:
        take(each)
    for tried in range(2 * TRIES * n):
        if len(new) == n:
            break
        if fitting and tried < TRIES * n:
            take(mutant(rng, rng.choice(fitting), template, letters))
        else:
            take(drawn(rng, template, letters))
    return new
