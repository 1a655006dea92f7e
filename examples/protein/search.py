"""Peptides by a language model that is fine-tuned while its proposals are scored.

    steerio run examples/protein/search.py --quick
    steerio run examples/protein/search.py --model path/to/checkpoint
    steerio run examples/protein/search.py --model my_model --start path/to/it

The model proposes sequences whenever few wait, OpenMM scores them, and after every eight scores the
model is trained on, and published. Proposing and training borrow a worker from the scoring, so none
is kept for them. Each score says which version of the model proposed its sequence, and how old
that was. The score is a stand-in for a real one: see ``peptide.py``.
"""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar, NamedTuple

from checkpoint import Checkpoint, is_checkpoint
from peptide import LETTERS, RESIDUES, TEMPLATE, check_installed, helix_preference
from proposals import chosen, new_sequences

from steerio import (
    Board,
    Campaign,
    Failed,
    Lost,
    Succeeded,
    Task,
    TimedOut,
    agent,
    on_failure,
    on_success,
    task,
)

NAME = "language-model"
EVERY, AT_LEAST = 8, 4
"""Scores for each training; and the least number of sequences that a task proposes."""
DRAWS = 4
"""So many sequences are drawn from the model for each that is wanted, for most are known."""
SHOWN = 200
"""Sequences that a model is shown before it knows a score."""
MODEL_OPTIONS: Any = {"pool": "model", "retries": {"lost": 10}, "preload": ["openmm.app", "torch"]}


@task(**MODEL_OPTIONS)
def begin(module: str, shown: list[str], seed: int) -> Any:
    """Return a model that knows what sequences look like."""
    return import_module(module).start(shown, seed)


@task(**MODEL_OPTIONS)
def propose(
    module: str, model: Any, n: int, seed: int, template: str, letters: str, seen: list[str]
) -> list[str]:
    """Return new sequences of a model; a mutant in place of each that is known or does not fit."""
    drawn = import_module(module).propose(model, DRAWS * n, seed)
    return new_sequences(drawn, n, seed, template, letters, seen)


@task(**MODEL_OPTIONS)
def finetune(module: str, model: Any, scores: dict[str, float], seed: int) -> Any:
    """Return a model that was trained on from another, by what was scored."""
    return import_module(module).finetune(model, scores, seed)


class Lag(NamedTuple):
    """The model behind a sequence whose scoring began.

    Attributes:
        version: of the model that proposed it; 0: none did.
        behind: so many newer versions were there already.
        age_s: the seconds since that model had been trained.
    """

    version: int
    behind: int
    age_s: float


