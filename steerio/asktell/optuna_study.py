"""An Optuna study as the optimizer of a campaign.

Optuna's states of a trial are fewer than the ends of a task. A value is told as COMPLETE, a
pruned trial as PRUNED, and every other end as FAIL, with the attributes ``steerio_ended`` and
``steerio_reason``: its samplers leave failures out, and take none for a bad value.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from steerio.asktell.optimizer import Optimizer
from steerio.asktell.trials import EndedTrial, Suggestion, Trial, TrialEnd, no_number
from steerio.errors import UsageError

log = logging.getLogger("steerio.asktell")

RUN, NUMBER = "steerio_run", "steerio_trial"
ENDED, REASON = "steerio_ended", "steerio_reason"
"""Attributes of the study's trials: where each came from, and how it ended."""

Space = Mapping[str, Any] | Callable[[Any], dict[str, Any]]


class OptunaStudy(Optimizer):
    """Asks an Optuna study, prunes by its pruner, and tells it (``pip install optuna``).

    Args:
        study: the study, with any sampler, pruner and storage.
        space: the distributions of the parameters, by name; or a function that suggests them,
            ``space(trial)``, and returns the arguments of a trial by name.

    Raises:
        UsageError: one of them is something else.
    """

    def __init__(self, study: Any, space: Space) -> None:
        if not all(hasattr(study, name) for name in ("ask", "tell", "add_trial", "directions")):
            raise UsageError(f"OptunaStudy takes a study of Optuna, not {study!r}")
        if not callable(space) and not isinstance(space, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(
                "the space is a dict of Optuna's distributions by name, or a function of a trial, "
                f"not {space!r}"
            )
        _check_space(space)
        self.study = study
        self._space = space
        self._run = ""
        self._open: dict[int, Any] = {}
        """The study's trials that are open, by our numbers."""

    def __repr__(self) -> str:
        return f"<OptunaStudy {self.study.study_name}: {len(self._open)} open>"

    def ask(self, number: int) -> Suggestion:
        """Return the parameters that the sampler suggests."""
        from optuna.trial import TrialState

        if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self._announce(number, {})
        return self._ask(number)

    def _announce(self, number: int, params: dict[str, Any]) -> None:
        """Have a trial wait for the next ask; from its first moment on it says whose it is."""
        self.study.enqueue_trial(params, user_attrs={RUN: self._run, NUMBER: number})

    def _ask(self, number: int) -> Suggestion:
        """Return the parameters of the trial that waits."""
        space: Any = self._space
        if isinstance(space, Mapping):
            trial = self.study.ask(space)
            args = dict(trial.params)
        else:
            trial = self.study.ask()
            args = space(trial)
        if (trial.user_attrs.get(RUN), trial.user_attrs.get(NUMBER)) != (self._run, number):
            trial.set_user_attr(RUN, self._run)  # it was in the queue already
            trial.set_user_attr(NUMBER, number)
        self._open[number] = trial
        return Suggestion(args, _note(trial))

    def report(self, trial: Trial, step: int, value: float) -> bool:
        """Report an intermediate value, and return whether the pruner would end the trial.

        A study of several objectives prunes nothing.
        """
        if len(self.study.directions) > 1:
            return False
        open_trial = self._open[trial.number]
        open_trial.report(value, step)
        return bool(open_trial.should_prune())

    def tell(self, ended: EndedTrial) -> None:
        """Tell the study, in Optuna's words."""
        from optuna.trial import TrialState

        trial = self._open.pop(ended.number)
        how, reason = _as_told(ended)
        if how == "succeeded":
            self.study.tell(trial, ended.value)
            return
        trial.set_user_attr(ENDED, how)
        trial.set_user_attr(REASON, reason)
        self.study.tell(trial, state=TrialState.PRUNED if how == "pruned" else TrialState.FAIL)

    def begin(self, run: str, ended: Sequence[EndedTrial]) -> Sequence[EndedTrial]:
        """Add the trials that the study does not have; return those that only its storage knows.

        Trials of this run that seem to run there, or to wait, are those of a process that is gone:
        they fail, as interrupted.
        """
        from optuna.trial import TrialState

        self._run = run
        there: dict[int, Any] = {}
        waiting = 0
        for each in self.study.get_trials(deepcopy=False):
            if each.user_attrs.get(RUN) != run or NUMBER not in each.user_attrs:
                continue
            if each.state == TrialState.RUNNING:
                self.study.tell(each.number, state=TrialState.FAIL)
            elif each.state == TrialState.WAITING:
                waiting += 1
            elif _has_ended(each):
                there[each.user_attrs[NUMBER]] = each
        for _ in range(waiting):  # only the next one in line can be told of, once it is asked for
            self.study.tell(self.study.ask(), state=TrialState.FAIL)
        for each in ended:
            if each.number not in there:
                self.study.add_trial(_frozen(each, run))
        if there or ended:  # else a seeded sampler would draw its first points again
            self.study.sampler.reseed_rng()
        known = {each.number for each in ended}
        return [
            _ended(each, self._args_of(dict(each.params)))
            for number, each in there.items()
            if number not in known
        ]

    def reopen(self, trial: Trial) -> Any:
        """Have the study ask for the trial's parameters once more."""
        self._announce(trial.number, dict(trial.note[0] if trial.note else trial.args))
        asked = self._ask(trial.number)
        if asked.args != trial.args:
            log.warning(
                "trial %d runs with %r, and the study was asked with %r: the space has changed, or "
                "its arguments are not its parameters",
                trial.number, trial.args, asked.args,
            )  # fmt: skip
        return asked.note

    def _args_of(self, params: dict[str, Any]) -> dict[str, Any]:
        space: Any = self._space
        if isinstance(space, Mapping):
            return params
        from optuna.trial import FixedTrial

        found: dict[str, Any] = space(FixedTrial(params))
        return found


def _has_ended(frozen: Any) -> bool:
    """Whether a trial of a study was told how it ended, and is not to be run again."""
    if frozen.state.name == "COMPLETE":
        return True
    how: str = frozen.user_attrs.get(ENDED, "interrupted")
    return bool(frozen.state.is_finished()) and how != "interrupted"


def _note(trial: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the parameters of a trial of the study, and their distributions."""
    from optuna.distributions import distribution_to_json

    distributions = {name: distribution_to_json(d) for name, d in trial.distributions.items()}
    return dict(trial.params), distributions


def _as_told(ended: EndedTrial) -> tuple[TrialEnd, str]:
    """Return how a trial ended, for the study: a value that is no number is a failure."""
    reason = no_number(ended.value) if ended.succeeded else ""
    if not reason:
        return ended.ended, ended.reason
    log.warning("trial %d is told as failed: %s", ended.number, reason)
    return "failed", reason


def _frozen(ended: EndedTrial, run: str) -> Any:
    """Return a trial that has ended as one to be added to a study."""
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState, create_trial

    note: tuple[dict[str, Any], dict[str, str]] = ended.note or ({}, {})
    params, distributions = note
    value: Any = ended.value
    how, reason = _as_told(ended)
    attributes: dict[str, Any] = {RUN: run, NUMBER: ended.number}
    if how != "succeeded":
        attributes |= {ENDED: how, REASON: reason}
    states = {"succeeded": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
    values: list[Any] | None = None
    if how in states and value is not None:
        values = [value]
        if isinstance(value, (list, tuple)):
            values = list(cast("list[Any]", value))
    return create_trial(
        state=states.get(how, TrialState.FAIL),
        values=values,
        params=params,
        distributions={name: json_to_distribution(text) for name, text in distributions.items()},
        user_attrs=attributes,
        intermediate_values=dict(ended.reports),
    )


def _ended(frozen: Any, args: dict[str, Any]) -> EndedTrial:
    """Return a trial of a study as one that has ended."""
    names = {"COMPLETE": "succeeded", "PRUNED": "pruned"}
    how = names.get(frozen.state.name) or frozen.user_attrs.get(ENDED, "failed")
    values = frozen.values
    value = values[0] if values and len(values) == 1 else values
    return EndedTrial(
        number=frozen.user_attrs[NUMBER],
        args=args,
        ended=cast("TrialEnd", how),
        value=value,
        reason=frozen.user_attrs.get(REASON, ""),
        note=_note(frozen),
        reports=sorted(frozen.intermediate_values.items()),
    )


def _check_space(space: object) -> None:
    """Refuse a dict of something else than distributions.

    Raises:
        UsageError: it is one.
    """
    if not isinstance(space, Mapping):
        return
    for name, each in cast("Mapping[object, object]", space).items():
        if not hasattr(each, "to_internal_repr"):
            raise UsageError(
                f"the space has {each!r} for {name!r}: give one of Optuna's distributions, such as "
                "FloatDistribution(0, 1)"
            )
