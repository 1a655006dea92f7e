"""Campaigns that are driven by an optimizer which asks and tells.

`drive` asks an `Optimizer` for trials, runs each as a task, and tells it how each has ended, the
moment it has. `OptunaStudy` and `GestGenerator` make optimizers of Optuna's studies and of the
generators of ``gest-api``. Each name is loaded on first use: neither package is needed for others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steerio.asktell.driving import drive as drive
    from steerio.asktell.gest_generator import GestGenerator as GestGenerator
    from steerio.asktell.optimizer import Optimizer as Optimizer
    from steerio.asktell.optuna_study import OptunaStudy as OptunaStudy
    from steerio.asktell.trials import Asked as Asked
    from steerio.asktell.trials import EndedTrial as EndedTrial
    from steerio.asktell.trials import Trial as Trial
    from steerio.asktell.trials import Trials as Trials

_HOME_OF = {
    "Asked": "trials",
    "EndedTrial": "trials",
    "GestGenerator": "gest_generator",
    "Optimizer": "optimizer",
    "OptunaStudy": "optuna_study",
    "Trial": "trials",
    "Trials": "trials",
    "drive": "driving",
}

__all__ = [
    "Asked",
    "EndedTrial",
    "GestGenerator",
    "Optimizer",
    "OptunaStudy",
    "Trial",
    "Trials",
    "drive",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
