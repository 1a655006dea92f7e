"""An executor for programs without an event loop: its session runs in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Generator
from concurrent.futures import Future

from steerio.errors import UsageError
from steerio.launch.event_loop import loop_factory
from steerio.model.showing import short
from steerio.session.executor import SessionExecutor
from steerio.session.opening import Opening, open_session


@contextlib.contextmanager
def open_executor(
    session: Opening | None = None, *, pool: str | None = None
) -> Generator[SessionExecutor]:
    """Open a session in a thread of its own, and an executor of it for this and other threads.

    When its ``with`` block ends all calls are waited for, as those of any executor; if an
    interrupt ends it, they are cancelled.

    Args:
        session: the session, as `open_session` and `connect` return it; by default one with a
            worker for each core.
        pool: the pool that runs the calls, as for `Session.executor`.

    Raises:
        UsageError, UnknownPool, BrokerLost: the session cannot be opened.
    """
    if session is not None and not isinstance(session, Opening):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            "open_executor takes a session that is not open, as in "
            f"open_executor(steerio.open_session(workers=4)), not {short(session)}"
        )
    opened: Future[SessionExecutor] = Future()
    closed: Future[None] = Future()
    loop = (loop_factory() or asyncio.new_event_loop)()
    leave = asyncio.Event()

    async def serve() -> None:
        async with session or open_session() as it:
            opened.set_result(it.executor(pool))
            await leave.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve())
        except BaseException as error:  # noqa: BLE001 - for the thread that opened it
            (closed if opened.done() else opened).set_exception(error)
        if not closed.done():
            closed.set_result(None)

    thread = threading.Thread(target=run, name="steerio executor", daemon=True)
    thread.start()
    try:
        executor = opened.result()
        try:
            yield executor
        except Exception:
            executor.shutdown()
            raise
        executor.shutdown()
    finally:
        with contextlib.suppress(RuntimeError):  # it could not be opened, or ended by itself
            loop.call_soon_threadsafe(leave.set)
        thread.join()
    closed.result()
