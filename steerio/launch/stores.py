"""The store of a broker: chosen, checked, and reached by processes that find the broker."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import structs

from steerio.edge.store.folders import open_folder, share_folder
from steerio.edge.store.opening_stores import check_store, open_store, own_places
from steerio.edge.store.store import Store
from steerio.edge.wire.connection import Connection
from steerio.errors import UsageError, guess
from steerio.model.objects import SHARED_MEMORY, StoreSetting

OBJECTS = "objects"
"""The folder of a run directory for the objects of a ``file`` store."""


def read_setting(asked: str) -> StoreSetting:
    """Return the store that a command line names: a kind, or a TOML file with the setting.

    Raises:
        UsageError: there is no such kind or file, or the file is no setting of a store.
    """
    if not asked.endswith(".toml"):
        return StoreSetting(kind=asked)
    try:
        return msgspec.toml.decode(Path(asked).read_bytes(), type=StoreSetting)
    except OSError as error:
        raise UsageError(f"the store's setting {asked} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{asked} is not the setting of a store: {error}") from None


def check_pickleless(setting: StoreSetting | None) -> None:
    """Refuse a store that writes pickles, for workers that read none.

    Raises:
        UsageError: it is one: the keys of ProxyStore's connectors are pickled.
    """
    if setting is not None and setting.kind not in (SHARED_MEMORY, "file"):
        raise UsageError(
            f"a store of the kind {setting.kind!r} pickles the keys of its objects, and with a "
            "list of allowed functions (allow) no pickle is read: use shared-memory or file"
        )


def choose_store(
    asked: StoreSetting | None, host: str | None, run_dir: Path | None
) -> tuple[StoreSetting | None, str]:
    """Return the store of a broker, or ``None`` and the reason why it has none.

    It is shared memory if all processes are on this host; otherwise, if nothing was asked for,
    files in the run directory, which all hosts share.

    Args:
        asked: the store that was asked for.
        host: the address on which the broker listens for other hosts, if it does.
        run_dir: of the broker, if it has one that the other hosts see.

    Raises:
        UsageError: the store that was asked for does not work here.
    """
    if asked is None and host is None:
        return StoreSetting(), ""
    if asked is None and run_dir is None:
        return None, (
            "this broker has workers on other hosts and no run directory that they share: say "
            "which store to use (store=StoreSetting(...)), or give it a run directory"
        )
    if asked is None or (asked.kind == "file" and "folder" not in asked.options):
        if run_dir is None:
            given = ", ".join(asked.options) if asked is not None else ""
            but = f"; it was given: {given}" if given else ""
            raise UsageError(
                f"a file store needs options={{'folder': ...}}, or a run directory{but}"
            )
        setting = asked or StoreSetting()
        options = {**setting.options, "folder": str((run_dir / OBJECTS).absolute())}
        return structs.replace(setting, kind="file", options=options), ""
    if host is not None and (what := _in_shared_memory(asked)):
        raise UsageError(
            f"workers on other hosts than {host} cannot reach {what}: use a store of kind "
            "'file' on a file system that all hosts share, or 'redis' or another of ProxyStore's"
        )
    return asked, ""


def check_asked(asked: StoreSetting | None, host: str | None, shared: bool = True) -> None:
    """Refuse a store that does not work, before there is a run directory for it.

    Imports the class of a connector, which takes a second.

    Args:
        asked: the store that was asked for.
        host: the address on which the broker listens for other hosts, if it does.
        shared: whether those see the folder of the broker.

    Raises:
        UsageError: as from `choose_store` and `check_store`.
    """
    # any folder will do: nothing is made in it
    setting, _ = choose_store(asked, host, Path() if shared else None)
    if setting is not None:
        check_store(setting)


def check_thresholds(asked: StoreSetting | None, pools: Collection[str]) -> None:
    """Refuse thresholds for pools that there are not.

    Args:
        asked: the setting.
        pools: all pools that there can be.

    Raises:
        UsageError: one names another pool; the message says which, and suggests a similar one.
    """
    for pool in asked.thresholds if asked is not None else ():
        if pool not in pools:
            raise UsageError(
                f"thresholds of the store name the pool {pool!r}, which is none of the pools here "
                f"({', '.join(sorted(pools)) or 'none'}){guess(str(pool), pools)}"
            )


def _in_shared_memory(setting: StoreSetting) -> str:
    """Name the part of a store that is in shared memory; ``""`` if none is."""
    if setting.kind == SHARED_MEMORY:
        return "shared memory"
    for name, part in setting.options.items() if setting.kind == "multi" else ():
        if isinstance(part, dict) and cast("dict[str, Any]", part).get("kind") == SHARED_MEMORY:
            return f"shared memory, in which part {name!r} of the multi store is"
    return ""


def reach_store(
    connection: Connection, opened: ExitStack
) -> tuple[StoreSetting, Store | None, str]:
    """Open the store of a broker that was found; ``None`` and the reason if it cannot be reached.

    Its folders here are removed when ``opened`` is closed.
    """
    setting = connection.store
    if setting is None:
        return StoreSetting(), None, "the broker has none"
    here = connection.here and Path(connection.objects).is_dir()
    if not here and _in_shared_memory(setting):
        return setting, None, f"it is in the shared memory of {connection.host}"
    folder = Path(connection.objects) if here else opened.enter_context(open_folder()).path
    # no message would tell this process that an object it keeps was freed
    forgetful = structs.replace(setting, cache_bytes=0)
    if here:  # also while no broker runs: the next one takes its objects over
        for place in (folder, *own_places(setting)):
            opened.enter_context(share_folder(place))
    store = open_store(forgetful, folder, "")
    opened.callback(store.close)
    return setting, store, ""
