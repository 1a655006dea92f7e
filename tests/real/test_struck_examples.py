"""Examples whose busy workers are killed come to the results of undisturbed runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.real.striking import run_struck

pytestmark = [pytest.mark.example, pytest.mark.timeout(600)]
LONGEST_S = 250.0

FITS = """
from search import MultiStart

whole, halved = struck(MultiStart, each_s=0.05, calm={"keep": 1.0}, quick=True)
ends = {each.number: each.value for each in whole.trials.ended}
assert len(ends) == len(halved.trials.ended) == 8
assert sum(halved.trials.counts[end] for end in ("succeeded", "pruned")) == 8
for each in halved.trials.ended:
    assert not each.succeeded or each.value == ends[each.number]
assert halved.best == whole.best
"""

NETWORKS = """
from search import Search

# on one worker, so that the optimizer is told the same in the same order
whole, killed = struck(Search, each_s=0.1, quick=True, by={by!r}, workers={{"train": 1}})
kept = [
    [(each.args, each.value if each.succeeded else None, each.reports) for each in run.trials.ended]
    for run in (whole, killed)
]
assert len(kept[0]) == 12
assert kept[0] == kept[1]
"""

POINTS = """
from search import Ensemble

# on one worker of each pool, so that models learn from the points in the same order
one = {"simulate": 1, "learn": 1, "infer": 1}
whole, killed = struck(Ensemble, each_s=0.5, quick=True, workers=one)
assert len(whole.points) == 96
assert (whole.points, whole.values) == (killed.points, killed.values)
"""

HEIGHTS = """
from screening import Screening

whole, killed = struck(Screening, each_s=0.5, molecules=96)
assert whole.known == killed.known
assert len(whole.known) == 96
assert not killed.todo.waiting
assert not killed.todo.running
"""


@pytest.mark.parametrize(
    ("example", "code", "package"),
    [
        pytest.param("multistart", FITS, "scipy", id="multistart"),
        pytest.param("asktell", NETWORKS.format(by="optuna"), "optuna", id="asktell-pruning"),
        pytest.param("asktell", NETWORKS.format(by="gp"), "sklearn", id="asktell"),
        pytest.param("ensemble", POINTS, "numpy", id="ensemble"),
        pytest.param("reallocation", HEIGHTS, "numpy", id="reallocation"),
    ],
)
def test_kills_of_busy_workers_change_no_result(
    example: str, code: str, package: str, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    killed, said = run_struck(example, code, tmp_path, LONGEST_S)
    assert killed >= 2, said
