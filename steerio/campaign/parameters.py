"""The parameters of a run, for the record: the campaign's ``__init__`` values and the rest."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import inspect
import os
import platform
import socket
import sys
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, cast

import msgspec

from steerio.campaign.steered_values import values_of
from steerio.model.places import WorkerNeeds
from steerio.session.run_dir import PARAMETERS, write_values
from steerio.version import __version__

SHOWN_BYTES = 2048
"""A longer value is named by its type alone."""


def bound_arguments(
    kind: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the arguments of ``__init__`` by name, with defaults; ``None`` if they do not fit."""
    try:
        bound = inspect.signature(cast("Any", kind).__init__).bind(None, *args, **kwargs)
    except (TypeError, ValueError):
        return None
    bound.apply_defaults()
    return dict(list(bound.arguments.items())[1:])


def in_short(value: object) -> Any:
    """Return a value for JSON: the value itself if it is plain and small, else its type."""
    if isinstance(value, PurePath):
        return str(value)
    if not _is_long(value):
        with contextlib.suppress(Exception):  # a user's value may raise anything
            plain = msgspec.to_builtins(_unboxed(value))
            if len(msgspec.json.encode(plain)) <= SHOWN_BYTES:
                return plain
    kind = type(value)
    try:
        size = f" of {len(cast('Any', value))}"
    except Exception:  # noqa: BLE001 - of the user's type, too
        size = ""
    return f"<{kind.__qualname__}{size}>"


def _is_long(value: Any) -> bool:
    """Whether a value has so many entries that its JSON would surely be too long."""
    size: Any = getattr(value, "size", 0) if type(value).__module__ == "numpy" else 0
    if type(value) in (list, tuple, dict, set, frozenset, str, bytes, bytearray):
        size = len(value)
    return bool(size > SHOWN_BYTES)


def _unboxed(value: Any) -> Any:
    """Return NumPy's arrays and numbers as Python's."""
    return value.tolist() if type(value).__module__ == "numpy" else value


def write_parameters(
    path: Path,
    campaign: object,
    workers: dict[str, int],
    needs: dict[str, WorkerNeeds],
    limits: object,
    random_seed: int,
    joined: str | None = None,
) -> None:
    """Record the campaign that is run, its parameters, the place, and the broker that it joined.

    Raises:
        UsageError: the run directory cannot be written to.
    """
    kind = type(campaign)
    made_with: dict[str, Any] = getattr(campaign, "_made_with", None) or {}
    shown = (int, float, str, bool)
    values = values_of(campaign)
    state = {
        k: v for k, v in vars(campaign).items() if issubclass(type(v), shown) and k not in values
    }
    parameters: dict[str, Any] = {
        "campaign": f"{kind.__module__}:{kind.__qualname__}",
        "arguments": {name: in_short(value) for name, value in made_with.items()},
        "parameters": values,
        "attributes": state,
        "workers": workers,
        "needs": msgspec.to_builtins(needs),
        "limits": msgspec.to_builtins(limits),
        "random_seed": random_seed,
        "joined": joined,
        "command": sys.argv,
        "steerio": __version__,
        "python": platform.python_version(),
        "host": socket.gethostname(),
        "user": _user(),
        "pid": os.getpid(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(),
    }
    write_values(path, PARAMETERS, parameters)


def recorded_workers(path: Path | str) -> dict[str, int]:
    """Return the workers that a run directory's parameters name; none if there are no such."""
    try:
        found = msgspec.json.decode((Path(path) / PARAMETERS).read_bytes(), type=_Recorded)
    except (OSError, msgspec.DecodeError):
        return {}
    return found.workers


def recorded_broker(path: Path | str) -> str | None:
    """Return the run directory of the broker that a run had joined, if it had."""
    try:
        data = (Path(path) / PARAMETERS).read_bytes()
        return msgspec.json.decode(data, type=_Joined).joined
    except (OSError, msgspec.DecodeError):
        return None


class _Recorded(msgspec.Struct):
    workers: dict[str, int]


class _Joined(msgspec.Struct):
    joined: str | None = None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
