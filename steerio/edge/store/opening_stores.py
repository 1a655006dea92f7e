"""Stores made from their settings.

Nothing of ProxyStore is imported for a store of ours, and for others only when the first
object is put or fetched: that takes a second, and most workers of most pools do neither.
``check_store`` is for the one process that has to know at once.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, structs

from steerio.edge.store.folders import SPILL, open_folder, sweep_stale, take_over_folder
from steerio.edge.store.segments import SharedMemoryConnector
from steerio.edge.store.store import SegmentStore, Store
from steerio.edge.system.descriptors import allow_descriptors
from steerio.errors import UsageError
from steerio.model.objects import StoreSetting


class _Known(NamedTuple):
    path: str
    extra: str
    served: bool = False
    """Whether a server must answer."""


_KNOWN = {
    "redis": _Known("proxystore.connectors.redis:RedisConnector", "redis", served=True),
    "endpoint": _Known("proxystore.connectors.endpoint:EndpointConnector", "endpoint", served=True),
    "globus": _Known("proxystore.connectors.globus:GlobusConnector", ""),
}


_CONNECTOR = ("put", "get", "exists", "evict", "close")


class _PartSetting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The setting of one store of several."""

    kind: str
    options: dict[str, Any] = {}
    min_bytes: int = 0
    max_bytes: int | None = None
    pools: list[str] = []
    hosts: str = ".*"


def open_store(setting: StoreSetting, folder: Path, maker: str) -> Store:
    """Open a store in this process; a connector connects when it is first used.

    The process may then have more descriptors (``allow_descriptors``).

    Args:
        setting: of the store, as ``own_folders`` has returned it.
        folder: for shared memory, of the process that keeps the store; for others, of this node,
            for the objects it fetches.
        maker: name of the process that puts objects there.

    Raises:
        UsageError: an option of ours is missing, unknown or wrong, or a folder cannot be made.
    """
    allow_descriptors()
    return _open(setting, folder, maker, "copies")


def _open(setting: StoreSetting, folder: Path, maker: str, copies: str) -> Store:
    if setting.kind == "shared-memory":
        _take(setting, ())
        spill = folder / SPILL
        return SegmentStore(
            SharedMemoryConnector(
                str(folder / "objects"),
                spill=str(spill) if spill.exists() else "",
                limit_bytes=setting.limit_bytes,
                maker=maker,
            ),
            setting.cached_bytes,
        )
    if setting.kind == "file":
        (place,) = _take(setting, ("folder",))
        connector = SharedMemoryConnector(place, limit_bytes=setting.limit_bytes, maker=maker)
        return SegmentStore(connector, setting.cached_bytes)
    if setting.kind == "multi":
        from steerio.edge.store.multi_store import MultiStore, Part  # most runs start without it

        parts = [
            Part(
                name=name,
                store=_open(_setting_of(part, setting), folder, maker, f"copies-{name}"),
                min_bytes=part.min_bytes,
                max_bytes=part.max_bytes,
                pools=tuple(part.pools),
                hosts=part.hosts,
            )
            for name, part in _parts(setting).items()
        ]
        return MultiStore(parts, socket.gethostname())
    from steerio.edge.store.connector_store import ConnectorStore  # most runs start without it

    return ConnectorStore(
        lambda: _connect(setting),
        folder / copies,
        maker,
        setting.cached_bytes,
        f"the {setting.kind} store",
    )


def check_store(setting: StoreSetting) -> None:
    """Check that a store's class can be imported and takes the options.

    If its connector needs a server, check also that this answers.

    Raises:
        UsageError: one of these fails; it says what to install, or which options there are.
    """
    if setting.kind == "multi":
        for part in _parts(setting).values():
            check_store(_setting_of(part, setting))
    elif setting.kind == "shared-memory":
        _take(setting, ())
    elif setting.kind == "file":
        _take(setting, ("folder",))
    else:
        _options(setting, _class_of(setting.kind))
        known = _KNOWN.get(setting.kind)
        if known is not None and known.served:
            _check_server(setting)


def _check_server(setting: StoreSetting) -> None:
    connector: Any = None
    try:
        connector = _connect(setting)
        connector.exists(connector.new_key())
    except UsageError:
        raise
    except Exception as error:  # a connector may raise anything
        raise UsageError(f"the {setting.kind} store does not answer: {error}") from error
    finally:
        if connector is not None:
            connector.close()


