"""Campaigns that are driven by an optimizer which asks and tells.

`drive` asks an `Optimizer` for trials, runs each as a task, and tells it how each has ended, the
moment it has. `OptunaStudy` and `GestGenerator` make optimizers of Optuna's studies and of the
generators of ``gest-api``; neither package is imported before such a one is used.
"""

from __future__ import annotations

from steerio.asktell.driving import drive as drive
from steerio.asktell.gest_generator import GestGenerator as GestGenerator
from steerio.asktell.optimizer import Optimizer as Optimizer
from steerio.asktell.optuna_study import OptunaStudy as OptunaStudy
from steerio.asktell.trials import EndedTrial as EndedTrial
from steerio.asktell.trials import Suggestion as Suggestion
from steerio.asktell.trials import Trial as Trial
from steerio.asktell.trials import Trials as Trials

__all__ = [
    "EndedTrial",
    "GestGenerator",
    "Optimizer",
    "OptunaStudy",
    "Suggestion",
    "Trial",
    "Trials",
    "drive",
]
