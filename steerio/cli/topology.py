"""``steerio nodes``: the cores and devices of this machine, and each worker's share of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from steerio.errors import NoPlace, UsageError
from steerio.launch.hosting import CAMPAIGNS_CORES
from steerio.launch.workers import AskedWorkers, check_workers, needs_of, parse_workers
from steerio.model.places import Place, Topology, say_bytes
from steerio.node.device_variables import THREAD_VARIABLES
from steerio.node.picking import say_numbers
from steerio.node.placement import Placement
from steerio.node.probe import probe


def show_nodes(
    workers: str | None,
    explain: bool,
    as_json: bool,
    topology: str | None,
    record: str | None,
    pin: bool,
    shared: bool,
) -> int:
    """Print a topology, and places on it; return the exit code.

    Args:
        workers: the workers to find places for, as on the command line.
        explain: print the reason for each place.
        as_json: print JSON.
        topology: a file with a recorded topology; by default this machine's is read.
        record: a file to write the topology to.
        pin: whether workers are pinned.
        shared: whether a campaign's process runs on the same node.

    Raises:
        UsageError: ``workers`` cannot be read, or a topology's file not be read or written.
    """
    there = probe() if topology is None else read_topology(Path(topology))
    if record is not None:
        record_topology(there, Path(record))
    asked: AskedWorkers | None = parse_workers(workers) if workers else None
    if asked is None and explain:  # as for a session that is not told
        asked = {"default": max(1, len(there.cores))}
    if asked is None:
        places, refused = dict[str, Place](), dict[str, str]()
    else:
        # another node's variables are not this process's
        environment = dict(os.environ) if topology is None else {}
        places, refused = find_places(there, asked, pin, shared, environment)
    if as_json:
        click.echo(_as_json(there, places, refused, with_places=asked is not None))
    else:
        _print(there, places, refused, explain)
    return 1 if refused else 0


def read_topology(file: Path) -> Topology:
    """Read a topology that ``steerio nodes --record`` wrote.

    Raises:
        UsageError: it cannot be read, or is no topology.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=Topology)
    except OSError as error:
        raise UsageError(f"cannot read --topology {file}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise UsageError(
            f"--topology {file} is no file of steerio nodes --record: {error}"
        ) from None


def record_topology(topology: Topology, file: Path) -> None:
    """Write a topology for `read_topology`: no name of host or user is in it.

    Raises:
        UsageError: it cannot be written there.
    """
    try:
        file.write_text(_format(topology) + "\n")
    except OSError as error:
        raise UsageError(f"cannot write --record {file}: {error.strerror}") from None


def find_places(
    topology: Topology,
    workers: AskedWorkers,
    pin: bool,
    shared: bool,
    environment: dict[str, str],
) -> tuple[dict[str, Place], dict[str, str]]:
    """Return the place of each worker and, by pool, why its first worker without one has none.

    Args:
        topology: of the node.
        workers: those that are asked for.
        pin: whether workers are pinned.
        shared: whether a campaign's process runs on the same node.
        environment: of the node's process.
    """
    counts = check_workers(workers)
    placement = Placement(
        topology,
        counts,
        needs_of(workers),
        pin=pin,
        spare_cores=CAMPAIGNS_CORES if shared else 0,
        environment=environment,
    )
    places: dict[str, Place] = {}
    refused: dict[str, str] = {}
    for pool, count in counts.items():
        for number in range(1, count + 1):
            name = f"{pool}-{number}"
            try:
                places[name] = placement.place(name, pool)
            except NoPlace as error:
                refused[pool] = error.reason
                break
    return places, refused


def _as_json(
    topology: Topology, places: dict[str, Place], refused: dict[str, str], with_places: bool
) -> str:
    """Return the topology as JSON, or with workers an object of it and their places."""
    what: Any = topology
    if with_places:
        what = {"topology": topology, "places": places, "refused": refused}
    return _format(what)


def _format(what: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(what), indent=2).decode()


def _print(
    topology: Topology, places: dict[str, Place], refused: dict[str, str], explain: bool
) -> None:
    _print_cores(topology)
    _print_devices(topology)
    if topology.cpu_quota is not None:
        click.echo(f"cores' time: {topology.cpu_quota:g}")
    if topology.memory_limit_bytes is not None:
        click.echo(f"memory: {say_bytes(topology.memory_limit_bytes)}")
    for note in topology.notes:
        click.echo(f"note: {note}")
    for name, place in places.items():
        click.echo(f"{name}: {place.why}" if explain else f"{name}: {_short(place)}")
        if explain:
            click.echo("    " + " ".join(f"{k}={v}" for k, v in _telling(place).items()))
    for pool, reason in refused.items():
        click.echo(f"steerio: no place for a worker of pool {pool!r}: {reason}", err=True)


def _print_cores(topology: Topology) -> None:
    from rich.console import Console  # slow to load, and not needed for JSON
    from rich.table import Table

    cores = Table(title="cores", title_justify="left")
    for column in ("socket", "NUMA node", "cores", "physical"):
        cores.add_column(column)
    for (package, numa), ids in _by_node(topology).items():
        physical = {core.core for core in topology.cores if core.id in ids}
        cores.add_row(str(package), str(numa), say_numbers(ids), str(len(physical)))
    Console().print(cores)


def _print_devices(topology: Topology) -> None:
    from rich.console import Console  # slow to load, and not needed for JSON
    from rich.table import Table

    if not topology.accelerators:
        click.echo("accelerators: none")
        return
    devices = Table(title="accelerators", title_justify="left")
    for column in ("accelerator", "name", "memory", "NUMA node", "near cores", "id"):
        devices.add_column(column, overflow="fold")
    for device in topology.accelerators:
        devices.add_row(
            f"{device.vendor}{' slice' if device.lone else ''} {device.index}",
            device.name,
            say_bytes(device.memory_bytes) if device.memory_bytes else "?",
            "?" if device.numa is None else str(device.numa),
            say_numbers(device.cores),
            device.id,
        )
    Console().print(devices)


def _short(place: Place) -> str:
    many = "s" if len(place.cores) > 1 else ""
    cores = f"core{many} {say_numbers(place.cores)}" if place.cores else "any core"
    return ", ".join([cores, *(f"accelerator {id_}" for id_ in place.accelerators)])


def _telling(place: Place) -> dict[str, str]:
    """Return the variables, of those of threads only one: they all say the same."""
    alike = [name for name in place.environment if name in THREAD_VARIABLES][1:]
    return {name: value for name, value in place.environment.items() if name not in alike}


def _by_node(topology: Topology) -> dict[tuple[int, int], list[int]]:
    found: dict[tuple[int, int], list[int]] = {}
    for core in sorted(topology.cores, key=lambda core: (core.package, core.numa, core.id)):
        found.setdefault((core.package, core.numa), []).append(core.id)
    return found
