"""Real optimizers drive campaigns, on virtual time: Optuna, and generators of gest-api."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import pytest

from steerio import Campaign, Limits, UsageError, agent, task, transient
from steerio.asktell import EndedTrial, GestGenerator, OptunaStudy, Suggestion, Trials, drive
from steerio.testing import Model, simulate
from tests.contract.crashing_disk import CrashingDisk
from tests.simulated.kept_runs import play


@task
def bowl(x: float, y: float) -> float:
    if x > 0.95:
        raise ValueError("x is too large")
    if y > 0.95:
        return math.nan
    return (x - 0.3) ** 2 + (y - 0.7) ** 2


@task
def learning(x: float, y: float) -> Iterator[tuple[int, float]]:
    loss = (x - 0.3) ** 2 + (y - 0.7) ** 2
    for step in range(10):
        yield step, loss + 1 / (step + 1)
    return loss


class Driven(Campaign):
    """Driven by the optimizer that a function makes."""

    workers: ClassVar = {"default": 4}

    def __init__(self, make: Any, objective: Any = bowl, limit: int = 40) -> None:
        self.trials = Trials(limit)
        self.made_by, self.objective = [make], objective

    @transient
    def optimizer(self) -> Any:
        return self.made_by[0]()

    @agent
    async def search(self) -> None:
        await drive(self, self.optimizer, self.objective, self.trials)

    def save_state(self) -> Any:
        return self.trials

    def restore_state(self, state: Any, version: int) -> None:
        self.trials = state


def best(campaign: Driven) -> EndedTrial:
    return min((each for each in campaign.trials.ended if each.value == each.value), key=value_of)


def value_of(ended: EndedTrial) -> float:
    return ended.value if ended.succeeded else math.inf


# -- Optuna ----------------------------------------------------------------------------------------

optuna = pytest.importorskip("optuna", reason="Optuna is not installed: pip install optuna")
optuna.logging.set_verbosity(optuna.logging.WARNING)
UNIT = optuna.distributions.FloatDistribution(0, 1)
SPACE = {"x": UNIT, "y": UNIT}


def suggest(trial: Any) -> dict[str, float]:
    return {"x": trial.suggest_float("x", 0, 1), "y": trial.suggest_float("y", 0, 1)}


def study(**options: Any) -> Any:
    options.setdefault("sampler", optuna.samplers.TPESampler(seed=1))
    return optuna.create_study(**options)


def states(of: Any) -> list[str]:
    return sorted(each.state.name for each in of.trials)


@pytest.mark.parametrize("space", [SPACE, suggest])
def test_optuna_finds_a_minimum_and_hears_of_failures_as_failures(space: Any) -> None:
    run = simulate(Driven(lambda: OptunaStudy(study(), space)), model=Model(1.0))
    campaign = run.campaign
    assert best(campaign).value < 0.02
    told = campaign.optimizer.study
    assert told.best_value == best(campaign).value
    failed = [each for each in told.trials if each.state.name == "FAIL"]
    assert failed
    for each in failed:
        words = each.user_attrs["steerio_reason"]
        assert words in ("ValueError: x is too large", "its value is nan, which is no number")
        assert each.user_attrs["steerio_ended"] == "failed"
        assert each.values is None
    numbers = {each.user_attrs["steerio_trial"] for each in told.trials}
    assert numbers == set(range(40))


def test_a_pruner_ends_trials_that_run() -> None:
    def make() -> OptunaStudy:
        return OptunaStudy(study(pruner=optuna.pruners.MedianPruner(n_startup_trials=4)), SPACE)

    campaign = simulate(Driven(make, learning), model=Model(1.0)).campaign
    counts = campaign.trials.counts
    assert counts["pruned"] > 10
    assert counts["pruned"] + counts["succeeded"] == 40
    assert states(campaign.optimizer.study).count("PRUNED") == counts["pruned"]
    for ended in campaign.trials.ended:
        assert ended.succeeded == (len(ended.reports) == 10 and ended.ended != "pruned")
    best_of = campaign.optimizer.study.best_trial
    assert sorted(best_of.intermediate_values) == list(range(10))


def test_a_study_of_two_objectives_is_told_both() -> None:
    @task
    def two(x: float, y: float) -> tuple[float, float]:
        return x, y

    def make() -> OptunaStudy:
        return OptunaStudy(study(directions=["minimize", "maximize"]), SPACE)

    campaign = simulate(Driven(make, two, limit=10), model=Model(1.0)).campaign
    assert all(len(each.values) == 2 for each in campaign.optimizer.study.trials)


MODEL = Model(lambda random, **args: 0.5 + random.random())


@pytest.mark.parametrize("objective", [bowl, learning])
@pytest.mark.parametrize("every_s", [3.0, 1e6], ids=["snapshots", "replay"])
def test_a_study_in_memory_is_taught_by_a_resume(objective: Any, every_s: float) -> None:
    disk = CrashingDisk()

    def make() -> OptunaStudy:
        return OptunaStudy(study(), SPACE)

    first = Driven(make, objective)
    play(first, disk, MODEL, every_s=every_s, limits=Limits(tasks=20))
    again = Driven(make, objective)
    play(again, disk, MODEL, every_s=every_s)
    assert len(again.trials.ended) == 40
    told = again.optimizer.study
    in_study = {
        each.user_attrs["steerio_trial"]: each.values[0] if each.values else None
        for each in told.trials
    }
    assert len(told.trials) == len(in_study) == 40
    for each in again.trials.ended:
        number = None if each.value is None or math.isnan(each.value) else each.value
        assert in_study[each.number] == number
    drawn = [(each.args["x"], each.args["y"]) for each in again.trials.ended]
    assert len(set(drawn)) == 40  # the seed's first draws are not drawn again
    if objective is bowl or every_s < 10:
        kept = {(e.args["x"], e.args["y"]) for e in first.trials.ended}
        assert len(kept & set(drawn)) >= 12


@pytest.mark.parametrize("every_s", [3.0, 1e6], ids=["snapshots", "replay"])
@pytest.mark.parametrize("objective", [bowl, learning])
def test_a_study_in_a_file_knows_itself_what_was_told(
    objective: Any, every_s: float, tmp_path: Path
) -> None:
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "study.log"))
    disk = CrashingDisk()

    def make() -> OptunaStudy:
        storage = optuna.storages.JournalStorage(backend)
        return OptunaStudy(study(storage=storage, study_name="one", load_if_exists=True), SPACE)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        first = Driven(make, objective)
        play(first, disk, MODEL, every_s=every_s, limits=Limits(tasks=20))
        again = Driven(make, objective)
        play(again, disk, MODEL, every_s=every_s)
    assert len(again.trials.ended) == 40
    known = {(each.number, each.args["x"]) for each in first.trials.ended}
    assert known <= {(each.number, each.args["x"]) for each in again.trials.ended}
    trials = [
        each
        for each in again.optimizer.study.trials
        if each.values or each.user_attrs.get("steerio_ended", "interrupted") != "interrupted"
    ]
    assert sorted(each.user_attrs["steerio_trial"] for each in trials) == list(range(40))
    assert not [each for each in again.optimizer.study.trials if not each.state.is_finished()]


def test_a_study_that_was_cut_off_has_no_running_trials_left() -> None:
    kept = study()
    left = kept.ask(SPACE)
    left.set_user_attr("steerio_run", "run-1")
    left.set_user_attr("steerio_trial", 3)
    of_another = kept.ask(SPACE)
    optimizer = OptunaStudy(kept, SPACE)
    assert optimizer.begin("run-1", ()) == []
    assert kept.trials[0].state.name == "FAIL"
    assert optimizer.begin("run-1", ()) == []  # it is to be run again
    assert kept.trials[of_another.number].state.name == "RUNNING"


def test_a_study_tells_whose_a_trial_is_from_its_first_moment_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = study()
    first = OptunaStudy(kept, SPACE)
    first.begin("run", [])

    def killed(*_: object, **__: object) -> NoReturn:
        raise KeyboardInterrupt

    trials = optuna.trial.Trial
    for owner, name in ((trials, "set_user_attr"), (trials, "_suggest"), (kept, "ask")):
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(owner, name, killed)
            first.ask(0)
    OptunaStudy(kept, SPACE).begin("run", [])
    assert {each.state.name for each in kept.trials} == {"FAIL"}
    mine = OptunaStudy(kept, SPACE)
    mine.begin("run", [])
    kept.enqueue_trial({"x": 0.25})
    assert mine.ask(1).args["x"] == 0.25, "a trial that was in the queue already comes first"
    assert kept.trials[-1].user_attrs == {"steerio_run": "run", "steerio_trial": 1}


def test_another_run_with_a_study_takes_no_trial_of_it_for_its_own() -> None:
    kept = study()
    for runs in (1, 2):
        run = simulate(Driven(lambda: OptunaStudy(kept, SPACE), limit=10), model=Model(1.0))
        assert len(run.campaign.trials.ended) == 10
        assert len(kept.trials) == 10 * runs
    assert len({each.user_attrs["steerio_run"] for each in kept.trials}) == 2


def test_two_searches_of_one_campaign_may_share_a_study() -> None:
    class Both(Driven):
        def __init__(self, make: Any) -> None:
            super().__init__(make)
            self.others = Trials(40, "other")

        @agent
        async def search_on(self) -> None:
            again = OptunaStudy(self.optimizer.study, SPACE)
            await drive(self, again, learning, self.others, at_once=2)

    campaign = simulate(Both(lambda: OptunaStudy(study(), SPACE)), model=Model(1.0)).campaign
    assert len(campaign.trials.ended) == len(campaign.others.ended) == 40
    assert [each.state.is_finished() for each in campaign.optimizer.study.trials] == [True] * 80


def test_a_space_of_something_else_than_distributions_is_refused() -> None:
    with pytest.raises(UsageError, match="the space has 5 for 'x'"):
        OptunaStudy(study(), {"x": 5})


def test_something_else_than_a_study_is_refused() -> None:
    with pytest.raises(UsageError, match="a study of Optuna"):
        OptunaStudy(3, SPACE)
    with pytest.raises(UsageError, match="distributions by name"):
        OptunaStudy(study(), 3)  # type: ignore[arg-type]


# -- gest-api --------------------------------------------------------------------------------------

needs_gest = pytest.mark.skipif(
    importlib.util.find_spec("gest_api") is None,
    reason="gest-api is not installed: pip install gest-api",
)


def vocs_class() -> Any:
    from gest_api.vocs import VOCS

    return VOCS


def random_generator(**options: Any) -> Any:
    from gest_api import Generator

    make_vocs = vocs_class()

    class RandomPoints(Generator):
        """Draws points, notes what it ingests, and knows its own points by their identifiers."""

        returns_id = True

        def __init__(self, vocs: Any, seed: int = 1) -> None:
            import random

            super().__init__(vocs)
            self.vocs, self.chance = vocs, random.Random(seed)
            self.ids: set[int] = set()
            self.ingested: list[dict[str, Any]] = []
            self.finalized = 0

        def _validate_vocs(self, vocs: Any) -> None: ...

        def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
            points = []
            for _ in range(num_points or 3):
                self.ids.add(len(self.ids))
                point = {name: self.chance.random() for name in self.vocs.variables}
                points.append({**point, "_id": len(self.ids) - 1})
            return points

        def ingest(self, results: list[dict[str, Any]]) -> None:
            for each in results:
                if "_id" in each and each["_id"] not in self.ids:
                    raise ValueError(f"no point has the id {each['_id']}")
            self.ingested += results

        def finalize(self) -> None:
            self.finalized += 1

    vocs = make_vocs(variables={"x": [0, 1], "y": [0, 1]}, objectives={"f": "MINIMIZE"})
    return RandomPoints(vocs, **options)


@needs_gest
@pytest.mark.parametrize("suggest", [1, 4, None])
def test_a_generator_ingests_the_values_of_what_it_suggested(suggest: int | None) -> None:
    def make() -> GestGenerator:
        return GestGenerator(random_generator(), suggest=suggest)

    campaign = simulate(Driven(make), model=Model(1.0)).campaign
    generator = campaign.optimizer.generator
    good = [each for each in campaign.trials.ended if each.succeeded and each.value == each.value]
    assert len(good) < 40
    assert [each["f"] for each in generator.ingested] == [each.value for each in good]
    assert all("_id" in each for each in generator.ingested)
    assert generator.finalized == 1


@needs_gest
def test_failures_are_ingested_only_as_the_user_says() -> None:
    def make() -> GestGenerator:
        return GestGenerator(random_generator(), failed=lambda ended: {"f": 10.0})

    campaign = simulate(Driven(make), model=Model(1.0)).campaign
    counts = campaign.trials.counts
    ingested = [each["f"] for each in campaign.optimizer.generator.ingested]
    assert ingested.count(10.0) == counts["failed"] > 0


@needs_gest
@pytest.mark.parametrize("every_s", [3.0, 1e6], ids=["snapshots", "replay"])
def test_a_generator_that_was_made_anew_ingests_what_is_known_without_identifiers(
    every_s: float,
) -> None:
    disk = CrashingDisk()
    play(
        Driven(lambda: GestGenerator(random_generator())),
        disk, MODEL, every_s=every_s, limits=Limits(tasks=20),
    )  # fmt: skip
    again = Driven(lambda: GestGenerator(random_generator(seed=2)))
    play(again, disk, MODEL, every_s=every_s)
    ingested = again.optimizer.generator.ingested
    good = [each for each in again.trials.ended if each.succeeded and each.value == each.value]
    assert sorted(each["f"] for each in ingested) == sorted(each.value for each in good)
    assert sum("_id" not in each for each in ingested) >= 12


@needs_gest
@pytest.mark.parametrize("every_s", [3.0, 1e6], ids=["snapshots", "replay"])
@pytest.mark.parametrize("suggest", [1, None])
def test_a_generator_with_a_seed_does_not_compute_its_first_points_again_after_a_resume(
    every_s: float, suggest: int | None
) -> None:
    disk = CrashingDisk()

    def make() -> GestGenerator:
        return GestGenerator(random_generator(), suggest=suggest)

    play(Driven(make), disk, MODEL, every_s=every_s, limits=Limits(tasks=20))
    again = Driven(make)
    play(again, disk, MODEL, every_s=every_s)
    assert len({(each.args["x"], each.args["y"]) for each in again.trials.ended}) == 40


def test_a_point_that_was_known_is_passed_over_once_and_no_more() -> None:
    class Stubborn:
        """Suggests one point for ever."""

        def suggest(self, number: int | None) -> list[dict[str, Any]]:
            return [{"x": ([0.5],)}]

        def ingest(self, results: list[dict[str, Any]]) -> None: ...

    adapter, known = GestGenerator(Stubborn()), EndedTrial(0, {"x": ([0.5],)}, "failed")
    adapter.begin("run", [known, known])
    asked = adapter.ask(1)
    assert isinstance(asked, Suggestion)
    assert asked.args == {"x": ([0.5],)}


@needs_gest
def test_a_value_without_a_name_needs_one_objective() -> None:
    make_vocs = vocs_class()

    generator = random_generator()
    generator.vocs = make_vocs(
        variables={"x": [0, 1], "y": [0, 1]}, objectives={"f": "MINIMIZE", "g": "MAXIMIZE"}
    )
    adapter = GestGenerator(generator)
    with pytest.raises(UsageError, match="return a dict of values by name"):
        adapter.tell(EndedTrial(0, {"x": 1, "y": 1}, "succeeded", 1.0))
    adapter.tell(EndedTrial(0, {"x": 1, "y": 1}, "succeeded", {"f": 1.0, "g": 2.0}))
    assert generator.ingested == [{"x": 1, "y": 1, "f": 1.0, "g": 2.0}]
    with pytest.raises(UsageError, match=r"suggest\(\) and ingest\(\)"):
        GestGenerator(3)


@needs_gest
def test_a_generator_of_libensemble_drives_a_campaign() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampling = pytest.importorskip(
            "libensemble.gen_classes.sampling",
            reason="libEnsemble is not installed: pip install libensemble",
        )
        make_vocs = vocs_class()

        vocs = make_vocs(variables={"x": [0, 1], "y": [0, 1]}, objectives={"f": "MINIMIZE"})
        campaign = simulate(
            Driven(lambda: GestGenerator(sampling.UniformSample(vocs))), model=Model(1.0)
        ).campaign
    assert len(campaign.trials.ended) == 40


@task
def on_cube(x: float, y: float, x_on_cube: float, y_on_cube: float) -> dict[str, float]:
    return {"f": (x - 0.3) ** 2 + (y - 0.7) ** 2}


@needs_gest
def test_aposmm_starts_local_runs_from_what_it_was_told() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        aposmm = pytest.importorskip(
            "libensemble.gen_classes.aposmm",
            reason="libEnsemble is not installed: pip install libensemble",
        )
        make_vocs = vocs_class()
        names = ("x", "y", "x_on_cube", "y_on_cube")
        vocs = make_vocs(variables={n: [0, 1] for n in names}, objectives={"f": "MINIMIZE"})
        mapping = {"x": ["x", "y"], "x_on_cube": ["x_on_cube", "y_on_cube"], "f": ["f"]}

        def make() -> GestGenerator:
            generator = aposmm.APOSMM(
                vocs, max_active_runs=2, initial_sample_size=10, variables_mapping=mapping
            )
            return GestGenerator(generator, suggest=10, in_batches=True)

        campaign = simulate(Driven(make, on_cube, limit=60), model=Model(1.0)).campaign
    assert len(campaign.trials.ended) == 60
    assert min(each.value["f"] for each in campaign.trials.ended) < 1e-3
    assert any(each.note["local_pt"] for each in campaign.trials.ended)
