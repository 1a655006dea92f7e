"""The batches of joblib as tasks: a backend of `joblib_backend`, which needs joblib."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from typing import Any

from steerio.session.executor import SessionExecutor
from steerio.session.executor_future import ExecutorFuture

_joblib: Any = import_module("joblib.parallel")  # which has no types


class Batches(_joblib.AutoBatchingMixin, _joblib.ParallelBackendBase):  # type: ignore[misc]
    """Submits joblib's batches, and hands it their values in a thread of its own.

    In that thread joblib draws further batches from the caller's iterator, which may take its time.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(self, executor: SessionExecutor) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType] - of joblib
        self._executor = executor
        self._left: set[ExecutorFuture[Any]] = set()
        self._telling: ThreadPoolExecutor | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many calls run at a time."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 has no meaning: give a number of calls, or -1")
        self._executor.refuse_own_thread("a call of joblib")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(1, self._executor.workers + 1 + n_jobs)

    def start_call(self) -> None:
        """Begin a call of joblib's ``Parallel``."""
        self._telling = ThreadPoolExecutor(1, "steerio joblib")

    def stop_call(self) -> None:
        """End it."""
        if self._telling is not None:
            self._telling.shutdown(wait=False)
            self._telling = None

    def submit(
        self, func: Callable[[], Any], callback: Callable[[Future[Any]], object] | None = None
    ) -> Future[Any]:
        """Queue a batch; if none is taken any more, its future has the error."""
        future: Future[Any]
        try:
            future = self._executor.submit(func)
        except RuntimeError as error:  # joblib would wait for ever: it asks in another thread
            future = Future()
            future.set_exception(error)
        else:
            self._left.add(future)
        future.add_done_callback(lambda _: self._ended(future, callback))
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """Return the values of a batch, or raise its error."""
        return out.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Stop the batches that are left, as one has failed or taken too long."""
        for future in list(self._left):
            future.stop()

    def terminate(self) -> None:
        """Leave the workers to their session."""

    def get_nested_backend(self) -> tuple[Any, int | None]:
        """Return how calls inside of calls run: one after another, in their worker."""
        return _joblib.SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None

    def _ended(self, future: Future[Any], callback: Callable[[Future[Any]], object] | None) -> None:
        self._left.discard(future)
        telling = self._telling
        if callback is not None and telling is not None:
            with contextlib.suppress(RuntimeError):  # the call has ended
                telling.submit(callback, future)
