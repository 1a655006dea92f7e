"""A campaign that Optuna drives, in real processes: it prunes what runs, and outlives its end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.real.resumable import Place, kill, to_be_killed

pytest.importorskip("optuna", reason="Optuna is not installed: pip install optuna")

SEARCH = """
import time
from collections import Counter

import optuna

from steerio import Campaign, agent, on_result, task, transient
from steerio.asktell import OptunaStudy, Trials, drive

optuna.logging.set_verbosity(optuna.logging.ERROR)
UNIT = optuna.distributions.FloatDistribution(0, 1)


@task
def learn(x: float):
    if x > 0.95:
        raise ValueError("too large")
    for step in range(12):
        yield (x - 0.3) ** 2 + 1 / (step + 1)
        time.sleep(0.005)
    return (x - 0.3) ** 2


class Search(Campaign):
    workers = {"default": 2}

    def __init__(self, trials: int = 40) -> None:
        self.trials = Trials(trials)
        self.heard = Counter()

    @transient
    def optimizer(self) -> OptunaStudy:
        journal = optuna.storages.journal
        lock = journal.JournalFileSymlinkLock("study.log", grace_period=1)  # a kill may leave it
        backend = journal.JournalFileBackend("study.log", lock_obj=lock)
        storage = optuna.storages.JournalStorage(backend)
        study = optuna.create_study(
            study_name="one",
            storage=storage,
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=2),
        )
        return OptunaStudy(study, {"x": UNIT})

    @agent
    async def search(self) -> None:
        await drive(self, self.optimizer, learn, self.trials, in_thread=True)

    @on_result(learn)
    async def count(self, result) -> None:
        self.heard[result.ended_as] += 1
        print(f"recorded {self.heard.total()}.", flush=True)

    async def finish(self) -> None:
        states = Counter(each.state.name for each in self.optimizer.study.trials)
        print(f"ended {len(self.trials.ended)}, pruned {self.trials.counts['pruned']}", flush=True)
        print(f"study: {states['PRUNED']} pruned, {states['RUNNING']} running", flush=True)
        print(f"best {self.optimizer.study.best_value:.6f}", flush=True)
"""


@pytest.mark.filterwarnings("ignore")
def test_a_search_with_pruning_that_is_killed_goes_on_with_its_study(tmp_path: Path) -> None:
    place = Place(tmp_path, SEARCH)
    with to_be_killed(*place.run(), cwd=tmp_path) as program:
        program.wait_for("recorded 12.")
        kill(program)
    output = place.done(*place.resume())
    found = re.search(
        r"ended 40, pruned (\d+)\nstudy: (\d+) pruned, 0 running\nbest (.*)\n", output
    )
    assert found is not None, output
    assert int(found[1]) == int(found[2]) > 0
    assert float(found[3]) < 0.05
