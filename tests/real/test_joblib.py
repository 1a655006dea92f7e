"""Joblib, and scikit-learn by it, runs its calls on a session's workers."""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import steerio
from steerio import UsageError
from steerio.session.executor import SessionExecutor

joblib = pytest.importorskip("joblib")


@pytest.fixture
def executor() -> Iterator[SessionExecutor]:
    """Return the executor of a session with two workers."""
    with steerio.open_executor(steerio.open_session(workers=2)) as opened:
        yield opened


def squared(x: int) -> tuple[int, int]:
    return x * x, os.getpid()


def test_calls_run_on_workers_in_order(executor: SessionExecutor) -> None:
    """All values come back in order, from both workers and no other process."""
    with steerio.joblib_backend(executor):
        found = joblib.Parallel()(joblib.delayed(squared)(x) for x in range(200))
    assert [value for value, _ in found] == [x * x for x in range(200)]
    assert os.getpid() not in {pid for _, pid in found}


def test_as_many_at_a_time_as_there_are_workers(executor: SessionExecutor) -> None:
    """-1 stands for all workers, another negative number for fewer; 0 means nothing."""
    with steerio.joblib_backend(executor):
        assert joblib.effective_n_jobs(-1) == 2
        assert joblib.effective_n_jobs(-2) == 1
        assert joblib.effective_n_jobs(7) == 7
        with pytest.raises(ValueError, match="n_jobs"):
            joblib.Parallel(n_jobs=0)([])


def fails(x: int) -> int:
    if x == 3:
        raise ValueError("three")
    return x


def test_an_error_is_raised_and_the_backend_goes_on(executor: SessionExecutor) -> None:
    """The error of a call is that of the caller, and later calls run."""
    with steerio.joblib_backend(executor):
        with pytest.raises(ValueError, match="three"):
            joblib.Parallel()(joblib.delayed(fails)(x) for x in range(50))
        assert joblib.Parallel()(joblib.delayed(fails)(x) for x in (1, 2)) == [1, 2]


def waits(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.01)  # until the test, which is in another process, has looked


def test_a_call_that_takes_too_long_is_stopped(executor: SessionExecutor, tmp_path: Path) -> None:
    """A time-out of joblib ends the call, stops its tasks, and frees the workers."""
    with steerio.joblib_backend(executor):
        with pytest.raises(multiprocessing.TimeoutError):
            joblib.Parallel(timeout=0.2)(
                joblib.delayed(waits)(str(tmp_path / "never")) for _ in range(4)
            )
        assert joblib.Parallel()(joblib.delayed(fails)(x) for x in (1, 2)) == [1, 2]


def test_values_come_as_they_are_ready(executor: SessionExecutor) -> None:
    """Generators of values work, in order and not."""
    with steerio.joblib_backend(executor):
        for order in ("generator", "generator_unordered"):
            parallel = joblib.Parallel(return_as=order)
            found = parallel(joblib.delayed(fails)(x) for x in (5, 6, 7))
            assert sorted(found) == [5, 6, 7]


def nested(x: int) -> list[tuple[int, int]]:
    return joblib.Parallel(n_jobs=4)(joblib.delayed(squared)(y) for y in range(x))


def test_calls_inside_of_calls_run_in_their_worker(executor: SessionExecutor) -> None:
    """A nested call starts no process and waits for no worker."""
    with steerio.joblib_backend(executor):
        found = joblib.Parallel()(joblib.delayed(nested)(3) for _ in range(4))
    assert all(len({pid for _, pid in each}) == 1 for each in found)


def test_the_iterator_of_calls_is_drawn_away_from_the_loop(executor: SessionExecutor) -> None:
    """An iterator that waits does not stop the session's loop."""
    drawn_in: set[str] = set()

    def calls() -> Iterator[object]:
        for x in range(20):
            drawn_in.add(threading.current_thread().name)
            yield joblib.delayed(fails)(x + 4)

    with steerio.joblib_backend(executor):
        assert joblib.Parallel(batch_size=1)(calls()) == list(range(4, 24))
    assert "steerio executor" not in drawn_in


async def test_on_the_loop_itself_it_is_refused() -> None:
    """A call of joblib would stop the loop of its session."""
    async with steerio.open_session(workers=1) as session:
        with (
            steerio.joblib_backend(session.executor()),
            pytest.raises(UsageError, match="would stop the loop"),
        ):
            joblib.Parallel(n_jobs=2)(joblib.delayed(fails)(x) for x in (1, 2))


def test_a_session_that_has_ended_ends_the_call(executor: SessionExecutor) -> None:
    """A batch that is not taken any more has its error, and joblib raises it."""

    def calls() -> Iterator[object]:
        yield joblib.delayed(fails)(1)
        executor.break_off("it is over")
        yield joblib.delayed(fails)(2)

    with steerio.joblib_backend(executor), pytest.raises(RuntimeError, match="it is over"):
        joblib.Parallel(pre_dispatch=1, batch_size=1)(calls())


def test_another_executor_is_refused() -> None:
    """It takes a session's executor alone."""
    with pytest.raises(UsageError, match="executor of a session"), steerio.joblib_backend(3):  # type: ignore[arg-type]
        pass


def test_scikit_learn_searches_on_workers(executor: SessionExecutor) -> None:
    """A grid search finds the same with the session's workers as without."""
    pytest.importorskip("sklearn")
    from sklearn.datasets import make_regression
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV

    features, target, *_ = make_regression(n_samples=60, n_features=5, noise=5.0, random_state=1)
    alphas = {"alpha": [0.01, 0.1, 1.0, 10.0]}
    alone = GridSearchCV(Ridge(), alphas).fit(features, target)
    with steerio.joblib_backend(executor):
        ours = GridSearchCV(Ridge(), alphas).fit(features, target)
    assert ours.best_params_ == alone.best_params_
    assert ours.best_score_ == alone.best_score_
