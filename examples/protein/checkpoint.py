"""A `transformers` checkpoint in place of the small model: any causal language model in a folder.

    steerio run examples/protein/search.py --model path/to/checkpoint

It is read from that folder, with its tokenizer, and nothing is fetched. Each version is a
checkpoint of its own, in ``models/`` of the run directory, which any program can read. Imports are
in functions, since the campaign's own process needs neither package.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

BATCH, STEPS, RATE = 32, 30, 1e-4
"""Sequences in a step of the training, or drawn at a time; steps; and AdamW's rate."""


class Checkpoint(NamedTuple):
    """A version of the model; it is published by its path, and stays on the file system.

    Attributes:
        path: the folder that has it.
        versions: the folder that versions trained on from it are written to.
        length: letters of a sequence.
    """

    path: str
    versions: str
    length: int


def is_checkpoint(folder: Path) -> bool:
    """Return whether there is a checkpoint in a folder."""
    return (folder / "config.json").is_file()


def loaded(path: str) -> tuple[Any, Any, int]:
    """Return the model and tokenizer of a folder, and the token that a sequence begins with.

    Raises:
        OSError: a file is missing.
        ValueError: the model is none that says the next token, or no token begins a sequence.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    one = AutoModelForCausalLM.from_pretrained(path, local_files_only=True, dtype=torch.float32)
    begins = tokenizer.bos_token_id
    if begins is None:
        begins = tokenizer.eos_token_id  # as in GPT-2, one token stands between sequences
    if begins is None:
        raise ValueError(f"the tokenizer in {path} has no bos_token and no eos_token: set one")
    return one, tokenizer, begins


def propose(model: Checkpoint, n: int, seed: int) -> list[str]:
    """Return sequences drawn from the model, which may be known, alike, or no good."""
    import torch

    one, tokenizer, begins = loaded(model.path)
    torch.manual_seed(seed)
    texts: list[str] = []
    for first in range(0, n, BATCH):
        read = torch.full((min(BATCH, n - first), 1), begins)
        drawn = one.eval().generate(
            read,
            attention_mask=torch.ones_like(read),
            do_sample=True,
            max_new_tokens=model.length,
            pad_token_id=begins,
        )
        texts += tokenizer.batch_decode(drawn[:, 1:], skip_special_tokens=True)
    return ["".join(text.split())[: model.length] for text in texts]


def finetune(model: Checkpoint, scores: dict[str, float], seed: int) -> Checkpoint:
    """Return a version trained on from this one: a better sequence is in more of its batches."""
    import torch
    from language import MOST, SHARP

    known = json.dumps([model.path, scores, seed])
    folder = Path(model.versions) / hashlib.sha256(known.encode()).hexdigest()[:16]
    if is_checkpoint(folder):  # of a worker that was lost after it had written this
        return model._replace(path=str(folder))
    one, tokenizer, begins = loaded(model.path)
    best = sorted(scores, key=lambda each: scores[each], reverse=True)[:MOST]
    values = torch.tensor([scores[each] for each in best])
    merits = torch.softmax(values / (SHARP * (values.std(correction=0) + 1e-9)), dim=0)
    read, asked = encoded(tokenizer, begins, best)
    torch.manual_seed(seed)
    descent = torch.optim.AdamW(one.train().parameters(), lr=RATE)
    for _ in range(STEPS):
        batch = torch.multinomial(merits, BATCH, replacement=True)
        descent.zero_grad()
        one(input_ids=read[batch], labels=asked[batch]).loss.backward()
        descent.step()
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    one.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    partial.rename(folder)  # so that a folder of this name is whole
    return model._replace(path=str(folder))


def encoded(tokenizer: Any, begins: int, sequences: list[str]) -> tuple[Any, Any]:
    """Return the tokens of sequences, filled up to one length, and their labels."""
    import torch

    ends = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    rows = [
        [begins, *tokenizer(each, add_special_tokens=False).input_ids, *ends] for each in sequences
    ]
    longest = max(map(len, rows))
    read = [row + [begins] * (longest - len(row)) for row in rows]
    asked = [row + [-100] * (longest - len(row)) for row in rows]  # which the loss leaves out
    return torch.tensor(read), torch.tensor(asked)
