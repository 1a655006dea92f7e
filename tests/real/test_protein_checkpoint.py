"""Peptides of examples/protein by a `transformers` checkpoint, which is fine-tuned."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.real.striking import run_beside

# One script, since transformers takes seconds to import.
SCRIPT = """
import os
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
import json
from pathlib import Path

import pytest
import steerio
import torch
import checkpoint
from checkpoint import Checkpoint, finetune, loaded, propose
from proposals import chosen, fits
from search import NAME, PeptideDesign

torch.set_num_threads(1)


def made(folder):
    \"\"\"Write a tiny model of random weights, and a tokenizer with one token for a letter.\"\"\"
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    names = ["<begin>", "<end>", *"ACDEFGHIKLMNPQRSTVWY"]
    letters = Tokenizer(WordLevel({name: n for n, name in enumerate(names)}, unk_token="<end>"))
    letters.pre_tokenizer = Split(Regex("."), "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=letters, bos_token="<begin>", eos_token="<end>"
    )
    torch.manual_seed(1)
    config = GPT2Config(
        vocab_size=len(names), n_positions=16, n_embd=32, n_layer=1, n_head=2,
        bos_token_id=0, eos_token_id=1,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class Watched(PeptideDesign):
    async def finish(self):
        await super().finish()
        self.newest = await (await self.versions(NAME).current())


made("start")
with pytest.raises(ValueError, match="'nowhere/model' is no module's name, and no folder with a t"):
    Watched(model="nowhere/model")
ran = steerio.run(
    Watched(budget=9, first=3, template="A*AA*A", letters="AEK", model="start"),
    workers={"simulate": 1, "model": 0},
    progress="off",
    run_dir="run",
)
assert len(ran.scores) == 9 and ran.failed == 0
assert sum(version > 0 for version in ran.proposed_by.values()) >= 6
written = {str(path.resolve()) for path in Path("run/models").iterdir()}
assert len(written) == len(ran.trained_at) > 1
assert ran.newest.path in written and ran.newest.length == 6
assert len(propose(ran.newest, 5, 1)) == 5
one, other = (loaded(path)[0].state_dict() for path in ("start", ran.newest.path))
assert one.keys() == other.keys()
assert any((one[name] != other[name]).any() for name in one)

checkpoint.RATE, checkpoint.STEPS = 1e-2, 60  # far more than suits a model that knows something
design = "A**AA**A", "AEKLQ"
known = chosen(200, 1, *design)
start = Checkpoint("start", "versions", 8)
assert not any(fits(each, *design) for each in propose(start, 40, 1))

shown = finetune(start, dict.fromkeys(known, 0.0), 1)
drawn = propose(shown, 40, 1)
assert len(drawn) == 40 and propose(shown, 40, 1) == drawn != propose(shown, 40, 2)
assert sum(fits(each, *design) for each in drawn) > 20, drawn

trained = finetune(shown, {each: float(each.count("K")) for each in known}, 1)
assert sum(each.count("K") for each in propose(trained, 40, 1)) > 1.5 * sum(
    each.count("K") for each in drawn
)

# tried again, it writes nothing, and no part of one is left
before = {path: path.stat().st_mtime_ns for path in Path("versions").rglob("*")}
assert finetune(shown, {each: float(each.count("K")) for each in known}, 1) == trained
assert {path: path.stat().st_mtime_ns for path in Path("versions").rglob("*")} == before
assert {str(path) for path in Path("versions").iterdir()} == {shown.path, trained.path}

given = Path("start/tokenizer_config.json")
given.write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
with pytest.raises(ValueError, match="no bos_token and no eos_token: set one"):
    propose(start, 1, 1)
"""


@pytest.mark.timeout(900)
def test_a_checkpoint_proposes_and_is_trained_and_its_versions_are_published(
    tmp_path: Path,
) -> None:
    for each in ("openmm", "pdbfixer", "torch", "transformers"):
        if find_spec(each) is None:  # not importorskip: to import these takes seconds
            pytest.skip(f"{each} is not installed: pip install '.[example-protein]'")
    run_beside("protein", SCRIPT, tmp_path, 800.0)