def own_folders(
    setting: StoreSetting, opened: ExitStack, before: StoreSetting | None = None
) -> StoreSetting:
    """Make folders of this process's own in those that file stores are given.

    Files that dead processes of this host have left there are removed. The given folder itself may
    be missing, as one in a new run directory is, but not its parent. The folders are removed when
    ``opened`` is closed.

    Args:
        setting: of the store.
        opened: closes the folders.
        before: the setting that this returned in the process whose place this one takes.

    Returns:
        the setting for all other processes of the campaign.

    Raises:
        UsageError: a folder cannot be made.
    """
    if setting.kind == "file":
        (place,) = _take(setting, ("folder",))
        with contextlib.suppress(OSError):  # the first use of the folder says what is wrong
            Path(place).mkdir(exist_ok=True)
        taken = None
        if before is not None and before.kind == "file":
            (last,) = _take(before, ("folder",))
            if Path(last).parent.parent == Path(place).absolute():
                taken = take_over_folder(Path(last))
        sweep_stale(Path(place).absolute())
        folder = opened.enter_context(taken or open_folder(Path(place).absolute()))
        return structs.replace(setting, options={"folder": str(folder.path)})
    if setting.kind == "multi":
        options: dict[str, Any] = {}
        parts = _parts(before) if before is not None and before.kind == "multi" else {}
        for name, part in _parts(setting).items():
            last_part = parts.get(name)
            its = None if last_part is None else _setting_of(last_part, setting)
            own = own_folders(_setting_of(part, setting), opened, its)
            options[name] = msgspec.to_builtins(structs.replace(part, options=own.options))
        return structs.replace(setting, options=options)
    return setting


def own_places(setting: StoreSetting) -> list[Path]:
    """Return the folders that `own_folders` has made for a setting."""
    if setting.kind == "file":
        return [Path(place) for place in _take(setting, ("folder",))]
    if setting.kind == "multi":
        parts = [_setting_of(part, setting) for part in _parts(setting).values()]
        return [place for part in parts for place in own_places(part)]
    return []


def _connect(setting: StoreSetting) -> Any:
    kind = _class_of(setting.kind)
    options = _options(setting, kind)
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the {setting.kind} store cannot be made with {setting.options}: {error}"
        ) from error


def _class_of(kind: str) -> Any:
    """Import the class of a connector.

    Raises:
        UsageError: it cannot be.
    """
    known = _KNOWN.get(kind)
    path = kind if known is None else known.path
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except ImportError as error:
        extra = known and known.extra
        mend = f"pip install 'steerio[{extra}]'" if extra else "is it installed here?"
        raise UsageError(f"the {kind} store cannot be imported: {error}; {mend}") from error
    except AttributeError:
        raise UsageError(f"the store {kind} is not there: {module} has no {name}") from None


def _options(setting: StoreSetting, kind: Any) -> dict[str, Any]:
    """Return the arguments to make a connector with.

    Raises:
        UsageError: it does not take these options.
    """
    try:
        signature = inspect.signature(kind)
    except (TypeError, ValueError):
        signature = inspect.Signature()
    if not isinstance(kind, type) or not all(hasattr(kind, name) for name in _CONNECTOR):
        raise UsageError(
            f"{setting.kind} is no connector of ProxyStore: that is a class with the methods "
            f"{', '.join(_CONNECTOR)}"
        )
    options = dict(setting.options)
    if "clear" in signature.parameters and options.setdefault("clear", False):
        raise UsageError(
            f"the {setting.kind} store cannot have clear=True: each worker that ends would remove "
            "the objects of all; they are freed one by one"
        )
    try:
        signature.bind(**options)
    except TypeError as error:
        takes = ", ".join(name for name in signature.parameters if name != "clear") or "none"
        raise UsageError(
            f"the {setting.kind} store does not take these options: {error}; it takes: {takes}"
        ) from None
    return options


def _take(setting: StoreSetting, names: tuple[str, ...]) -> list[str]:
    """Return the options of a store of ours.

    Raises:
        UsageError: there are others, or they are no text.
    """
    if set(setting.options) != set(names):
        takes, given = (", ".join(some) or "none" for some in (names, setting.options))
        raise UsageError(
            f"the {setting.kind} store takes the options: {takes}; it was given: {given}"
        )
    for name in names:
        if not isinstance(setting.options[name], str) or not setting.options[name]:
            raise UsageError(f"the option {name} of the {setting.kind} store must be a path")
    return [setting.options[name] for name in names]


def _parts(setting: StoreSetting) -> dict[str, _PartSetting]:
    try:
        parts = msgspec.convert(setting.options, dict[str, _PartSetting])
    except msgspec.ValidationError as error:
        raise UsageError(
            f"the multi store takes named stores, each with kind, options, and bounds "
            f"({', '.join(_PartSetting.__struct_fields__[2:])}): {error}"
        ) from None
    if not parts:
        raise UsageError("the multi store needs a store at least: options={'name': {'kind': ...}}")
    if any(part.kind == "multi" for part in parts.values()):
        raise UsageError("a multi store cannot hold another")
    return parts


def _setting_of(part: _PartSetting, whole: StoreSetting) -> StoreSetting:
    return structs.replace(whole, kind=part.kind, options=part.options)
