"""The models of tasks in a simulation: how long a task takes, its value, how it fails.

Chance is an argument: all draws for a task type come from its own ``random.Random``, which is
seeded with the simulation's seed.  So a run depends on its seed, and adding a task type does not
change the draws for another.
"""

from __future__ import annotations

import math
import random
import weakref
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from msgspec import Struct

from steerio.errors import UsageError
from steerio.model.bounds import real
from steerio.model.tasks import FunctionKind, TaskSpec
from steerio.session.task_type import as_task_type
from steerio.worker.loading import LoadedType


@runtime_checkable
class Durations(Protocol):
    """Durations that depend on the task type, such as those of a recorded run."""

    def of(self, task_type: str) -> Callable[..., float]:
        """Return the function that draws one task type's durations, ``(rng, *args) -> seconds``.

        Raises:
            UsageError: it knows no duration of that type.
        """
        ...


class Model(Struct, frozen=True):
    """How the tasks of one type behave.

    Attributes:
        duration_s: seconds that an attempt takes: a number, a distribution, or any callable that
            takes a ``random.Random`` and the task's arguments.  For a generator: the seconds from
            one item to the next.
        value: called with the task's arguments, returns its value; by default the task's own
            function is called.  It is called when the attempt begins, and takes no virtual time:
            its reports are told while the attempt lasts, at times that follow from their fractions.
             (``async def`` functions take time: they run on the virtual clock, after
            ``duration_s``.)
        fails: the probability that an attempt fails, 0 to 1, or a callable like ``duration_s`` that
            returns whether it does.
        crashes: the same for a crash of its worker.
        obeys: when a running attempt stops: when ``asked`` (it looks at ``should_stop()``), at
            ``term``, or only at ``kill``.  By default as real attempts do: ``asked`` for
            ``async def`` functions and generators, ``term`` for plain functions.

    Raises:
        UsageError: one of them is invalid.
    """

    duration_s: float | Callable[..., float] | Durations
    value: Callable[..., Any] | None = None
    fails: float | Callable[..., bool] = 0.0
    crashes: float | Callable[..., bool] = 0.0
    obeys: Literal["asked", "term", "kill"] | None = None

    def __post_init__(self) -> None:
        """Refuse invalid attributes."""
        if isinstance(self.duration_s, (int, float)):
            _check_duration(self.duration_s)
        else:
            duration: object = self.duration_s
            if not callable(duration) and not hasattr(duration, "of"):
                raise UsageError(f"Model.duration_s is seconds or a callable, not {duration!r}")
        if self.value is not None and not callable(self.value):
            raise UsageError(f"Model.value has to be a callable, not {self.value!r}")
        for name in ("fails", "crashes"):
            chance: Any = getattr(self, name)
            if not callable(chance) and not 0 <= real(chance, f"Model.{name}") <= 1:
                raise UsageError(f"Model.{name} is 0 to 1 or a callable, not {chance!r}")
        if self.obeys not in (None, "asked", "term", "kill"):
            raise UsageError(f"Model.obeys is 'asked', 'term' or 'kill', not {self.obeys!r}")


Models = Mapping[Any, Model] | Model | Durations
"""Models by task type (a function, or its name ``module:qualname``), or one for all types."""


class Fate(NamedTuple):
    """The draws for one attempt, made as it began."""

    duration_s: float
    fails: bool
    crashes: bool


class Script:
    """A task type in simulated workers: its function, its model and its source of chance."""

    def __init__(
        self, spec: TaskSpec, model: Model, seed: int | str, chance: random.Random
    ) -> None:
        self.loaded = LoadedType(spec)
        self.name = spec.name
        self.kind: FunctionKind = spec.kind
        self._value = model.value
        self.modelled = model.value is not None
        self.obeys = model.obeys or ("term" if spec.kind == "function" else "asked")
        duration = model.duration_s
        if isinstance(duration, Durations):
            duration = duration.of(spec.name)
        self._duration: Any = duration
        self._fails = model.fails
        self._crashes = model.crashes
        self.seed = seed
        self._random = chance

    def __repr__(self) -> str:
        return f"<Script of {self.name}>"

    @property
    def function(self) -> Callable[..., Any]:
        """The function that returns the value of a task."""
        return self._value or self.loaded.function

    def draw(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Fate:
        """Draw the fate of one attempt.

        Raises:
            UsageError: the drawn duration is not a number of 0 or more seconds.
        """
        duration = self._duration
        if callable(duration):
            drawn: Any = duration(self._random, *args, **kwargs)
            _check_duration(drawn, self.name)
            duration = drawn
        fails, crashes = self._fails, self._crashes
        return Fate(
            duration,
            bool(fails) and self._happens(fails, args, kwargs),
            bool(crashes) and self._happens(crashes, args, kwargs),
        )

    def _happens(self, chance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if callable(chance):
            return bool(chance(self._random, *args, **kwargs))
        return self._random.random() < float(chance)


class Scripts:
    """The scripts of all task types of one simulation.

    Args:
        models: a model for each task type, or one model (or just its durations) for all of them.
        seed: of all random draws.
    """

    def __init__(self, models: Models, seed: int | str) -> None:
        if isinstance(models, Durations):
            models = Model(models)
        self._default: Model | None = None
        self._models: dict[str, Model] = {}
        if isinstance(models, Model):
            self._default = models
        elif not isinstance(models, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"model is a Model, or a dict of Models by task type, not {models!r}")
        else:
            self._models = {_name(key): _checked(model, key) for key, model in models.items()}
        self._seed = seed
        self._chances: dict[str, random.Random] = {}
        self._scripts: weakref.WeakValueDictionary[TaskSpec, Script] = weakref.WeakValueDictionary()
        """The scripts that a worker knows, by task type."""

    def of(self, spec: TaskSpec) -> Script:
        """Return the script of a task type.

        Raises:
            UsageError: the type has no model, or its function cannot be loaded.
        """
        script = self._scripts.get(spec)
        if script is None:
            model = self._models.get(spec.name) or self._default
            if model is None:
                known = ", ".join(sorted(self._models)) or "none"
                raise UsageError(
                    f"task type {spec.name} has no model (models here: {known}); "
                    f"add {spec.name.partition(':')[2]}: Model(duration_s=...)"
                )
            chance = self._chances.get(spec.name)  # one per name, though its code may change
            if chance is None:
                chance = self._chances[spec.name] = random.Random(f"{self._seed}/{spec.name}")
            script = self._scripts[spec] = Script(spec, model, self._seed, chance)
        return script


def _name(key: Any) -> str:
    return key if isinstance(key, str) else as_task_type(key).name


def _checked(model: Any, key: Any) -> Model:
    if not isinstance(model, Model):
        raise UsageError(f"the model of {_name(key)} is {model!r}, not a Model(duration_s=...)")
    return model


def _check_duration(duration_s: Any, of: str = "") -> None:
    if not isinstance(duration_s, (int, float)) or not 0 <= duration_s < math.inf:
        about = f" of {of}" if of else ""
        raise UsageError(f"a duration{about} must be 0 or more seconds, not {duration_s!r}")