class PeptideDesign(Campaign):
    """Find sequences that are lowest in energy as a helix, by the score's own measure.

    Args:
        budget: scores in all.
        first: of these, random ones to begin with.
        template: the residues that stay, and ``*`` for those that are free.
        letters: that a free residue may be.
        model: a folder with a `transformers` checkpoint; or a module with `propose` and `finetune`,
            as in the README.
        start: the path that a module's first version is; by default a model is made.
        seed: of all random numbers.
        quick: 32 scores.
    """

    workers: ClassVar = {"simulate": 2, "model": 0}
    needs_packages: ClassVar = True

    def __init__(
        self,
        budget: int = 96,
        first: int = 16,
        template: str = TEMPLATE,
        letters: str = LETTERS,
        model: str = "language",
        start: str = "",
        seed: int = 1,
        quick: bool = False,
    ) -> None:
        if min(budget, first) < 1 or "*" not in template:
            raise ValueError("budget and first are at least 1, and the template has a free residue")
        if unknown := {*letters, *template} - {*RESIDUES, "*"}:
            names = ", ".join(sorted(unknown))
            raise ValueError(f"no residues: {names}; there are {''.join(RESIDUES)}")
        self.budget, self.first = (32, 12) if quick else (budget, first)
        self.template, self.letters, self.module = template, letters, model
        self.start, self.seed = start, seed
        self.folder = ""
        if is_checkpoint(Path(model)):
            self.module, self.folder = "checkpoint", str(Path(model).resolve())
        elif not all(part.isidentifier() for part in model.split(".")):
            raise ValueError(
                f"model: {model!r} is no module's name, and no folder with a transformers "
                "checkpoint: there is no config.json in it"
            )
        self.board: Board[str] = Board(helix_preference)
        self.scores: dict[str, float] = {}
        self.failed = self.asked = 0
        self.proposed_by: dict[str, int] = {}
        self.trained_at: dict[int, float] = {}
        self.lags: dict[str, Lag] = {}

    async def setup(self) -> None:
        """Publish the first version of the model."""
        if self.needs_packages:
            check_installed(*(["transformers"] if self.folder else []))
        shown = chosen(SHOWN, self.seed, self.template, self.letters)
        if self.folder:
            given, alike = self.given_checkpoint(), dict.fromkeys(shown, 0.0)
            await self.publish_trained(finetune, self.module, given, alike, self.seed)
        elif self.start:
            self.trained_at[await self.versions(NAME).publish(self.start)] = 0.0
        else:
            await self.publish_trained(begin, self.module, shown, self.seed)

    def given_checkpoint(self) -> Checkpoint:
        """Return the checkpoint of the user, whose versions go into the run's folder."""
        versions = Path(self.run_dir or "").resolve() / "models"
        return Checkpoint(self.folder, str(versions), len(self.template))

    async def borrowing(self, kind: Any, *args: Any) -> Task[Any]:
        """Run a task of the model on a worker that the scoring lends for it."""
        async with self.pools.lend("simulate", to="model"):
            done = self.submit(kind, *args)
            await done
            return done

    async def publish_trained(self, kind: Any, *args: Any) -> None:
        """Train a model, and publish it."""
        done = await self.borrowing(kind, *args)
        version = await self.versions(NAME).publish(await done)
        self.trained_at[version] = (await done.result()).timings.ended or 0.0

    @agent
    async def fill(self) -> None:
        """Have sequences proposed whenever fewer wait than there are workers."""
        await self.board.fill_from(self.proposals(), keep=self.wanted)

    @property
    def wanted(self) -> int:
        """How many sequences are proposed at a time."""
        return max(AT_LEAST, self.pools["simulate"].at_home)

    async def proposals(self) -> AsyncIterator[str]:
        """Yield random sequences first, and then those of the newest model."""
        for each in chosen(self.first, self.seed, self.template, self.letters):
            self.proposed_by[each] = 0
            yield each
        while new := await self.propose(self.wanted):
            for each in new:
                yield each

    async def propose(self, n: int) -> list[str]:
        """Return new sequences of the newest model, and remember which one that was."""
        self.asked += 1
        seed = self.seed * 1_000_000 + self.asked
        newest, design = self.versions(NAME).latest, (self.template, self.letters)
        done = await self.borrowing(
            propose, self.module, newest, n, seed, *design, list(self.proposed_by)
        )
        new: list[str] = await done
        version = (await done.result()).versions[NAME]
        self.proposed_by |= dict.fromkeys(new, version)
        return new

    @on_success(helix_preference)
    async def record(self, result: Succeeded) -> None:
        """Take in a score, and how old the model was that had proposed its sequence."""
        sequence, began = result.args[0], result.timings.started or 0.0
        if self.spent >= self.budget:
            return
        self.scores[sequence] = result.value
        version = self.proposed_by[sequence]
        lag = Lag(0, 0, 0.0)
        if version:
            newer = sum(at <= began for n, at in self.trained_at.items() if n > version)
            lag = Lag(version, newer, began - self.trained_at[version])
        self.lags[sequence] = lag
        self.note(best=max(self.scores.values()), **lag._asdict())
        self.end_if_spent()

    @on_failure(helix_preference)
    async def drop(self, result: Failed | TimedOut | Lost) -> None:
        """Go on without a sequence that cannot be scored; it was paid for all the same."""
        self.failed += 1
        self.end_if_spent()

    @property
    def spent(self) -> int:
        """How many scores were paid for."""
        return len(self.scores) + self.failed

    def end_if_spent(self) -> None:
        """Stop when all is spent."""
        if self.spent >= self.budget:
            self.stop()

    @on_success(helix_preference, every=EVERY, coalesce=True)
    async def learn(self, results: list[Succeeded]) -> None:
        """Train the newest model on by all that is known, and publish it."""
        newest, seed = self.versions(NAME).latest, len(self.trained_at)
        await self.publish_trained(finetune, self.module, newest, dict(self.scores), seed)

    async def finish(self) -> None:
        """Say what was found, and how old the models were that proposed it."""
        best = sorted(self.scores, key=self.scores.__getitem__, reverse=True)
        print(f"{self.spent} scores, {self.failed} failed; {len(self.trained_at)} models")
        for each in best[:3]:
            version = self.lags[each].version
            print(
                f"{each}: {self.scores[each]:.1f} kJ/mol, "
                f"{f'proposed by version {version}' if version else 'a random one'}"
            )
        if by_model := [lag for lag in self.lags.values() if lag.version]:
            print(
                f"a sequence was begun {mean(lag.age_s for lag in by_model):.1f} s after its model "
                f"was trained, {mean(lag.behind for lag in by_model):.2f} versions behind (mean)"
            )
        if self.run_dir is not None:
            with (self.run_dir / "designs.csv").open("w", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(("sequence", "kj_per_mol", *Lag._fields))
                rows.writerows((each, self.scores[each], *self.lags[each]) for each in best)
