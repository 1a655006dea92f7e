"""Versions that are recorded in MLflow."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import logging
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, SupportsFloat

from steerio.edge.record.mlflow_runs import Entry, MlflowRuns, Published, Recorder
from steerio.errors import UsageError
from steerio.session.versions import Versions

WITHIN_S = 60.0
"""Longest wait at the end for unrecorded entries; making a new database takes seconds."""

log = logging.getLogger("steerio.session")


class MlflowVersions(Versions):
    """Versions that are recorded in MLflow as they are published here.

    Open it with ``async with``, or `close` it. There is one run for all versions, in which metrics
    are curves over the number of the version (their *step*), and nested below it one for each
    version, with its params, tags, metrics and artifact.  (One run alone could not hold params that
    change; runs of versions alone would have no curves.)

    MLflow is imported, and waits for its server or database, in a thread of its own; nothing
    here waits for it.  An entry that cannot be recorded is a warning of the logger
    ``steerio.mlflow`` and counted in `not_recorded`; the campaign goes on.  How often and how long
    MLflow tries is up to it (``MLFLOW_HTTP_REQUEST_MAX_RETRIES``, ``MLFLOW_HTTP_REQUEST_TIMEOUT``).

    Args:
        versions: those to record: ``session.versions(name)``.
        experiment: the name of MLflow's experiment; it is made if there is none.
        tracking_uri: as MLflow has it, such as ``sqlite:///runs/mlflow.db``; by default MLflow's
            setting.
        run_name: of the run; by default that of the session or campaign, and of the versions.
        artifact_bytes: record values themselves, too, while they and those that wait have at
            most so many bytes: an array as ``NAME.npy``, all else as ``NAME.pkl``.

    Raises:
        UsageError: MLflow is not installed, or an experiment or number is missing.
    """

    def __init__(
        self,
        versions: Versions,
        *,
        experiment: str,
        tracking_uri: str | None = None,
        run_name: str | None = None,
        artifact_bytes: int = 0,
    ) -> None:
        if not isinstance(versions, Versions):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"MlflowVersions takes session.versions(name), not {versions!r}")
        super().__init__(versions._store, versions.name)
        if importlib.util.find_spec("mlflow") is None:
            raise UsageError("recording in MLflow takes it: pip install 'steerio[mlflow]'")
        if not experiment:
            raise UsageError("an experiment of MLflow needs a name")
        if artifact_bytes < 0:
            raise UsageError(f"artifact_bytes is a number of bytes, not {artifact_bytes}")
        self.seen = versions.seen
        self._artifact_bytes = artifact_bytes
        client = self._store.client
        self._recorder = Recorder(
            MlflowRuns(
                experiment=experiment,
                tracking_uri=tracking_uri,
                run_name=run_name or f"{client.name}: {self.name}",
                version_name=self.name,
                tags={"steerio.versions": self.name, "steerio.client": client.name},
            )
        )
        # the thread ends with the session even if this is not closed
        client.on_lost(lambda _: self._recorder.finish())

    def __repr__(self) -> str:
        return f"<MlflowVersions of {self.name!r}: {self.recorded} recorded>"

    @property
    def recorded(self) -> int:
        """The number of versions and logs of metrics that MLflow has taken so far."""
        return self._recorder.recorded

    @property
    def not_recorded(self) -> dict[str, int]:
        """The entries that were not recorded, in words, with the number of times."""
        return dict(self._recorder.missed)

    async def publish(
        self,
        value: object,
        *,
        metrics: Mapping[str, SupportsFloat] | None = None,
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, object] | None = None,
    ) -> int:
        """Make a value the newest version and have it recorded; returns its number.

        Its size is recorded as the metric ``nbytes``.

        Args:
            value: the value to publish.
            metrics: numbers, which become curves over the versions.
            params: parameters of this version's run; MLflow keeps them as texts.
            tags: tags of this version's run, as texts.

        Raises:
            UsageError: a metric is not a number, or this was closed; nothing is published then.
            EncodingError, StoreFull, BrokerLost: as for ``session.put``.
        """
        numbers = self._numbers(metrics or {})
        version = await self._publish(value)
        nbytes = version.stored.nbytes
        number, file, artifact = version.number, "", b""
        try:
            if self._artifact_bytes and self._has_room(number, nbytes):
                file, artifact = await asyncio.to_thread(_dump, value, self.name)
        except Exception as error:  # noqa: BLE001 - the version is published all the same
            self._recorder.miss(f"artifact of version {number}", error)
        finally:  # also if this is cancelled
            texts = {name: str(tag) for name, tag in (tags or {}).items()}
            published = Published(dict(params or {}), texts, file, artifact)
            self._put(number, {"nbytes": float(nbytes)} | numbers, published)
        return number

    def log(self, metrics: Mapping[str, SupportsFloat], *, version: int) -> None:
        """Have metrics of a version recorded, such as the error of a result that used it.

        Which version that was is in ``result.versions``.  Returns at once.

        Raises:
            UsageError: a metric is not a number, or this was closed.
        """
        self._put(version, self._numbers(metrics), None)

    async def close(self, *, within_s: float = WITHIN_S) -> dict[str, int]:
        """Record no more; wait for unrecorded entries, but not longer than ``within_s``.

        Returns:
            The entries that were not recorded, in words, with the number of times; there is a
            warning of them, too.
        """
        return await self._close("FINISHED", within_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close("FINISHED" if error is None else "FAILED", WITHIN_S)

    async def _close(self, status: str, within_s: float) -> dict[str, int]:
        self._recorder.finish(status)
        try:
            async with asyncio.timeout(within_s):
                await asyncio.wrap_future(self._recorder.ended)
        except TimeoutError:
            self._recorder.give_up()
            log.warning("MLflow has not taken everything within %g s", within_s)
        missed = self.not_recorded
        if missed:
            some = ", ".join(list(missed)[:10]) + (", ..." if len(missed) > 10 else "")
            log.warning("not recorded in MLflow, of %r: %s", self.name, some)
        return missed

    def _put(self, version: int, metrics: dict[str, float], published: Published | None) -> None:
        self._recorder.put(Entry(version, metrics, int(time.time() * 1000), published))

    def _numbers(self, metrics: Mapping[str, SupportsFloat]) -> dict[str, float]:
        if self._recorder.closed:
            raise UsageError(f"the record of {self.name!r} in MLflow was closed")
        numbers: dict[str, float] = {}
        for name, value in metrics.items():
            try:
                if isinstance(value, str):
                    raise TypeError("text")
                numbers[name] = float(value)
            except (TypeError, ValueError):
                raise UsageError(
                    f"the metric {name!r} is not a number but {value!r}: other values go into "
                    "params or tags"
                ) from None
        return numbers

    def _has_room(self, version: int, nbytes: int) -> bool:
        waiting = self._recorder.nbytes
        if waiting + nbytes <= self._artifact_bytes:
            return True
        self._recorder.miss(
            f"artifact of version {version}",
            f"it has {nbytes} bytes and {waiting} wait, of artifact_bytes={self._artifact_bytes}",
        )
        return False


def _dump(value: Any, name: str) -> tuple[str, bytes]:
    """Return the name and the content of a file with a value."""
    stem = name.replace("/", "-")
    np: Any = sys.modules.get("numpy")  # without an array there is no need of it
    if np is not None and type(value) is np.ndarray and not value.dtype.hasobject:
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        return f"{stem}.npy", file.getvalue()
    cloudpickle: Any = importlib.import_module("cloudpickle")
    return f"{stem}.pkl", cloudpickle.dumps(value, protocol=5)
