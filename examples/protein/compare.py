"""A model that is fine-tuned as scores come, against others at equal cost, on recorded scores.

    python examples/protein/compare.py --quick
    python examples/protein/compare.py              ten seeds, a minute
    python examples/protein/compare.py --slower 60  as if a score took 60 times as long
    python examples/protein/compare.py --scale      on 64 and 1,024 workers

The scores of the whole design space and their times were recorded once; workers are simulated. The
model itself really is trained here, and proposes; its times are the recorded ones.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import AsyncIterator
from statistics import mean, stdev
from typing import Any, NamedTuple

from peptide import TEMPLATE, helix_preference
from proposals import chosen
from recorded import Recording
from search import EVERY, PeptideDesign, begin, finetune, propose

from steerio import Succeeded, on_success
from steerio.testing import Model, SimulatedRun, simulate

WORKERS, SEEDS = 8, 10
TOP = 0.1
"""The share of all sequences that is looked for."""
BUDGET, SHARE = 64, 4
"""The steered way scores so many sequences, and at most one in four of all."""
LONG, PER_WORKER = f"{TEMPLATE}{TEMPLATE}", 8
"""At scale: the template, and the scores for each worker."""
STEERED = "fine-tuned as scores come"
POLICY = (
    *(f"search.py:{name}" for name in ("begin", "propose", "finetune", "Lag")),
    *(f"search.py:PeptideDesign.{name}" for name in ("workers", "__init__", "setup", "borrowing")),
    *(f"search.py:PeptideDesign.{name}" for name in ("publish_trained", "fill", "wanted")),
    *(f"search.py:PeptideDesign.{name}" for name in ("proposals", "propose", "record", "drop")),
    *(f"search.py:PeptideDesign.{name}" for name in ("spent", "end_if_spent", "learn")),
)


class Replayed(PeptideDesign):
    """The campaign without OpenMM, and without a word at its end."""

    needs_packages = False

    async def finish(self) -> None:
        """Say nothing."""


class InGenerations(Replayed):
    """As many proposals as workers; the next when all are scored and the model is trained."""

    @on_success(helix_preference, every=WORKERS)
    async def learn(self, results: list[Succeeded]) -> None:
        """Train after each generation."""
        await super().learn(results)

    async def proposals(self) -> AsyncIterator[str]:
        """Yield a generation, and wait for its end."""
        new = chosen(self.first, self.seed, self.template, self.letters)
        self.proposed_by |= dict.fromkeys(new, 0)
        generations = 1
        while new:
            for each in new:
                yield each
            generations += len(new) // WORKERS
            await self.until(lambda due=generations: len(self.trained_at) >= due)
            new = await self.propose(WORKERS)


class TrainedOnce(Replayed):
    """The model is trained on the random ones that come first, and not again."""

    async def learn(self, results: list[Succeeded]) -> None:
        """Train, if those are known."""
        if len(self.trained_at) == 1 and len(self.scores) >= self.first:
            await super().learn(results)


class AtRandom(Replayed):
    """Sequences in a random order, without a model."""

    async def setup(self) -> None:
        """Need no model."""

    async def proposals(self) -> AsyncIterator[str]:
        """Yield all sequences."""
        for each in chosen(10**6, self.seed, self.template, self.letters):
            self.proposed_by[each] = 0
            yield each

    async def learn(self, results: list[Succeeded]) -> None:
        """Learn nothing."""


WAYS: dict[str, type[Replayed]] = {
    STEERED: Replayed,
    "generation by generation": InGenerations,
    "trained once": TrainedOnce,
    "random": AtRandom,
}


class Found(NamedTuple):
    """What a way came to.

    Attributes:
        top: the share of the best sequences that it found.
        among: the same among as many scores as the steered way has.
        held_s: worker seconds, whether busy or not.
        busy: the share of them in tasks.
        scores: how many it has.
        behind: versions between the one that proposed and the newest, as scoring began (mean).
        age_s: seconds since that one was trained (mean).
    """

    top: float
    among: float
    held_s: float
    busy: float
    scores: int
    behind: float
    age_s: float


def run(
    recording: Recording, kind: type[Replayed], seed: int, until_s: float | None, slower: float
) -> SimulatedRun[Any]:
    """Return a campaign on the recorded space; with an end in time its budget has no bound."""
    size = len(recording.scores)
    budget = min(BUDGET, size // SHARE) if until_s is None else size
    return simulate(
        kind(budget, first=WORKERS, letters=recording.letters, seed=seed),
        model={
            helix_preference: Model(
                lambda _, sequence: slower * recording.seconds[sequence],
                value=recording.scores.__getitem__,
            ),
            **models(recording),
        },
        workers={"simulate": WORKERS, "model": 0},
        seed=seed,
        until_s=until_s,
    )


def models(recording: Recording) -> dict[Any, Model]:
    """Return how long the tasks of the model take; they are really done."""
    return {
        begin: Model(lambda _, module, shown, seed: recording.begin_s),
        finetune: Model(lambda _, module, model, scores, seed: recording.finetune_s(len(scores))),
        propose: Model(lambda _, module, model, n, *rest: recording.propose_s(n)),
    }


def found(recording: Recording, ran: SimulatedRun[Any], scores: int) -> Found:
    """Say what a run came to, and what among its first scores."""
    top = recording.top(TOP)
    known, lags = list(ran.campaign.scores), ran.campaign.lags.values()
    by_model = [lag for lag in lags if lag.version] or [None]
    return Found(
        len(top.intersection(known)) / len(top),
        len(top.intersection(known[:scores])) / len(top),
        WORKERS * ran.duration_s,
        ran.utilisation(),
        len(known),
        mean(lag.behind if lag else 0.0 for lag in by_model),
        mean(lag.age_s if lag else 0.0 for lag in by_model),
    )


def measured(seeds: int, slower: float = 1.0) -> dict[str, list[Found]]:
    """Return what each way came to with each seed, in the time that the steered one takes."""
    recording = Recording()
    ways: dict[str, list[Found]] = {name: [] for name in WAYS}
    for seed in range(1, seeds + 1):
        steered = run(recording, Replayed, seed, None, slower)
        scores = len(steered.campaign.scores)
        ways[STEERED].append(found(recording, steered, scores))
        for name, kind in list(WAYS.items())[1:]:
            ran = run(recording, kind, seed, steered.duration_s, slower)
            ways[name].append(found(recording, ran, scores))
    return ways


def compare(quick: bool = False) -> dict[str, Any]:
    """Return the table for `python -m bench science`: see its README."""
    ways, recording = measured(2 if quick else SEEDS), Recording()
    among = ", ".join(f"{name}: {mean(each.among for each in ways[name]):.0%}" for name in WAYS)
    a_score_s, training_s = mean(recording.seconds.values()), recording.finetune_s(64)
    return {
        "setting": f"{len(recording.scores)} sequences, {WORKERS} workers",
        "cost": "worker seconds held",
        "score": f"of the top {TOP:.0%} found, %",
        "better": "higher",
        "ways": [
            {
                "way": name,
                "cost": [each.held_s for each in way],
                "score": [100 * each.top for each in way],
                "busy": [each.busy for each in way],
            }
            for name, way in ways.items()
        ],
        "does_not_pay": f"in a space of {len(recording.scores)} sequences, of which as many scores "
        f"find ({among}), and while a score is cheap: it takes {a_score_s:.1f} s, and a training "
        f"{training_s:.2f} s of a worker",
    }


def at_scale(workers: int) -> SimulatedRun[Any]:
    """Return a search among longer peptides with eight scores for each worker, simulated.

    Each is two of the recorded ones: it has the sum of their scores, and takes the time of both.
    """
    recording = Recording()
    half = len(TEMPLATE)

    def score(sequence: str) -> float:
        return recording.scores[sequence[:half]] + recording.scores[sequence[half:]]

    def took_s(_: random.Random, sequence: str) -> float:
        return recording.seconds[sequence[:half]] + recording.seconds[sequence[half:]]

    campaign = Replayed(
        PER_WORKER * workers, first=workers, template=LONG, letters=recording.letters
    )
    return simulate(
        campaign,
        model={helix_preference: Model(took_s, value=score), **models(recording)},
        workers={"simulate": workers, "model": 0},
        seed=1,
    )


def spread(values: list[float], digits: int = 0) -> str:
    """Return mean and standard deviation."""
    around = stdev(values) if len(values) > 1 else 0.0
    return f"{mean(values):.{digits}f} +- {around:.{digits}f}"


def show(ways: dict[str, list[Found]]) -> None:
    """Print the table."""
    print(f"{'':26}{'top found, %':>14}{'scores':>12}{'busy':>7}{'among as many':>15}", end="")
    print(f"{'versions behind':>17}{'age, s':>12}")
    for name, way in ways.items():
        print(f"{name:26}{spread([100 * each.top for each in way]):>14}", end="")
        print(f"{spread([each.scores for each in way]):>12}", end="")
        print(f"{mean(each.busy for each in way):>7.0%}", end="")
        print(f"{spread([100 * each.among for each in way]):>15}", end="")
        print(f"{spread([each.behind for each in way], 2):>17}", end="")
        print(f"{spread([each.age_s for each in way], 1):>12}")


def scale() -> None:
    """Print how busy many workers are."""
    for workers in (64, 1024):
        began = time.perf_counter()
        ran = at_scale(workers)
        lags = [lag for lag in ran.campaign.lags.values() if lag.version]
        print(
            f"{workers:>6,} workers: {ran.utilisation():.1%} busy, {ran.duration_s:.1f} s, "
            f"{ran.moves} moves, {len(ran.campaign.trained_at)} models; a sequence was begun "
            f"{mean(lag.age_s for lag in lags):.1f} s after its model was trained, "
            f"{mean(lag.behind for lag in lags):.2f} versions behind; "
            f"simulated in {time.perf_counter() - began:.0f} s",
            flush=True,
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Fine-tuned as scores come, against others.")
    parser.add_argument("--quick", action="store_true", help="two seeds")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--slower", type=float, default=1.0, help="of a score, in times")
    parser.add_argument("--scale", action="store_true", help="64 and 1,024 workers instead")
    asked = parser.parse_args()
    if asked.scale:
        return scale()
    recording = Recording()
    print(f"{len(recording.scores)} sequences, trained after every {EVERY} scores")
    return show(measured(2 if asked.quick else asked.seeds, asked.slower))


if __name__ == "__main__":
    main()
