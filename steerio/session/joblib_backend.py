"""Joblib, and with it scikit-learn, on the workers of a session."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from importlib import import_module
from typing import Any

from steerio.errors import UsageError
from steerio.model.showing import short
from steerio.session.executor import SessionExecutor


@contextlib.contextmanager
def joblib_backend(executor: SessionExecutor, n_jobs: int = -1) -> Generator[None]:
    """Have joblib, and so scikit-learn, run its calls by an executor while the block runs.

    Joblib asks for more than one job only if it is told so: by ``n_jobs`` here, of a
    ``Parallel``, or of an estimator. Calls inside of calls run one after another, in their worker.

    Args:
        executor: of a session, as `open_executor` and `Session.executor` return it. Joblib waits,
            so its calls have to be made in another thread than that of the session's loop.
        n_jobs: calls at a time; -1: as many as the executor has workers.

    Raises:
        UsageError: the executor is none of a session, or joblib is not installed.
    """
    if not isinstance(executor, SessionExecutor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            "joblib_backend takes an executor of a session, as open_executor and session.executor "
            f"return it, not {short(executor)}"
        )
    try:
        joblib: Any = import_module("joblib")
        from steerio.session.joblib_batches import Batches
    except ImportError as error:
        raise UsageError(f"joblib_backend needs joblib: pip install joblib ({error})") from error
    with joblib.parallel_config(backend=Batches(executor), n_jobs=n_jobs):
        yield
