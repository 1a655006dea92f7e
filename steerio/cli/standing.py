"""The commands for a broker by itself: ``steerio broker``, ``worker``, ``status`` and so on."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import structs

from steerio.edge.encoding.references import in_words
from steerio.edge.record.broker_file import FILE as BROKER_FILE
from steerio.edge.record.broker_file import alone_in
from steerio.edge.system.inheritance import fill_standard
from steerio.edge.wire.connection import FILE_NAME, Connection, read_connection
from steerio.errors import BrokerLost, UsageError
from steerio.launch.broker_setup import BrokerSetup
from steerio.launch.event_loop import loop_factory
from steerio.launch.finding import has_ended
from steerio.launch.hosting import Hosting
from steerio.launch.listening import check_host
from steerio.launch.stores import check_asked, check_pickleless, read_setting
from steerio.launch.walltime import parse_seconds
from steerio.model.allowed import parse_allowed
from steerio.model.settings import Settings
from steerio.model.showing import counted
from steerio.model.status import PoolLoad, Status
from steerio.node.setup import clear_up_after_broker
from steerio.session.nodes import describe_state
from steerio.session.opening import connect
from steerio.session.pools import facts
from steerio.session.run_dir import (
    logging_to,
    make_run_dir,
    refuse_campaigns,
    reopen_for_broker,
)

END_S = 10.0
"""How long ``steerio stop`` waits for the broker to have ended."""


def run_broker(
    run_dir: str | None,
    host: str | None,
    port: int,
    no_encryption: bool,
    store: str | None,
    random_seed: int | None,
    take_over: bool,
    wait: str | None,
    lease: str | None,
    allow: str | None,
) -> None:
    """Run a broker until it is stopped.

    Args:
        run_dir: the folder of its record; by default a new one.
        host: the address to listen on; by default only processes of this machine join.
        port: the TCP port; 0 for any free one.
        no_encryption: whether TCP is without CURVE.
        store: the store of large values, as on the command line.
        random_seed: the seed of the workers' random numbers; drawn by default.
        take_over: whether a broker that began in ``run_dir`` has ended, though that cannot be seen.
        wait: how long clients and nodes wait for another if it ends without a word.
        lease: how long a node may be silent before it is lost.
        allow: the functions that workers may run, with commas between them; by default any.

    Raises:
        UsageError: these do not go together, or a broker runs in ``run_dir`` already.
        BrokerLost: the broker ended by a failure.
    """
    fill_standard()
    setting = None if store is None else read_setting(store)
    settings = _settings(wait, lease)
    allowed = parse_allowed(allow)
    if port and host is None:
        raise UsageError("--port goes with --host ADDRESS: without it nothing listens on TCP")
    if allowed is not None:
        check_pickleless(setting)
    check_asked(setting, host)
    check_host(host)
    if run_dir is not None and (Path(run_dir) / BROKER_FILE).exists():
        folder = reopen_for_broker(run_dir)
    else:
        if run_dir is not None:
            refuse_campaigns(run_dir)
        folder = make_run_dir(run_dir, "broker")
    with _alone_in(folder, take_over=take_over), logging_to(folder):
        before = None if run_dir is None else _find_predecessor(run_dir, take_over=take_over)
        if before is not None:
            random_seed = before.random_seed if random_seed is None else random_seed
            allowed = before.allow if allowed is None else allowed
        setup = BrokerSetup(
            workers={},
            closed=False,
            run_dir=folder,
            host=host,
            port=port,
            encrypted=not no_encryption,
            store=setting,
            random_seed=random_seed,
            settings=settings,
            before=before,
            allow=allowed,
        )
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve(Hosting(setup), folder))


def _settings(wait: str | None, lease: str | None) -> Settings:
    """Return the settings with these times, as on the command line; see `run_broker`.

    Raises:
        UsageError: one is no length of time, or the lease is shorter than two beats.
    """
    settings = Settings()
    if wait is not None:
        wait_s = parse_seconds(wait)
        settings = Settings(away_s=wait_s, rejoin_s=wait_s)
    if lease is not None:
        lease_s, least_s = parse_seconds(lease), 2 * settings.beat_s
        if lease_s < least_s:
            raise UsageError(
                f"--lease {lease} is shorter than two beats of a node: give {least_s:g} s or more"
            )
        settings = structs.replace(settings, lease_s=lease_s)
    return settings


@contextlib.contextmanager
def _alone_in(folder: Path, *, take_over: bool) -> Generator[None, None, None]:
    """Have a run directory for one broker, as long as it lives.

    Raises:
        UsageError: another one is there, or is just starting.
    """
    with contextlib.ExitStack() as opened:
        try:
            opened.enter_context(alone_in(folder))
        except BlockingIOError:
            _find_predecessor(str(folder), take_over=take_over)  # it says which one, if it can
            raise UsageError(f"another broker is just starting in {folder}") from None
        yield


def _find_predecessor(run_dir: str, *, take_over: bool) -> Connection | None:
    """Return the connection of the broker that has ended there without a word, if one has.

    Raises:
        UsageError: it runs, or its file cannot be read.
    """
    if not (Path(run_dir) / FILE_NAME).exists():
        return None
    connection = read_connection(run_dir)
    if not (take_over and not connection.counted_here) and not has_ended(connection):
        raise UsageError(
            f"a broker runs in {run_dir} already (process {connection.pid} on "
            f"{connection.host})"
            + ("" if connection.counted_here else "; if you know that it has ended: --take-over")
        )
    if connection.here:
        clear_up_after_broker(connection.folder, connection.local)
    return connection


async def _serve(hosting: Hosting, folder: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            loop.add_signal_handler(number, stop.set)
    hosting.on_stop = lambda _: stop.set()
    await hosting.start(stand_in=False)
    try:
        click.echo(f"broker runs in {folder}")
        click.echo(f"workers: steerio worker --join {folder} --workers default=2")
        click.echo(f"campaign: steerio run FILE --join {folder}    end it: steerio stop {folder}")
        await stop.wait()
    finally:
        await hosting.close(hosting.broker.closing or "the broker was stopped")
    if hosting.broker.failed:
        raise BrokerLost(hosting.broker.closing)


def show_status(run_dir: str, as_json: bool) -> None:
    """Print the status of a running broker."""
    status = asyncio.run(_ask(run_dir))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_as_dict(status)), indent=2))
        return
    from rich.console import Console  # slow to load, and not needed for JSON
    from rich.table import Table

    console = Console()
    pools = Table(title="pools", title_justify="left")
    numbers = ("workers", "busy", "idle", "queued")
    for column in ("pool", *numbers, "on its way or away", "nodes", "trouble"):
        pools.add_column(column, justify="right" if column in numbers else "left")
    for name, load in status.pools.items():
        counts = [load.workers, load.busy, load.idle, load.queued]
        moving = ", ".join(f"{n} {what}" for what, n in facts(load) if n and what != "queued")
        places = ", ".join(f"{node}: {count}" for node, count in load.nodes.items())
        pools.add_row(name, *map(str, counts), moving, places, _trouble(load))
    workers = Table(title="workers", title_justify="left")
    for column in ("worker", "pool", "node", "process", "state", "task"):
        workers.add_column(column)
    for worker in status.workers:
        task = "" if worker.task_id is None else str(worker.task_id)
        workers.add_row(
            worker.worker, worker.pool, worker.node, str(worker.pid), worker.phase, task
        )
    nodes = Table(title="nodes", title_justify="left")
    for column in ("node", "host", "workers", "busy", "state"):
        nodes.add_column(column, justify="right" if column in ("workers", "busy") else "left")
    for name, node in status.nodes.items():
        nodes.add_row(name, node.host, str(node.workers), str(node.busy), describe_state(node))
    console.print(pools, workers, nodes)
    ended = ", ".join(f"{count} {kind}" for kind, count in sorted(status.ended.items())) or "none"
    console.print(f"tasks ended: {ended}; events: {status.events}; up {status.uptime_s:.0f} s")
    store = status.store
    if store.objects:
        holders = [("queued or running tasks", store.by_tasks), *store.by_clients.items()]
        holders += [
            (f"version {store.versions[n]} of {n}", b) for n, b in store.by_versions.items()
        ]
        held = ", ".join(f"{who}: {in_words(nbytes)}" for who, nbytes in holders if nbytes)
        console.print(
            f"store: {counted(store.objects, 'object')}, {in_words(store.nbytes)} ({held})"
        )
    console.print(f"clients: {', '.join(status.clients)}")
    if status.dropped:
        console.print(f"messages dropped: {status.dropped}")


def _trouble(load: PoolLoad) -> str:
    """Return, in words, why the tasks of a pool do not go on."""
    return load.failure or (f"paused {load.paused}" if load.paused else load.stalled)


def drain_node(run_dir: str, node: str, within: str | None, retire: bool) -> None:
    """Have a node drained, and wait until it is."""
    within_s = None if within is None else parse_seconds(within)
    asyncio.run(_drain(run_dir, node, within_s, retire))
    click.echo(f"{node} has retired" if retire else f"{node} is drained")


def undrain_node(run_dir: str, node: str) -> None:
    """Let a node take tasks again."""
    asyncio.run(_undrain(run_dir, node))
    click.echo(f"{node} takes tasks again")


async def _drain(run_dir: str, node: str, within_s: float | None, retire: bool) -> None:
    async with connect(run_dir, name="drain") as session:
        leave = session.nodes.retire if retire else session.nodes.drain
        await leave(node, within_s=within_s)


async def _undrain(run_dir: str, node: str) -> None:
    async with connect(run_dir, name="undrain") as session:
        await session.nodes.undrain(node)


def stop_broker(run_dir: str) -> None:
    """Ask a running broker to end."""
    asyncio.run(_stop(run_dir))


async def _ask(run_dir: str) -> Status:
    async with connect(run_dir, name="status") as session:
        return await session.status()


async def _stop(run_dir: str) -> None:
    async with connect(run_dir, name="stop") as session:
        ended = asyncio.Event()
        session.client.on_lost(lambda _: ended.set())
        session.client.requests.stop_broker("steerio stop")
        try:
            async with asyncio.timeout(END_S):
                await ended.wait()
        except TimeoutError:
            raise BrokerLost(
                f"the broker was asked to end and has not within {END_S:g} s; "
                "its campaign may still be finishing"
            ) from None


def _as_dict(status: Status) -> dict[str, Any]:
    """Name the fields (on the wire they are arrays)."""
    plain = msgspec.structs.asdict(status)
    plain["pools"] = {name: msgspec.structs.asdict(load) for name, load in status.pools.items()}
    plain["store"] = msgspec.structs.asdict(status.store)
    plain["nodes"] = {name: msgspec.structs.asdict(node) for name, node in status.nodes.items()}
    plain["workers"] = [msgspec.structs.asdict(worker) for worker in status.workers]
    del plain["request"]
    return plain
