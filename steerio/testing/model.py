"""The models of tasks in a simulation: how long a task takes, its value, how it fails.

Chance is an argument: all draws of a `Model` come from the task type's own ``random.Random``, which
is seeded with the simulation's seed.  So a run depends on its seed, and adding a task type does not
change the draws for another.  A function that draws a whole `Course` has a generator for each call.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from msgspec import Struct

from steerio.edge.wire.endpoint import Frames
from steerio.errors import UsageError
from steerio.model.bounds import real
from steerio.model.messages import RunTask
from steerio.model.tasks import FunctionKind, TaskSpec
from steerio.session.task_type import as_task_type
from steerio.testing.course import (
    AnyDraw,
    Course,
    Draw,
    DrawsCalls,
    Obeys,
    check_duration,
    check_obeys,
    checked_course,
)
from steerio.testing.task_streams import TaskStreams
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
    obeys: Obeys | None = None

    def __post_init__(self) -> None:
        """Refuse invalid attributes."""
        if isinstance(self.duration_s, (int, float)):
            check_duration(self.duration_s)
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
        check_obeys(self.obeys, "Model")


Models = Mapping[Any, Model | AnyDraw] | Model | Durations
"""Models by task type (a function, or its name ``module:qualname``), or one for all types."""


class Fate(NamedTuple):
    """The draws for one attempt, made as it began; ``course`` if it was drawn as a whole."""

    duration_s: float
    fails: bool
    crashes: bool
    course: Course | None = None


class Script:
    """A task type in simulated workers: its function, and how its attempts go.

    Attributes:
        modelled: whether its values come from the model.
        obeys: when an attempt stops.
    """

    def __init__(self, spec: TaskSpec, seed: int | str, model: Model) -> None:
        self.loaded = LoadedType(spec)
        self.name = spec.name
        self.kind: FunctionKind = spec.kind
        self.seed = seed
        self._value = model.value
        self.modelled = model.value is not None
        self.obeys: Obeys = model.obeys or ("term" if spec.kind == "function" else "asked")

    def __repr__(self) -> str:
        return f"<Script of {self.name}>"

    @property
    def function(self) -> Callable[..., Any]:
        """The function that returns the value of a task."""
        return self._value or self.loaded.function

    def draw(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], task: RunTask, frames: Frames
    ) -> Fate:
        """Draw the fate of one attempt.

        Args:
            args: the task's arguments by position.
            kwargs: those by name.
            task: the attempt, with the packed arguments.
            frames: of the packed arguments.

        Raises:
            UsageError: the model drew something that no attempt can have.
        """
        raise NotImplementedError


class ModelScript(Script):
    """A task type that follows a `Model`; all its draws come from one generator."""

    def __init__(
        self, spec: TaskSpec, seed: int | str, model: Model, chance: random.Random
    ) -> None:
        super().__init__(spec, seed, model)
        duration = model.duration_s
        if isinstance(duration, Durations):
            duration = duration.of(spec.name)
        self._duration: Any = duration
        self._fails = model.fails
        self._crashes = model.crashes
        self._random = chance

    def draw(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], task: RunTask, frames: Frames
    ) -> Fate:
        """Draw a duration, and whether the attempt fails or crashes."""
        duration = self._duration
        if callable(duration):
            drawn: Any = duration(self._random, *args, **kwargs)
            if isinstance(drawn, Course):
                raise UsageError(
                    f"Model.duration_s of {self.name} returned a Course: give the function itself "
                    "for the task type, without a Model around it"
                )
            check_duration(drawn, self.name)
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


class DrawnScript(Script):
    """A task type whose attempts are drawn as a whole; each call has a generator of its own."""

    def __init__(
        self, spec: TaskSpec, seed: int | str, draw: AnyDraw, streams: TaskStreams
    ) -> None:
        super().__init__(spec, seed, Model(0.0))
        self._draw: Any = draw
        self._draw_call = draw.draw_call if isinstance(draw, DrawsCalls) else None
        self._streams = streams

    def draw(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], task: RunTask, frames: Frames
    ) -> Fate:
        """Draw a course."""
        stream = self._streams.of(task, frames)
        if self._draw_call is not None:
            drawn: Any = self._draw_call(stream, task, frames, self.loaded)
        else:
            drawn = self._draw(stream.rng, *args, **kwargs)
        course = checked_course(drawn, self.name, self.kind)
        return Fate(course.duration_s, bool(course.fails), course.crashes, course)


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
        self._models: dict[str, Model | AnyDraw] = {}
        if isinstance(models, Model):
            self._default = models
        elif not isinstance(models, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"model is a Model, or a dict of Models by task type, not {models!r}")
        else:
            self._models = {
                name_of_type(key): _checked(model, key) for key, model in models.items()
            }
        self._seed = seed
        self._chances: dict[str, random.Random] = {}
        self._streams: dict[str, TaskStreams] = {}
        self._scripts: weakref.WeakValueDictionary[TaskSpec, Script] = weakref.WeakValueDictionary()
        """The scripts that a worker knows, by task type."""

    def of(self, spec: TaskSpec) -> Script:
        """Return the script of a task type.

        Raises:
            UsageError: the type has no model, or its function cannot be loaded.
        """
        script = self._scripts.get(spec)
        if script is None:
            script = self._scripts[spec] = self._new(spec)
        return script

    def _new(self, spec: TaskSpec) -> Script:
        """Make a script; one source of chance per name, though its code may change."""
        name = spec.name
        model = self._models.get(name) or self._default or self._drawn_elsewhere(name)
        if model is None:
            known = ", ".join(sorted(self._models)) or "none"
            raise UsageError(
                f"task type {name} has no model (models here: {known}); "
                f"add {name.partition(':')[2]}: Model(duration_s=...)"
            )
        if isinstance(model, Model):
            chance = self._chances.get(name)
            if chance is None:
                chance = self._chances[name] = random.Random(f"{self._seed}/{name}")
            return ModelScript(spec, self._seed, model, chance)
        streams = self._streams.get(name)
        if streams is None:
            streams = self._streams[name] = TaskStreams(f"{self._seed}/{name}")
        return DrawnScript(spec, self._seed, model, streams)

    def _drawn_elsewhere(self, name: str) -> AnyDraw | None:
        """Return the recorded model of the only function of that name, in another module.

        The tasks of a file have other names when it is run as a script.
        """
        function = name.partition(":")[2]
        alike = [
            model
            for other, model in self._models.items()
            if other.partition(":")[2] == function and not isinstance(model, Model)
        ]
        return alike[0] if len(alike) == 1 and isinstance(alike[0], DrawsCalls) else None


def name_of_type(key: Any) -> str:
    """Return the name of a task type, which may be given by its function."""
    return key if isinstance(key, str) else as_task_type(key).name


def _checked(model: Any, key: Any) -> Model | AnyDraw:
    if isinstance(model, (Model, DrawsCalls)):
        return model
    if not callable(model):
        raise UsageError(
            f"the model of {name_of_type(key)} is {model!r}, not a Model(duration_s=...), and no "
            "function that draws a Course"
        )
    return cast("Draw", model)
